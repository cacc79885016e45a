//! Settings of the layer that neither the goldens nor the properties reach.
#![allow(clippy::unwrap_used)]

use burn::{
    module::{Module, ModuleMapper, Param},
    nn::LinearConfig,
    tensor::{DType, Device, Distribution, Tensor},
};
use moe_router::{
    Capacity, Dispatch, DropPolicy, DynamicCapacityMoe, DynamicCapacityMoeConfig, ExpertCount,
    Gating, LoadBalance, MoeConfigError, RoutingContext, RoutingLoss, RoutingNoise, SwiGlu,
    Weighting,
};
use testkit::devices;

fn small() -> DynamicCapacityMoeConfig {
    DynamicCapacityMoeConfig::new(8, 3, 5)
        .with_n_null(1)
        .with_n_shared(2)
        .with_d_shared(4)
        .with_weighting(Weighting::Released)
}

fn tokens(device: &Device) -> Tensor<3> {
    let values: Vec<f32> = (0..48).map(|i| (i as f32 * 0.7).sin()).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([2, 3, 8])
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_dtype(DType::F32).try_into_vec().unwrap()
}

struct To(DType);

impl ModuleMapper for To {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        Param::from_mapped_value(id, value.cast(self.0), mapper)
    }
}

#[test]
fn half_precision_keeps_its_dtype_and_routes_in_f32() {
    for (_, device) in devices() {
        let moe = small().init(&device);
        // What the half precision layer sees, in f32.
        for dtype in [DType::F16, DType::BF16] {
            if !device.supports_dtype(dtype) {
                continue;
            }
            let half = moe.clone().map(&mut To(dtype));
            let rounded = half.clone().map(&mut To(DType::F32));
            let x = tokens(&device).cast(dtype);
            let expected = rounded.forward(x.clone().cast(DType::F32), RoutingContext::new());
            for dispatch in [Dispatch::Dense, Dispatch::Grouped] {
                let layer = half.clone().with_dispatch(dispatch);
                let output = layer.forward(x.clone(), RoutingContext::new());
                assert_eq!(output.hidden.dtype(), dtype);
                assert_eq!(output.routing.weights.dtype(), DType::F32);
                assert_eq!(output.routing.visits, expected.routing.visits);
                let expected = values(expected.hidden.clone());
                for (a, e) in values(output.hidden).iter().zip(&expected) {
                    // bf16 has 8 bits of mantissa, and five roundings lie in between.
                    assert!((a - e).abs() < 0.02, "{a} {e} in {dtype:?}");
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "needs at least one token")]
fn an_empty_batch_is_refused() {
    let (_, device) = devices().remove(0);
    let empty = Tensor::zeros([2, 0, 8], &device);
    small().init(&device).forward(empty, RoutingContext::new());
}

#[test]
fn layers_of_one_pass_draw_noise_of_their_own() {
    let (_, device) = devices().remove(0);
    let moe = small()
        .with_gating(Gating::SparseMixer {
            count: ExpertCount::TopK { k: 2 },
            jitter_eps: 1.0,
            differentiable: true,
        })
        .init(&device);
    let context = RoutingContext::new().with_noise(RoutingNoise::seeded(1));
    let x = Tensor::random([8, 16, 8], Distribution::Normal(0.0, 1.0), &device);
    let visits = |layer| {
        moe.forward(x.clone(), context.for_layer(layer))
            .routing
            .visits
    };
    assert_eq!(visits(0), visits(0));
    assert_ne!(visits(0), visits(1));
    let evaluation = moe.forward(x.clone(), RoutingContext::new()).routing.visits;
    assert_ne!(visits(0), evaluation);
}

#[test]
fn a_configuration_survives_its_own_json() {
    use burn::config::Config;
    let capacity = Capacity::new(1.5, 2, DropPolicy::Position);
    for config in [
        small().with_capacity(Some(capacity)),
        DynamicCapacityMoeConfig::released(),
    ] {
        let text = serde_json::to_string(&config).unwrap();
        let read = DynamicCapacityMoeConfig::load_binary(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(read.validate(), Ok(()));
    }
}

#[test]
fn every_senseless_configuration_is_named() {
    let top_k = |k| small().with_gating(Gating::TopK { k });
    let top_p = |p| small().with_gating(Gating::TopP { p });
    let mixer = |jitter_eps| {
        small().with_gating(Gating::SparseMixer {
            count: ExpertCount::TopP { p: 0.7 },
            jitter_eps,
            differentiable: false,
        })
    };
    let capacity = Capacity::new(f64::INFINITY, 0, DropPolicy::Probs);
    for (config, expected) in [
        (
            DynamicCapacityMoeConfig::new(0, 3, 5),
            "d_model must be positive",
        ),
        (
            DynamicCapacityMoeConfig::new(8, 0, 5),
            "n_routed must be positive",
        ),
        (
            DynamicCapacityMoeConfig::new(8, 3, 0),
            "d_routed must be positive",
        ),
        (small().with_d_shared(0), "d_shared must be positive"),
        (
            small().with_n_null(usize::MAX),
            "n_null must be at most 4096",
        ),
        (
            DynamicCapacityMoeConfig::new(1 << 40, 3, 5),
            "d_model must be at most",
        ),
        (
            small().with_input_jitter(1.0),
            "input_jitter must be in [0, 1)",
        ),
        (
            small().with_capacity(Some(capacity)),
            "capacity factor must be in",
        ),
        (top_k(0), "k must be in 1..=4"),
        (top_k(5), "k must be in 1..=4"),
        (top_p(0.0), "p must be in (0, 1]"),
        (top_p(f64::NAN), "p must be in (0, 1]"),
        (mixer(-0.1), "jitter_eps must be in [0, 1]"),
    ] {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}; expected {expected}");
    }
}

#[test]
#[should_panic(expected = "n_routed must be positive")]
fn init_panics_where_validate_errs() {
    DynamicCapacityMoeConfig::new(8, 0, 5).init(&devices().remove(0).1);
}

#[test]
fn parts_must_be_as_many_as_configured() {
    let (_, device) = devices().remove(0);
    let gate = LinearConfig::new(8, 6).with_bias(false).init(&device);
    let parts: Vec<SwiGlu> = Vec::new();
    let gating = Gating::TopK { k: 1 };
    let error = DynamicCapacityMoe::from_parts(&small(), gate, gating, parts, vec![]).unwrap_err();
    let expected = MoeConfigError::ExpertCount {
        what: "routed",
        expected: 3,
        found: 0,
    };
    assert_eq!(error, expected);
}

#[test]
#[should_panic(expected = "token mask must be [B, S]")]
fn a_token_mask_of_another_shape_is_refused() {
    let (_, device) = devices().remove(0);
    let mask = Tensor::from_data([[true, false]], &device);
    let context = RoutingContext::new().with_token_mask(mask);
    small().init(&device).forward(tokens(&device), context);
}

/// Weights of one and zero leave padding out: the same as a batch without it.
#[test]
fn weighting_padding_by_zero_equals_leaving_it_out() {
    for (_, device) in devices() {
        let moe = small().init(&device);
        let x = tokens(&device);
        let real = Tensor::from_data([[true, true, false], [true, true, false]], &device);
        let context = RoutingContext::new().with_token_mask(real);
        let padded = moe.forward(x.clone(), context).routing;
        let weights = Tensor::from_data([1.0, 1.0, 0.0, 1.0, 1.0, 0.0], &device);
        let short = moe
            .forward(x.narrow(1, 0, 2), RoutingContext::new())
            .routing;
        let (a, b) = (padded.balance_loss(Some(weights)), short.balance_loss(None));
        assert!((values(a)[0] - values(b)[0]).abs() < 1e-5);

        let both = LoadBalance.mean_over_layers(&[padded.clone(), padded.clone()], None);
        let one = padded.balance_loss(None);
        assert!((values(both.unwrap())[0] - values(one)[0]).abs() < 1e-6);
        let zeros = Some(Tensor::zeros([6], &device));
        assert_eq!(values(padded.balance_loss(zeros)), [0.0]);
    }
}
