//! Prompts with images and videos: positions against `goldens/vision`, the whole model against
//! `goldens/lm`.

use burn::tensor::{Device, Tensor};
use testkit::{Case, assert_close, assert_equal, cases, devices};
use unimoe_model::{
    EncodedVision, Grid, InputError, ModelInput, Positions, UniMoe, UniMoeConfig, VisionConfig,
    VisionInput, VisionKind, VisionSpan, codec_cross_entropy,
};
use vision_encoder::AttentionScope;

use super::model::{MANIFEST, WHOLE_MODEL, assert_scalar, checkpoint, floats, input};

/// The kind of each medium, its grid and its seconds per step, images before videos as in the case.
fn spans(case: &Case) -> Vec<VisionSpan> {
    let config = case.config();
    let grids = |key: &str| -> Vec<[usize; 3]> {
        serde_json::from_value(config[key].clone()).unwrap_or_default()
    };
    let seconds: Vec<f64> =
        serde_json::from_value(config["second_per_grid_ts"].clone()).unwrap_or_default();
    let span = |kind, [t, h, w]: [usize; 3], seconds_per_step| VisionSpan {
        kind,
        grid: Grid { t, h, w },
        seconds_per_step,
    };
    let images = grids("image_grid_thw").into_iter();
    let images = images.map(|grid| span(VisionKind::Image, grid, None));
    let videos = grids("video_grid_thw").into_iter().enumerate();
    let videos =
        videos.map(|(index, grid)| span(VisionKind::Video, grid, seconds.get(index).copied()));
    images.chain(videos).collect()
}

/// The vision side that a position case describes.
fn vision(case: &Case) -> VisionConfig {
    let mut vision = UniMoeConfig::tiny().vision.expect("a vision side");
    let id = |key: &str| case.count(key).expect("a token") as u32;
    vision.image_token = id("image_token_id");
    vision.video_token = id("video_token_id");
    vision.start_token = id("vision_start_token_id");
    vision.encoder.merge_size = case.count("spatial_merge_size").expect("a size");
    vision.encoder.tokens_per_second = case.count("tokens_per_second").expect("a rate");
    vision
}

#[test]
fn positions_equal_the_reference() {
    for case in cases(MANIFEST, "vision", "mrope_") {
        let input = input(&case);
        let length = input.ids.len() / input.batch;
        let spans = spans(&case);
        let positions =
            Positions::multimodal(&input.ids, &input.real, input.batch, &spans, &vision(&case))
                .unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let expected = case.ints("out.position_ids");
        for (axis, expected) in positions.axes.iter().zip(expected.chunks(input.ids.len())) {
            for (place, (found, expected)) in axis.iter().zip(expected).enumerate() {
                // The reference puts 1 at padding, which nothing sees.
                assert!(
                    !input.real[place] || found == expected,
                    "{}: position {place} is {found}, expected {expected}",
                    case.name
                );
            }
        }
        let next = positions.next(&input.real);
        let deltas: Vec<i64> = next.iter().map(|next| next - length as i64).collect();
        assert_eq!(deltas, case.ints("out.rope_deltas"), "{}", case.name);
        if spans.is_empty() {
            let text = Positions::text(&input.real, input.batch);
            assert_eq!(positions, text, "{}", case.name);
        }
    }
}

/// The images and videos of a case with their pixels.
fn pictures(case: &Case, model: &UniMoe) -> Vec<VisionInput> {
    let mut taken = [0, 0];
    spans(case)
        .into_iter()
        .map(|span| {
            let (name, taken) = match span.kind {
                VisionKind::Image => ("pixel_values", &mut taken[0]),
                VisionKind::Video => ("pixel_values_videos", &mut taken[1]),
            };
            let width = case.shape(name)[1];
            let first = *taken;
            *taken += span.grid.patches().expect("a small grid") * width;
            let patches = case.floats(name)[first..*taken].to_vec();
            let vision = model.config().vision.as_ref().expect("a vision side");
            assert_eq!(patches.len() % vision.encoder.patch_size, 0);
            VisionInput {
                kind: span.kind,
                patches,
                grid: span.grid,
                seconds_per_step: span.seconds_per_step,
            }
        })
        .collect()
}

/// A checkpoint whose vision encoder attends as `scope` says.
fn seeing(case: &Case, device: &Device, scope: AttentionScope) -> UniMoe {
    let mut model = checkpoint(case, device);
    let encoder = model.vision.take().expect("a vision encoder");
    model.vision = Some(encoder.with_attention(scope));
    model
}

