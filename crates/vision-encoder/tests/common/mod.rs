//! Inputs, and weights to rename, reshape, split and damage.
#![allow(dead_code, clippy::unwrap_used)]

use std::{fs, path::Path};

use burn::tensor::{Device, Tensor};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use vision_encoder::{Grid, VisionEncoderConfig, VisionInput, VisionKind};

/// A tensor as a file holds it.
#[derive(Debug, Clone)]
pub struct Stored {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// The weights of the golden cases, bare names and a patch embedding of five dimensions, with their configuration.
pub fn golden_weights() -> (VisionEncoderConfig, Vec<Stored>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/vision");
    let path = folder.join("vit_weights.json");
    let json: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let config = VisionEncoderConfig::from_released(&json["config"], &path).unwrap();
    let bytes = fs::read(folder.join("vit_weights.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let stored = tensors.iter().map(|(name, view)| Stored {
        name: name.to_string(),
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        data: view.data().to_vec(),
    });
    (config, stored.collect())
}

/// Writes a safetensors file.
pub fn write(path: &Path, tensors: &[Stored]) {
    fs::write(path, bytes(tensors)).unwrap();
}

/// The bytes of a safetensors file.
pub fn bytes(tensors: &[Stored]) -> Vec<u8> {
    let views = tensors.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data);
        (tensor.name.clone(), view.unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// An input of numbers that differ with `seed`.
pub fn input(config: &VisionEncoderConfig, seed: usize, [t, h, w]: [usize; 3]) -> VisionInput {
    let count = t * h * w * config.patch_values();
    VisionInput {
        kind: if t > 1 {
            VisionKind::Video
        } else {
            VisionKind::Image
        },
        patches: (0..count)
            .map(|i| (((i + 1) * (2 * seed + 3)) as f32 * 0.618).sin())
            .collect(),
        grid: Grid { t, h, w },
        seconds_per_step: None,
    }
}

/// The values of a tensor.
pub fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

/// Panics where two tensors differ in shape or by more than `tolerance` somewhere.
pub fn assert_near<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32) {
    assert_eq!(found.dims(), expected.dims());
    for (place, (a, e)) in floats(found).into_iter().zip(floats(expected)).enumerate() {
        assert!((a - e).abs() <= tolerance, "{place}: {a}, not {e}");
    }
}

/// The processor.
pub fn device() -> Device {
    Device::flex()
}
