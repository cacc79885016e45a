//! Weights as they lie in memory, and how they become float32.

use super::prefetch::prefetch;
use crate::{number::Number, tiles::Source};

/// Weights, `[K, N]` row by row.
pub(super) trait Stored: Source {
    /// Whether they are float32.
    const PLAIN: bool = false;

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

impl<E: Number> Source for Floats<'_, E> {
    const PARTS: usize = E::PARTS;

    #[inline(always)]
    fn read(self, k: usize, first: usize, out: &mut [f32]) {
        let row = &self.values[k * self.columns + first..][..out.len()];
        for (out, value) in out.iter_mut().zip(row) {
            *out = value.widened();
        }
    }
}

impl<E: Number> Stored for Floats<'_, E> {
    const PLAIN: bool = E::PARTS == 3;

    #[inline(always)]
    fn prefetch(self, k: usize, first: usize, count: usize) {
        prefetch(&self.values[k * self.columns + first..][..count]);
    }
}

impl Source for Scaled<'_> {
    /// As a product of a number and its scale.
    const PARTS: usize = 3;

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
