//! Times encoding and decoding of 10 s with random weights of the 16 kHz codec.

use std::time::Instant;

use burn::tensor::{Device, Distribution, Int, Tensor};
use dac_codec::{DacCodec, DacConfig};

fn main() -> Result<(), dac_codec::DacError> {
    let device = Device::flex();
    let config = DacConfig::dac_16khz();
    let codec = DacCodec::random(&config, 1, &device)?;
    let audio = Tensor::<3>::random([1, 1, 160_000], Distribution::Uniform(-0.3, 0.3), &device);
    let codes = Tensor::<3, Int>::random([1, 12, 500], Distribution::Uniform(0.0, 1024.0), &device);
    for _ in 0..3 {
        let start = Instant::now();
        let frames = codec.encode(audio.clone(), None)?.codes.dims()[2];
        println!(
            "encode {frames} frames: {:.3} s",
            start.elapsed().as_secs_f64()
        );
        let start = Instant::now();
        let samples = codec
            .decode_codes(codes.clone())?
            .into_data()
            .num_elements();
        println!(
            "decode {samples} samples: {:.3} s",
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
