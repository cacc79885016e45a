//! How many pixels a picture or a frame of a video may have.

use super::{MAX_FRAME, UNIT};
use crate::{PictureError, SmartResize, VisionError};

/// How many pixels a picture or a frame may have, and the rule that finds its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PixelBudget {
    /// How sides are rounded.
    pub rule: SmartResize,
    /// Fewest pixels of a picture or frame; the rounding of its sides may leave it with a little fewer.
    pub min_pixels: usize,
    /// Most pixels of a picture or frame.
    pub max_pixels: usize,
    /// Most pixels of all steps of a video together; `None` where each frame has its own budget alone.
    pub total_pixels: Option<usize>,
}

impl PixelBudget {
    /// The published image processor's: 4 to 16,384 merged patches of 28 x 28 pixels.
    pub fn image() -> Self {
        Self {
            rule: SmartResize::Transformers,
            min_pixels: 4 * UNIT,
            max_pixels: 16_384 * UNIT,
            total_pixels: None,
        }
    }

    /// The published video front end's: 16 to 64 merged patches of 28 x 28 pixels for a frame, 512 for a video.
    pub fn video() -> Self {
        Self {
            rule: SmartResize::QwenVlUtils,
            min_pixels: 16 * UNIT,
            max_pixels: 64 * UNIT,
            total_pixels: Some(512 * UNIT),
        }
    }

    /// Most pixels of each of `n_frames` frames, `depth` of which share a patch:
    /// `max(min(max_pixels, total_pixels / n_frames * depth), trunc(1.05 * min_pixels))`, or `max_pixels` where
    /// there is no total.
    pub fn frame_pixels(&self, n_frames: usize, depth: usize) -> f64 {
        let max = self.max_pixels as f64;
        let Some(total) = self.total_pixels else {
            return max;
        };
        let share = total as f64 / n_frames as f64 * depth as f64;
        let least = (self.min_pixels as f64 * 1.05).trunc();
        max.min(share).max(least)
    }

    /// Height and width that a frame of `size` (height, width) gets; both are multiples of `factor`.
    pub(super) fn size(
        &self,
        (height, width): (usize, usize),
        factor: usize,
        n_frames: usize,
        depth: usize,
    ) -> Result<(usize, usize), VisionError> {
        let max_pixels = self.frame_pixels(n_frames, depth);
        let (new_height, new_width) =
            self.rule
                .size(height, width, factor, self.min_pixels, max_pixels)?;
        if new_height == 0 || new_width == 0 {
            return Err(PictureError::NoPatches {
                width,
                height,
                new_width,
                new_height,
                max_pixels,
            }
            .into());
        }
        if new_height.saturating_mul(new_width) > MAX_FRAME {
            return Err(PictureError::TooLarge {
                width: new_width,
                height: new_height,
                limit: MAX_FRAME,
            }
            .into());
        }
        Ok((new_height, new_width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_share_the_total() {
        let budget = PixelBudget::video();
        // 512 / 1 * 2 and 512 / 8 * 2 units are above 64; 512 / 20 * 2 = 51.2; 512 / 64 * 2 = 16 is below 16.8.
        assert_eq!(budget.frame_pixels(1, 2), 64.0 * 784.0);
        assert_eq!(budget.frame_pixels(8, 2), 64.0 * 784.0);
        assert_eq!(budget.frame_pixels(20, 2), 401_408.0 / 20.0 * 2.0);
        assert_eq!(budget.frame_pixels(64, 2), 13_171.0);
        assert_eq!(PixelBudget::image().frame_pixels(9, 2), 12_845_056.0);
    }

    #[test]
    fn a_budget_without_room_names_both_sizes() {
        let budget = PixelBudget {
            max_pixels: 784,
            min_pixels: 1,
            ..PixelBudget::video()
        };
        let error = budget.size((20, 3000), 28, 1, 2).expect_err("no rows");
        assert!(error.to_string().contains("3000 x 20"), "{error}");
    }
}
