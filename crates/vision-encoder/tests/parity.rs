//! Every golden case of the encoder and of the preprocessing.
#![allow(clippy::unwrap_used)]

#[path = "parity/preprocess.rs"]
mod preprocess;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use testkit::{Case, Tolerance, assert_close, assert_equal, cases, devices, golden_root};
use vision_encoder::{
    AttentionScope, Grid, LoadOptions, PatchLayout, VisionEncoder, VisionEncoderConfig,
    VisionInput, VisionKind, VisionStage,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Both sides are float32; a value passes a handful of blocks whose sums run in another order. The tiny cases stay
/// within 1e-5; larger ones may add up more.
const TOLERANCE: Tolerance = Tolerance {
    absolute: 2e-4,
    relative: 1e-3,
};

/// A table of angles is a product of two float32 numbers; the frequencies' powers may differ in the last bit.
const ANGLES: Tolerance = Tolerance {
    absolute: 1e-6,
    relative: 1e-6,
};

/// The cases that are inputs with results; the others are weights.
fn inputs() -> Vec<Case> {
    let mut cases = cases(ROOT, "vision", "vit_");
    cases.retain(|case| case.config().get("weights").is_some());
    assert!(!cases.is_empty(), "no case with inputs among vit_*");
    cases
}

/// The configuration and the file of the weights of a case.
fn weights(case: &Case) -> (VisionEncoderConfig, std::path::PathBuf) {
    let path = golden_root(ROOT).join(case.config()["weights"].as_str().unwrap());
    let json = path.with_extension("json");
    let config = VisionEncoderConfig::from_released(Case::open(&json).config(), &json).unwrap();
    (config, path)
}

fn load(case: &Case, scope: AttentionScope, dtype: DType, device: &Device) -> VisionEncoder {
    let (config, path) = weights(case);
    let options = LoadOptions {
        dtype,
        ..LoadOptions::default()
    };
    VisionEncoder::load_weights(&config.with_attention(scope), &path, options, device).unwrap()
}

fn grids(case: &Case) -> Vec<Grid> {
    let sides = case.ints("grid_thw");
    let size = |side: i64| usize::try_from(side).unwrap();
    sides
        .chunks_exact(3)
        .map(|thw| Grid {
            t: size(thw[0]),
            h: size(thw[1]),
            w: size(thw[2]),
        })
        .collect()
}

fn vision_inputs(case: &Case) -> Vec<VisionInput> {
    let pixels = case.floats("pixel_values");
    let values = case.shape("pixel_values")[1];
    let mut rest = pixels.as_slice();
    let inputs = grids(case).into_iter().map(|grid| {
        let (patches, after) = rest.split_at(grid.patches().unwrap() * values);
        rest = after;
        VisionInput {
            kind: VisionKind::Video,
            patches: patches.to_vec(),
            grid,
            seconds_per_step: None,
        }
    });
    let inputs = inputs.collect();
    assert!(rest.is_empty(), "{}: more pixels than its grids", case.name);
    inputs
}

/// Lengths to their running sums, from 0.
fn running(lengths: &[usize]) -> Vec<i64> {
    let mut sums = vec![0];
    for &length in lengths {
        sums.push(sums[sums.len() - 1] + length as i64);
    }
    sums
}

fn layout(case: &Case) -> PatchLayout {
    weights(case).0.layout(&grids(case)).unwrap()
}

#[test]
fn windows_and_frames_are_those_of_the_reference() {
    for case in inputs() {
        let layout = layout(&case);
        let index: Vec<i64> = layout.window_index.iter().map(|&i| i as i64).collect();
        assert_equal(&case, "out.window_index", &index);
        let windows = running(&layout.window_lengths);
        assert_equal(&case, "out.cu_window_seqlens", &windows);
        assert_equal(&case, "out.cu_seqlens", &running(&layout.frame_lengths));
        // The reference first counts empty windows too.
        let mut raw = case.ints("out.cu_window_seqlens_raw");
        raw.dedup();
        assert_eq!(raw, windows, "{}", case.name);
    }
}

#[test]
fn rotary_angles_are_those_of_the_reference() {
    for case in inputs() {
        let (config, _) = weights(&case);
        let angles: Vec<f32> = grids(&case)
            .into_iter()
            .flat_map(|grid| config.rotary_angles(grid).unwrap())
            .collect();
        let shape = case.shape("out.rotary_pos_emb");
        let angles = Tensor::<2>::from_data(TensorData::new(angles, shape), &Device::flex());
        assert_close(&case, "out.rotary_pos_emb", angles, ANGLES);
    }
}

#[test]
fn every_stage_of_every_case_equals_the_reference() {
    for (_, device) in devices() {
        for case in inputs() {
            let encoder = load(&case, AttentionScope::Windowed, DType::F32, &device);
            let merged = encoder.config().merge_size.pow(2);
            let order = encoder.order(&grids(&case)).unwrap();
            let window_index = layout(&case).window_index;

            // The encoder may run in another order than the reference's blocks do.
            let mut places = vec![0; order.len()];
            for (place, &token) in order.iter().enumerate() {
                places[token] = place;
            }
            let rows = |tokens: Vec<usize>| -> Tensor<1, Int> {
                let rows = tokens
                    .into_iter()
                    .flat_map(|token| (token * merged..(token + 1) * merged).map(|row| row as i32));
                Tensor::from_data(rows.collect::<Vec<i32>>().as_slice(), &device)
            };
            let to_windows = rows(window_index.iter().map(|&token| places[token]).collect());
            let to_inputs = rows(places.clone());

            let mut stages = Vec::new();
            let inputs = vision_inputs(&case);
            let output = encoder
                .forward_inspect(&inputs, |stage, x| stages.push((stage, x.clone())))
                .unwrap();
            assert_close(&case, "out.output", output, TOLERANCE);
            assert_eq!(stages.len(), encoder.config().n_blocks + 1);
            for (stage, x) in stages {
                let (name, order) = match stage {
                    VisionStage::PatchEmbed => ("out.patch_embed".to_string(), &to_inputs),
                    VisionStage::Block(index) => (format!("out.block.{index}"), &to_windows),
                };
                if case.has(&name) {
                    assert_close(&case, &name, x.select(0, order.clone()), TOLERANCE);
                }
            }
        }
    }
}

#[test]
fn without_windows_every_case_equals_the_reference() {
    for (_, device) in devices() {
        for case in inputs() {
            let encoder = load(&case, AttentionScope::Unmasked, DType::F32, &device);
            let output = encoder.forward(&vision_inputs(&case)).unwrap();
            assert_close(&case, "out.output_unmasked", output, TOLERANCE);
        }
    }
}

#[test]
fn half_precision_stays_near_the_reference() {
    // A step of f16 is 2^-11 of a value, of bf16 2^-8; some thirty roundings in a row, some of which add up, and
    // sums of a few hundred products give about 30 steps of the largest values.
    for (dtype, tolerance) in [(DType::F16, 0.02), (DType::BF16, 0.1)] {
        for (_, device) in devices() {
            if !device.supports_dtype(dtype) {
                continue;
            }
            for case in inputs() {
                let encoder = load(&case, AttentionScope::Windowed, dtype, &device);
                let output = encoder.forward(&vision_inputs(&case)).unwrap();
                assert_eq!(output.dtype(), dtype);
                let largest = case
                    .floats("out.output")
                    .into_iter()
                    .fold(0.0, |most: f32, value| most.max(value.abs()));
                let tolerance = Tolerance {
                    absolute: tolerance * largest,
                    relative: 0.0,
                };
                assert_close(&case, "out.output", output, tolerance);
            }
        }
    }
}
