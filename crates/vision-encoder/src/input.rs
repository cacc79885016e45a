//! One image or one video as the encoder takes it: patches and how they lie.

use std::fmt;

/// Patches of one image or one video, ready for [`VisionEncoder`](crate::VisionEncoder).
#[derive(Debug, Clone, PartialEq)]
pub struct VisionInput {
    /// What it is.
    pub kind: VisionKind,
    /// Pixels of the patches, `[t * h * w, channels * frames of a patch * patch * patch]` in row-major
    /// order. The patches of a merged token follow each other.
    pub patches: Vec<f32>,
    /// Patches in time, height and width.
    pub grid: Grid,
    /// Seconds of video from one step of the grid to the next; `None` for an image, or where it is unknown.
    pub seconds_per_step: Option<f64>,
}

/// Whether something is a picture or moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisionKind {
    /// A picture: one step in time.
    Image,
    /// A video.
    Video,
}

/// Patches in time, height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Steps in time, each of as many frames as a patch is deep.
    pub t: usize,
    /// Rows of patches.
    pub h: usize,
    /// Columns of patches.
    pub w: usize,
}

impl fmt::Display for VisionKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Image => "image",
            Self::Video => "video",
        })
    }
}

impl Grid {
    /// Number of patches, `None` where it is beyond counting.
    pub fn patches(self) -> Option<usize> {
        self.t.checked_mul(self.h)?.checked_mul(self.w)
    }

    /// Visual tokens after merging squares of `merge` times `merge` patches; `None` where it is beyond counting.
    pub fn tokens(self, merge: usize) -> Option<usize> {
        let rows = self.h.checked_div(merge)?;
        let columns = self.w.checked_div(merge)?;
        self.t.checked_mul(rows)?.checked_mul(columns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_of_patches_make_tokens() {
        let grid = Grid { t: 2, h: 4, w: 6 };
        assert_eq!((grid.patches(), grid.tokens(2)), (Some(48), Some(12)));
        assert_eq!(grid.tokens(0), None);
        let vast = Grid {
            t: usize::MAX,
            h: 2,
            w: 2,
        };
        assert_eq!(vast.patches(), None);
    }
}
