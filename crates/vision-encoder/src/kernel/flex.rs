//! The operations on the CPU: one pass over the memory each, on all threads.

use burn::{
    backend::Flex,
    nn::RmsNorm,
    tensor::{DType, Shape, Tensor},
};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{Heads, exp::exp};
use crate::rope::RopeTable;

/// Values that a thread takes at a time.
const SPLIT: usize = 1 << 14;

/// The tensor's memory, where it is the CPU's, float32 and not part of a graph.
fn memory<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.dtype() != DType::F32 || tensor.device().is_autodiff() {
        return None;
    }
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(tensor.to_contiguous())
}

fn empty<const D: usize>(shape: [usize; D]) -> FlexTensor {
    FlexTensor::empty(Shape::from(shape), DType::F32)
}

pub(super) fn rms_norm(x: &Tensor<2>, norm: &RmsNorm) -> Option<Tensor<2>> {
    let [patches, width] = x.dims();
    if patches * width == 0 {
        return None;
    }
    let (x, gamma) = (memory(x)?, memory(&norm.gamma.val())?);
    let (x, gamma) = (x.as_slice::<f32>()?, gamma.as_slice::<f32>()?);
    let epsilon = norm.epsilon as f32;
    let mut out = empty([patches, width]);
    out.storage_mut::<f32>()
        .par_chunks_mut(width)
        .zip(x.par_chunks(width))
        .with_min_len(SPLIT.div_ceil(width))
        .for_each(|(out, x)| {
            let scale = 1.0 / (sum_of_squares(x) / width as f32 + epsilon).sqrt();
            for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
                *out = x * scale * gamma;
            }
        });
    Some(Tensor::from_primitive::<Flex>(out))
}

/// Sixteen sums side by side, which is as many as a vector register may hold.
fn sum_of_squares(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *sum += x * x;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

pub(super) fn split_heads(qkv: &Tensor<2>, rope: &RopeTable, n_heads: usize) -> Option<Heads> {
    let [patches, wide] = qkv.dims();
    let (d_model, d_head) = (wide / 3, wide / 3 / n_heads);
    let half = d_head / 2;
    if patches * half == 0 {
        return None;
    }
    let (qkv, cos, sin) = (memory(qkv)?, memory(&rope.cos)?, memory(&rope.sin)?);
    let qkv = qkv.as_slice::<f32>()?;
    let (cos, sin) = (cos.as_slice::<f32>()?, sin.as_slice::<f32>()?);
    let turned = |part: usize, factor: f32| {
        let mut out = empty([patches, n_heads, d_head]);
        out.storage_mut::<f32>()
            .par_chunks_mut(d_model)
            .enumerate()
            .with_min_len(SPLIT.div_ceil(d_model))
            .for_each(|(patch, out)| {
                let x = &qkv[patch * wide + part * d_model..][..d_model];
                let cos = &cos[patch * half..][..half];
                let sin = &sin[patch * half..][..half];
                for (out, x) in out.chunks_exact_mut(d_head).zip(x.chunks_exact(d_head)) {
                    turn(x, cos, sin, factor, out);
                }
            });
        Tensor::from_primitive::<Flex>(out)
    };
    let mut v = empty([patches, n_heads, d_head]);
    v.storage_mut::<f32>()
        .par_chunks_mut(d_model)
        .zip(qkv.par_chunks(wide))
        .with_min_len(SPLIT.div_ceil(d_model))
        .for_each(|(out, qkv)| out.copy_from_slice(&qkv[2 * d_model..]));
    Some(Heads {
        q: turned(0, (d_head as f32).powf(-0.5)),
        k: turned(1, 1.0),
        v: Tensor::from_primitive::<Flex>(v),
    })
}

/// Rotates one head and multiplies it by `factor`.
fn turn(x: &[f32], cos: &[f32], sin: &[f32], factor: f32, out: &mut [f32]) {
    let half = cos.len();
    let (low, high) = x.split_at(half);
    let (out_low, out_high) = out.split_at_mut(half);
    for i in 0..half {
        let (cos, sin) = (cos[i] * factor, sin[i] * factor);
        out_low[i] = low[i] * cos - high[i] * sin;
        out_high[i] = high[i] * cos + low[i] * sin;
    }
}

pub(super) fn swiglu(gate: &Tensor<2>, up: &Tensor<2>) -> Option<Tensor<2>> {
    let shape = gate.dims();
    let (gate, up) = (memory(gate)?, memory(up)?);
    let (gate, up) = (gate.as_slice::<f32>()?, up.as_slice::<f32>()?);
    let mut out = empty(shape);
    out.storage_mut::<f32>()
        .par_chunks_mut(SPLIT)
        .zip(gate.par_chunks(SPLIT))
        .zip(up.par_chunks(SPLIT))
        .for_each(|((out, gate), up)| {
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate * up / (1.0 + exp(-gate));
            }
        });
    Some(Tensor::from_primitive::<Flex>(out))
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::RmsNormConfig,
        tensor::{Device, Distribution},
    };

    use super::{super::portable, *};

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 3.0), &Device::flex())
    }

    fn assert_same<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
        assert_eq!(found.dims(), expected.dims());
        let scale = expected.clone().abs().max().into_scalar::<f32>();
        let error = (found - expected).abs().max().into_scalar::<f32>();
        assert!(error <= 1e-6 * scale, "off by {error} of {scale}");
    }

    #[test]
    fn the_norm_equals_the_portable_one() {
        for shape in [[1, 3], [7, 37], [300, 80]] {
            let mut norm = RmsNormConfig::new(shape[1]).init(&Device::flex());
            norm.gamma = norm.gamma.map(|gamma| gamma + random([shape[1]]));
            let x = random(shape);
            let found = rms_norm(&x, &norm).expect("the CPU");
            assert_same(found, portable::rms_norm(x, &norm));
        }
    }

    #[test]
    fn heads_equal_the_portable_ones() {
        for (patches, heads, width) in [(1, 1, 4), (5, 3, 12), (400, 2, 80)] {
            let rope = RopeTable {
                cos: random([patches, width / 2]),
                sin: random([patches, width / 2]),
            };
            let qkv = random([patches, 3 * heads * width]);
            let found = split_heads(&qkv, &rope, heads).expect("the CPU");
            let expected = portable::split_heads(qkv, &rope, heads);
            assert_same(found.q, expected.q);
            assert_same(found.k, expected.k);
            assert_same(found.v, expected.v);
        }
    }

    #[test]
    fn the_gate_equals_the_portable_one_even_far_out() {
        let (gate, up) = (random([70, 301]) * 30.0, random([70, 301]));
        let found = swiglu(&gate, &up).expect("the CPU");
        assert_same(found, portable::swiglu(gate, up));
    }

    #[test]
    fn graphs_and_views_are_handled() {
        let (gate, up) = (random([8, 6]), random([6, 8]).swap_dims(0, 1));
        assert!(swiglu(&gate.clone().autodiff(), &up.clone().autodiff()).is_none());
        let found = swiglu(&gate, &up).expect("the CPU");
        assert_same(found, portable::swiglu(gate, up));
    }
}
