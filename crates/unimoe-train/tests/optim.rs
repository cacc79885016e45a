//! What the optimisation of a model promises.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig},
    tensor::{DType, Device, Tensor, TensorData},
};
use unimoe_train::{
    LoraConfig, OptimError, Optimized, OptimizerConfig, Precision, Schedule, autodiff_device,
};

/// Two layers, of which only the first is used in [`loss`] where `skip` says so.
#[derive(Module, Debug)]
struct Net {
    first: Linear,
    norm: RmsNorm,
    second: Linear,
}

fn net(device: &Device) -> Net {
    let net = Net {
        first: LinearConfig::new(3, 4).init(device),
        norm: RmsNormConfig::new(4).init(device),
        second: LinearConfig::new(4, 2).init(device),
    };
    // Burn's generator belongs to the whole process: the tests need numbers of their own.
    let mut seed = 0.0f32;
    net.map(&mut Numbers(&mut seed))
}

struct Numbers<'a>(&'a mut f32);

impl burn::module::ModuleMapper for Numbers<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let shape = tensor.shape();
            let values = (0..shape.num_elements()).map(|_| {
                *self.0 += 1.0;
                (*self.0 * 1.7).sin() * 0.7
            });
            let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
            Tensor::from_data(data, &tensor.device()).set_require_grad(tensor.is_require_grad())
        })
    }
}

impl Net {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.second
            .forward(self.norm.forward(self.first.forward(x)))
    }
}

fn x(device: &Device) -> Tensor<2> {
    Tensor::from_data([[1.0f32, -0.5, 2.0], [0.3, 0.8, -1.1]], device)
}

fn loss(net: &Net) -> Tensor<1> {
    let dtype = net.second.weight.val().dtype();
    let x = x(&net.second.weight.val().device()).cast(dtype);
    net.forward(x).cast(DType::F32).square().mean()
}

/// All values by path.
fn values(net: &Net) -> BTreeMap<String, Vec<f32>> {
    #[derive(Default)]
    struct Values(Vec<String>, BTreeMap<String, Vec<f32>>);
    impl ModuleVisitor for Values {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            assert!(!param.val().is_autodiff());
            let data = param.val().into_data();
            self.1.insert(self.0.join("."), data.try_to_vec().unwrap());
        }
    }
    let mut found = Values::default();
    net.visit(&mut found);
    found.1
}

fn config() -> OptimizerConfig {
    OptimizerConfig {
        learning_rate: 0.01,
        schedule: Schedule::Constant,
        ..OptimizerConfig::default()
    }
}

fn train(optimized: &mut Optimized<Net>, steps: usize) -> Vec<f32> {
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = loss(&optimized.model());
        losses.push(loss.clone().into_scalar::<f32>());
        optimized.backward(loss, 1.0);
        optimized.step().unwrap();
    }
    losses
}

fn optimized(config: &OptimizerConfig) -> Optimized<Net> {
    Optimized::new(net(&Device::flex()), config, 100).unwrap()
}

#[test]
fn accumulated_batches_equal_one_batch_of_their_weighted_sum() {
    let mut apart = optimized(&config());
    let mut together = optimized(&config());
    for _ in 0..5 {
        let model = apart.model();
        apart.backward(loss(&model), 0.25);
        apart.backward(loss(&model) * 2.0, 0.75);
        let report = apart.step().unwrap();
        let sum = loss(&together.model()) * (0.25 + 1.5);
        together.backward(sum, 1.0);
        let norm = together.step().unwrap().gradient_norm;
        assert!((report.gradient_norm / norm - 1.0).abs() < 1e-6);
    }
    let (a, b) = (values(&apart.trained()), values(&together.trained()));
    for (path, a) in a {
        for (a, b) in a.iter().zip(&b[&path]) {
            assert!((a - b).abs() < 1e-6, "{path}: {a} {b}");
        }
    }
}

#[test]
fn frozen_parameters_stay_bit_for_bit_and_the_others_move() {
    let before = values(&net(&Device::flex()));
    for precision in [Precision::F32, Precision::Bf16] {
        let mut optimized = optimized(&OptimizerConfig {
            precision,
            trained: vec!["first".into(), "norm".into()],
            frozen: vec![r"\.bias$".into()],
            ..config()
        });
        train(&mut optimized, 4);
        for (path, after) in values(&optimized.trained()) {
            let is_trained = ["first.weight", "norm.gamma"].contains(&path.as_str());
            assert_eq!(after != before[&path], is_trained, "{path}");
        }
        assert_eq!(optimized.parameters(), (12 + 4 + 4 + 8 + 2, 12 + 4));
    }
}

