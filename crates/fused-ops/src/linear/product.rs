//! The product itself: panels of columns on all threads, in each the rows of the weights a few at a time.
//!
//! ```text
//! for each panel of columns                 one thread
//!   for each part of K
//!     for each chunk of columns             its weights as float32 in the cache
//!       for each tile of rows and columns   sums in registers
//! ```
//!
//! Every sum adds its products in the order of `K`, whatever the sizes of panels and the number of threads.

use pulp::{Simd, WithSimd, bytemuck::cast_slice};
use rayon::prelude::*;

use super::stored::Stored;
use crate::{rows::vectorised, tiles::Size};

/// Sizes of panels and their parts: what is in use at a time stays in a core's cache.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    /// Columns of a panel.
    panel: usize,
    /// Columns of a chunk, and rows of the weights in it.
    chunk: [usize; 2],
}

/// Rows up to which a product waits for its weights: then they are read in a few long streams.
pub(super) const FEW: usize = 4;
/// A panel's width is a multiple of this: a whole number of the widest tiles.
const GRAIN: usize = 64;

/// `input`, `[M, K]`, times weights, `[K, N]`, plus `bias`, `[N]`.
pub(super) fn multiply<W: Stored>(
    input: &[f32],
    weights: W,
    size: Size,
    bias: Option<&[f32]>,
) -> Vec<Panel> {
    let Size {
        rows,
        depth,
        columns,
    } = size;
    let sizes = Sizes::of(rows, columns);
    let firsts: Vec<usize> = (0..columns).step_by(sizes.panel).collect();
    let panel = |first: usize| {
        let width = sizes.panel.min(columns - first);
        let mut panel = Panel {
            first,
            width,
            stride: width.next_multiple_of(GRAIN),
            sums: Vec::new(),
        };
        panel.sums = vec![0.0; rows * panel.stride];
        vectorised(Part {
            input,
            weights,
            depth,
            chunk: sizes.chunk,
            panel: &mut panel,
        });
        if let Some(bias) = bias {
            let bias = &bias[first..first + width];
            for row in panel.sums.chunks_exact_mut(panel.stride) {
                row.iter_mut()
                    .zip(bias)
                    .for_each(|(sum, bias)| *sum += bias);
            }
        }
        panel
    };
    firsts.into_par_iter().map(panel).collect()
}

/// Some columns of the output.
#[derive(Debug)]
pub(super) struct Panel {
    /// The first of them.
    pub(super) first: usize,
    /// Their number.
    pub(super) width: usize,
    /// From one row to the next.
    stride: usize,
    sums: Vec<f32>,
}

impl Panel {
    /// The values of a row.
    pub(super) fn row(&self, m: usize) -> &[f32] {
        &self.sums[m * self.stride..][..self.width]
    }
}

impl Sizes {
    fn of(rows: usize, columns: usize) -> Self {
        let (most, chunk) = if rows <= FEW {
            (1024, [GRAIN, 8])
        } else {
            (128, [128, 128])
        };
        let share = columns.div_ceil(2 * rayon::current_num_threads());
        Self {
            panel: share.next_multiple_of(GRAIN).min(most),
            chunk,
        }
    }
}

/// The sums of a panel.
struct Part<'a, W> {
    input: &'a [f32],
    weights: W,
    depth: usize,
    /// As in [`Sizes`].
    chunk: [usize; 2],
    panel: &'a mut Panel,
}

impl<W: Stored> WithSimd for Part<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Panel {
            first,
            width,
            stride,
            sums,
        } = self.panel;
        let (first, width, stride) = (*first, *width, *stride);
        let rows = sums.len() / stride;
        let [most, step] = self.chunk;
        // What stands behind the last column is added up, and never looked at.
        let mut cached = vec![0.0f32; step * most];
        for start in (0..self.depth).step_by(step) {
            let step = step.min(self.depth - start);
            for column in (0..stride).step_by(most) {
                let pitch = most.min(stride - column);
                let real = pitch.min(width - column);
                for (k, row) in cached.chunks_exact_mut(pitch).take(step).enumerate() {
                    let next = start + step + k;
                    if next < self.depth {
                        self.weights.prefetch(next, first + column, real);
                    }
                    self.weights
                        .read(start + k, first + column, &mut row[..real]);
                }
                let tiles = Tiles {
                    input: &self.input[start..],
                    depth: self.depth,
                    weights: &cached[..step * pitch],
                    pitch,
                    column,
                    stride,
                };
                let mut row = 0;
                while row < rows {
                    // Sums, vectors of the weights and an input fill the registers.
                    row += match (rows - row, S::REGISTER_COUNT) {
                        (6.., 32..) => tiles.run::<S, 6, 4>(simd, row, sums),
                        (4.., 32..) => tiles.run::<S, 4, 4>(simd, row, sums),
                        (4.., _) => tiles.run::<S, 4, 2>(simd, row, sums),
                        (2.., _) => tiles.run::<S, 2, 4>(simd, row, sums),
                        _ => tiles.run::<S, 1, 4>(simd, row, sums),
                    };
                }
            }
        }
    }
}

/// What the tiles of a chunk read.
struct Tiles<'a> {
    /// Inputs of row 0 from the chunk's beginning on.
    input: &'a [f32],
    /// From one row of the input to the next.
    depth: usize,
    /// A whole number of rows.
    weights: &'a [f32],
    /// From one row of the weights to the next.
    pitch: usize,
    /// The sums' column of the chunk's first one.
    column: usize,
    /// From one row of the sums to the next.
    stride: usize,
}

impl Tiles<'_> {
    /// Adds to the sums of `M` rows, in tiles of `N` vectors; returns `M`.
    // Loops, not closures: a closure is no part of the function that is compiled for the vectors.
    #[allow(clippy::needless_range_loop, clippy::manual_memcpy)]
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        first: usize,
        sums: &mut [f32],
    ) -> usize {
        let step = self.weights.len() / self.pitch;
        let mut inputs = [&self.input[..0]; M];
        for m in 0..M {
            inputs[m] = &self.input[(first + m) * self.depth..][..step];
        }
        let width = N * S::F32_LANES;
        for column in (0..self.pitch).step_by(width) {
            let mut tile = [[simd.splat_f32s(0.0); N]; M];
            for m in 0..M {
                let at = (first + m) * self.stride + self.column + column;
                let (vectors, _) = S::as_simd_f32s(&sums[at..at + width]);
                for n in 0..N {
                    tile[m][n] = vectors[n];
                }
            }
            for (k, row) in self.weights.chunks_exact(self.pitch).enumerate() {
                let (vectors, _) = S::as_simd_f32s(&row[column..column + width]);
                for m in 0..M {
                    let input = simd.splat_f32s(inputs[m][k]);
                    for n in 0..N {
                        tile[m][n] = simd.mul_add_e_f32s(input, vectors[n], tile[m][n]);
                    }
                }
            }
            // In memory of their own: the sums would leave the registers if they were read from where they are added up.
            let zero = simd.splat_f32s(0.0);
            let mut done = [[zero; N]; M];
            for m in 0..M {
                for n in 0..N {
                    done[m][n] = simd.add_f32s(tile[m][n], zero);
                }
            }
            for m in 0..M {
                let at = (first + m) * self.stride + self.column + column;
                sums[at..at + width].copy_from_slice(cast_slice(&done[m]));
            }
        }
        M
    }
}
