//! What can go wrong between a picture and its patches.

/// A picture, a video or a setting that can't be made into patches.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A setting is outside its range.
    #[error("{field} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: String,
    },
    /// A picture without pixels.
    #[error("a picture of {width} x {height} pixels has none")]
    Empty {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// A picture too long and narrow for the published rule.
    #[error("a picture of {width} x {height} pixels: one side may be at most 200 times the other")]
    AspectRatio {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The budget leaves no row or no column of patches.
    #[error(
        "a picture of {width} x {height} pixels would become {new_width} x {new_height} within {max_pixels} pixels: \
         too long for its width; more pixels per picture may leave some of it"
    )]
    NoPatches {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Width after resizing.
        new_width: usize,
        /// Height after resizing.
        new_height: usize,
        /// Most pixels of the resized picture.
        max_pixels: f64,
    },
    /// The settings ask for a picture beyond what is resized.
    #[error("a picture would become {width} x {height} pixels, expected at most {limit} in all")]
    TooLarge {
        /// Width after resizing.
        width: usize,
        /// Height after resizing.
        height: usize,
        /// Most pixels.
        limit: usize,
    },
    /// The resizer refused.
    #[error("cannot resize from {from:?} to {to:?} (width, height): {reason}")]
    Resize {
        /// Width and height before.
        from: (u32, u32),
        /// Width and height after.
        to: (u32, u32),
        /// What it said.
        reason: String,
    },
    /// A video without frames.
    #[error("a video of 0 frames, expected at least 1")]
    NoFrames,
    /// Patches that don't fit their grid or the preprocessor's settings.
    #[error("{found} values of patches, expected {expected}: {what}")]
    Patches {
        /// What the expected number comes from.
        what: String,
        /// The expected number.
        expected: String,
        /// Their number.
        found: usize,
    },
}

impl PictureError {
    pub(crate) fn setting(
        field: &'static str,
        expected: impl Into<String>,
        found: impl ToString,
    ) -> Self {
        Self::Setting {
            field,
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}
