//! The language model against `goldens/lm`.

use std::path::Path;

use burn::{
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    tensor::{DType, Device, Int, Tensor},
};
use testkit::{Case, Tolerance, assert_close, assert_equal, cases, devices, golden_root};
use unimoe_model::{
    LoadOptions, ModelInput, Positions, UniMoe, codec_cross_entropy,
};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// Whole models in f32: three layers of sums over up to 64 terms, in another order than the reference.
/// The goldens' own suggestion for whole models and gradients.
const WHOLE_MODEL: Tolerance = Tolerance {
    absolute: 1e-3,
    relative: 1e-3,
};

/// The checkpoint of a case; `lm/checkpoint` where it names none.
fn checkpoint(case: &Case, device: &Device) -> UniMoe {
    let name = case.config()["checkpoint"].as_str();
    let folder = golden_root(MANIFEST).join(name.unwrap_or("lm/checkpoint"));
    load(&folder, device)
}

fn load(folder: &Path, device: &Device) -> UniMoe {
    let options = LoadOptions {
        text_head: true,
        ..LoadOptions::default()
    };
    UniMoe::load(folder, options, device).expect("the golden checkpoint loads")
}

fn ids(case: &Case, name: &str) -> Vec<u32> {
    let cast = |id: i64| u32::try_from(id).expect("an id is not negative");
    case.ints(name).into_iter().map(cast).collect()
}

/// The batch of a case, with the codes, mask and positions that it has.
fn input(case: &Case) -> ModelInput {
    let shape = case.shape("input_ids");
    let tokens = shape.iter().product();
    let real = if case.has("attention_mask") {
        case.ints("attention_mask").iter().map(|&m| m == 1).collect()
    } else {
        vec![true; tokens]
    };
    let codes = if case.has("codec_input_ids") {
        ids(case, "codec_input_ids")
    } else {
        Vec::new()
    };
    let positions = case.has("position_ids").then(|| {
        let all = case.ints("position_ids");
        let axis = |index: usize| all[index * tokens..(index + 1) * tokens].to_vec();
        Positions {
            batch: shape[0],
            length: shape[1],
            axes: [axis(0), axis(1), axis(2)],
        }
    });
    ModelInput {
        batch: shape[0],
        ids: ids(case, "input_ids"),
        real,
        codes,
        positions,
    }
}

/// Compares the positions that are not padding; `rows` is the number of values of one position.
fn assert_real(case: &Case, name: &str, actual: Vec<f32>, real: &[bool]) {
    let expected = case.floats(name);
    assert_eq!(actual.len(), expected.len(), "{}: {name}", case.name);
    let width = expected.len() / real.len();
    for (place, (a, e)) in actual.iter().zip(&expected).enumerate() {
        let allowed = WHOLE_MODEL.absolute + WHOLE_MODEL.relative * e.abs();
        assert!(
            !real[place / width] || (a - e).abs() <= allowed,
            "{}: {name}[{place}] is {a}, expected {e}",
            case.name
        );
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data_dtype(DType::F32)
        .into_vec()
        .expect("float32 data")
}

#[test]
fn text_forward_equals_the_reference() {
    for case in cases(MANIFEST, "lm", "lm_text_forward") {
        for (_, device) in devices() {
            let model = checkpoint(&case, &device);
            let input = input(&case);
            let output = model.forward(&input).expect("a valid batch");
            let layers = model.config().text.n_layers;
            let hidden = floats(output.hidden.clone());
            assert_real(&case, &format!("out.hidden_states.{layers}"), hidden, &input.real);
            let logits = model.text_logits(output.hidden.clone()).expect("a text head");
            assert_real(&case, "out.logits", floats(logits), &input.real);
            let codec = floats(model.codec_logits(output.hidden));
            assert_real(&case, "out.codec_logits", codec, &input.real);
            for (layer, routing) in output.routings.iter().enumerate() {
                let weights = floats(routing.weights.clone());
                assert_real(&case, &format!("out.router_weight.{layer}"), weights, &input.real);
                let counts = routing.experts_per_token().into_data_dtype(DType::I64);
                let counts = counts.into_vec::<i64>().expect("integers");
                let expected = case.ints(&format!("out.router_top_k.{layer}"));
                for ((count, expected), real) in counts.iter().zip(expected).zip(&input.real) {
                    assert!(!real || *count == expected, "{}: layer {layer}", case.name);
                }
                let loss = routing.balance_loss(None);
                assert_close(
                    &case,
                    &format!("out.aux_loss.{layer}"),
                    loss.reshape::<1, _>([1]),
                    WHOLE_MODEL,
                );
            }
        }
    }
}
