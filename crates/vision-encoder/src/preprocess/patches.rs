//! The order of patches: `(t, h/m, w/m, m, m)`, each patch `(channel, frame, row, column)`.
//!
//! With a merge of `m = 2`, the patches of one step are counted
//!
//! ```text
//!  0  1 |  4  5
//!  2  3 |  6  7
//! ------+------
//!  8  9 | 12 13
//! 10 11 | 14 15
//! ```

use image::RgbImage;

use super::{MAX_FRAME, Preprocessor};
use crate::{Bicubic, Grid, PictureError, VisionInput, VisionKind, resize::Resizer};

/// Channels of a picture.
const CHANNELS: usize = 3;

/// Most values of the patches of one step: 1 GiB.
const MAX_STEP: usize = 1 << 28;

/// Where the pixels of frames lie among patches, and what each 8-bit value becomes there.
#[derive(Debug, Clone)]
pub(super) struct PatchOrder {
    /// Frames of a patch.
    pub(super) frames: usize,
    side: usize,
    merge: usize,
    rows: usize,
    columns: usize,
    /// The value of each level, per channel.
    levels: [[f32; 256]; CHANNELS],
}

impl PatchOrder {
    /// The order of `rows` times `columns` patches; the preprocessor's settings have been checked.
    pub(super) fn new(
        preprocessor: &Preprocessor,
        (rows, columns): (usize, usize),
    ) -> Result<Self, PictureError> {
        let (side, merge) = (preprocessor.patch_size, preprocessor.merge_size);
        for (field, count) in [("grid.h", rows), ("grid.w", columns)] {
            if count == 0 || count % merge != 0 || count.saturating_mul(side) > MAX_FRAME {
                let expected = format!("a multiple of {merge} of at most {MAX_FRAME} pixels");
                return Err(PictureError::setting(field, expected, count));
            }
        }
        let (height, width) = (rows * side, columns * side);
        if height.saturating_mul(width) > MAX_FRAME {
            return Err(PictureError::TooLarge {
                width,
                height,
                limit: MAX_FRAME,
            });
        }
        let frames = preprocessor.temporal_patch_size;
        let values = (height * width * CHANNELS).saturating_mul(frames);
        if values > MAX_STEP {
            let expected = format!("few enough for {MAX_STEP} values in a step");
            return Err(PictureError::setting(
                "temporal_patch_size",
                expected,
                frames,
            ));
        }
        let mut levels = [[0.0; 256]; CHANNELS];
        for (channel, levels) in levels.iter_mut().enumerate() {
            let (mean, std) = (preprocessor.mean[channel], preprocessor.std[channel]);
            for (level, value) in levels.iter_mut().enumerate() {
                *value = ((level as f64 * preprocessor.rescale - mean) / std) as f32;
            }
        }
        Ok(Self {
            frames,
            side,
            merge,
            rows,
            columns,
            levels,
        })
    }

    /// Width and height of a frame, in pixels.
    pub(super) fn size(&self) -> (u32, u32) {
        (
            (self.columns * self.side) as u32,
            (self.rows * self.side) as u32,
        )
    }

    /// Values of the patches of one step.
    pub(super) fn step_values(&self) -> usize {
        self.rows * self.columns * self.patch_values()
    }

    fn patch_values(&self) -> usize {
        CHANNELS * self.frames * self.side * self.side
    }

    /// Row and column of each patch of a step, in order.
    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let Self {
            merge,
            rows,
            columns,
            ..
        } = *self;
        (0..rows / merge).flat_map(move |block_row| {
            (0..columns / merge).flat_map(move |block_column| {
                (0..merge * merge).map(move |n| {
                    let (row, column) = (n / merge, n % merge);
                    (block_row * merge + row, block_column * merge + column)
                })
            })
        })
    }

    /// Resizes the frames of some steps and writes their patches.
    pub(super) fn write_steps(
        &self,
        steps: &[&[RgbImage]],
        patches: &mut [f32],
        filter: Bicubic,
    ) -> Result<(), PictureError> {
        let mut resizer = Resizer::default();
        let mut frames = Vec::with_capacity(self.frames);
        for (step, patches) in steps.iter().zip(patches.chunks_mut(self.step_values())) {
            frames.clear();
            for frame in *step {
                frames.push(resizer.resize(frame, self.size(), filter)?);
            }
            self.write(&frames, patches);
        }
        Ok(())
    }

    /// Writes the patches of one step; where frames are missing, the last one is repeated.
    pub(super) fn write(&self, frames: &[RgbImage], patches: &mut [f32]) {
        let side = self.side;
        let stride = self.columns * side * CHANNELS;
        let patches = patches.chunks_exact_mut(self.patch_values());
        for (patch, (row, column)) in patches.zip(self.places()) {
            let first = row * side * stride + column * side * CHANNELS;
            let lines = patch.chunks_exact_mut(side);
            for (n, line) in lines.enumerate() {
                let (plane, y) = (n / side, n % side);
                let (channel, frame) = (plane / self.frames, plane % self.frames);
                let pixels = frames[frame.min(frames.len() - 1)].as_raw();
                let begin = first + y * stride;
                let pixels = &pixels[begin..begin + side * CHANNELS];
                let levels = &self.levels[channel];
                for (value, pixel) in line.iter_mut().zip(pixels.chunks_exact(CHANNELS)) {
                    *value = levels[usize::from(pixel[channel])];
                }
            }
        }
    }

    /// The input of `steps` steps.
    pub(super) fn input(&self, steps: usize, patches: Vec<f32>, fps: f64) -> VisionInput {
        VisionInput {
            kind: VisionKind::Video,
            patches,
            grid: Grid {
                t: steps,
                h: self.rows,
                w: self.columns,
            },
            seconds_per_step: Some(self.frames as f64 / fps),
        }
    }

    /// The frames of an input, each step's one after another.
    pub(super) fn read(
        &self,
        preprocessor: &Preprocessor,
        input: &VisionInput,
    ) -> Result<Vec<RgbImage>, PictureError> {
        let expected = input.grid.t.checked_mul(self.step_values());
        if expected != Some(input.patches.len()) {
            return Err(PictureError::Patches {
                what: format!(
                    "{:?} of patches of {} x {} x {} x {}",
                    input.grid, CHANNELS, self.frames, self.side, self.side
                ),
                expected: expected.map_or("a number that can be counted".into(), |n| n.to_string()),
                found: input.patches.len(),
            });
        }
        let side = self.side;
        let stride = self.columns * side * CHANNELS;
        let mut pictures = Vec::new();
        for step in input.patches.chunks_exact(self.step_values()) {
            let begin = pictures.len();
            pictures.resize(
                begin + self.frames,
                RgbImage::new(self.size().0, self.size().1),
            );
            let frames = &mut pictures[begin..];
            let patches = step.chunks_exact(self.patch_values());
            for (patch, (row, column)) in patches.zip(self.places()) {
                let first = row * side * stride + column * side * CHANNELS;
                for (n, line) in patch.chunks_exact(side).enumerate() {
                    let (plane, y) = (n / side, n % side);
                    let (channel, frame) = (plane / self.frames, plane % self.frames);
                    let (mean, std) = (preprocessor.mean[channel], preprocessor.std[channel]);
                    let begin = first + y * stride + channel;
                    let pixels: &mut [u8] = &mut frames[frame];
                    for (x, &value) in line.iter().enumerate() {
                        let level = (f64::from(value) * std + mean) / preprocessor.rescale;
                        pixels[begin + x * CHANNELS] = level.round().clamp(0.0, 255.0) as u8;
                    }
                }
            }
        }
        Ok(pictures)
    }
}
