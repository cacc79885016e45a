//! The codec on 10 s of mono sound: `dac_encode_10s`, `dac_decode_10s`.
#![allow(missing_docs)]

use benches::{case, criterion, device, noise, wait};
use burn::tensor::{Distribution, Int, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use dac_codec::{DacCodec, DacConfig};

const SECONDS: usize = 10;

fn codec(criterion: &mut Criterion) {
    let device = device();
    let config = DacConfig::dac_16khz();
    let codec = || DacCodec::random(&config, 0, &device).expect("a preset");

    case(criterion, "dac_encode_10s", || {
        let codec = codec();
        let audio = noise([1, 1, SECONDS * config.sample_rate], 0.1, &device);
        move || {
            let encoded = codec.encode(audio.clone(), None).expect("10 s of sound");
            std::hint::black_box(encoded.codes.into_data());
        }
    });
    case(criterion, "dac_decode_10s", || {
        let codec = codec();
        let frames = SECONDS * config.sample_rate / config.hop_length();
        let codes = Tensor::<3, Int>::random(
            [1, config.n_codebooks, frames],
            Distribution::Uniform(0.0, config.codebook_size as f64),
            &device,
        );
        move || {
            wait(
                codec
                    .decode_codes(codes.clone())
                    .expect("codes of the codec"),
            )
        }
    });
}

criterion_group! { name = cases; config = criterion(); targets = codec }
criterion_main!(cases);
