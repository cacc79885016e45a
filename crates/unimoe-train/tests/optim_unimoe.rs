//! The optimisation of the whole model: adapters, precision, recomputed activations.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::{DType, Device, Tensor};
use unimoe_model::{IGNORED, LoadOptions, ModelInput, UniMoe, UniMoeConfig, codec_cross_entropy};
use unimoe_train::{LoraConfig, Optimized, OptimizerConfig, Precision, Schedule, autodiff_device};

fn model(device: &Device) -> UniMoe {
    let mut config = UniMoeConfig::tiny();
    config.vision = None;
    let options = LoadOptions {
        dtype: DType::F32,
        ..LoadOptions::default()
    };
    UniMoe::random(&config, 1, options, device).unwrap()
}

fn loss(model: &UniMoe) -> Tensor<1> {
    let codec = &model.config().codec;
    let (place, channels) = (codec.placeholder, codec.n_channels);
    let ids = vec![1, 2, place, place, place, place, place, 0];
    let codes: Vec<u32> = (0..5 * channels as u32)
        .map(|n| n * 37 % codec.eos)
        .collect();
    let mut labels = vec![IGNORED; ids.len() * channels];
    for (label, &code) in labels[2 * channels..].iter_mut().zip(&codes) {
        *label = code.into();
    }
    let input = ModelInput {
        batch: 1,
        real: ids.iter().map(|&id| id != 0).collect(),
        ids,
        codes,
        training_seed: Some(5),
        ..ModelInput::default()
    };
    let output = model.forward(&input).unwrap();
    let loss = codec_cross_entropy(model.codec_logits(output.hidden), &labels);
    loss.total + output.routings[0].balance_loss(None) * 0.025
}

fn config() -> OptimizerConfig {
    OptimizerConfig {
        learning_rate: 3e-3,
        schedule: Schedule::Constant,
        ..OptimizerConfig::default()
    }
}

fn train(optimized: &mut Optimized<UniMoe>, steps: usize) -> Vec<f32> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = loss(&optimized.model());
        losses.push(loss.clone().cast(DType::F32).into_scalar::<f32>());
        optimized.backward(loss, 1.0);
        optimized.step().unwrap();
    }
    losses
}

fn losses(config: &OptimizerConfig, checkpointing: bool) -> Vec<f32> {
    let device = autodiff_device(&Device::flex(), checkpointing);
    let mut optimized = Optimized::new(model(&device), config, 100).unwrap();
    train(&mut optimized, 4)
}

#[test]
fn recomputed_activations_give_the_same_losses() {
    let kept = losses(&config(), false);
    assert!(kept[3] < 0.98 * kept[0], "{kept:?}");
    assert_eq!(losses(&config(), true), kept);
}

#[test]
fn bfloat16_follows_float32() {
    let exact = losses(&config(), false);
    let mixed = OptimizerConfig {
        precision: Precision::Bf16,
        ..config()
    };
    for (a, b) in exact.iter().zip(losses(&mixed, false)) {
        // A loss summed over channels from logits of eight bits.
        assert!((a - b).abs() < 0.01 * a, "{a} {b}");
    }
}

#[test]
fn adapters_on_attention_and_experts_learn() {
    let lora = OptimizerConfig {
        lora: Some(LoraConfig {
            rank: 4,
            alpha: 8.0,
            targets: vec![
                r"attention\..*_proj".into(),
                r"moe\.(routed|shared)\.".into(),
            ],
            seed: 1,
        }),
        ..config()
    };
    let device = Device::flex();
    let before = loss(&model(&device)).into_scalar::<f32>();
    let mut optimized = Optimized::new(model(&device), &lora, 100).unwrap();
    let (all, trained) = optimized.parameters();
    assert!(trained > 0 && trained * 4 < all, "{trained} of {all}");
    let found = train(&mut optimized, 4);
    assert_eq!(found[0], before);
    assert!(found[3] < 0.995 * before, "{found:?}");
    let merged = loss(&optimized.trained()).into_scalar::<f32>();
    let applied = loss(&optimized.model()).into_scalar::<f32>();
    assert!(
        (merged - applied).abs() < 1e-6 * merged,
        "{merged} {applied}"
    );
}
