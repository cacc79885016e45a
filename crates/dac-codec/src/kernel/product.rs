//! Products of weights and rows that begin anywhere: `out[m][n] = bias[m] + sum_k weight[m][k] source[offset[k] + n]`.
//!
//! A convolution is such a product without a copy of the samples for each tap: the taps' rows overlap. A tile of some
//! outputs by some vectors of positions stays in registers over the whole sum.

use pulp::{Simd, WithSimd, bytemuck::cast_slice};

/// Positions that the widest tile takes, in the widest vectors: so far past its end may a row be read.
pub(super) const OVERRUN: usize = 128;

/// Weights in the order in which tiles read them.
#[derive(Debug)]
pub(super) struct Packed {
    /// Outputs of each tile, then its weights, `[K][outputs]`.
    tiles: Vec<(usize, Vec<f32>)>,
}

/// Where the positions of a product go in the rows of the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Output of position 0; negative ones don't exist.
    pub(super) first: isize,
    /// Outputs from one position to the next.
    pub(super) stride: usize,
}

/// A product to be run.
pub(super) struct Product<'a, 'b> {
    pub(super) weights: &'a Packed,
    /// One per output; zeros where there is none.
    pub(super) bias: Option<&'a [f32]>,
    /// The rows, and [`OVERRUN`] values behind them.
    pub(super) source: &'a [f32],
    /// Where the row of each `k` begins.
    pub(super) offsets: &'a [usize],
    /// Number of positions.
    pub(super) count: usize,
    pub(super) outs: &'a mut [&'b mut [f32]],
    pub(super) place: Place,
}

impl Packed {
    /// Packs `value(m, k)`.
    pub(super) fn new(outputs: usize, depth: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let mut tiles = Vec::new();
        let mut first = 0;
        while first < outputs {
            let size = match outputs - first {
                8.. => 8,
                4.. => 4,
                _ => 1,
            };
            let weights = (0..depth).flat_map(|k| (first..first + size).map(move |m| (m, k)));
            tiles.push((size, weights.map(|(m, k)| value(m, k)).collect()));
            first += size;
        }
        Self { tiles }
    }
}

impl WithSimd for Product<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            weights,
            bias,
            source,
            offsets,
            count,
            outs,
            place,
        } = self;
        let mut first = 0;
        for (size, weights) in &weights.tiles {
            let outs = &mut outs[first..first + size];
            let bias = bias.map(|bias| &bias[first..first + size]);
            let row = Row {
                weights,
                bias,
                source,
                offsets,
                count,
                place,
            };
            // Sums, vectors of the row and a weight fill the registers.
            match (size, S::REGISTER_COUNT) {
                (8, 32..) => row.run::<S, 8, 3>(simd, outs),
                (8, _) => row.run::<S, 8, 1>(simd, outs),
                (4, 32..) => row.run::<S, 4, 6>(simd, outs),
                (4, _) => row.run::<S, 4, 3>(simd, outs),
                _ => row.run::<S, 1, 8>(simd, outs),
            }
            first += size;
        }
    }
}

/// A row of tiles: some outputs, all positions.
struct Row<'a> {
    weights: &'a [f32],
    bias: Option<&'a [f32]>,
    source: &'a [f32],
    offsets: &'a [usize],
    count: usize,
    place: Place,
}

impl Row<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const N: usize>(&self, simd: S, outs: &mut [&mut [f32]]) {
        let (weights, _) = self.weights.as_chunks::<M>();
        let mut bias = [0.0; M];
        if let Some(values) = self.bias {
            bias.copy_from_slice(values);
        }
        // Loops, not closures: a closure is no part of the function that is compiled for the vectors.
        let width = N * S::F32_LANES;
        for start in (0..self.count).step_by(width) {
            let source = &self.source[start..];
            let mut sums = [[simd.splat_f32s(0.0); N]; M];
            for (offset, weights) in self.offsets.iter().zip(weights) {
                let (vectors, _) = S::as_simd_f32s(&source[*offset..][..width]);
                for m in 0..M {
                    let weight = simd.splat_f32s(weights[m]);
                    for n in 0..N {
                        sums[m][n] = simd.mul_add_e_f32s(weight, vectors[n], sums[m][n]);
                    }
                }
            }
            // In memory of their own: the sums would leave the registers if they were read from where they are added up.
            let mut done = [[simd.splat_f32s(0.0); N]; M];
            for m in 0..M {
                let bias = simd.splat_f32s(bias[m]);
                for n in 0..N {
                    done[m][n] = simd.add_f32s(sums[m][n], bias);
                }
            }
            let valid = width.min(self.count - start);
            let whole = valid == width && self.place.first == 0 && self.place.stride == 1;
            for (out, done) in outs.iter_mut().zip(&done) {
                let done: &[f32] = cast_slice(done);
                // A copy of a size that is known here is a few vectors.
                match out.get_mut(start..start + done.len()) {
                    Some(out) if whole => out.copy_from_slice(done),
                    _ => self.place.store(out, start, &done[..valid]),
                }
            }
        }
    }
}

impl Place {
    #[inline(always)]
    fn store(self, out: &mut [f32], start: usize, values: &[f32]) {
        let first = self.first + (start * self.stride) as isize;
        // Positions before the first output.
        let before = (-first).max(0) as usize;
        let skipped = before.div_ceil(self.stride).min(values.len());
        let first = (first + (skipped * self.stride) as isize) as usize;
        let values = &values[skipped..];
        let Some(out) = out.get_mut(first..) else {
            return;
        };
        if self.stride == 1 {
            let n = values.len().min(out.len());
            out[..n].copy_from_slice(&values[..n]);
        } else {
            let outs = out.iter_mut().step_by(self.stride);
            outs.zip(values).for_each(|(out, value)| *out = *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use fused_ops::rows::vectorised;

    use super::*;

    #[test]
    fn every_tile_sums_its_rows_and_stores_them_in_place() {
        for outputs in [1, 3, 4, 8, 15] {
            for count in [1, 17, 48, 200] {
                let offsets = [3, 0, 7];
                let source: Vec<f32> = (0..count + 7 + OVERRUN).map(|i| (i % 13) as f32).collect();
                let weight = |m: usize, k: usize| (m + 2 * k) as f32 - 3.0;
                let bias: Vec<f32> = (0..outputs).map(|m| m as f32).collect();
                let value = |m: usize, n: usize| {
                    let terms = (0..3).map(|k| weight(m, k) * source[offsets[k] + n]);
                    bias[m] + terms.sum::<f32>()
                };
                for (first, stride) in [(0, 1), (-2, 1), (1, 3), (-4, 3)] {
                    let mut out = vec![-1e9; outputs * count * stride];
                    let mut outs: Vec<&mut [f32]> = out.chunks_mut(count * stride).collect();
                    vectorised(Product {
                        weights: &Packed::new(outputs, 3, weight),
                        bias: Some(&bias),
                        source: &source,
                        offsets: &offsets,
                        count,
                        outs: &mut outs,
                        place: Place { first, stride },
                    });
                    let mut expected = vec![-1e9; outputs * count * stride];
                    for (m, row) in expected.chunks_mut(count * stride).enumerate() {
                        for n in 0..count {
                            let at = first + (n * stride) as isize;
                            if let Some(to) =
                                usize::try_from(at).ok().and_then(|at| row.get_mut(at))
                            {
                                *to = value(m, n);
                            }
                        }
                    }
                    // Whole numbers: any order of the sums is exact.
                    assert_eq!(out, expected, "{outputs} outputs, {count} positions");
                }
            }
        }
    }
}
