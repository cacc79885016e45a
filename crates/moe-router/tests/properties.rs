//! Properties that hold for every size and setting.
#![allow(clippy::unwrap_used)]

use burn::{
    module::Param,
    nn::Linear,
    tensor::{Bool, DType, Device, Tensor, TensorData},
};
use moe_router::{
    Capacity, Dispatch, DropPolicy, DynamicCapacityMoe, DynamicCapacityMoeConfig, ExpertCount,
    Gating, MoeOutput, RoutingContext, RoutingNoise, SwiGlu, Weighting,
};
use proptest::{prelude::*, test_runner::RngSeed};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use testkit::devices;

/// A random layer with its tokens.
#[derive(Debug, Clone)]
struct Setting {
    config: DynamicCapacityMoeConfig,
    rows: usize,
    positions: usize,
    real: Option<Vec<bool>>,
    /// Makes the null experts win every token.
    all_null: bool,
    training: bool,
    seed: u64,
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(2),
        ..ProptestConfig::default()
    }
}

fn gating(pool: usize) -> impl Strategy<Value = Gating> {
    let count = prop_oneof![
        (0.01..=1.0).prop_map(|p| ExpertCount::TopP { p }),
        (1..=pool).prop_map(|k| ExpertCount::TopK { k }),
    ];
    let jitter = prop_oneof![Just(0.0), Just(0.01), Just(0.4)];
    prop_oneof![
        (0.01..=1.0).prop_map(|p| Gating::TopP { p }),
        (1..=pool).prop_map(|k| Gating::TopK { k }),
        (count, jitter, any::<bool>()).prop_map(|(count, jitter_eps, differentiable)| {
            Gating::SparseMixer {
                count,
                jitter_eps,
                differentiable,
            }
        }),
    ]
}

fn capacity() -> impl Strategy<Value = Option<Capacity>> {
    let policy = prop_oneof![Just(DropPolicy::Probs), Just(DropPolicy::Position)];
    let capacity = (0.0..2.0, 0usize..3, policy);
    proptest::option::of(
        capacity.prop_map(|(f, minimum, policy)| Capacity::new(f, minimum, policy)),
    )
}

