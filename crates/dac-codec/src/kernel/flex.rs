//! The operations on the CPU: convolutions as matrix products over pieces of the signal, on all threads.
//!
//! A convolution gathers a piece's columns (`im2col`) and multiplies them by the kernel as it lies in memory,
//! `[C', C * taps]`. A transposed one multiplies first, `[C' * taps, C] x [C, L]`, and then adds the two taps that
//! fall on each output sample. Pieces keep the extra memory small and in the cache.

use burn::{
    backend::{Flex, ops::FloatTensorOps},
    nn::{
        PaddingConfig1d,
        conv::{Conv1d, ConvTranspose1d},
    },
    tensor::{DType, Shape, Tensor},
};
use burn_flex::FlexTensor;
use fused_ops::matrix::multiply;
use rayon::prelude::*;

/// Floats that a piece's extra memory should hold.
const PIECE_FLOATS: usize = 1 << 20;
/// Shortest piece of a convolution, so that each pass over a large kernel is worth it.
const MIN_COLUMNS: usize = 1024;
/// Samples that a thread takes at a time where rows are split.
const SPLIT: usize = 8192;
/// Most output channels for which columns are not worth gathering.
const FEW_CHANNELS: usize = 2;

/// The tensor's memory, where it is the CPU's, float32 and not part of a graph.
fn memory<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.dtype() != DType::F32 || tensor.device().is_autodiff() {
        return None;
    }
    let tensor = tensor.clone().try_into_primitive::<Flex>().ok()?;
    Some(tensor.to_contiguous())
}

fn wrap(tensor: FlexTensor) -> Tensor<3> {
    Tensor::from_primitive::<Flex>(tensor)
}

fn empty(shape: [usize; 3]) -> FlexTensor {
    FlexTensor::empty(Shape::from(shape), DType::F32)
}

/// Where the columns of a convolution lie.
#[derive(Clone, Copy)]
struct Taps {
    count: usize,
    stride: usize,
    dilation: usize,
    padding: usize,
}

impl Taps {
    /// Outputs `first..end` of which `tap` falls on one of `length` samples, and the sample of output `first`.
    fn inside(&self, tap: usize, length: usize, outputs: usize) -> (usize, usize, usize) {
        let shift = tap * self.dilation;
        let first = self
            .padding
            .saturating_sub(shift)
            .div_ceil(self.stride)
            .min(outputs);
        // The largest output whose sample `output * stride + shift - padding` is below `length`.
        let end = (length + self.padding)
            .saturating_sub(shift)
            .div_ceil(self.stride)
            .clamp(first, outputs);
        (
            first,
            end,
            (first * self.stride + shift).saturating_sub(self.padding),
        )
    }
}

