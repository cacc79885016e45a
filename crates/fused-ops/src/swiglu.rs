//! The gate of a SwiGLU block.
//!
//! `Y = silu(G) * U` with `silu(g) = g / (1 + e^-g)` (Shazeer, arXiv:2002.05202).

use burn::tensor::{Tensor, activation::silu};

/// `silu(gate) * up`.
///
/// # Shapes
///
/// - gate, up, output: the same
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::swiglu(&gate, &up) {
        return y;
    }
    portable(gate, up)
}

fn portable<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::Flex,
        tensor::{DType, Tensor, bf16, f16},
    };
    use burn_flex::FlexTensor;
    use rayon::prelude::*;

    use crate::{
        arithmetic::sigmoid,
        graph::{Fused, Operand, apply, memory, own, values, zeros},
        number::Number,
        rows::{SPLIT, each_row, each_row_of_two, vectorised},
    };

    pub(super) fn swiglu<const D: usize>(gate: &Tensor<D>, up: &Tensor<D>) -> Option<Tensor<D>> {
        if gate.dims() != up.dims() {
            return None;
        }
        match (gate.dtype(), up.dtype()) {
            (DType::BF16, DType::BF16) => narrow::<bf16, D>(gate, up),
            (DType::F16, DType::F16) => narrow::<f16, D>(gate, up),
            _ => Some(apply(SwiGlu, [Operand::of(gate)?, Operand::of(up)?])),
        }
    }

    /// The value in 16 bits, where nothing is recorded.
    fn narrow<E: Number, const D: usize>(gate: &Tensor<D>, up: &Tensor<D>) -> Option<Tensor<D>> {
        let (gate, up) = (memory(gate)?, memory(up)?);
        let mut output = FlexTensor::empty(gate.layout().shape().clone(), gate.dtype());
        let (gate, up) = (gate.as_slice::<E>()?, up.as_slice::<E>()?);
        let parts = gate.par_chunks(BLOCK).zip(up.par_chunks(BLOCK));
        let outs = output.storage_mut::<E>().par_chunks_mut(BLOCK);
        outs.zip(parts).for_each(|(out, (gate, up))| {
            vectorised(|| {
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    let gate = gate.widened();
                    *out = E::narrowed(gate * sigmoid(gate) * up.widened());
                }
            });
        });
        Some(Tensor::from_primitive::<Flex>(output))
    }

    #[derive(Debug, Clone)]
    struct SwiGlu;

    impl Fused<2> for SwiGlu {
        type Saved = [FlexTensor; 2];

        fn forward(&self, operands: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
            let [gate, up] = operands.each_ref().map(values);
            let mut out = zeros(operands[0].layout().shape());
            blocks(out.storage_mut(), |start, out| {
                let (gate, up) = (&gate[start..], &up[start..]);
                for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                    *out = gate * sigmoid(*gate) * up;
                }
            });
            (out, operands)
        }

        /// `dG = dY * U * (s + g s (1 - s))` and `dU = dY * g s`, with `s` the sigmoid of `g`.
        fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; 2] {
            let [gate, up] = saved.each_ref().map(values);
            let mut for_gate = zeros(saved[0].layout().shape());
            // The gradient of `up` stands where that of the output stood.
            let mut for_up = own(gradient);
            let whole = for_up.layout().num_elements() / BLOCK * BLOCK;
            let (a, a_rest) = for_gate.storage_mut::<f32>().split_at_mut(whole);
            let (b, b_rest) = for_up.storage_mut::<f32>().split_at_mut(whole);
            let f = |start: usize, for_gate: &mut [f32], for_up: &mut [f32]| {
                let (gate, up) = (&gate[start..], &up[start..]);
                let outputs = for_gate.iter_mut().zip(for_up);
                for ((for_gate, for_up), (gate, up)) in outputs.zip(gate.iter().zip(up)) {
                    let s = sigmoid(*gate);
                    let silu = gate * s;
                    *for_gate = *for_up * up * (s + silu * (1.0 - s));
                    *for_up *= silu;
                }
            };
            each_row_of_two([a, b], [BLOCK; 2], BLOCK, |row, a, b| f(row * BLOCK, a, b));
            f(whole, a_rest, b_rest);
            [for_gate, for_up]
        }
    }

    /// Values that are handled at a time.
    const BLOCK: usize = SPLIT / 4;

    /// Calls `f(start, values)` for blocks of the memory.
    fn blocks(out: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        let (blocks, rest) = out.split_at_mut(out.len() / BLOCK * BLOCK);
        let start = blocks.len();
        each_row(blocks, BLOCK, BLOCK, |row, out| f(row * BLOCK, out));
        f(start, rest);
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::testing::{assert_same_with_gradients, devices, random};

    #[test]
    fn the_gate_and_its_gradients_equal_the_portable_ones_even_far_out() {
        for device in devices() {
            for shape in [[1, 1], [3, 37], [70, 301]] {
                let (gate, up) = (random(shape, 1) * 20.0, random(shape, 2));
                assert_same_with_gradients(
                    [gate, up],
                    &device,
                    |[gate, up]| swiglu(gate, up),
                    |[gate, up]| portable(gate, up),
                );
            }
        }
    }

    #[test]
    fn numbers_of_16_bits_are_the_float32_ones_rounded() {
        for dtype in [DType::BF16, DType::F16] {
            for length in [1, 5_000, 20_001] {
                let (gate, up) = (random([length], 1) * 9.0, random([length], 2));
                let (gate, up) = (gate.cast(dtype), up.cast(dtype));
                let found = swiglu(gate.clone(), up.clone());
                let exact = portable(gate.cast(DType::F32), up.cast(DType::F32));
                assert_eq!(found.dtype(), dtype);
                let found = found.cast(DType::F32);
                let error = (found - exact.clone()).abs() / (exact.abs() + 1e-2);
                assert!(error.max().into_scalar::<f32>() < 1.0 / 256.0);
            }
        }
    }

    #[test]
    fn views_are_handled() {
        let (gate, up) = (random([8, 6], 1), random([6, 8], 2).swap_dims(0, 1));
        let found = swiglu(gate.clone().narrow(0, 2, 5), up.clone().narrow(0, 1, 5));
        let expected = portable(gate.narrow(0, 2, 5), up.narrow(0, 1, 5));
        crate::testing::assert_same(found, expected);
    }
}
