//! What can go wrong with a configuration, weights, a picture or a video.

mod frames;
mod picture;

use std::{io, path::PathBuf};

use crate::input::Grid;

pub use frames::FrameError;
pub use model_files::WeightsError;
pub use picture::PictureError;

/// An error of this crate: the thing, what was expected of it and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VisionError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A file is not JSON.
    #[error("{}: not readable as JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the reader of JSON found.
        source: serde_json::Error,
    },
    /// A setting is not in its file.
    #[error("{}: {field} is missing", path.display())]
    FieldMissing {
        /// The file.
        path: PathBuf,
        /// The setting.
        field: String,
    },
    /// A setting in a file is not what it should be.
    #[error("{}: {field} is {found}, expected {expected}", path.display())]
    FieldWrong {
        /// The file.
        path: PathBuf,
        /// The setting.
        field: String,
        /// What is allowed.
        expected: String,
        /// What the file says.
        found: String,
    },
    /// Two settings in a file say different things.
    #[error("{}: {first} contradicts {second}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// One setting with its value.
        first: String,
        /// The other setting with its value.
        second: String,
    },
    /// A setting of a [`VisionEncoderConfig`](crate::VisionEncoderConfig) is out of range or contradicts another.
    #[error("vision encoder configuration: {field} is {found}, expected {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: String,
    },
    /// The weights could not be loaded.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// There is nothing to encode.
    #[error("no picture and no video to encode, expected one or more")]
    NoInput,
    /// An input's grid doesn't fit the encoder.
    #[error(
        "input {index} has a grid of {} x {} x {} patches, expected {expected}",
        grid.t, grid.h, grid.w
    )]
    Grid {
        /// The input's place in the call.
        index: usize,
        /// Its grid.
        grid: Grid,
        /// What the encoder takes.
        expected: String,
    },
    /// An input has more or fewer pixels than its grid.
    #[error(
        "input {index} has {found} pixel values, expected {expected} for its grid of {} x {} x {} patches",
        grid.t, grid.h, grid.w
    )]
    PixelCount {
        /// The input's place in the call.
        index: usize,
        /// Its grid.
        grid: Grid,
        /// Values that the grid's patches have.
        expected: usize,
        /// Values that are there.
        found: usize,
    },
    /// A pixel is not a finite number.
    #[error("input {index}: pixel value {place} is {value}, expected a finite number")]
    PixelNotFinite {
        /// The input's place in the call.
        index: usize,
        /// The value's place in the input.
        place: usize,
        /// The value.
        value: f32,
    },
    /// A picture, a video or a setting can't be made into patches.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// No frames come from a file or folder, or no video is written.
    #[error("{}", path.display())]
    Frames {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        source: FrameError,
    },
}