fn padding(tokens: usize) -> impl Strategy<Value = Option<Vec<bool>>> {
    prop_oneof![
        Just(None),
        Just(Some(vec![false; tokens])),
        proptest::collection::vec(any::<bool>(), tokens).prop_map(Some),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    let sizes = (
        1usize..6,
        1usize..6,
        0usize..3,
        0usize..3,
        1usize..4,
        1usize..6,
    );
    sizes.prop_flat_map(|(d_model, n_routed, n_null, n_shared, rows, positions)| {
        let released = prop_oneof![Just(Weighting::Paper), Just(Weighting::Released)];
        let switches = (any::<bool>(), any::<bool>(), any::<u64>());
        let pool = n_routed + n_null;
        (
            gating(pool),
            released,
            capacity(),
            padding(rows * positions),
            switches,
        )
            .prop_map(
                move |(gating, weighting, capacity, real, (all_null, training, seed))| Setting {
                    config: DynamicCapacityMoeConfig::new(d_model + 1, n_routed, 3)
                        .with_n_null(n_null)
                        .with_n_shared(n_shared)
                        .with_d_shared(2)
                        .with_gating(gating)
                        .with_weighting(weighting)
                        .with_capacity(capacity)
                        .with_input_jitter(0.01),
                    rows,
                    positions,
                    real,
                    all_null: all_null && n_null > 0,
                    training,
                    seed,
                },
            )
    })
}

fn draw<const D: usize>(rng: &mut ChaCha8Rng, shape: [usize; D], device: &Device) -> Tensor<D> {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn linears(moe: &mut DynamicCapacityMoe) -> Vec<&mut Linear> {
    fn of(expert: &mut SwiGlu) -> [&mut Linear; 3] {
        [
            &mut expert.gate_proj,
            &mut expert.up_proj,
            &mut expert.down_proj,
        ]
    }
    let experts = moe.routed.iter_mut().chain(&mut moe.shared);
    std::iter::once(&mut moe.gate)
        .chain(experts.flat_map(of))
        .collect()
}

impl Setting {
    fn build(&self, device: &Device) -> (DynamicCapacityMoe, Tensor<3>) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut moe = self.config.init(device);
        for linear in linears(&mut moe) {
            let shape = linear.weight.dims();
            linear.weight = Param::from_tensor(draw(&mut rng, shape, device));
        }
        let width = self.config.d_model;
        // The last feature is always 1, so that its row in the gate is a bias.
        let features = draw(&mut rng, [self.rows, self.positions, width - 1], device);
        let ones = Tensor::ones([self.rows, self.positions, 1], device);
        let x = Tensor::cat(vec![features, ones], 2);
        if self.all_null {
            let mut bias = vec![0.0f32; self.config.gate_columns()];
            bias[self.config.n_routed..self.config.pool()].fill(50.0);
            let bias = TensorData::new(bias, [1, self.config.gate_columns()]);
            let gate = draw(&mut rng, [width, self.config.gate_columns()], device);
            let gate = gate.narrow(0, 0, width - 1);
            let gate = Tensor::cat(vec![gate, Tensor::from_data(bias, device)], 0);
            moe.gate.weight = Param::from_tensor(gate);
        }
        (moe, x)
    }

    fn context(&self, device: &Device) -> RoutingContext {
        let mut context = RoutingContext::new();
        if let Some(real) = &self.real {
            let data = TensorData::new(real.clone(), [self.rows, self.positions]);
            context = context.with_token_mask(Tensor::<2, Bool>::from_data(data, device));
        }
        if self.training {
            context = context.with_noise(RoutingNoise::seeded(self.seed));
        }
        context
    }

    fn run(&self, device: &Device) -> MoeOutput {
        let (moe, x) = self.build(device);
        moe.forward(x, self.context(device))
    }

    fn is_real(&self, token: usize) -> bool {
        self.real.as_ref().is_none_or(|real| real[token])
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_dtype(DType::F32).try_into_vec().unwrap()
}

/// Output, then the gradients of the input and of every weight; zeros where there is none.
fn value_and_gradients(setting: &Setting, dispatch: Dispatch, device: &Device) -> Vec<Vec<f32>> {
    let (moe, x) = setting.build(device);
    let mut moe = moe.with_dispatch(dispatch);
    let x = x.detach().require_grad();
    let output = moe.forward(x.clone(), setting.context(device));
    let mut rng = ChaCha8Rng::seed_from_u64(!setting.seed);
    let direction = draw(&mut rng, output.hidden.dims(), device);
    let loss = (output.hidden.clone() * direction).sum()
        + output.routing.balance_loss(None)
        + output.routing.z_loss(None)
        + output.routing.entropy_loss(None);
    let gradients = loss.backward();
    let mut all = vec![values(output.hidden), values(x.grad(&gradients).unwrap())];
    for linear in linears(&mut moe) {
        let weight = linear.weight.val();
        let zeros = || vec![0.0; weight.shape().num_elements()];
        all.push(weight.grad(&gradients).map_or_else(zeros, values));
    }
    all
}

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn grouped_dispatch_equals_dense_in_value_and_gradient(setting in setting()) {
        for (_, device) in devices() {
            let device = device.autodiff();
            let dense = value_and_gradients(&setting, Dispatch::Dense, &device);
            let grouped = value_and_gradients(&setting, Dispatch::Grouped, &device);
            for (dense, grouped) in dense.iter().zip(&grouped) {
                prop_assert_eq!(dense.len(), grouped.len());
                for (a, b) in dense.iter().zip(grouped) {
                    prop_assert!(a.is_finite() && b.is_finite(), "{a} {b}");
                    // Float32, sums of at most 60 terms of order 1 in another order.
                    prop_assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn the_decision_is_finite_and_within_the_pool(setting in setting()) {
        for (_, device) in devices() {
            let MoeOutput { hidden, routing } = setting.run(&device);
            prop_assert!(values(hidden).iter().all(|v| v.is_finite()));
            let weights = values(routing.weights.clone());
            let columns = routing.visits.experts();
            let asked = routing.experts_per_token();
            for token in 0..routing.tokens() {
                let real = setting.is_real(token);
                prop_assert_eq!(asked[token] > 0, real);
                prop_assert!(asked[token] <= routing.pool());
                let row = &weights[token * columns..][..columns];
                for (weight, visits) in row.iter().zip(routing.visits.row(token)) {
                    prop_assert!(*visits || *weight == 0.0);
                    prop_assert!((0.0..=1.0 + 1e-5).contains(weight));
                }
                prop_assert!(row.iter().sum::<f32>() <= 1.0 + 1e-4);
            }
            let dropped: usize = routing.drops().iter().sum();
            prop_assert_eq!(routing.load().iter().sum::<usize>() + dropped, asked.iter().sum::<usize>());
            for loss in [routing.balance_loss(None), routing.z_loss(None), routing.entropy_loss(None)] {
                prop_assert!(values(loss)[0].is_finite());
            }
        }
    }

    #[test]
    fn a_token_is_routed_alone_as_in_its_batch(mut setting in setting()) {
        // Capacity and noise tie tokens together on purpose.
        setting.config.capacity = None;
        setting.training = false;
        for (_, device) in devices() {
            let (moe, x) = setting.build(&device);
            let whole = values(moe.forward(x.clone(), RoutingContext::new()).hidden);
            let width = setting.config.d_model;
            for token in 0..setting.rows * setting.positions {
                let alone = x.clone().reshape([-1, 1, width as i64]).narrow(0, token, 1);
                let alone = values(moe.forward(alone, RoutingContext::new()).hidden);
                for (a, b) in alone.iter().zip(&whole[token * width..]) {
                    prop_assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_training_pass(setting in setting()) {
        let (_, device) = devices().remove(0);
        let setting = Setting { training: true, ..setting };
        let (one, two) = (setting.run(&device), setting.run(&device));
        prop_assert_eq!(one.routing.visits, two.routing.visits);
        prop_assert_eq!(values(one.hidden), values(two.hidden));
    }
}
