//! Four blocks of the released vision encoder over 4 x 16 x 16 patches: `vit_4_blocks`.
#![allow(missing_docs)]

use benches::{case, criterion, device, noise, wait};
use criterion::{Criterion, criterion_group, criterion_main};
use vision_encoder::{Grid, VisionEncoderConfig, VisionInput, VisionKind};

fn vision(criterion: &mut Criterion) {
    let device = device();
    case(criterion, "vit_4_blocks", || {
        let mut config = VisionEncoderConfig::unimoe_audio().with_full_attention_blocks(vec![3]);
        config.n_blocks = 4;
        let encoder = config.init(&device);
        let grid = Grid { t: 4, h: 16, w: 16 };
        let patches = noise([4 * 16 * 16, config.patch_values()], 1.0, &device);
        let inputs = [VisionInput {
            kind: VisionKind::Video,
            patches: patches.into_data().try_into_vec().expect("float32"),
            grid,
            seconds_per_step: Some(1.0),
        }];
        move || wait(encoder.forward(&inputs).expect("a grid that fits"))
    });
}

criterion_group! { name = cases; config = criterion(); targets = vision }
criterion_main!(cases);
