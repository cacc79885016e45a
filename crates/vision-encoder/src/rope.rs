//! Rotary embedding of two dimensions: half of a head's angles come from a patch's row, half from its column.
//!
//! `q' = q cos(a) + rotate(q) sin(a)`, `rotate(q) = (-q[h/2..], q[..h/2])`, with the angles
//! `a = (row / theta^(4i/h), column / theta^(4i/h))`, `i < h/4`, used for both halves of a head.
//!
//! Axes: `N` patches, `h` head width.

use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::{
    config::VisionEncoderConfig,
    error::VisionError,
    input::Grid,
    window::{Arrangement, check_grid},
};

/// Base of the angles' frequencies.
const THETA: f32 = 10_000.0;

/// The rotary angles of patches.
#[derive(Debug, Clone)]
pub(crate) struct VisionRope {
    /// Angles per row or column, `h / 4` of them.
    frequencies: Vec<f32>,
    merge: usize,
}

/// Cosines and sines of the patches of one call, in the order of an [`Arrangement`].
#[derive(Debug, Clone)]
pub(crate) struct RopeTable {
    /// `[N, h / 2]`, float32.
    pub(crate) cos: Tensor<2>,
    /// `[N, h / 2]`, float32.
    pub(crate) sin: Tensor<2>,
}

impl VisionEncoderConfig {
    /// The rotary angles of all patches of a grid, `[t * h * w, head width / 2]` in row-major order: half of them
    /// turn with the patch's row, half with its column.
    ///
    /// # Errors
    ///
    /// As [`tokens`](Self::tokens).
    pub fn rotary_angles(&self, grid: Grid) -> Result<Vec<f32>, VisionError> {
        check_grid(self, 0, grid)?;
        Ok(VisionRope::new(self.d_head(), self.merge_size).angles(grid))
    }
}

impl VisionRope {
    /// The angles of heads of width `d_head` for patches of which squares of `merge` times `merge` follow each other.
    pub(crate) fn new(d_head: usize, merge: usize) -> Self {
        let half = d_head / 2;
        let frequencies = (0..half / 2)
            .map(|i| 1.0 / THETA.powf((2 * i) as f32 / half as f32))
            .collect();
        Self { frequencies, merge }
    }

    /// The angles of all patches of a grid that the encoder takes.
    fn angles(&self, grid: Grid) -> Vec<f32> {
        let merge = self.merge;
        let mut frame = Vec::with_capacity(grid.h * grid.w * 2 * self.frequencies.len());
        for top in (0..grid.h).step_by(merge) {
            for left in (0..grid.w).step_by(merge) {
                for row in top..top + merge {
                    for column in left..left + merge {
                        for position in [row, column] {
                            let position = position as f32;
                            frame.extend(self.frequencies.iter().map(|f| position * f));
                        }
                    }
                }
            }
        }
        frame.repeat(grid.t)
    }

    /// The table of the patches of `grids` in the order of `arrangement`.
    pub(crate) fn table(
        &self,
        grids: &[Grid],
        arrangement: &Arrangement,
        device: &Device,
    ) -> RopeTable {
        let width = 2 * self.frequencies.len();
        let merged = self.merge * self.merge * width;
        let angles: Vec<f32> = grids.iter().flat_map(|&grid| self.angles(grid)).collect();
        let of = |function: fn(f32) -> f32| {
            let mut values = Vec::with_capacity(angles.len());
            for &token in &arrangement.order {
                let angles = &angles[token * merged..][..merged];
                values.extend(angles.iter().map(|&angle| function(angle)));
            }
            let data = TensorData::new(values, [angles.len() / width, width]);
            Tensor::from_data(data, (device, DType::F32))
        };
        RopeTable {
            cos: of(f32::cos),
            sin: of(f32::sin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_turns_by_its_row_and_its_column() {
        // Heads of 8 have two frequencies, 1 and 1 / 100; patch 6 of 2 x 4 is the third of the second square.
        let angles = VisionRope::new(8, 2).angles(Grid { t: 2, h: 2, w: 4 });
        assert_eq!(angles.len(), 2 * 8 * 4);
        assert_eq!(&angles[6 * 4..7 * 4], &[1.0, 0.01, 2.0, 0.02]);
        assert_eq!(angles[..32], angles[32..]);
    }
}
