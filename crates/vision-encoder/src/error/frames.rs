//! What can go wrong with a file or folder of frames.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use image::ImageError;

use crate::VisionError;

/// Why no frames come from a file or folder, or no video is written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It could not be read or written.
    #[error("cannot {action} it")]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Neither a regular file nor a folder.
    #[error("neither a regular file nor a folder")]
    NotAFile,
    /// No still picture of a known kind.
    #[error("not a picture (PNG, JPEG, WebP, GIF or BMP)")]
    NotAPicture,
    /// A picture's decoder gave up.
    #[error("not a readable picture")]
    Picture {
        /// What the decoder found.
        source: ImageError,
    },
    /// A picture that claims to be larger than allowed.
    #[error(
        "{width} x {height} pixels, expected at most {max_side} in a row or column and {max_pixels} in all"
    )]
    TooLarge {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Longest side that is read.
        max_side: u32,
        /// Most pixels that are read.
        max_pixels: u64,
    },
    /// A folder without pictures.
    #[error("no numbered picture in the folder, expected files such as 0001.png")]
    NoPictures,
    /// Pictures of a folder differ in size.
    #[error("{} has {} x {} pixels, expected {} x {} as the first", file.display(), found.0, found.1, expected.0, expected.1)]
    MixedSizes {
        /// The first that differs.
        file: PathBuf,
        /// Width and height of the first.
        expected: (u32, u32),
        /// Its width and height.
        found: (u32, u32),
    },
    /// A picture of a folder can't be read.
    #[error("{}", file.display())]
    InFolder {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<FrameError>,
    },
    /// Nothing in it can be shown.
    #[error("no frame in it")]
    NoFrames,
    /// The program that reads videos isn't there.
    #[error(
        "videos are read by the program ffmpeg, and there is no {program:?}: install it \
         (Debian, Ubuntu: apt install ffmpeg; Fedora: dnf install ffmpeg-free; macOS: brew install ffmpeg; \
         Windows: winget install ffmpeg), or give a GIF, WebP or APNG animation or a folder of pictures"
    )]
    FfmpegMissing {
        /// The program that was looked for.
        program: PathBuf,
    },
    /// The program that reads videos could not be started.
    #[error("cannot start {}", program.display())]
    FfmpegStart {
        /// The program.
        program: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// No container of a known kind.
    #[error("not a picture, an animation or a video file (mp4, mov, mkv, webm, avi, ...)")]
    UnknownKind,
    /// No container of moving pictures of a known kind.
    #[error("not a video file (mp4, mov, mkv, webm, avi, ...)")]
    NotAVideo,
    /// No container of sound of a known kind.
    #[error("not a sound file (WAV, FLAC, Ogg, mp4, mkv, ...)")]
    NotASound,
    /// A file without pictures that move: sound alone, for example.
    #[error("no video stream in it")]
    NoVideoStream,
    /// The program that reads and writes videos gave up.
    #[error("ffmpeg failed: {words}")]
    Ffmpeg {
        /// Its last words.
        words: String,
    },
    /// Reading or writing took too long.
    #[error("not done after {limit:?}, the most that it may take")]
    TimeLimit {
        /// The limit.
        limit: Duration,
    },
    /// More bytes than allowed.
    #[error("more than {limit} bytes, the most that is read")]
    ByteLimit {
        /// The limit.
        limit: u64,
    },
    /// The output would replace an input.
    #[error("it is the file that is read: choose another name")]
    OverwritesInput,
    /// The output's ending names no container that is written.
    #[error("its ending names no video file that is written, expected {expected}")]
    UnknownEnding {
        /// The endings that are known.
        expected: &'static str,
    },
}

impl FrameError {
    /// The error with the file or folder that it is about.
    pub(crate) fn at(self, path: &Path) -> VisionError {
        VisionError::Frames {
            path: path.to_path_buf(),
            source: self,
        }
    }

    pub(crate) fn io(action: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// What a decoder of pictures found.
    pub(crate) fn picture(source: ImageError) -> Self {
        Self::Picture { source }
    }
}
