//! What the kernels' tests share: devices, numbers, and the comparison with the portable forms.

use burn::tensor::{Device, Tensor, TensorData};

/// Largest difference, as a part of the largest value: both sides sum up to thousands of float32 in their own order.
const TOLERANCE: f32 = 1e-5;

/// The CPU: outside graphs, in a graph, and in one with gradient checkpointing.
pub(super) fn devices() -> [Device; 3] {
    let device = Device::flex();
    [
        device.clone(),
        device.clone().autodiff(),
        device.autodiff().gradient_checkpointing(),
    ]
}

/// Numbers between -1 and 1 that depend on `seed`.
pub(super) fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let numbers = (0..shape.iter().product::<usize>()).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    });
    let numbers: Vec<f32> = numbers.collect();
    Tensor::from_data(TensorData::new(numbers, shape), &Device::flex())
}

/// Compares all values; each must be a number.
pub(super) fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let found = found.into_data().try_into_vec::<f32>().expect("f32");
    let expected = expected.into_data().try_into_vec::<f32>().expect("f32");
    let scale = expected.iter().fold(1e-3f32, |scale, x| scale.max(x.abs()));
    for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= TOLERANCE * scale,
            "{what}: {found} is not {expected} at {place}"
        );
    }
}
