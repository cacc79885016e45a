//! Every router golden, values and gradients, on every device and with both dispatches.
//!
//! Where the layer departs from the release on purpose, the case itself shows it: tokens that the
//! reference leaves as NaN (`out.nan_token_mask`), and tokens whose count exceeds the pool
//! (`out.dynamic_top_k`), for which it takes no routed expert.
#![allow(clippy::unwrap_used)]

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::Linear,
    tensor::{DType, Device, Tensor, TensorData},
};
use moe_router::{
    Capacity, Dispatch, DropPolicy, DynamicCapacityMoe, DynamicCapacityMoeConfig, ExpertCount,
    Gating, PoolLogits, Router, Routing, RoutingContext, RoutingNoise, SwiGlu, Weighting,
};
use testkit::{Case, Tolerance, assert_close, cases, devices};

/// Float32 sums of at most some hundred terms in another order, as the goldens' README suggests.
const VALUES: Tolerance = Tolerance {
    absolute: 1e-4,
    relative: 1e-4,
};

/// Gradients pass through two softmaxes and sum over all tokens.
const GRADIENTS: Tolerance = Tolerance {
    absolute: 1e-3,
    relative: 1e-3,
};

const DISPATCHES: [Dispatch; 2] = [Dispatch::Dense, Dispatch::Grouped];

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// Names of an expert's weights in a golden: `{prefix}{index}.{projection}.weight`.
struct Prefixes {
    routed: &'static str,
    shared: &'static str,
}

const RELEASED: Prefixes = Prefixes {
    routed: "dynamic_real_moe.deepspeed_moe.experts.deepspeed_experts.",
    shared: "fixed_real_moe.",
};

const PAPER: Prefixes = Prefixes {
    routed: "experts.",
    shared: "shared_experts.",
};

fn is_paper(case: &Case) -> bool {
    case.config().get("routed_experts").is_some()
}

fn released_config(case: &Case) -> DynamicCapacityMoeConfig {
    let count = |key| case.count(key).unwrap();
    let p = case.number("mlp_dynamic_top_p").unwrap();
    let count_by = if p == 0.0 {
        let k = count("mlp_dynamic_top_k");
        ExpertCount::TopK { k }
    } else {
        ExpertCount::TopP { p }
    };
    let config = DynamicCapacityMoeConfig::new(
        count("hidden_size"),
        count("mlp_dynamic_expert_num"),
        count("dynamic_intermediate_size"),
    )
    .with_n_null(count("mlp_dynamic_null_expert_num"))
    .with_n_shared(count("mlp_fixed_expert_num"))
    .with_d_shared(case.count("shared_intermediate_size").unwrap_or(0))
    .with_gating(Gating::SparseMixer {
        count: count_by,
        jitter_eps: case.number("router_jitter_noise").unwrap(),
        differentiable: !case.flag("ignore_differentiable_router"),
    })
    .with_weighting(Weighting::Released)
    .with_input_jitter(case.number("input_jitter_noise").unwrap());
    if !case.flag("token_drop") {
        return config;
    }
    let policy = match case.config()["drop_policy"].as_str().unwrap() {
        "probs" => DropPolicy::Probs,
        "position" => DropPolicy::Position,
        other => panic!("{}: drop policy {other}", case.name),
    };
    config.with_capacity(Some(Capacity::new(
        case.number("capacity_factor").unwrap(),
        count("min_capacity"),
        policy,
    )))
}

fn paper_config(case: &Case) -> DynamicCapacityMoeConfig {
    let count = |key| case.count(key).unwrap();
    DynamicCapacityMoeConfig::new(
        count("hidden_size"),
        count("routed_experts"),
        count("routed_intermediate_size"),
    )
    .with_n_null(count("null_experts"))
    .with_n_shared(count("shared_experts"))
    .with_d_shared(case.count("shared_intermediate_size").unwrap_or(0))
    .with_gating(Gating::TopP {
        p: case.number("top_p").unwrap(),
    })
}

