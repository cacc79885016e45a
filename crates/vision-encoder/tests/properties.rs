//! What must hold whatever the numbers are.
#![allow(clippy::unwrap_used)]

mod common;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Gradients, Tensor},
};
use common::{Stored, assert_near, device, floats, golden_weights, input, write};
use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::json;
use vision_encoder::{
    AttentionScope, Grid, LoadOptions, VisionEncoder, VisionEncoderConfig, VisionInput,
};

/// Batches of another size may add up in another order.
const ROUNDING: f32 = 1e-5;

fn tiny() -> (VisionEncoderConfig, VisionEncoder) {
    let config = VisionEncoderConfig::tiny(24);
    device().seed(3);
    let encoder = config.init(&device());
    (config, encoder)
}

#[test]
fn inputs_in_one_call_equal_each_alone() {
    let (config, encoder) = tiny();
    // Windows of 4 x 4 tokens: whole ones, edges of every kind, a lone token, videos.
    let sizes = [
        [1, 8, 12],
        [2, 6, 10],
        [1, 2, 2],
        [3, 8, 8],
        [1, 10, 18],
        [1, 6, 10],
    ];
    let inputs: Vec<VisionInput> = sizes
        .iter()
        .enumerate()
        .map(|(seed, &size)| input(&config, seed, size))
        .collect();
    let together = encoder.forward(&inputs).unwrap();
    let mut first = 0;
    for input in &inputs {
        let alone = encoder.forward(std::slice::from_ref(input)).unwrap();
        let tokens = config.tokens(input.grid).unwrap();
        assert_near(together.clone().narrow(0, first, tokens), alone, ROUNDING);
        first += tokens;
    }
    assert_eq!(together.dims(), [first, config.d_out]);
}

#[test]
fn a_video_of_equal_frames_is_its_picture_over_and_over() {
    let (config, encoder) = tiny();
    let picture = input(&config, 5, [1, 6, 14]);
    let video = VisionInput {
        patches: picture.patches.repeat(3),
        grid: Grid {
            t: 3,
            ..picture.grid
        },
        ..picture.clone()
    };
    let frames = encoder.forward(&[video]).unwrap();
    let picture = encoder.forward(&[picture]).unwrap();
    assert_near(frames, picture.repeat(&[3, 1]), ROUNDING);
}

#[test]
fn a_window_over_the_whole_frame_equals_no_windows() {
    let (config, tensors) = golden_weights();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &tensors);
    let of = |config: &VisionEncoderConfig| {
        VisionEncoder::load_weights(config, &path, LoadOptions::default(), &device()).unwrap()
    };
    let side = config.patch_size * config.merge_size;
    let wide = of(&config.clone().with_window_size(9 * side));
    let narrow = of(&config);
    let unmasked = narrow.clone().with_attention(AttentionScope::Unmasked);
    let frame = [input(&config, 1, [1, 10, 18])];
    let expected = unmasked.forward(&frame).unwrap();
    assert_near(wide.forward(&frame).unwrap(), expected.clone(), ROUNDING);

    // And the windows do matter.
    let windowed = floats(narrow.forward(&frame).unwrap() - expected);
    assert!(
        windowed
            .into_iter()
            .any(|difference| difference.abs() > 1e-3)
    );
}

#[test]
fn without_windows_a_neighbour_changes_an_input() {
    let (config, _) = tiny();
    let encoder = config
        .init(&device())
        .with_attention(AttentionScope::Unmasked);
    let inputs = [input(&config, 1, [1, 4, 4]), input(&config, 2, [1, 2, 6])];
    let alone = encoder.forward(&inputs[..1]).unwrap();
    let beside = encoder.forward(&inputs).unwrap().narrow(0, 0, 4);
    let differences = floats(alone - beside);
    assert!(
        differences
            .into_iter()
            .any(|difference| difference.abs() > 1e-4)
    );
}

