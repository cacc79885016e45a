//! Training steps: of the small dense model that `compare_torch.py` has too, and of a mixture with both dispatches.
//!
//! A step is forward, backward, clipping of the gradients to norm 1, and AdamW. Each step of all cases sees 2,048 tokens, so
//! tokens per second are 2,048 divided by the time.
#![allow(missing_docs)]

use benches::{Case, case, criterion, device};
use criterion::{Criterion, criterion_group, criterion_main};
use moe_router::Dispatch;
use unimoe_model::{LoadOptions, ModelInput, UniMoe, UniMoeConfig, codec_cross_entropy};
use unimoe_train::{Optimized, OptimizerConfig, Schedule};

const BATCH: usize = 8;
const LENGTH: usize = 256;

/// Four dense layers of width 256 over one channel of 1,027 codes.
fn small_dense() -> UniMoeConfig {
    let mut config = UniMoeConfig::tiny().into_dense(512);
    let text = &mut config.text;
    (text.d_model, text.n_layers, text.d_head) = (256, 4, 64);
    (text.n_heads, text.n_kv_heads, text.rope_sections) = (4, 4, [8, 12, 12]);
    config.codec.n_channels = 1;
    config.codec.vocab_size = 1027;
    config.codec.delay_pattern = vec![0];
    config.vision = None;
    config
}

struct Step {
    optimized: Optimized<UniMoe>,
    input: ModelInput,
    labels: Vec<i64>,
}

impl Step {
    fn new(config: &UniMoeConfig, dispatch: Dispatch) -> Self {
        let device = device().autodiff();
        let mut model =
            UniMoe::random(config, 0, LoadOptions::default(), &device).expect("float32");
        for layer in &mut model.decoder.layers {
            layer.moe = layer.moe.clone().with_dispatch(dispatch);
        }
        let settings = OptimizerConfig {
            schedule: Schedule::Constant,
            clip_norm: Some(1.0),
            ..OptimizerConfig::default()
        };
        let (tokens, channels) = (BATCH * LENGTH, config.codec.n_channels);
        let codes: Vec<u32> = (0..tokens * channels)
            .map(|n| (n * 37 % 1024) as u32)
            .collect();
        Self {
            optimized: Optimized::new(model, &settings, 1 << 20).expect("possible settings"),
            labels: codes.iter().copied().map(i64::from).collect(),
            input: ModelInput {
                batch: BATCH,
                ids: vec![config.codec.placeholder; tokens],
                real: vec![true; tokens],
                codes,
                training_seed: Some(0),
                ..ModelInput::default()
            },
        }
    }
}

impl Case for Step {
    fn run(&mut self) {
        let model = self.optimized.model();
        let output = model.forward(&self.input).expect("it fits");
        let loss = codec_cross_entropy(model.codec_logits(output.hidden), &self.labels);
        self.optimized.backward(loss.total, 1.0);
        // Waits: it reads the norm of the gradients.
        self.optimized.step().expect("finite gradients");
    }
}

fn train(criterion: &mut Criterion) {
    case(criterion, "train_step_small", || {
        Step::new(&small_dense(), Dispatch::Grouped)
    });
    let mut tiny = UniMoeConfig::tiny();
    tiny.vision = None;
    for (name, dispatch) in [
        ("train_tokens_grouped", Dispatch::Grouped),
        ("train_tokens_dense", Dispatch::Dense),
    ] {
        case(criterion, name, || Step::new(&tiny, dispatch));
    }
}

criterion_group! { name = cases; config = criterion(); targets = train }
criterion_main!(cases);
