//! 64 frames of 1280 x 720 pixels to patches: `preprocess_64_frames` as the published pipeline rounds,
//! `preprocess_64_frames_integer` with the kernel for 8 bits.
#![allow(missing_docs)]

use benches::{case, criterion};
use criterion::{Criterion, criterion_group, criterion_main};
use image::{Rgb, RgbImage};
use vision_encoder::{Bicubic, Preprocessor};

const FRAMES: u32 = 64;
const SIZE: (u32, u32) = (1280, 720);

/// Frames without a pattern that the memory's caches or the kernels could make use of.
fn frames() -> Vec<RgbImage> {
    let mut state = 1u32;
    let mut level = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..FRAMES)
        .map(|_| RgbImage::from_fn(SIZE.0, SIZE.1, |_, _| Rgb([level(), level(), level()])))
        .collect()
}

fn preprocess(criterion: &mut Criterion) {
    for (name, video_filter) in [
        ("preprocess_64_frames", Bicubic::TorchvisionFloat),
        ("preprocess_64_frames_integer", Bicubic::TorchvisionInteger),
    ] {
        case(criterion, name, || {
            let frames = frames();
            let preprocessor = Preprocessor {
                video_filter,
                ..Preprocessor::unimoe_audio()
            };
            move || {
                std::hint::black_box(preprocessor.video(&frames, 1.0).expect("64 frames"));
            }
        });
    }
}

criterion_group! { name = cases; config = criterion(); targets = preprocess }
criterion_main!(cases);
