//! The language model against `goldens/lm`.

use std::path::Path;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Tensor},
};
use testkit::{Case, Tolerance, assert_close, assert_equal, cases, devices, golden_root};
use unimoe_model::{
    Batching, ClassifierFreeGuidance, Generation, GenerationOptions, GenerationRequest,
    LoadOptions, ModelInput, Positions, PromptRow, SamplingConfig, UniMoe, codec_cross_entropy,
    released_name,
};

pub(crate) const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

/// Whole models in f32: three layers of sums over up to 64 terms, in another order than the reference.
/// The goldens' own suggestion for whole models and gradients.
pub(crate) const WHOLE_MODEL: Tolerance = Tolerance {
    absolute: 1e-3,
    relative: 1e-3,
};

/// The checkpoint of a case; `lm/checkpoint` where it names none.
pub(crate) fn checkpoint(case: &Case, device: &Device) -> UniMoe {
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
pub(crate) fn input(case: &Case) -> ModelInput {
    let shape = case.shape("input_ids");
    let tokens = shape.iter().product();
    let real = if case.has("attention_mask") {
        case.ints("attention_mask")
            .iter()
            .map(|&m| m == 1)
            .collect()
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
        ..ModelInput::default()
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

pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor
        .into_data_dtype(DType::F32)
        .try_into_vec()
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
            assert_real(
                &case,
                &format!("out.hidden_states.{layers}"),
                hidden,
                &input.real,
            );
            let logits = model
                .text_logits(output.hidden.clone())
                .expect("a text head");
            assert_real(&case, "out.logits", floats(logits), &input.real);
            let codec = floats(model.codec_logits(output.hidden));
            assert_real(&case, "out.codec_logits", codec, &input.real);
            for (layer, routing) in output.routings.iter().enumerate() {
                let weights = floats(routing.weights.clone());
                assert_real(
                    &case,
                    &format!("out.router_weight.{layer}"),
                    weights,
                    &input.real,
                );
                let counts = routing.experts_per_token();
                let expected = case.ints(&format!("out.router_top_k.{layer}"));
                for ((&count, expected), real) in counts.iter().zip(expected).zip(&input.real) {
                    assert!(
                        !real || count as i64 == expected,
                        "{}: layer {layer}",
                        case.name
                    );
                }
                let loss = routing.balance_loss(None).into_scalar::<f32>();
                assert_scalar(&case, &format!("out.aux_loss.{layer}"), loss);
            }
        }
    }
}

#[test]
fn cached_decoding_equals_the_full_forward() {
    for case in cases(MANIFEST, "lm", "lm_incremental") {
        for (_, device) in devices() {
            let model = checkpoint(&case, &device);
            let input = input(&case);
            let (batch, length) = (input.batch, input.ids.len() / input.batch);
            let full = model.forward(&input).expect("a valid batch").hidden;
            assert_close(&case, "out.hidden_full", full, WHOLE_MODEL);

            let part = |from: usize, to: usize| {
                let rows = input.ids.chunks(length);
                let ids: Vec<u32> = rows.flat_map(|row| row[from..to].to_vec()).collect();
                ModelInput {
                    batch,
                    real: vec![true; ids.len()],
                    ids,
                    ..ModelInput::default()
                }
            };
            let prompt = case.count("prefill_tokens").expect("a number of tokens");
            let (mut state, hidden) = model
                .prefill(&part(0, prompt), length)
                .expect("a valid prompt");
            for layer in 0..model.config().text.n_layers {
                let name = format!("out.prefill_key_cache.{layer}");
                assert_close(&case, &name, state.cache().keys(layer), WHOLE_MODEL);
                let name = format!("out.prefill_value_cache.{layer}");
                assert_close(&case, &name, state.cache().values(layer), WHOLE_MODEL);
            }
            let mut parts = vec![hidden];
            for place in prompt..length {
                let token = part(place, place + 1);
                parts.push(model.extend(&token, &mut state).expect("room in the cache"));
            }
            let joined = Tensor::cat(parts, 1);
            assert_close(&case, "out.hidden_incremental", joined, WHOLE_MODEL);
        }
    }
}

/// The model of a generation case, with the codec head that the case brings.
fn generating(case: &Case, device: &Device) -> UniMoe {
    let mut model = checkpoint(case, device);
    if case.has("codec_head.weight") {
        let head = case.float::<2>("codec_head.weight", device).transpose();
        let weight = &mut model.codec_head.projection.weight;
        *weight = weight.clone().map(|_| head);
    }
    model
}