pub(super) fn conv1d(x: &Tensor<3>, conv: &Conv1d) -> Option<Tensor<3>> {
    let PaddingConfig1d::Explicit(padding, right) = conv.padding else {
        return None;
    };
    let [b, c, length] = x.dims();
    let [c_out, c_in, count] = conv.weight.dims();
    let taps = Taps {
        count,
        stride: conv.stride,
        dilation: conv.dilation,
        padding,
    };
    let span = taps.dilation * (count - 1) + 1;
    if padding != right || conv.groups != 1 || c != c_in || b == 0 || length + 2 * padding < span {
        return None;
    }
    let outputs = (length + 2 * padding - span) / taps.stride + 1;
    let (x, weight) = (memory(x)?, memory(&conv.weight.val())?);
    let bias = memory(&conv.bias.as_ref()?.val())?;
    let bias = bias.as_slice::<f32>()?;

    if count == 1 && taps.stride == 1 && padding == 0 {
        return Some(pointwise(&x, weight, bias, [b, c_out, length]));
    }
    let mut out = empty([b, c_out, outputs]);
    let source = x.as_slice::<f32>()?;
    if c_out <= FEW_CHANNELS && taps.stride == 1 {
        let kernel = weight.as_slice::<f32>()?;
        for (row, out) in out.storage_mut::<f32>().chunks_mut(outputs).enumerate() {
            let source = &source[row / c_out * c * length..][..c * length];
            let kernel = &kernel[row % c_out * c * count..][..c * count];
            out.par_chunks_mut(SPLIT)
                .enumerate()
                .for_each(|(piece, out)| {
                    direct(
                        source,
                        length,
                        kernel,
                        bias[row % c_out],
                        piece * SPLIT,
                        out,
                        taps,
                    );
                });
        }
        return Some(wrap(out));
    }

    let depth = c * count;
    let weight = weight.reshape(Shape::from([c_out, depth]));
    let pieces = outputs.div_ceil((PIECE_FLOATS / depth).max(MIN_COLUMNS));
    let width = outputs.div_ceil(pieces);
    let mut columns = FlexTensor::empty(Shape::from([depth, width]), DType::F32);
    let block = c_out * outputs;
    for (source, out) in source
        .chunks_exact(c * length)
        .zip(out.storage_mut::<f32>().chunks_exact_mut(block))
    {
        for start in (0..outputs).step_by(width) {
            let n = width.min(outputs - start);
            if n != columns.layout().shape()[1] {
                columns = FlexTensor::empty(Shape::from([depth, n]), DType::F32);
            }
            columns
                .storage_mut::<f32>()
                .par_chunks_mut(n)
                .enumerate()
                .with_min_len((SPLIT / n).max(1))
                .for_each(|(row, column)| {
                    let source = &source[row / count * length..][..length];
                    gather(source, column, row % count, start, taps);
                });
            let product = multiply(weight.clone(), columns.clone());
            let product = product.storage::<f32>();
            out.par_chunks_mut(outputs)
                .zip(product.par_chunks(n))
                .zip(bias.par_iter())
                .for_each(|((out, product), bias)| {
                    for (out, value) in out[start..start + n].iter_mut().zip(product) {
                        *out = value + bias;
                    }
                });
        }
    }
    Some(wrap(out))
}

/// Fills one row of columns: the samples that `tap` meets for outputs `start..`.
fn gather(source: &[f32], column: &mut [f32], tap: usize, start: usize, taps: Taps) {
    let (first, end, sample) = taps.inside(tap, source.len(), start + column.len());
    let low = first.max(start);
    let high = end.max(low);
    let (before, rest) = column.split_at_mut(low - start);
    let (inner, after) = rest.split_at_mut(high - low);
    before.fill(0.0);
    after.fill(0.0);
    if inner.is_empty() {
        return;
    }
    let source = &source[sample + (low - first) * taps.stride..];
    if taps.stride == 1 {
        inner.copy_from_slice(&source[..inner.len()]);
    } else {
        let source = source.iter().step_by(taps.stride);
        inner
            .iter_mut()
            .zip(source)
            .for_each(|(to, from)| *to = *from);
    }
}

/// Outputs `start..` of one channel, added up tap by tap.
fn direct(
    source: &[f32],
    length: usize,
    kernel: &[f32],
    bias: f32,
    start: usize,
    out: &mut [f32],
    taps: Taps,
) {
    out.fill(bias);
    for (channel, kernel) in source
        .chunks_exact(length)
        .zip(kernel.chunks_exact(taps.count))
    {
        for (tap, weight) in kernel.iter().enumerate() {
            let (first, end, sample) = taps.inside(tap, length, start + out.len());
            let (low, high) = (first.max(start), end.max(start));
            if low < high {
                let source = &channel[sample + low - first..];
                let out = &mut out[low - start..high - start];
                for (out, value) in out.iter_mut().zip(source) {
                    *out += weight * value;
                }
            }
        }
    }
}