/// A golden `[out, in]` weight as a row-major `[in, out]` parameter.
fn load(linear: &mut Linear, case: &Case, name: &str, device: &Device) {
    let [rows, columns] = case.shape(name)[..] else {
        panic!("{}: {name} is no matrix", case.name)
    };
    let data = transposed(&case.floats(name), rows, columns);
    let data = TensorData::new(data, [columns, rows]);
    linear.weight = Param::from_tensor(Tensor::from_data(data, device));
}

fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns)
        .map(|place| values[place % rows * columns + place / rows])
        .collect()
}

fn projections(expert: &mut SwiGlu) -> [(&'static str, &mut Linear); 3] {
    [
        ("gate_proj", &mut expert.gate_proj),
        ("up_proj", &mut expert.up_proj),
        ("down_proj", &mut expert.down_proj),
    ]
}

/// Every linear layer with its weight's name in the golden.
fn layers<'a>(
    moe: &'a mut DynamicCapacityMoe,
    prefixes: &Prefixes,
) -> Vec<(String, &'a mut Linear)> {
    let mut named = vec![("gate.weight".to_string(), &mut moe.gate)];
    for (prefix, experts) in [
        (prefixes.routed, &mut moe.routed),
        (prefixes.shared, &mut moe.shared),
    ] {
        for (index, expert) in experts.iter_mut().enumerate() {
            for (projection, linear) in projections(expert) {
                named.push((format!("{prefix}{index}.{projection}.weight"), linear));
            }
        }
    }
    named
}

fn build(
    case: &Case,
    config: &DynamicCapacityMoeConfig,
    prefixes: &Prefixes,
    device: &Device,
) -> DynamicCapacityMoe {
    let mut moe = config.init(device);
    for (name, linear) in layers(&mut moe, prefixes) {
        load(linear, case, &name, device);
    }
    moe
}

fn context(case: &Case, device: &Device) -> RoutingContext {
    let mut context = RoutingContext::new();
    if case.has("attention_mask") {
        context = context.with_token_mask(case.bool("attention_mask", device));
    }
    if case.has("noise.gumbel") {
        let uniform: Tensor<3> = case.float("noise.uniform", device);
        context = context.with_noise(RoutingNoise::given(
            case.float("noise.gumbel", device),
            uniform.squeeze_dim(2),
        ));
    }
    context
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_dtype(DType::F32).try_into_vec().unwrap()
}

/// Compares the rows of `[T, width]` values that `keep` names; all must be finite.
fn assert_rows(case: &Case, name: &str, actual: &[f32], expected: &[f32], keep: &[bool]) {
    assert_eq!(actual.len(), expected.len(), "{}: {name}", case.name);
    let width = actual.len() / keep.len();
    for (place, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(a.is_finite(), "{}: {name}[{place}] is {a}", case.name);
        let near = (a - e).abs() <= VALUES.absolute + VALUES.relative * e.abs();
        assert!(
            near || !keep[place / width],
            "{}: {name}[{place}] is {a}, expected {e}",
            case.name
        );
    }
}

fn real_tokens(case: &Case, tokens: usize) -> Vec<bool> {
    if case.has("attention_mask") {
        let mask = case.ints("attention_mask");
        mask.iter().map(|&real| real == 1).collect()
    } else {
        vec![true; tokens]
    }
}