#[test]
fn frozen_parameters_take_up_no_gradient() {
    let optimized = optimized(&OptimizerConfig {
        frozen: vec!["second".into()],
        ..config()
    });
    let model = optimized.model();
    let gradients = loss(&model).backward();
    assert!(model.first.weight.val().grad(&gradients).is_some());
    assert!(model.second.weight.val().grad(&gradients).is_none());
}

#[test]
fn a_parameter_without_a_gradient_is_left_alone() {
    let mut optimized = optimized(&config());
    let before = values(&optimized.trained());
    for _ in 0..2 {
        let model = optimized.model();
        optimized.backward(model.first.forward(x(&Device::flex())).square().mean(), 1.0);
        optimized.step().unwrap();
    }
    for (path, after) in values(&optimized.trained()) {
        assert_eq!(after != before[&path], path.starts_with("first"), "{path}");
    }
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let mut disturbed = optimized(&config());
    let mut calm = optimized(&config());
    train(&mut disturbed, 2);
    train(&mut calm, 2);
    let model = disturbed.model();
    let nan = loss(&model) + model.second.weight.val().sum() * f32::NAN;
    disturbed.backward(nan, 1.0);
    match disturbed.step().unwrap_err() {
        OptimError::NotFinite {
            step, parameter, ..
        } => {
            assert_eq!((step, parameter.as_str()), (3, "second.weight"));
        }
        other => panic!("{other}"),
    }
    assert!(matches!(
        disturbed.step(),
        Err(OptimError::NoGradient { .. })
    ));
    assert_eq!(train(&mut disturbed, 3), train(&mut calm, 3));
    assert_eq!(values(&disturbed.trained()), values(&calm.trained()));
}

#[test]
fn bfloat16_follows_float32_and_keeps_changes_too_small_for_it() {
    let mut exact = optimized(&config());
    let mut mixed = optimized(&OptimizerConfig {
        precision: Precision::Bf16,
        ..config()
    });
    assert_eq!(mixed.model().first.weight.val().dtype(), DType::BF16);
    let (exact, rounded) = (train(&mut exact, 20), train(&mut mixed, 20));
    for (a, b) in exact.iter().zip(&rounded) {
        assert!((a - b).abs() < 0.03 * a.abs() + 0.01, "{a} {b}");
    }
    // Steps of 1e-6 are far below what bfloat16 can tell from 1.
    let slow = OptimizerConfig {
        learning_rate: 1e-6,
        weight_decay: 0.0,
        precision: Precision::Bf16,
        ..config()
    };
    let mut optimized = optimized(&slow);
    let before = values(&optimized.trained());
    train(&mut optimized, 10);
    for (path, after) in values(&optimized.trained()) {
        for (after, before) in after.iter().zip(&before[&path]) {
            let moved = (after - before).abs();
            assert!(moved < 1.2e-5, "{path}");
            assert!(
                moved > 1e-7 || path == "norm.gamma" || path == "first.bias",
                "{path} {moved}"
            );
        }
    }
}

#[test]
fn the_average_follows_the_values() {
    let mut optimized = optimized(&OptimizerConfig {
        ema: Some(0.5),
        ..config()
    });
    let mut expected = values(&optimized.trained());
    for _ in 0..3 {
        train(&mut optimized, 1);
        for (path, now) in values(&optimized.trained()) {
            for (average, now) in expected.get_mut(&path).unwrap().iter_mut().zip(now) {
                *average = 0.5 * *average + 0.5 * now;
            }
        }
    }
    for (path, average) in values(&optimized.averaged().unwrap()) {
        for (a, b) in average.iter().zip(&expected[&path]) {
            assert!((a - b).abs() < 1e-6, "{path}");
        }
    }
    assert!(self::optimized(&config()).averaged().is_none());
}

fn lora() -> OptimizerConfig {
    OptimizerConfig {
        lora: Some(LoraConfig {
            rank: 2,
            alpha: 4.0,
            targets: vec!["weight".into()],
            seed: 1,
        }),
        ..config()
    }
}

