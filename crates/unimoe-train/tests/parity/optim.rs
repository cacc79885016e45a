//! Trajectories of AdamW under given gradients.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};
use moe_router::LinearAnnealing;
use serde_json::Value;
use testkit::{Case, Tolerance, cases, devices, golden_root};
use unimoe_train::{Optimized, OptimizerConfig, Schedule};

/// float32 sums over tens of steps; the reference computes its factors in float64, Burn's AdamW in float32.
const VALUES: Tolerance = Tolerance {
    absolute: 2e-6,
    relative: 2e-6,
};
/// One multiplication in float64, stored as float32.
const RATE: Tolerance = Tolerance {
    absolute: 1e-12,
    relative: 2e-7,
};

#[derive(Module, Debug)]
struct Parameters {
    matrices: Vec<Param<Tensor<2>>>,
    vectors: Vec<Param<Tensor<1>>>,
}

/// The case's parameter names by rank, with their gradients and values on `device`.
struct Trajectory {
    matrices: Vec<String>,
    vectors: Vec<String>,
}

impl Trajectory {
    fn new(case: &Case) -> Self {
        let mut found = Self {
            matrices: Vec::new(),
            vectors: Vec::new(),
        };
        for name in case.names() {
            let Some(name) = name.strip_suffix(".grads") else {
                continue;
            };
            match case.shape(&format!("{name}.grads")).len() {
                3 => found.matrices.push(name.to_string()),
                2 => found.vectors.push(name.to_string()),
                rank => panic!("{}: {name} has the rank {}", case.name, rank - 1),
            }
        }
        assert!(!found.matrices.is_empty() || !found.vectors.is_empty());
        found
    }

    fn start(&self, case: &Case, device: &Device) -> Parameters {
        let value = |name: &String| format!("out.{name}.params");
        Parameters {
            matrices: self
                .matrices
                .iter()
                .map(|name| Param::from_tensor(at(case.float::<3>(&value(name), device), 0)))
                .collect(),
            vectors: self
                .vectors
                .iter()
                .map(|name| Param::from_tensor(at(case.float::<2>(&value(name), device), 0)))
                .collect(),
        }
    }

    /// A loss whose gradients are those of `step`.
    fn loss(&self, case: &Case, model: &Parameters, step: usize, device: &Device) -> Tensor<1> {
        let gradient = |name: &String| format!("{name}.grads");
        let matrices = self.matrices.iter().zip(&model.matrices).map(|(name, p)| {
            let gradient: Tensor<2> = at(case.float::<3>(&gradient(name), device), step);
            (p.val() * gradient).sum()
        });
        let vectors = self.vectors.iter().zip(&model.vectors).map(|(name, p)| {
            let gradient: Tensor<1> = at(case.float::<2>(&gradient(name), device), step);
            (p.val() * gradient).sum()
        });
        matrices.chain(vectors).reduce(|a, b| a + b).unwrap()
    }

    fn check(&self, case: &Case, model: &Parameters, step: usize) {
        let values = |name: &String| case.floats(&format!("out.{name}.params"));
        let pairs = self.matrices.iter().zip(&model.matrices);
        let matrices =
            pairs.map(|(name, p)| (name, p.val().into_data().try_to_vec::<f32>().unwrap()));
        let pairs = self.vectors.iter().zip(&model.vectors);
        let vectors =
            pairs.map(|(name, p)| (name, p.val().into_data().try_to_vec::<f32>().unwrap()));
        for (name, found) in matrices.chain(vectors) {
            let expected = &values(name)[step * found.len()..][..found.len()];
            close(
                case,
                &format!("{name} after {step} steps"),
                &found,
                expected,
                VALUES,
            );
        }
    }
}

/// Row `index` of the first axis.
fn at<const D: usize, const E: usize>(all: Tensor<D>, index: usize) -> Tensor<E> {
    all.narrow(0, index, 1).squeeze_dim(0)
}

