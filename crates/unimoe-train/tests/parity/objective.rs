//! The objective and its gradients, against the training cases of the language model.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor},
};
use testkit::{Case, Tolerance, cases, devices, golden_root};
use unimoe_model::{LoadOptions, ModelInput, UniMoe, released_name};
use unimoe_train::{Batch, ObjectiveConfig};

/// The cases lie with the model's own.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../unimoe-model");

/// Whole models in f32: three layers of sums over up to 64 terms, in another order than the published code's.
const WHOLE_MODEL: Tolerance = Tolerance {
    absolute: 1e-3,
    relative: 1e-3,
};

fn model(case: &Case, device: &Device) -> UniMoe {
    let name = case.config()["checkpoint"].as_str();
    let folder = golden_root(MANIFEST).join(name.unwrap_or("lm/checkpoint"));
    let options = LoadOptions {
        text_head: true,
        ..LoadOptions::default()
    };
    UniMoe::load(&folder, options, device).expect("the golden checkpoint loads")
}

fn batch(case: &Case) -> Batch {
    let ids = |name: &str| -> Vec<u32> {
        let ids = case.ints(name).into_iter();
        ids.map(|id| u32::try_from(id).expect("an id")).collect()
    };
    let shape = case.shape("input_ids");
    Batch {
        input: ModelInput {
            batch: shape[0],
            ids: ids("input_ids"),
            real: case
                .ints("attention_mask")
                .iter()
                .map(|&m| m == 1)
                .collect(),
            codes: ids("codec_input_ids"),
            ..ModelInput::default()
        },
        vision: Vec::new(),
        labels: case.ints("codec_labels"),
        domains: vec!["golden".into(); shape[0]],
        spoken: Vec::new(),
        token_weights: case
            .has("aux_balance_weight")
            .then(|| case.floats("aux_balance_weight")),
    }
}

fn assert_near(case: &Case, name: &str, actual: &[f32]) {
    let expected = case.floats(name);
    assert_eq!(expected.len(), actual.len(), "{}: {name}", case.name);
    for (&e, &a) in expected.iter().zip(actual) {
        let allowed = WHOLE_MODEL.absolute + WHOLE_MODEL.relative * e.abs();
        assert!(
            (e - a).abs() <= allowed,
            "{}: {name}: {a}, expected {e}",
            case.name
        );
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn loss_and_gradients_are_those_of_the_published_training_step() {
    for case in cases(MANIFEST, "lm", "lm_train") {
        for (_, device) in devices() {
            let model = model(&case, &device.clone().autodiff());
            let step = case.number("training_step").expect("a setting") as u64;
            let objective = ObjectiveConfig::default();
            let weight = case.number("cur_aux_weight").expect("a setting");
            assert!(
                (objective.balance_weight(step) - weight).abs() < 1e-12,
                "{}",
                case.name
            );
            let objective = objective
                .compute(&model, &batch(&case), step)
                .expect("a valid batch");
            assert_near(&case, "out.channel_ce", &values(objective.codes.channels));
            let balance = objective.balance.expect("there are experts to choose from");
            assert_near(&case, "out.aux_balance_loss", &values(balance));
            assert_near(&case, "out.loss", &values(objective.total.clone()));
            let mut walk = Walk {
                case: &case,
                gradients: objective.total.backward(),
                path: Vec::new(),
                is_linear: Vec::new(),
                compared: 0,
            };
            model.visit(&mut walk);
            let stored = case
                .names()
                .iter()
                .filter(|name| name.starts_with("grad."))
                .count();
            // The published text head gets no gradient, and zeros are stored for it.
            assert_eq!(
                walk.compared + usize::from(case.has("grad.lm_head.weight")),
                stored
            );
        }
    }
}

/// Compares the gradient of each parameter that has one in the case.
struct Walk<'a> {
    case: &'a Case,
    gradients: Gradients,
    path: Vec<String>,
    is_linear: Vec<bool>,
    compared: usize,
}

impl ModuleVisitor for Walk<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_string());
        self.is_linear.push(container == "Struct:Linear");
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.is_linear.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let released = released_name(&self.path.join(".")).expect("every parameter has a name");
        let name = match released.strip_prefix("model.") {
            Some(rest) => format!("grad.language_model.{rest}"),
            None => format!("grad.{released}"),
        };
        let Some(gradient) = param.val().grad(&self.gradients) else {
            return;
        };
        if self.case.has(&name) {
            let is_turned = D == 2 && self.is_linear.last() == Some(&true);
            let gradient = if is_turned {
                gradient.swap_dims(D - 2, D - 1)
            } else {
                gradient
            };
            // Relative to the largest: single ones come close to zero.
            let expected = self.case.floats(&name);
            let scale = expected
                .iter()
                .fold(0f32, |max, value| max.max(value.abs()));
            for (&e, a) in expected.iter().zip(values(gradient)) {
                let allowed = WHOLE_MODEL.relative * scale + 1e-7;
                assert!(
                    (e - a).abs() <= allowed,
                    "{}: {name}: {a}, expected {e}",
                    self.case.name
                );
            }
            self.compared += 1;
        }
    }
}