#[test]
fn every_stored_form_gives_the_same_encoder() {
    let device = device();
    let (config, tensors) = golden_weights();
    let folder = tempfile::tempdir().unwrap();
    let frame = [input(&config, 1, [2, 6, 10])];
    let options = LoadOptions::default();
    let single = folder.path().join("bare.safetensors");
    write(&single, &tensors);
    let load = |path: &std::path::Path| {
        let encoder = VisionEncoder::load_weights(&config, path, options, &device).unwrap();
        encoder.forward(&frame).unwrap()
    };
    let expected = floats(load(&single));

    let flat = |tensor: &Stored| {
        let mut tensor = tensor.clone();
        if let [d, c, t, h, w] = tensor.shape[..] {
            tensor.shape = vec![d, c * t, h, w];
        }
        tensor
    };
    for (prefix, four) in [("visual.", true), ("model.visual.", false), ("", true)] {
        let renamed: Vec<Stored> = tensors
            .iter()
            .map(|tensor| Stored {
                name: format!("{prefix}{}", tensor.name),
                ..if four { flat(tensor) } else { tensor.clone() }
            })
            .collect();
        // A folder of two shards, beside the tensors of a language model where there is a prefix.
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = renamed.split_at(renamed.len() / 2);
        let mut first = first.to_vec();
        if !prefix.is_empty() {
            first.push(Stored {
                name: "model.layers.0.norm.weight".into(),
                dtype: Dtype::F32,
                shape: vec![1],
                data: vec![0; 4],
            });
        }
        let mut map = serde_json::Map::new();
        for (file, part) in [("a.safetensors", &first[..]), ("b.safetensors", second)] {
            write(&folder.path().join(file), part);
            map.extend(part.iter().map(|tensor| (tensor.name.clone(), json!(file))));
        }
        let index = json!({ "weight_map": map }).to_string();
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let whole = json!({ "vision_config": config.to_released() }).to_string();
        std::fs::write(folder.path().join("config.json"), whole).unwrap();

        assert_eq!(floats(load(folder.path())), expected, "{prefix:?}");
        let from_folder = VisionEncoder::load(folder.path(), options, &device).unwrap();
        assert_eq!(from_folder.config(), &config);
        assert_eq!(floats(from_folder.forward(&frame).unwrap()), expected);
    }
}

#[test]
fn half_precision_files_load_as_what_they_hold() {
    let device = device();
    let (config, tensors) = golden_weights();
    let folder = tempfile::tempdir().unwrap();
    let narrow = |dtype: Dtype, narrow: fn(f32) -> [u8; 2]| {
        let tensors: Vec<Stored> = tensors
            .iter()
            .map(|tensor| Stored {
                dtype,
                data: tensor
                    .data
                    .as_chunks()
                    .0
                    .iter()
                    .flat_map(|bytes| narrow(f32::from_le_bytes(*bytes)))
                    .collect(),
                ..tensor.clone()
            })
            .collect();
        let path = folder.path().join("model.safetensors");
        write(&path, &tensors);
        path
    };
    type Narrow = (Dtype, DType, fn(f32) -> [u8; 2], fn([u8; 2]) -> f32);
    let forms: [Narrow; 2] = [
        (
            Dtype::F16,
            DType::F16,
            |value| f16::from_f32(value).to_le_bytes(),
            |bytes| f16::from_le_bytes(bytes).to_f32(),
        ),
        (
            Dtype::BF16,
            DType::BF16,
            |value| bf16::from_f32(value).to_le_bytes(),
            |bytes| bf16::from_le_bytes(bytes).to_f32(),
        ),
    ];
    let gate = "blocks.0.mlp.gate_proj.bias";
    let stored = &tensors
        .iter()
        .find(|tensor| tensor.name == gate)
        .unwrap()
        .data;
    for (dtype, kept, to, from) in forms {
        let path = narrow(dtype, to);
        let expected: Vec<f32> = stored
            .as_chunks()
            .0
            .iter()
            .map(|bytes| from(to(f32::from_le_bytes(*bytes))))
            .collect();
        for dtype in [DType::F32, kept] {
            let options = LoadOptions {
                dtype,
                strict: true,
            };
            let encoder = VisionEncoder::load_weights(&config, &path, options, &device).unwrap();
            let bias = encoder.blocks[0].mlp.gate_proj.bias.as_ref().unwrap().val();
            assert_eq!(bias.dtype(), dtype);
            assert_eq!(floats(bias.cast(DType::F32)), expected);
        }
    }
}

/// Counts the parameters with and without a gradient.
struct Count {
    gradients: Gradients,
    with: usize,
    without: usize,
}

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(&self.gradients);
        let largest = gradient.map_or(0.0, |gradient| gradient.abs().max().into_scalar::<f32>());
        match largest > 0.0 {
            true => self.with += 1,
            false => self.without += 1,
        }
    }
}

#[test]
fn gradients_reach_every_parameter() {
    let config = VisionEncoderConfig::tiny(24);
    let encoder = config.init(&device().autodiff());
    let inputs = [input(&config, 1, [1, 6, 10]), input(&config, 2, [2, 4, 4])];
    let output = encoder.forward(&inputs).unwrap();
    let mut count = Count {
        gradients: output.square().mean().backward(),
        with: 0,
        without: 0,
    };
    encoder.visit(&mut count);
    // Patch embedding, twelve tensors of each block, five of the merger.
    assert_eq!((count.with, count.without), (1 + 12 * 4 + 5, 0));
}

#[test]
fn outside_of_training_the_result_is_the_same() {
    let config = VisionEncoderConfig::tiny(24);
    let inputs = [input(&config, 1, [1, 6, 10]), input(&config, 2, [2, 4, 4])];
    let trained = config.init(&device().autodiff());
    let plain = trained.clone().valid();
    let expected = trained.forward(&inputs).unwrap().inner();
    assert_near(plain.forward(&inputs).unwrap(), expected, ROUNDING);
}
