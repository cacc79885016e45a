//! Sound file to codes to sound file: `transcode WEIGHTS IN.wav OUT.wav`.
//!
//! `WEIGHTS` is an official `.pth` file or a Hugging Face folder.

use burn::tensor::Device;
use dac_codec::{AudioClip, CodeFile, DacCodec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, input, output] = arguments.as_slice() else {
        return Err("usage: transcode WEIGHTS IN OUT.wav".into());
    };
    let device = Device::flex();
    let codec = DacCodec::load(weights, &device)?;
    let rate = u32::try_from(codec.config().sample_rate)?;

    let clip = AudioClip::read(input, 600.0)?.resampled(rate)?;
    let codes = codec.encode(clip.to_tensor(&device), None)?.codes;
    let file = CodeFile::new(codec.config(), codes, clip.samples.len())?;
    let bits = file.to_bytes()?.len() * 8;
    println!(
        "{:.2} s in {bits} bits: {:.1} kbit/s",
        clip.seconds(),
        bits as f64 / clip.seconds() / 1e3
    );

    let audio = codec.decode_codes(file.to_tensor(&device))?;
    let decoded = AudioClip {
        samples: audio.into_data().iter::<f32>().collect(),
        sample_rate: rate,
    };
    decoded.write_wav(output)?;
    Ok(())
}
