//! Weights as they lie in memory, and how they become float32.

use burn::tensor::{bf16, f16};

use super::prefetch::prefetch;
use crate::tiles::Source;

/// Weights, `[K, N]` row by row.
pub(super) trait Stored: Source {
    /// Asks the memory for `count` values of row `k` from column `first` on, which are read soon.
    fn prefetch(self, k: usize, first: usize, count: usize);
}

/// Numbers of 16 or 32 bits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floats<'a, E> {
    pub(super) values: &'a [E],
    pub(super) columns: usize,
}

/// Whole numbers of 8 bits; those of a block share a scale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scaled<'a> {
    pub(super) values: &'a [i8],
    pub(super) columns: usize,
    /// One for each block, row of blocks by row of blocks.
    pub(super) scales: &'a [f32],
    /// Rows and columns of a block.
    pub(super) block: [usize; 2],
}

/// A number that float32 holds.
pub(super) trait Widened: Copy + Sync {
    /// The number, without branches, so that a loop of it becomes vectors.
    fn widened(self) -> f32;
}

impl Widened for f32 {
    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }
}

impl Widened for bf16 {
    #[inline(always)]
    fn widened(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Widened for f16 {
    /// Exponent and fraction move to their places in float32, then a power of two mends the exponent, of subnormal numbers too.
    #[inline(always)]
    fn widened(self) -> f32 {
        /// 2^112: the difference of the exponents' biases.
        const MEND: f32 = f32::from_bits((127 + 112) << 23);
        /// Below this are numbers, from it on infinity and what is no number.
        const INFINITY: u32 = 0x7C00;
        let bits = u32::from(self.to_bits());
        let magnitude = bits & 0x7FFF;
        let number = f32::from_bits(magnitude << 13) * MEND;
        let special = f32::from_bits((magnitude << 13) | 0x7F80_0000);
        let value = if magnitude < INFINITY {
            number
        } else {
            special
        };
        f32::from_bits(value.to_bits() | (bits & 0x8000) << 16)
    }
}

impl<E: Widened> Source for Floats<'_, E> {
    #[inline(always)]
    fn read(self, k: usize, first: usize, out: &mut [f32]) {
        let row = &self.values[k * self.columns + first..][..out.len()];
        for (out, value) in out.iter_mut().zip(row) {
            *out = value.widened();
        }
    }
}

impl<E: Widened> Stored for Floats<'_, E> {
    #[inline(always)]
    fn prefetch(self, k: usize, first: usize, count: usize) {
        prefetch(&self.values[k * self.columns + first..][..count]);
    }
}

impl Source for Scaled<'_> {
    #[inline(always)]
    fn read(self, k: usize, first: usize, out: &mut [f32]) {
        let row = &self.values[k * self.columns + first..][..out.len()];
        let [height, width] = self.block;
        let blocks = self.columns / width;
        let scales = &self.scales[k / height * blocks..][..blocks];
        if width == 1 {
            let scales = &scales[first..][..out.len()];
            for ((out, value), scale) in out.iter_mut().zip(row).zip(scales) {
                *out = f32::from(*value) * scale;
            }
            return;
        }
        let mut done = 0;
        while done < out.len() {
            let block = (first + done) / width;
            let end = ((block + 1) * width - first).min(out.len());
            let scale = scales[block];
            for (out, value) in out[done..end].iter_mut().zip(&row[done..end]) {
                *out = f32::from(*value) * scale;
            }
            done = end;
        }
    }
}

impl Stored for Scaled<'_> {
    #[inline(always)]
    fn prefetch(self, k: usize, first: usize, count: usize) {
        prefetch(&self.values[k * self.columns + first..][..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_16_bits_is_widened_as_it_is() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            for (found, expected) in [
                (half.widened(), half.to_f32()),
                (brain.widened(), brain.to_f32()),
            ] {
                let same = found.to_bits() == expected.to_bits();
                assert!(same || found.is_nan() && expected.is_nan(), "{bits:#06x}");
            }
        }
    }

    #[test]
    fn each_number_has_the_scale_of_its_block() {
        let values: Vec<i8> = (-12..12).collect();
        for block in [[1, 1], [4, 1], [2, 1], [4, 6], [2, 3], [1, 6], [1, 2]] {
            let blocks = [4 / block[0], 6 / block[1]];
            let scales: Vec<f32> = (1..=blocks[0] * blocks[1]).map(|s| s as f32).collect();
            let scaled = Scaled {
                values: &values,
                columns: 6,
                scales: &scales,
                block,
            };
            for (k, first, count) in [(0, 0, 6), (3, 1, 4), (2, 5, 1), (1, 2, 4)] {
                let mut out = vec![0.0; count];
                scaled.read(k, first, &mut out);
                for (i, found) in out.into_iter().enumerate() {
                    let (row, column) = (k / block[0], (first + i) / block[1]);
                    let scale = scales[row * blocks[1] + column];
                    let value = f32::from(values[k * 6 + first + i]);
                    assert_eq!(found, value * scale, "{block:?}, row {k}");
                }
            }
        }
    }
}
