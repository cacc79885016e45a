//! The convolutions' sums on the CPU, over tasks of bounded memory.
//!
//! With stride `s`, dilation `d` and padding `p` three sums make a convolution, a transposed one, and the gradients of both:
//!
//! - [`gather`]: `y[m, l] = b[m] + sum_{c,t} w[m, c, t] x[c, l s + t d - p]`
//! - [`scatter`]: `y[m, q s + t d - p] += sum_c w[c, m, t] x[c, q]` over all `q` and `t`, from `b[m]` on
//! - [`correlate`]: `w[m, c, t] = sum_{b,l} y[b, m, l] x[b, c, l s + t d - p]`
//!
//! No sum depends on the number of threads.

use std::cell::RefCell;

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use fused_ops::{
    graph::{values, zeros},
    rows::vectorised,
};
use rayon::prelude::*;

use super::{
    correlation::Correlation,
    product::{OVERRUN, Packed, Place, Product},
    window::Window,
};

/// Parts of a batch whose sums are made side by side, for any number of threads.
const PARTS: usize = 8;

/// The batch, channels and samples of a signal.
pub(super) fn sizes(signal: &FlexTensor) -> [usize; 3] {
    let shape = signal.layout().shape();
    [shape[0], shape[1], shape[2]]
}

/// A convolution of `x`, `[B, C, L]`, with `weight`, `[M, C, taps]`, to `outputs` outputs.
pub(super) fn gather(
    window: Window,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    outputs: usize,
) -> FlexTensor {
    let [batch, channels, _] = sizes(x);
    let [rows, _, taps] = sizes(weight);
    let depth = channels * taps;
    let kernel = values(weight);
    let weights = Packed::new(rows, depth, |m, k| kernel[m * depth + k]);
    let bias = bias.map(values);
    let block = window.block(channels);
    let cuts: Vec<usize> = (0..outputs).step_by(block).chain([outputs]).collect();

    let mut out = zeros(&Shape::from([batch, rows, outputs]));
    let signals = values(x).chunks_exact(x.layout().num_elements() / batch);
    each_task(signals, &mut out, &cuts, |x, task, mut outs| {
        let (start, count) = (cuts[task], cuts[task + 1] - cuts[task]);
        with_gathered(window, channels, x, start, count, |source, offsets| {
            vectorised(Product {
                weights: &weights,
                bias,
                source,
                offsets,
                count,
                outs: &mut outs,
                place: Place {
                    first: 0,
                    stride: 1,
                },
            });
        });
    });
    out
}

/// A transposed convolution of `x`, `[B, C, L]`, with `weight`, `[C, M, taps]`, to `outputs` outputs.
pub(super) fn scatter(
    window: Window,
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    outputs: usize,
) -> FlexTensor {
    let [batch, channels, _] = sizes(x);
    let [_, rows, taps] = sizes(weight);
    let kernel = values(weight);
    let phases: Vec<Packed> = (0..window.stride)
        .map(|phase| {
            let taps_of: Vec<usize> = window.taps_of(phase).collect();
            Packed::new(rows, channels * taps_of.len(), |m, k| {
                let (channel, tap) = (k / taps_of.len(), taps_of[k % taps_of.len()]);
                kernel[(channel * rows + m) * taps + tap]
            })
        })
        .collect();
    let bias = bias.map(values);
    // Position `q` makes the outputs `q s - p ..` of all phases.
    let (stride, padding) = (window.stride, window.padding);
    let (first, end) = (padding / stride, (outputs + padding).div_ceil(stride));
    let block = window.block(channels.max(rows));
    let positions: Vec<usize> = (first..end).step_by(block).chain([end]).collect();
    let cuts: Vec<usize> = positions
        .iter()
        .map(|q| (q * stride).saturating_sub(padding).min(outputs))
        .collect();

    let mut out = zeros(&Shape::from([batch, rows, outputs]));
    let signals = values(x).chunks_exact(x.layout().num_elements() / batch);
    each_task(signals, &mut out, &cuts, |x, task, mut outs| {
        let (start, count) = (positions[task], positions[task + 1] - positions[task]);
        let layout = window.scattered(channels, count);
        with_scratch(layout.width * layout.count, |source| {
            let (inside, _) = source.split_at_mut(layout.width * layout.count);
            window.scatter(&layout, x, start, inside);
            for (phase, weights) in phases.iter().enumerate() {
                let offsets: Vec<usize> = (0..channels)
                    .flat_map(|channel| window.taps_of(phase).map(move |tap| (channel, tap)))
                    .map(|(channel, tap)| window.scattered_offset(&layout, channel, tap))
                    .collect();
                let first = (start * stride + phase) as isize - (padding + cuts[task]) as isize;
                vectorised(Product {
                    weights,
                    bias,
                    source,
                    offsets: &offsets,
                    count,
                    outs: &mut outs,
                    place: Place { first, stride },
                });
            }
        });
    });
    out
}

