//! Videos of clips, read as the model sees them.

use std::path::Path;

use vision_encoder::{Preprocessor, VideoOptions, VisionError, VisionInput, read_video};

/// Reads videos in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionReader {
    /// Which frames, and how large they become.
    pub options: VideoOptions,
    /// How frames become patches.
    pub preprocessor: Preprocessor,
}

impl VisionReader {
    /// Reads a file or a folder of pictures.
    ///
    /// # Errors
    ///
    /// A [`VisionError`] where it can't be read.
    pub fn read(&self, path: &Path) -> Result<VisionInput, VisionError> {
        read_video(path, &self.options, &self.preprocessor)
    }
}