#[test]
fn step_logits_equal_the_reference() {
    for case in cases(MANIFEST, "lm", "lm_generate") {
        for (_, device) in devices() {
            let model = generating(&case, &device);
            let input = input(&case);
            let shape = case.shape("out.step_raw_codec_logits");
            let (steps, rows, channels) = (shape[0], shape[1], shape[2]);
            let capacity = input.ids.len() / input.batch + steps;
            let (mut state, _) = model.prefill(&input, capacity).expect("a valid prompt");
            let tokens = ids(&case, "out.all_tokens");
            let buffer = case.shape("out.all_tokens")[1];
            let mut logits = Vec::new();
            for step in 0..steps {
                // Both rows of an item are fed the item's own codes.
                let codes: Vec<u32> = (0..rows)
                    .flat_map(|row| {
                        let start = (row / 2 * buffer + step) * channels;
                        tokens[start..start + channels].to_vec()
                    })
                    .collect();
                let hidden = model.step(&codes, &mut state).expect("room in the cache");
                logits.push(model.codec_logits(hidden));
            }
            let logits = Tensor::cat(logits, 1).swap_dims(0, 1);
            assert_close(&case, "out.step_raw_codec_logits", logits, WHOLE_MODEL);
        }
    }
}

/// The requests of a generation case: rows alternate between unconditional and conditional.
fn requests(case: &Case, model: &UniMoe) -> Vec<GenerationRequest> {
    let input = input(case);
    let config = &model.config().codec;
    let length = input.ids.len() / input.batch;
    let mut codes = input.codes.chunks(config.n_channels);
    let rows: Vec<PromptRow> = input
        .ids
        .chunks(length)
        .zip(input.real.chunks(length))
        .map(|(ids, real)| {
            let ids: Vec<u32> = (ids.iter().zip(real))
                .filter_map(|(&id, &real)| real.then_some(id))
                .collect();
            let places = ids.iter().filter(|&&id| id == config.placeholder).count();
            let codes = codes.by_ref().take(places).flatten().copied().collect();
            PromptRow {
                ids,
                codes,
                ..PromptRow::default()
            }
        })
        .collect();
    let number = |key: &str| case.number(key).expect("a setting") as f32;
    let longest = config.delay_pattern.iter().max().expect("a delay");
    let options = GenerationOptions {
        sampling: SamplingConfig {
            greedy: !case.flag("do_sample"),
            ..SamplingConfig::default()
        },
        guidance: ClassifierFreeGuidance::new(number("cfg_scale"), number("eos_prob_mul_factor"))
            .expect("valid settings"),
        min_frames: case.count("min_tokens").unwrap_or(0),
        max_frames: case
            .count("max_tokens")
            .expect("a setting")
            .saturating_sub(longest + 1),
        seed: 0,
    };
    let min_frames = options.min_frames.min(options.max_frames);
    rows.chunks(2)
        .map(|pair| GenerationRequest {
            unconditional: pair[0].clone(),
            conditional: pair[1].clone(),
            options: GenerationOptions {
                min_frames,
                ..options
            },
        })
        .collect()
}

#[test]
fn greedy_codes_equal_the_reference() {
    for case in cases(MANIFEST, "lm", "lm_generate") {
        for (_, device) in devices() {
            let model = generating(&case, &device);
            let requests = requests(&case, &model);
            // Where experts drop tokens beyond their capacity, a batch changes its members' codes.
            let alone = model.config().moe.token_drop.is_none();
            let ways = [Batching::Joint].into_iter();
            for batching in ways.chain(alone.then_some(Batching::Isolated)) {
                let mut generation =
                    Generation::start(&model, &requests, batching).expect("valid requests");
                let mut frames = vec![Vec::new(); requests.len()];
                while !generation.is_done() {
                    for frame in generation.step(&model).expect("finite logits") {
                        frames[frame.request].extend(frame.codes);
                    }
                }
                let results = generation.finish().expect("whole frames");
                let shape = case.shape("out.generated_codes");
                let mut padded = Vec::new();
                for (item, result) in results.iter().enumerate() {
                    let reverted: Vec<i64> = result
                        .codes
                        .as_slice()
                        .iter()
                        .map(|&c| i64::from(c))
                        .collect();
                    assert_equal(&case, &format!("out.reverted.{item}"), &reverted);
                    assert_eq!(frames[item], result.codes.as_slice(), "{}", case.name);
                    let delayed = result.delayed.as_slice();
                    padded.extend(delayed.iter().map(|&code| i64::from(code)));
                    let pad = i64::from(model.config().codec.pad);
                    padded.resize((item + 1) * shape[1] * shape[2], pad);
                }
                assert_equal(&case, "out.generated_codes", &padded);
                let lengths: Vec<i64> = (results.iter())
                    .map(|result| result.codes.n_frames() as i64)
                    .collect();
                assert_equal(&case, "out.lengths", &lengths);
            }
        }
    }
}

