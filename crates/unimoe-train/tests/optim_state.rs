//! Optimisation goes on from a checkpoint as if it had never stopped.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::{Linear, LinearConfig},
    tensor::{DType, Device, Tensor, TensorData},
};
use serde_json::json;
use unimoe_train::{
    CheckpointError, CheckpointPolicy, Checkpoints, LoraConfig, OptimError, Optimized,
    OptimizerConfig, Precision, Schedule, StateReader,
};

#[derive(Module, Debug)]
struct Net {
    first: Linear,
    second: Linear,
    /// Used in every third step only.
    rare: Linear,
}

struct Numbers(f32);

impl ModuleMapper for Numbers {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let shape = tensor.shape();
            let values = (0..shape.num_elements()).map(|_| {
                self.0 += 1.0;
                (self.0 * 1.7).sin() * 0.7
            });
            let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
            Tensor::from_data(data, &tensor.device())
        })
    }
}

fn net(hidden: usize, start: f32) -> Net {
    let device = Device::flex();
    let net = Net {
        first: LinearConfig::new(3, hidden).init(&device),
        second: LinearConfig::new(hidden, 2).init(&device),
        rare: LinearConfig::new(3, 2).init(&device),
    };
    net.map(&mut Numbers(start))
}

fn train(optimized: &mut Optimized<Net>, steps: std::ops::Range<usize>) -> Vec<f32> {
    let mut losses = Vec::new();
    for step in steps {
        let model = optimized.model();
        let device = model.first.weight.val().device();
        let dtype = model.first.weight.val().dtype();
        let x: Tensor<2> = Tensor::from_data([[1.0f32, -0.5, 2.0], [0.3, 0.8, -1.1]], &device);
        let x = x.cast(dtype) * (step as f32).cos();
        let mut y = model.second.forward(model.first.forward(x.clone()));
        if step % 3 == 2 {
            y = y + model.rare.forward(x);
        }
        let loss = y.cast(DType::F32).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        optimized.backward(loss, 1.0);
        optimized.step().unwrap();
    }
    losses
}

fn config() -> OptimizerConfig {
    OptimizerConfig {
        learning_rate: 0.01,
        schedule: Schedule::Cosine {
            warmup_steps: 2,
            total_steps: None,
            cycles: 0.5,
        },
        ema: Some(0.9),
        ..OptimizerConfig::default()
    }
}

fn optimized(config: &OptimizerConfig) -> Optimized<Net> {
    Optimized::new(net(4, 0.0), config, 8).unwrap()
}

fn save(optimized: &Optimized<Net>, folder: &Path) -> StateReader {
    let policy = CheckpointPolicy::default();
    let mut checkpoints = Checkpoints::open(folder, policy, &json!({})).unwrap();
    let saved = checkpoints.save(optimized.steps(), None, |writer| {
        optimized.save(writer, "model")?;
        Ok(())
    });
    saved.unwrap();
    checkpoints.latest().unwrap().unwrap()
}

fn values(net: &Net) -> Vec<Vec<f32>> {
    let layers = [&net.first, &net.second, &net.rare];
    let bias = |layer: &Linear| layer.bias.as_ref().unwrap().val().into_data();
    layers
        .into_iter()
        .flat_map(|layer| [layer.weight.val().into_data(), bias(layer)])
        .map(|data| data.try_to_vec().unwrap())
        .collect()
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    let lora = LoraConfig {
        rank: 2,
        alpha: 3.0,
        targets: vec!["weight".into()],
        seed: 4,
    };
    let configs = [
        config(),
        OptimizerConfig {
            precision: Precision::Bf16,
            frozen: vec!["second".into()],
            ..config()
        },
        OptimizerConfig {
            lora: Some(lora),
            ema: None,
            ..config()
        },
    ];
    for config in configs {
        let mut whole = optimized(&config);
        let losses = train(&mut whole, 0..8);
        // After 2 steps the rare layer has no moments yet.
        for stop in [0, 2, 5] {
            let folder = tempfile::tempdir().unwrap();
            let mut first = optimized(&config);
            train(&mut first, 0..stop);
            let state = save(&first, folder.path());
            let mut second = optimized(&config);
            // What it did before is forgotten.
            train(&mut second, 0..1);
            second.load(&state, "model").unwrap();
            assert_eq!(second.steps(), stop as u64);
            assert_eq!(train(&mut second, stop..8), losses[stop..], "from {stop}");
            assert_eq!(values(&second.trained()), values(&whole.trained()));
            let averages = |optimized: &Optimized<Net>| optimized.averaged().map(|a| values(&a));
            assert_eq!(averages(&second), averages(&whole));
        }
    }
}

#[test]
fn the_state_of_another_configuration_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = |pattern: &str| OptimizerConfig {
        frozen: vec![pattern.into()],
        ..config()
    };
    let mut trained = optimized(&frozen("second"));
    train(&mut trained, 0..3);
    let state = save(&trained, folder.path());
    let refused = |mut optimized: Optimized<Net>| {
        let before = values(&optimized.trained());
        let error = optimized.load(&state, "model").unwrap_err();
        assert_eq!(values(&optimized.trained()), before);
        assert_eq!(optimized.steps(), 0);
        error
    };

    let error = refused(optimized(&config()));
    assert!(
        matches!(&error, OptimError::StateMissing { parameter } if parameter == "second.weight")
    );
    let error = refused(optimized(&frozen("second|bias")));
    assert!(matches!(&error, OptimError::StateExtra { parameter } if parameter == "first.bias"));
    let wider = Optimized::new(net(5, 0.0), &frozen("second"), 8).unwrap();
    let error = refused(wider).to_string();
    assert_eq!(
        error,
        "`first.weight` is [3, 4] in the checkpoint, expected [3, 5]"
    );
    let other = Optimized::new(net(4, 1.0), &frozen("second"), 8).unwrap();
    assert!(matches!(refused(other), OptimError::Frozen { .. }));
    let without = OptimizerConfig {
        ema: None,
        ..frozen("second")
    };
    let mut first = optimized(&without);
    train(&mut first, 0..1);
    let folder = tempfile::tempdir().unwrap();
    let state = save(&first, folder.path());
    let error = optimized(&frozen("second"))
        .load(&state, "model")
        .unwrap_err();
    match error {
        OptimError::Checkpoint(CheckpointError::Missing { name, .. }) => {
            assert_eq!(name, "model.average.first.weight");
        }
        other => panic!("{other}"),
    }
    let error = optimized(&without).load(&state, "codec").unwrap_err();
    assert!(error.to_string().contains("no `codec.progress`"), "{error}");
}