#[test]
fn a_prompt_that_sees_equals_the_reference() {
    for case in cases(MANIFEST, "lm", "lm_multimodal") {
        for (_, device) in devices() {
            for (scope, out) in [
                (AttentionScope::Windowed, "out"),
                (AttentionScope::Unmasked, "out_unmasked"),
            ] {
                if !case.has(&format!("{out}.last_hidden_state")) {
                    continue;
                }
                let model = seeing(&case, &device, scope);
                let pictures = pictures(&case, &model);
                // The reference encodes images and videos by a call each, which matters where all attends to all.
                let (images, videos): (Vec<_>, Vec<_>) =
                    (pictures.into_iter()).partition(|input| input.kind == VisionKind::Image);
                let mut seen = model.encode_vision(&images).expect("images");
                seen.extend(model.encode_vision(&videos).expect("videos"));
                let input = ModelInput {
                    vision: seen,
                    ..input(&case)
                };
                let name = |what: &str| format!("{out}.{what}");
                let embedded = model.embed(&input).expect("a valid batch");
                assert_close(&case, &name("inputs_embeds"), embedded, WHOLE_MODEL);
                let vision = model.config().vision.as_ref().expect("a vision side");
                let spans = spans(&case);
                let positions =
                    Positions::multimodal(&input.ids, &input.real, input.batch, &spans, vision)
                        .expect("a valid batch");
                assert_equal(&case, &name("position_ids"), &positions.axes.concat());
                let output = model.forward(&input).expect("a valid batch");
                let hidden = output.hidden;
                assert_close(
                    &case,
                    &name("last_hidden_state"),
                    hidden.clone(),
                    WHOLE_MODEL,
                );
                let text = model.text_logits(hidden.clone()).expect("a text head");
                assert_close(&case, &name("logits"), text, WHOLE_MODEL);
                let codec = model.codec_logits(hidden);
                assert_close(&case, &name("codec_logits"), codec.clone(), WHOLE_MODEL);
                let loss = codec_cross_entropy(codec, &case.ints("codec_labels"));
                let layers = output.routings.len() as f32;
                let auxiliary: f32 = (output.routings.iter())
                    .map(|routing| routing.balance_loss(None).into_scalar::<f32>())
                    .sum();
                assert_scalar(&case, &name("aux_balance_loss"), auxiliary / layers);
                // The auxiliary loss counts by the checkpoint's weight at the first step.
                let weight = auxiliary_weight(&case) * auxiliary / layers;
                let total = loss.total.into_scalar::<f32>() + weight;
                assert_scalar(&case, &name("loss"), total);
            }
        }
    }
}

/// The auxiliary loss's weight at step 0, from the checkpoint's `config.json`.
fn auxiliary_weight(case: &Case) -> f32 {
    let folder = case.config()["checkpoint"].as_str();
    let folder = testkit::golden_root(MANIFEST).join(folder.unwrap_or("lm/checkpoint"));
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["text_config"]["l_aux_weight"].as_f64().unwrap() as f32
}

/// The columns `from..to` of a batch, without its images and videos.
fn columns(model: &UniMoe, whole: &ModelInput, from: usize, to: usize) -> ModelInput {
    let codec = &model.config().codec;
    let length = whole.ids.len() / whole.batch;
    let mut codes = whole.codes.chunks(codec.n_channels);
    let mut part = ModelInput {
        batch: whole.batch,
        ..ModelInput::default()
    };
    for (place, (&id, &real)) in whole.ids.iter().zip(&whole.real).enumerate() {
        let code = match id == codec.placeholder {
            true => codes.next().expect("a row of codes"),
            false => &[],
        };
        if (from..to).contains(&(place % length)) {
            part.ids.push(id);
            part.real.push(real);
            part.codes.extend(code);
        }
    }
    part
}

#[test]
fn decoding_after_a_video_equals_the_full_forward() {
    for case in cases(MANIFEST, "lm", "lm_multimodal") {
        for (_, device) in devices() {
            let model = checkpoint(&case, &device);
            let seen = model
                .encode_vision(&pictures(&case, &model))
                .expect("pictures");
            let whole = ModelInput {
                vision: seen,
                ..input(&case)
            };
            let hidden = model.forward(&whole).expect("a valid batch").hidden;
            // Cut behind the last visual token: the rest goes on from where the videos' positions end.
            let vision = model.config().vision.as_ref().expect("a vision side");
            let length = whole.ids.len() / whole.batch;
            let seen = (0..whole.ids.len()).filter(|&place| {
                [vision.image_token, vision.video_token].contains(&whole.ids[place])
            });
            let cut = seen.map(|place| place % length).max().expect("a token") + 1;
            let first = ModelInput {
                vision: whole.vision.clone(),
                ..columns(&model, &whole, 0, cut)
            };
            let (mut state, head) = model.prefill(&first, length).expect("a prompt");
            let mut parts = vec![head];
            for place in cut..length {
                let token = columns(&model, &whole, place, place + 1);
                parts.push(model.extend(&token, &mut state).expect("room"));
            }
            let (found, expected) = (floats(Tensor::cat(parts, 1)), floats(hidden));
            assert_eq!(found.len(), expected.len());
            let width = expected.len() / whole.real.len();
            for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let allowed = WHOLE_MODEL.absolute + WHOLE_MODEL.relative * expected.abs();
                assert!(
                    !whole.real[place / width] || (found - expected).abs() <= allowed,
                    "{}: {found} {expected}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn tokens_without_their_rows_are_errors() {
    for case in cases(MANIFEST, "lm", "lm_multimodal") {
        let model = checkpoint(&case, &Device::flex());
        let mut seen = model
            .encode_vision(&pictures(&case, &model))
            .expect("pictures");
        let last: EncodedVision = seen.pop().expect("a picture");
        let rows = last.rows.dims()[0];
        let without = ModelInput {
            vision: seen,
            ..input(&case)
        };
        let error = model.forward(&without).expect_err("a picture is missing");
        assert!(
            matches!(error, InputError::VisionTokens { tokens, rows: left, .. } if tokens - left == rows),
            "{error}"
        );
        let mut blind = model.clone();
        blind.vision = None;
        blind
            .encode_vision(&pictures(&case, &model))
            .expect_err("nothing to see with");
    }
}
