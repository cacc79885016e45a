//! What the tiles read.

/// Rows of numbers that lie anywhere.
pub(crate) trait Source: Copy + Sync {
    /// How many bfloat16 it takes to hold one of them: one, two or three.
    const PARTS: usize;

    /// Writes the values of row `k` from column `first` on to `out`.
    fn read(self, k: usize, first: usize, out: &mut [f32]);

    /// The values of column `n` from row `first` on, where they follow each other in memory.
    #[inline(always)]
    fn column(&self, _n: usize, _first: usize, _count: usize) -> Option<&[f32]> {
        None
    }
}

/// A matrix in float32, row by row or column by column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    /// From one row to the next, and from one column to the next: one of them is 1.
    pub(crate) strides: [usize; 2],
}

impl Source for Matrix<'_> {
    const PARTS: usize = 3;

    #[inline(always)]
    fn read(self, k: usize, first: usize, out: &mut [f32]) {
        let [down, across] = self.strides;
        if across == 1 {
            out.copy_from_slice(&self.values[k * down + first..][..out.len()]);
            return;
        }
        for (n, out) in out.iter_mut().enumerate() {
            *out = self.values[k * down + (first + n) * across];
        }
    }

    #[inline(always)]
    fn column(&self, n: usize, first: usize, count: usize) -> Option<&[f32]> {
        let [down, across] = self.strides;
        (down == 1).then(|| &self.values[n * across + first..][..count])
    }
}