/// The decision, the losses and the output against a released case.
fn check_released(case: &Case, moe: &DynamicCapacityMoe, routing: &Routing, hidden: Tensor<3>) {
    let (tokens, pool) = (routing.tokens(), routing.pool());
    let columns = routing.visits.experts();
    let counts = case.ints("out.dynamic_top_k");
    let real = real_tokens(case, tokens);
    let over: Vec<bool> = counts.iter().map(|&k| k > pool as i64).collect();
    let nan: Vec<bool> = if case.has("out.nan_token_mask") {
        let mask = case.ints("out.nan_token_mask");
        mask.iter().map(|&nan| nan == 1).collect()
    } else {
        vec![false; tokens]
    };
    let keep: Vec<bool> = (0..tokens).map(|t| !over[t] && !nan[t]).collect();
    let all = vec![true; tokens];

    let expected = case.floats("out.full_router_logits");
    assert_rows(
        case,
        "logits",
        &values(routing.logits.clone()),
        &expected,
        &all,
    );

    for (token, asked) in routing.experts_per_token().into_iter().enumerate() {
        let expected = if real[token] { counts[token] } else { 0 };
        let expected = usize::try_from(expected).unwrap().min(pool);
        assert_eq!(asked, expected, "{}: count of token {token}", case.name);
    }
    let expected_mask = case.ints("out.expert_mask");
    for token in (0..tokens).filter(|&token| !over[token]) {
        for column in 0..columns {
            assert_eq!(
                i64::from(routing.visits.visits(token, column)),
                expected_mask[token * columns + column],
                "{}: mask of token {token}, column {column}",
                case.name
            );
        }
    }

    if case.has("out.routing_weights_pre_drop") {
        let logits = case.floats("out.full_router_logits");
        let gating = released_config(case).gating;
        let noise = case.has("noise.gumbel").then(|| {
            let uniform: Tensor<3> = case.float("noise.uniform", &hidden.device());
            RoutingNoise::given(
                case.float("noise.gumbel", &hidden.device()),
                uniform.squeeze_dim(2),
            )
        });
        let choice = gating.choose(&PoolLogits::new(&logits, columns, pool), noise.as_ref());
        let weights = gating.weights(routing.pool_logits(), &choice, &choice.visits);
        let expected = case.floats("out.routing_weights_pre_drop");
        assert_rows(case, "pool weights", &values(weights), &expected, &keep);
    }

    // The reference leaves weights of experts that the mask excludes; ours are zero there.
    let expected: Vec<f32> = case
        .floats("out.global_weight")
        .iter()
        .zip(&expected_mask)
        .map(|(weight, &mask)| if mask == 1 { *weight } else { 0.0 })
        .collect();
    let weights = values(routing.weights.clone());
    assert_rows(case, "weights", &weights, &expected, &keep);

    let hidden = values(hidden);
    let expected = case.floats("out.final_hidden_states");
    assert_rows(case, "hidden", &hidden, &expected, &keep);

    let width = hidden.len() / tokens;
    for token in 0..tokens {
        let row = &hidden[token * width..][..width];
        if nan[token] {
            assert!(
                row.iter().all(|v| *v == 0.0),
                "{}: token {token}",
                case.name
            );
        }
        if over[token] && real[token] {
            assert_eq!(routing.visits.count_row(token), columns, "{}", case.name);
            let sum: f32 = weights[token * columns..][..columns].iter().sum();
            assert!(
                (sum - 1.0).abs() < 1e-4,
                "{}: weights sum to {sum}",
                case.name
            );
        }
    }
    assert_eq!(moe.pool(), pool);
}

fn token_weights(case: &Case, device: &Device) -> Option<Tensor<1>> {
    case.has("aux_balance_weight")
        .then(|| case.float::<2>("aux_balance_weight", device).flatten(0, 1))
}

#[test]
fn released_cases_have_the_reference_values() {
    for case in cases(MANIFEST, "router", "router_") {
        if is_paper(&case) {
            continue;
        }
        let config = released_config(&case);
        for (_, device) in devices() {
            for dispatch in DISPATCHES {
                let moe = build(&case, &config, &RELEASED, &device).with_dispatch(dispatch);
                let x = case.float("hidden_states", &device);
                let output = moe.forward(x, context(&case, &device));
                let pool = output.routing.pool() as i64;
                check_released(&case, &moe, &output.routing, output.hidden);
                // A token over the pool also changes the mean that the loss takes.
                if case.ints("out.dynamic_top_k").iter().all(|&k| k <= pool) {
                    let aux = output.routing.balance_loss(token_weights(&case, &device));
                    let expected = case.floats("out.aux_loss");
                    assert_rows(&case, "aux loss", &values(aux), &expected, &[true]);
                }
            }
        }
    }
}