fn close(case: &Case, what: &str, found: &[f32], expected: &[f32], tolerance: Tolerance) {
    for (index, (a, e)) in found.iter().zip(expected).enumerate() {
        let allowed = tolerance.absolute + tolerance.relative * e.abs();
        assert!(
            (a - e).abs() <= allowed,
            "{}: {what}[{index}] is {a}, expected {e}",
            case.name
        );
    }
}

fn config(case: &Case) -> OptimizerConfig {
    let beta = |index: usize| case.config()["betas"][index].as_f64().unwrap();
    let schedule = &case.config()["schedule"];
    let steps = |key: &str| schedule[key].as_u64().unwrap();
    OptimizerConfig {
        learning_rate: case.number("lr").unwrap(),
        betas: (beta(0), beta(1)),
        epsilon: case.number("eps").unwrap(),
        weight_decay: case.number("weight_decay").unwrap(),
        clip_norm: case.number("clip_grad_norm"),
        schedule: match schedule["type"].as_str().unwrap() {
            "constant" => Schedule::Constant,
            "cosine_with_warmup" => Schedule::Cosine {
                warmup_steps: steps("warmup_steps"),
                total_steps: Some(steps("total_steps")),
                cycles: schedule["num_cycles"].as_f64().unwrap(),
            },
            "cosine_annealing" => Schedule::CosineAnnealing {
                period: Some(steps("T_max")),
                floor: schedule["eta_min"].as_f64().unwrap(),
            },
            other => panic!("{}: schedule {other}", case.name),
        },
        ..OptimizerConfig::default()
    }
}

#[test]
fn trajectories_equal_the_references() {
    for case in cases(env!("CARGO_MANIFEST_DIR"), "optim", "adamw") {
        assert_eq!(
            case.config()["optimizer"],
            Value::from("AdamW"),
            "{}",
            case.name
        );
        let steps = case.count("steps").unwrap();
        let trajectory = Trajectory::new(&case);
        for (_, device) in devices() {
            let start = trajectory.start(&case, &device);
            let mut optimized = Optimized::new(start, &config(&case), steps as u64).unwrap();
            trajectory.check(&case, &optimized.trained(), 0);
            for step in 0..steps {
                let loss = trajectory.loss(&case, &optimized.model(), step, &device);
                optimized.backward(loss, 1.0);
                let report = optimized.step().unwrap();
                let found = [report.learning_rate as f32];
                close(&case, "rate", &found, &case.floats("out.lr")[step..], RATE);
                if case.has("out.grad_norm") {
                    let expected = &case.floats("out.grad_norm")[step..];
                    close(
                        &case,
                        "norm",
                        &[report.gradient_norm as f32],
                        expected,
                        VALUES,
                    );
                }
                trajectory.check(&case, &optimized.trained(), step + 1);
            }
        }
    }
}

#[test]
fn the_weight_of_the_balance_loss_anneals_as_the_references() {
    let path = golden_root(env!("CARGO_MANIFEST_DIR")).join("optim/aux_weight_anneal.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file: Value = serde_json::from_str(&text).unwrap();
    let runs = file
        .as_object()
        .unwrap()
        .values()
        .filter(|run| run.is_object());
    let mut rows = 0;
    for run in runs {
        let number = |key: &str| run[key].as_f64().unwrap();
        let steps = run["decay_steps"].as_u64().unwrap() as usize;
        let anneal =
            LinearAnnealing::new(number("l_aux_weight"), number("min_l_aux_weight"), steps);
        for row in run["rows"].as_array().unwrap() {
            let step = row["step"].as_u64().unwrap() as usize;
            let expected = row["weight"].as_f64().unwrap();
            // The same sum in another order, in float64.
            assert!((anneal.at(step) - expected).abs() < 1e-14, "step {step}");
            rows += 1;
        }
    }
    assert!(rows > 0);
}