#[test]
fn adapters_begin_at_the_model_and_move_only_what_they_adapt() {
    let device = Device::flex();
    let before = values(&net(&device));
    let mut optimized = optimized(&lora());
    assert_eq!(values(&optimized.trained()), before);
    // A [3, 2], B [2, 4]; A [4, 2], B [2, 2].
    assert_eq!(optimized.parameters(), (30 + 6 + 8 + 8 + 4, 6 + 8 + 8 + 4));
    let losses = train(&mut optimized, 30);
    assert!(losses[29] < 0.9 * losses[0], "{losses:?}");
    for (path, after) in values(&optimized.trained()) {
        assert_eq!(after != before[&path], path.ends_with("weight"), "{path}");
    }
    let merged = loss(&optimized.trained()).into_scalar::<f32>();
    let applied = loss(&optimized.model()).into_scalar::<f32>();
    assert_eq!(merged, applied);
}

#[test]
fn adapters_learn_from_accumulated_batches_and_in_bfloat16() {
    let mut apart = optimized(&lora());
    let mut together = optimized(&lora());
    for _ in 0..2 {
        for share in [0.25, 0.75] {
            let loss = loss(&apart.model());
            apart.backward(loss, share);
        }
        let norm = apart.step().unwrap().gradient_norm;
        let loss = loss(&together.model());
        together.backward(loss, 1.0);
        assert!((together.step().unwrap().gradient_norm / norm - 1.0).abs() < 1e-5);
    }
    let mut mixed = optimized(&OptimizerConfig {
        precision: Precision::Bf16,
        ..lora()
    });
    let losses = train(&mut mixed, 30);
    assert!(losses[29] < 0.9 * losses[0], "{losses:?}");
}

#[test]
fn the_same_seed_gives_the_same_adapters() {
    let after = |seed| {
        let mut config = lora();
        if let Some(lora) = &mut config.lora {
            lora.seed = seed;
        }
        let mut optimized = optimized(&config);
        train(&mut optimized, 3);
        values(&optimized.trained())
    };
    assert_eq!(after(1), after(1));
    assert_ne!(after(1), after(2));
}

#[test]
fn checkpointed_gradients_equal_kept_ones() {
    let trained = |checkpointing| {
        let device = autodiff_device(&Device::flex(), checkpointing);
        let mut optimized = Optimized::new(net(&device), &config(), 100).unwrap();
        let losses = train(&mut optimized, 5);
        // Values that a step made are still treated as the model's were.
        let strategy = |device: Device| device.gradient_checkpointing_strategy();
        let found = strategy(optimized.model().first.weight.val().device());
        assert_eq!(found, strategy(device));
        assert_ne!(
            found,
            strategy(autodiff_device(&Device::flex(), !checkpointing))
        );
        (losses, values(&optimized.trained()))
    };
    assert_eq!(trained(true), trained(false));
}

/// A sum of a million squares in float32 must not drift.
#[test]
fn the_norm_of_a_large_gradient_is_exact_to_the_fifth_digit() {
    let device = Device::flex();
    let layer = LinearConfig::new(1500, 1000).with_bias(false).init(&device);
    let mut optimized = Optimized::new(layer, &config(), 1).unwrap();
    let gradient: Vec<f32> = (0..1_500_000)
        .map(|n| ((n % 1013) as f32 * 0.37).sin())
        .collect();
    let expected = gradient
        .iter()
        .map(|&g| f64::from(g).powi(2))
        .sum::<f64>()
        .sqrt();
    let gradient = TensorData::new(gradient, [1500, 1000]);
    let loss = (optimized.model().weight.val() * Tensor::<2>::from_data(gradient, &device)).sum();
    optimized.backward(loss, 1.0);
    let found = optimized.step().unwrap().gradient_norm;
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
}

#[test]
fn what_cannot_be_is_refused() {
    let refused =
        |config: OptimizerConfig| Optimized::new(net(&Device::flex()), &config, 100).unwrap_err();
    let error = refused(OptimizerConfig {
        trained: vec!["thrid".into()],
        ..config()
    });
    assert!(matches!(error, OptimError::NoMatch { .. }), "{error}");
    let error = refused(OptimizerConfig {
        learning_rate: f64::NAN,
        ..config()
    });
    assert!(matches!(error, OptimError::Setting { .. }), "{error}");
    for rank in [3, usize::MAX] {
        let mut config = lora();
        if let Some(lora) = &mut config.lora {
            lora.rank = rank;
        }
        // second.weight is [4, 2].
        let error = refused(config);
        assert!(matches!(error, OptimError::Rank { .. }), "{error}");
    }
}