fn pointwise(x: &FlexTensor, weight: FlexTensor, bias: &[f32], shape: [usize; 3]) -> Tensor<3> {
    let [b, c_out, length] = shape;
    let c_in = weight.layout().shape()[1];
    let mut out = if b == 1 {
        let weight = weight.reshape(Shape::from([c_out, c_in]));
        multiply(weight, x.reshape(Shape::from([c_in, length])))
    } else {
        let weight = weight.reshape(Shape::from([1, c_out, c_in]));
        Flex::float_matmul(weight, x.reshape(Shape::from([b, c_in, length])))
    };
    out = out.reshape(Shape::from([b, c_out, length]));
    out.storage_mut::<f32>()
        .par_chunks_mut(length.max(1))
        .enumerate()
        .for_each(|(row, out)| {
            let bias = bias[row % c_out];
            out.iter_mut().for_each(|value| *value += bias);
        });
    wrap(out)
}

pub(super) fn conv_transpose1d(x: &Tensor<3>, conv: &ConvTranspose1d) -> Option<Tensor<3>> {
    let [b, c, length] = x.dims();
    let [c_in, c_out, count] = conv.weight.dims();
    let (stride, padding) = (conv.stride, conv.padding);
    let plain = conv.groups == 1 && conv.dilation == 1 && conv.padding_out == 0;
    if !plain || count != 2 * stride || c != c_in || b == 0 || length == 0 || padding > stride {
        return None;
    }
    let outputs = (length + 1) * stride - 2 * padding;
    let (x, weight) = (memory(x)?, memory(&conv.weight.val())?);
    let bias = memory(&conv.bias.as_ref()?.val())?;
    let bias = bias.as_slice::<f32>()?;

    let rows = c_out * count;
    // Kernel [C, C', taps] as [C' * taps, C] without moving it.
    let weight = weight.reshape(Shape::from([c, rows])).transpose(0, 1);
    let x = x.reshape(Shape::from([b * c, length]));
    let pieces = (length + 1).div_ceil((PIECE_FLOATS / rows).max(MIN_COLUMNS / 4));
    let width = (length + 1).div_ceil(pieces);
    let mut out = empty([b, c_out, outputs]);
    for (batch, out) in out
        .storage_mut::<f32>()
        .chunks_exact_mut(c_out * outputs)
        .enumerate()
    {
        let x = x.narrow(0, batch * c, c);
        // Position q makes the samples q * stride - padding + (0..stride): from input q by the kernel's first half,
        // from input q - 1 by its second.
        for start in (0..=length).step_by(width) {
            let end = (start + width).min(length + 1);
            let (from, to) = (start.saturating_sub(1), end.min(length));
            let product = multiply(weight.clone(), x.narrow(1, from, to - from));
            let product = product.storage::<f32>();
            let span = to - from;
            out.par_chunks_mut(outputs)
                .zip(product.par_chunks(count * span))
                .zip(bias.par_iter())
                .for_each(|((out, product), bias)| {
                    for phase in 0..stride {
                        let halves =
                            [phase, phase + stride].map(|tap| &product[tap * span..][..span]);
                        let place = Place {
                            start,
                            end,
                            from,
                            stride,
                            offset: phase as isize - padding as isize,
                        };
                        place.add(out, halves, *bias);
                    }
                });
        }
    }
    Some(wrap(out))
}

/// The samples of one phase that positions `start..end` make.
struct Place {
    start: usize,
    end: usize,
    /// The input of the products' first column.
    from: usize,
    stride: usize,
    /// Sample of position 0.
    offset: isize,
}

