//! Sums of products of two lists of rows: `out[m][k] += sum_n left[m][n] source[offset[k] + n]`.
//!
//! The gradient of a convolution's weights is such a sum, with the same overlapping rows as the convolution. A tile of sums
//! stays in registers while the rows pass by.

use pulp::{Simd, WithSimd};

/// A correlation to be run.
pub(super) struct Correlation<'a> {
    /// `[M, n]`.
    pub(super) left: &'a [&'a [f32]],
    pub(super) source: &'a [f32],
    /// Where the row of each `k` begins.
    pub(super) offsets: &'a [usize],
    /// `[M, K]`.
    pub(super) out: &'a mut [f32],
}

impl WithSimd for Correlation<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Sums, and the vectors that make them, fill the registers.
        if S::REGISTER_COUNT >= 32 {
            self.run::<S, 4, 6>(simd);
        } else {
            self.run::<S, 2, 4>(simd);
        }
    }
}

impl Correlation<'_> {
    #[inline(always)]
    fn run<S: Simd, const M: usize, const K: usize>(self, simd: S) {
        let depth = self.offsets.len();
        let (whole, rest) = self.left.as_chunks::<M>();
        let (outs, out_rest) = self.out.split_at_mut(whole.len() * M * depth);
        for (left, out) in whole.iter().zip(outs.chunks_exact_mut(M * depth)) {
            tiles::<S, M, K>(simd, *left, self.source, self.offsets, out);
        }
        for (left, out) in rest.iter().zip(out_rest.chunks_exact_mut(depth)) {
            tiles::<S, 1, K>(simd, [*left], self.source, self.offsets, out);
        }
    }
}

/// All sums of some left rows.
#[inline(always)]
fn tiles<S: Simd, const M: usize, const K: usize>(
    simd: S,
    left: [&[f32]; M],
    source: &[f32],
    offsets: &[usize],
    out: &mut [f32],
) {
    let depth = offsets.len();
    for (tile, offsets) in offsets.chunks(K).enumerate() {
        // A tile that is not full repeats its last row and drops what comes of it.
        let mut rows: [&[f32]; K] = [&[]; K];
        for (k, row) in rows.iter_mut().enumerate() {
            *row = &source[offsets[k.min(offsets.len() - 1)]..];
        }
        let sums = sums::<S, M, K>(simd, left, rows);
        for (out, sums) in out.chunks_exact_mut(depth).zip(&sums) {
            let out = &mut out[tile * K..][..offsets.len()];
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
        }
    }
}

#[inline(always)]
fn sums<S: Simd, const M: usize, const K: usize>(
    simd: S,
    left: [&[f32]; M],
    rows: [&[f32]; K],
) -> [[f32; K]; M] {
    // Loops, not closures: a closure is no part of the function that is compiled for the vectors.
    let n = left[0].len();
    let whole = n / S::F32_LANES;
    let zero = simd.splat_f32s(0.0);
    let mut lefts: [&[S::f32s]; M] = [&[]; M];
    for (vectors, row) in lefts.iter_mut().zip(left) {
        *vectors = &S::as_simd_f32s(row).0[..whole];
    }
    let mut vectors: [&[S::f32s]; K] = [&[]; K];
    for (vectors, row) in vectors.iter_mut().zip(rows) {
        *vectors = &S::as_simd_f32s(&row[..n]).0[..whole];
    }
    let mut sums = [[zero; K]; M];
    for at in 0..whole {
        let mut columns = [zero; K];
        for k in 0..K {
            columns[k] = vectors[k][at];
        }
        for m in 0..M {
            let left = lefts[m][at];
            for k in 0..K {
                sums[m][k] = simd.mul_add_e_f32s(left, columns[k], sums[m][k]);
            }
        }
    }
    let first = whole * S::F32_LANES;
    if first < n {
        let mut columns = [zero; K];
        for k in 0..K {
            columns[k] = simd.partial_load_f32s(&rows[k][first..n]);
        }
        for m in 0..M {
            let left = simd.partial_load_f32s(&left[m][first..]);
            for k in 0..K {
                sums[m][k] = simd.mul_add_e_f32s(left, columns[k], sums[m][k]);
            }
        }
    }
    let mut out = [[0.0; K]; M];
    for m in 0..M {
        for k in 0..K {
            out[m][k] = simd.reduce_sum_f32s(sums[m][k]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use fused_ops::rows::vectorised;

    use super::*;

    #[test]
    fn every_sum_is_over_all_positions_once() {
        for rows in [1, 2, 5, 9] {
            for (n, depth) in [(1, 1), (16, 4), (37, 7), (100, 13)] {
                let values = |seed: usize, n: usize| -> Vec<f32> {
                    (0..n).map(|i| ((i * 7 + seed) % 11) as f32 - 5.0).collect()
                };
                let offsets: Vec<usize> = (0..depth).map(|k| (k * 5) % 9).collect();
                let source = values(3, n + 9);
                let left = values(1, rows * n);
                let lefts: Vec<&[f32]> = left.chunks(n).collect();
                let mut out = vec![100.0; rows * depth];
                vectorised(Correlation {
                    left: &lefts,
                    source: &source,
                    offsets: &offsets,
                    out: &mut out,
                });
                for (m, left) in lefts.iter().enumerate() {
                    for (k, offset) in offsets.iter().enumerate() {
                        let source = &source[*offset..][..n];
                        let sum: f32 = left.iter().zip(source).map(|(a, b)| a * b).sum();
                        assert_eq!(out[m * depth + k], 100.0 + sum, "{rows} rows of {n}");
                    }
                }
            }
        }
    }
}
