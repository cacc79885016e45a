//! One cached decoding step of four layers of the released width: `decode_step_4_layers` (also `_bf16`).
#![allow(missing_docs)]

use benches::{Case, case, criterion, device, wait};
use burn::tensor::DType;
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

/// A model in the middle of a sound.
struct Step {
    model: UniMoe,
    codes: Vec<u32>,
    state: Option<DecodeState>,
    steps: usize,
}

impl Case for Step {
    fn prepare(&mut self) {
        if self.state.is_some() && self.steps < STEPS {
            return;
        }
        let input = ModelInput {
            batch: BATCH,
            ids: (0..BATCH * CACHED).map(|n| (n % 1000) as u32).collect(),
            real: vec![true; BATCH * CACHED],
            ..ModelInput::default()
        };
        let filled = self.model.prefill(&input, CACHED + STEPS);
        let (state, hidden) = filled.expect("it fits");
        wait(hidden);
        self.state = Some(state);
        self.steps = 0;
    }

    fn run(&mut self) {
        let state = self.state.as_mut().expect("prepared");
        wait(self.model.step(&self.codes, state).expect("room"));
        self.steps += 1;
    }
}

fn decode(criterion: &mut Criterion) {
    let device = device();
    for (name, dtype) in [
        ("decode_step_4_layers", DType::F32),
        ("decode_step_4_layers_bf16", DType::BF16),
    ] {
        case(criterion, name, || {
            let config = config();
            let options = LoadOptions {
                dtype,
                ..LoadOptions::default()
            };
            let codes = 0..BATCH * config.codec.n_channels;
            Step {
                model: UniMoe::random(&config, 0, options, &device).expect("a float type"),
                codes: codes.map(|n| (n * 37 % 1024) as u32).collect(),
                state: None,
                steps: 0,
            }
        });
    }
}

criterion_group! { name = cases; config = criterion(); targets = decode }
criterion_main!(cases);
