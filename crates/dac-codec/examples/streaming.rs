//! Decoding while the codes are still being made, as a language model makes them: frame by frame.

use burn::tensor::{Device, Int, Tensor};
use dac_codec::{ChunkedDecoder, DacCodec, DacConfig, DacError};

fn main() -> Result<(), DacError> {
    let device = Device::flex();
    let config = DacConfig::dac_16khz()
        .with_encoder_dim(8)
        .with_latent_dim(64)
        .with_decoder_dim(64);
    let codec = DacCodec::random(&config, 0, &device)?;
    let mut decoder = ChunkedDecoder::new(&config, 25);

    let mut samples = 0;
    for frame in 0..120 {
        let codes = Tensor::<3, Int>::full([1, config.n_codebooks, 1], frame * 7 % 1024, &device);
        if let Some(audio) = decoder.step(&codec, codes)? {
            samples += audio.dims()[2];
            println!("after frame {frame}: {samples} samples");
        }
    }
    if let Some(audio) = decoder.finish(&codec)? {
        samples += audio.dims()[2];
    }
    println!("at the end: {samples} samples");
    assert_eq!(samples, config.decoded_length(120));
    Ok(())
}