impl Place {
    /// `out[q * stride + offset] = bias + first[q] + second[q - 1]`, where there is such a sample and input.
    fn add(&self, out: &mut [f32], [first, second]: [&[f32]; 2], bias: f32) {
        let mut write = |q: usize, value: f32| {
            let sample = (q * self.stride) as isize + self.offset;
            if let Some(out) = usize::try_from(sample)
                .ok()
                .and_then(|sample| out.get_mut(sample))
            {
                *out = bias + value;
            }
        };
        let column =
            |half: &[f32], input: usize| half.get(input - self.from).copied().unwrap_or(0.0);
        // The first and the last position may lack an input or a sample; those between lack nothing.
        let inner = (self.start + 1).min(self.end)
            ..self.end.saturating_sub(1).max(self.start + 1).min(self.end);
        let edges = (self.start..inner.start).chain(inner.end..self.end);
        for q in edges {
            let before = if q == 0 { 0.0 } else { column(second, q - 1) };
            write(q, column(first, q) + before);
        }
        if inner.is_empty() {
            return;
        }
        let firsts = &first[inner.start - self.from..inner.end - self.from];
        let seconds = &second[inner.start - 1 - self.from..inner.end - 1 - self.from];
        let sample = (inner.start * self.stride).wrapping_add_signed(self.offset);
        let outs = out[sample..].iter_mut().step_by(self.stride);
        for ((out, first), second) in outs.zip(firsts).zip(seconds) {
            *out = bias + first + second;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        nn::conv::{Conv1dConfig, ConvTranspose1dConfig},
        tensor::{Device, Distribution},
    };

    use super::{super::portable, *};

    fn assert_same(found: Option<Tensor<3>>, expected: Tensor<3>, what: &str) {
        let found = found.expect(what);
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let error = (found - expected).abs().max().into_scalar::<f32>();
        assert!(error < 2e-5, "{what}: off by {error}");
    }

    fn random(shape: [usize; 3]) -> Tensor<3> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    #[test]
    fn convolutions_equal_the_portable_ones() {
        let device = Device::flex();
        // [batch, in, out, taps, stride, dilation, padding, length]; more than one piece in the longest.
        for [b, c, c_out, taps, stride, dilation, padding, length] in [
            [1, 1, 4, 7, 1, 1, 3, 50],
            [2, 5, 3, 7, 1, 9, 27, 40],
            [2, 5, 3, 7, 1, 9, 27, 3],
            [1, 4, 8, 10, 5, 1, 3, 105],
            [3, 4, 8, 4, 2, 1, 1, 64],
            [1, 4, 8, 16, 8, 1, 4, 8],
            [2, 6, 5, 1, 1, 1, 0, 33],
            [2, 6, 1, 7, 1, 1, 3, 20_000],
            [1, 6, 2, 7, 1, 3, 9, 2],
            [1, 300, 3, 7, 1, 3, 9, 6_000],
        ] {
            let conv = Conv1dConfig::new(c, c_out, taps)
                .with_stride(stride)
                .with_dilation(dilation)
                .with_padding(PaddingConfig1d::Explicit(padding, padding))
                .init(&device);
            let x = random([b, c, length]);
            let what = format!("{c} to {c_out} by {taps}, stride {stride}, length {length}");
            assert_same(conv1d(&x, &conv), portable::conv1d(x, &conv), &what);
        }
    }

    #[test]
    fn transposed_convolutions_equal_the_portable_ones() {
        let device = Device::flex();
        for [b, c, c_out, stride, length] in [
            [1, 3, 4, 2, 1],
            [2, 3, 4, 5, 2],
            [2, 6, 3, 8, 7],
            [1, 4, 2, 3, 100],
            [2, 8, 256, 8, 2_500],
        ] {
            let conv = ConvTranspose1dConfig::new([c, c_out], 2 * stride)
                .with_stride(stride)
                .with_padding(stride.div_ceil(2))
                .init(&device);
            let x = random([b, c, length]);
            let what = format!("{c} to {c_out}, stride {stride}, length {length}");
            assert_same(
                conv_transpose1d(&x, &conv),
                portable::conv_transpose1d(x, &conv),
                &what,
            );
        }
    }

    #[test]
    fn graphs_and_views_are_handled() {
        let conv = Conv1dConfig::new(6, 4, 3).init(&Device::flex());
        let x = random([2, 6, 9]);
        assert!(conv1d(&x.clone().autodiff(), &conv).is_none());
        let conv = Conv1dConfig::new(6, 4, 3)
            .with_padding(PaddingConfig1d::Explicit(1, 1))
            .init(&Device::flex());
        let view = x.swap_dims(1, 2).narrow(1, 2, 6);
        assert_same(
            conv1d(&view, &conv),
            portable::conv1d(view, &conv),
            "a view",
        );
    }
}