/// The sums over batch and positions of `left`, `[B, M, N]`, and what the taps meet in `x`, `[B, C, L]`:
/// `[M, C, taps]`.
pub(super) fn correlate(window: Window, left: &FlexTensor, x: &FlexTensor) -> FlexTensor {
    let [batch, rows, outputs] = sizes(left);
    let [_, channels, _] = sizes(x);
    let mut out = zeros(&Shape::from([rows, channels, window.taps]));
    let total = out.storage_mut::<f32>();
    let block = window.block(channels);
    let part = batch.div_ceil(PARTS);
    let (lefts, signals) = (values(left), values(x));
    let parts: Vec<Vec<f32>> = lefts
        .par_chunks(part * lefts.len() / batch)
        .zip(signals.par_chunks(part * signals.len() / batch))
        .map(|(lefts, signals)| {
            let mut sums = vec![0.0; total.len()];
            let lefts = lefts.chunks_exact(rows * outputs);
            let signals = signals.chunks_exact(signals.len() / lefts.len());
            for (left, x) in lefts.zip(signals) {
                for start in (0..outputs).step_by(block) {
                    let count = block.min(outputs - start);
                    let left: Vec<&[f32]> = left
                        .chunks_exact(outputs)
                        .map(|row| &row[start..start + count])
                        .collect();
                    with_gathered(window, channels, x, start, count, |source, offsets| {
                        vectorised(Correlation {
                            left: &left,
                            source,
                            offsets,
                            out: &mut sums,
                        });
                    });
                }
            }
            sums
        })
        .collect();
    for part in parts {
        total.iter_mut().zip(part).for_each(|(to, sum)| *to += sum);
    }
    out
}

/// The sums over batch and samples, `[C]`.
pub(super) fn channel_sums(signal: &FlexTensor) -> FlexTensor {
    let [_, channels, length] = sizes(signal);
    let sums: Vec<f32> = values(signal)
        .par_chunks(length)
        .map(|row| {
            let (lanes, rest) = row.as_chunks::<16>();
            let mut sums = [0.0; 16];
            for lane in lanes {
                sums.iter_mut().zip(lane).for_each(|(sum, x)| *sum += x);
            }
            sums.iter().chain(rest).sum::<f32>()
        })
        .collect();
    let mut out = zeros(&Shape::from([channels]));
    for (channel, total) in out.storage_mut::<f32>().iter_mut().enumerate() {
        let rows = sums.iter().skip(channel).step_by(channels);
        *total = rows.map(|sum| f64::from(*sum)).sum::<f64>() as f32;
    }
    out
}

/// Calls `f` with the gathered rows of outputs `start..start + count` and where each channel's taps begin in them.
fn with_gathered(
    window: Window,
    channels: usize,
    x: &[f32],
    start: usize,
    count: usize,
    f: impl FnOnce(&[f32], &[usize]),
) {
    let layout = window.gathered(channels, count);
    let offsets: Vec<usize> = (0..channels)
        .flat_map(|channel| (0..window.taps).map(move |tap| (channel, tap)))
        .map(|(channel, tap)| window.gathered_offset(&layout, channel, tap))
        .collect();
    with_scratch(layout.width * layout.count, |source| {
        let (inside, _) = source.split_at_mut(layout.width * layout.count);
        window.gather(&layout, x, start, inside);
        f(source, &offsets);
    });
}

/// Calls `f` on all threads with each signal of the batch and, for each stretch between two cuts, those of the output's rows.
fn each_task<'x>(
    signals: impl Iterator<Item = &'x [f32]>,
    out: &mut FlexTensor,
    cuts: &[usize],
    f: impl Fn(&[f32], usize, Vec<&mut [f32]>) + Sync,
) {
    let [_, rows, outputs] = sizes(out);
    let mut tasks = Vec::new();
    let batches = out.storage_mut::<f32>().chunks_exact_mut(rows * outputs);
    for (x, out) in signals.zip(batches) {
        let first = tasks.len();
        let stretches = cuts.len() - 1;
        tasks.extend((0..stretches).map(|task| (x, task, Vec::with_capacity(rows))));
        for mut row in out.chunks_exact_mut(outputs) {
            for (task, cut) in cuts.windows(2).enumerate() {
                let (stretch, rest) = row.split_at_mut(cut[1] - cut[0]);
                tasks[first + task].2.push(stretch);
                row = rest;
            }
        }
    }
    tasks
        .into_par_iter()
        .for_each(|(x, task, outs)| f(x, task, outs));
}

thread_local! {
    /// Memory that a thread keeps: taking it anew for each task would fault its pages in each time.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with `size` values and [`OVERRUN`] behind them; what they are is left from before.
fn with_scratch(size: usize, f: impl FnOnce(&mut [f32])) {
    SCRATCH.with_borrow_mut(|scratch| {
        let size = size + OVERRUN;
        if scratch.len() < size {
            scratch.resize(size, 0.0);
        }
        f(&mut scratch[..size]);
    });
}
