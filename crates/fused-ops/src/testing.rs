//! What the tests share: devices, numbers, and the comparison with the tensor API, gradients included.

use burn::tensor::{Device, Tensor, TensorData};

/// Largest difference, as a part of the largest value: both sides sum hundreds of float32 in their own order.
const TOLERANCE: f32 = 5e-6;

/// The CPU: outside graphs, in a graph, and in one with gradient checkpointing.
pub(crate) fn devices() -> [Device; 3] {
    let device = Device::flex();
    [
        device.clone(),
        device.clone().autodiff(),
        device.autodiff().gradient_checkpointing(),
    ]
}

/// Numbers between -1 and 1 that depend on `seed`.
pub(crate) fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
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

pub(crate) fn assert_same<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    assert_eq!(found.dims(), expected.dims());
    let found = found.into_data().try_into_vec::<f32>().expect("f32");
    let expected = expected.into_data().try_into_vec::<f32>().expect("f32");
    let scale = expected.iter().fold(1e-3f32, |scale, x| scale.max(x.abs()));
    for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= TOLERANCE * scale,
            "{found} is not {expected} at {place}"
        );
    }
}

/// Compares values and, on a device that records, the gradients of all operands of a weighted sum of the values.
pub(crate) fn assert_same_with_gradients<const N: usize, const I: usize, const O: usize>(
    operands: [Tensor<I>; N],
    device: &Device,
    found: impl Fn([Tensor<I>; N]) -> Tensor<O>,
    expected: impl Fn([Tensor<I>; N]) -> Tensor<O>,
) {
    let run = |f: &dyn Fn([Tensor<I>; N]) -> Tensor<O>| {
        let operands = operands.clone().map(|operand| {
            let operand = Tensor::from_data(operand.into_data(), device);
            if device.is_autodiff() {
                operand.require_grad()
            } else {
                operand
            }
        });
        let value = f(operands.clone());
        let gradients = device.is_autodiff().then(|| {
            let weights = Tensor::from_data(random(value.dims(), 99).into_data(), device);
            let gradients = (value.clone() * weights).sum().backward();
            operands.map(|operand| operand.grad(&gradients).expect("a gradient"))
        });
        (value, gradients)
    };
    let (value, gradients) = run(&found);
    let (expected_value, expected_gradients) = run(&expected);
    assert_same(value, expected_value);
    for (found, expected) in gradients
        .into_iter()
        .flatten()
        .zip(expected_gradients.into_iter().flatten())
    {
        assert_same(found, expected);
    }
}