#[test]
fn losses_and_gradients_equal_the_reference() {
    for case in cases(MANIFEST, "lm", "lm_train") {
        for (_, device) in devices() {
            let model = checkpoint(&case, &device.clone().autodiff());
            let input = input(&case);
            let output = model.forward(&input).expect("a valid batch");
            let hidden = floats(output.hidden.clone());
            assert_real(&case, "out.last_hidden_state", hidden, &input.real);
            let logits = model.codec_logits(output.hidden);
            assert_real(
                &case,
                "out.codec_logits",
                floats(logits.clone()),
                &input.real,
            );

            let loss = codec_cross_entropy(logits, &case.ints("codec_labels"));
            assert_close(&case, "out.channel_ce", loss.channels, WHOLE_MODEL);
            let token_weights = case.has("aux_balance_weight").then(|| {
                let real: Vec<f32> = input.real.iter().map(|&r| f32::from(u8::from(r))).collect();
                let real = Tensor::<1>::from_data(real.as_slice(), &device.clone().autodiff());
                let given = case.float::<2>("aux_balance_weight", &device.clone().autodiff());
                given.reshape([input.real.len()]) * real
            });
            let layers = output.routings.len() as f64;
            let auxiliary = (output.routings.iter())
                .map(|routing| routing.balance_loss(token_weights.clone()))
                .reduce(|sum, layer| sum + layer)
                .expect("a layer")
                / layers;
            let scalar = |tensor: &Tensor<1>| tensor.clone().into_scalar::<f32>();
            assert_scalar(&case, "out.aux_balance_loss", scalar(&auxiliary));
            let weight = case.number("cur_aux_weight").expect("a setting");
            let total = loss.total + auxiliary * weight;
            assert_scalar(&case, "out.loss", scalar(&total));

            let mut walk = GradientWalk {
                case: &case,
                gradients: total.backward(),
                path: Vec::new(),
                linear: Vec::new(),
                compared: 0,
            };
            model.visit(&mut walk);
            let stored = case
                .names()
                .iter()
                .filter(|name| name.starts_with("grad."))
                .count();
            // The reference stores zeros for the text head, which gets no gradient.
            let without = usize::from(case.has("grad.lm_head.weight"));
            assert_eq!(walk.compared + without, stored, "{}: gradients", case.name);
        }
    }
}

pub(crate) fn assert_scalar(case: &Case, name: &str, actual: f32) {
    let expected = case.floats(name)[0];
    let allowed = WHOLE_MODEL.absolute + WHOLE_MODEL.relative * expected.abs();
    assert!(
        (actual - expected).abs() <= allowed,
        "{}: {name} is {actual}, expected {expected}",
        case.name
    );
}

/// Compares the gradient of each parameter that the case has one for.
struct GradientWalk<'a> {
    case: &'a Case,
    gradients: Gradients,
    path: Vec<String>,
    linear: Vec<bool>,
    compared: usize,
}

impl ModuleVisitor for GradientWalk<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.linear.push(container_type == "Struct:Linear");
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.linear.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = released_name(&self.path.join(".")).expect("a released name");
        let name = match name.strip_prefix("model.") {
            Some(text) => format!("grad.language_model.{text}"),
            None => format!("grad.{name}"),
        };
        if !self.case.has(&name) {
            return;
        }
        let Some(gradient) = param.val().grad(&self.gradients) else {
            let stored = self.case.floats(&name);
            assert!(
                stored.iter().all(|&value| value == 0.0),
                "{name} has no gradient"
            );
            return;
        };
        self.compared += 1;
        let transposed = D == 2 && self.linear.last() == Some(&true);
        let actual = match transposed {
            true => floats(gradient.transpose()),
            false => floats(gradient),
        };
        let expected = self.case.floats(&name);
        // Relative to the tensor's largest gradient: single ones come close to zero.
        let scale = expected
            .iter()
            .fold(0f32, |max, value| max.max(value.abs()));
        for (place, (a, e)) in actual.iter().zip(&expected).enumerate() {
            assert!(
                (a - e).abs() <= WHOLE_MODEL.relative * scale + 1e-7,
                "{}: {name}[{place}] is {a}, expected {e}",
                self.case.name
            );
        }
    }
}
