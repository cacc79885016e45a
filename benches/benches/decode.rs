//! One cached decoding step of four layers of the released width: `decode_step_4_layers`.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use benches::{criterion, device, wait};
use criterion::{Criterion, criterion_group, criterion_main};
use unimoe_model::{DecodeState, LoadOptions, ModelInput, UniMoe, UniMoeConfig};

const BATCH: usize = 2;
/// Positions in the cache before the first measured step.
const CACHED: usize = 500;
/// Steps before the cache is filled anew, so that it stays about `CACHED` long.
const STEPS: usize = 32;

/// Four layers with eight experts of which each token visits four; no null and no shared experts.
fn config() -> UniMoeConfig {
    let mut config = UniMoeConfig::released();
    config.text.n_layers = 4;
    config.text.vocab_size = 1027;
    config.codec.placeholder = 1026;
    config.moe.n_null = 0;
    config.moe.n_shared = 0;
    config.moe.top_p = 0.0;
    config.moe.top_k = 4;
    config
}

fn filled(model: &UniMoe) -> DecodeState {
    let input = ModelInput {
        batch: BATCH,
        ids: (0..BATCH * CACHED).map(|n| (n % 1000) as u32).collect(),
        real: vec![true; BATCH * CACHED],
        ..ModelInput::default()
    };
    let (state, hidden) = model.prefill(&input, CACHED + STEPS).expect("it fits");
    wait(hidden);
    state
}

fn decode(criterion: &mut Criterion) {
    let device = device();
    let config = config();
    let model = UniMoe::random(&config, 0, LoadOptions::default(), &device).expect("f32");
    let codes: Vec<u32> = (0..BATCH * config.codec.n_channels)
        .map(|n| (n * 37 % 1024) as u32)
        .collect();

    criterion.bench_function("decode_step_4_layers", |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            let mut left = iterations as usize;
            while left > 0 {
                let mut state = filled(&model);
                let steps = left.min(STEPS);
                let start = Instant::now();
                for _ in 0..steps {
                    wait(model.step(&codes, &mut state).expect("room in the cache"));
                }
                spent += start.elapsed();
                left -= steps;
            }
            spent
        });
    });
}

criterion_group! { name = cases; config = criterion(); targets = decode }
criterion_main!(cases);