#[test]
fn released_cases_have_the_reference_gradients() {
    for case in cases(MANIFEST, "router", "router_grad") {
        let config = released_config(&case);
        for (_, device) in devices() {
            let device = device.autodiff();
            for dispatch in DISPATCHES {
                let mut moe = build(&case, &config, &RELEASED, &device).with_dispatch(dispatch);
                let x: Tensor<3> = case.float("hidden_states", &device).require_grad();
                let output = moe.forward(x.clone(), context(&case, &device));
                let aux = output.routing.balance_loss(token_weights(&case, &device));
                let loss = (output.hidden * case.float("loss_weight", &device)).sum() + aux;
                let expected = case.floats("out.loss");
                assert_rows(&case, "loss", &values(loss.clone()), &expected, &[true]);

                let gradients = loss.backward();
                let grad = x.grad(&gradients).unwrap();
                assert_close(&case, "grad.hidden_states", grad, GRADIENTS);
                for (name, linear) in layers(&mut moe, &RELEASED) {
                    let name = format!("grad.{name}");
                    // An expert that no token visits has no gradient in ours, zeros in theirs.
                    match linear.weight.val().grad(&gradients) {
                        Some(grad) => assert_close(&case, &name, grad.transpose(), GRADIENTS),
                        None => assert!(case.floats(&name).iter().all(|g| *g == 0.0), "{name}"),
                    }
                }
            }
        }
    }
}

#[test]
fn paper_cases_have_the_reference_values() {
    for case in cases(MANIFEST, "router", "router_paper") {
        let config = paper_config(&case);
        for (_, device) in devices() {
            for dispatch in DISPATCHES {
                let mut moe = build(&case, &config, &PAPER, &device).with_dispatch(dispatch);
                let x = case.float::<2>("hidden_states", &device).unsqueeze::<3>();
                let output = moe.forward(x.clone(), RoutingContext::new());
                let routing = &output.routing;
                assert_close(&case, "out.probs", routing.probs(), VALUES);
                assert_close(
                    &case,
                    "out.combine_weights",
                    routing.weights.clone(),
                    VALUES,
                );
                let counts: Vec<i64> = routing
                    .experts_per_token()
                    .iter()
                    .map(|&count| count as i64)
                    .collect();
                testkit::assert_equal(&case, "out.num_selected", &counts);
                let mask: Vec<i64> = routing
                    .visits
                    .as_slice()
                    .iter()
                    .map(|&v| v.into())
                    .collect();
                testkit::assert_equal(&case, "out.selected_mask", &mask);
                assert_close(
                    &case,
                    "out.output",
                    output.hidden.squeeze_dim::<2>(0),
                    VALUES,
                );

                moe.shared.clear();
                let routed = moe.forward(x, RoutingContext::new()).hidden;
                assert_close(&case, "out.routed", routed.squeeze_dim::<2>(0), VALUES);
            }
        }
    }
}

/// Collects the paths of all parameters.
#[derive(Default)]
struct Paths {
    open: Vec<String>,
    found: Vec<String>,
}

impl ModuleVisitor for Paths {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.open.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.open.pop();
    }

    fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
        self.found.push(self.open.join("."));
    }
}

#[test]
fn the_module_paths_are_those_that_checkpoints_map_to() {
    let (_, device) = devices().remove(0);
    let moe = DynamicCapacityMoeConfig::new(4, 2, 6)
        .with_n_shared(1)
        .with_d_shared(3)
        .init(&device);
    let mut paths = Paths::default();
    moe.visit(&mut paths);
    let mut expected = vec!["gate.weight".to_string()];
    for expert in ["routed.0", "routed.1", "shared.0"] {
        for projection in ["gate_proj", "up_proj", "down_proj"] {
            expected.push(format!("{expert}.{projection}.weight"));
        }
    }
    assert_eq!(paths.found, expected);
}
