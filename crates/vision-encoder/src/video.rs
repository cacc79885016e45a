//! Videos: where frames come from, which of them are looked at, and how large they become.
//!
//! A source is looked at `fps` times per second: frame `i` is what is shown at `i / fps` seconds, for as long as it lasts
//! and at most `max_frames` times. The budget of pixels is shared among the frames (see [`PixelBudget`]).

mod animation;
mod child;
mod ffmpeg;
mod folder;
mod kind;
mod log;
mod mux;
mod packets;
mod picture;
mod ppm;

use std::path::{Path, PathBuf};
use std::time::Duration;

use image::RgbImage;

use crate::{FrameError, PictureError, PixelBudget, Preprocessor, VisionError, VisionInput};

pub use animation::Animation;
pub use ffmpeg::FfmpegVideo;
pub use folder::ImageFolder;
pub use mux::{check_mux, mux};
pub use picture::{StillPicture, read_picture};

/// Most frames that may be asked for.
const MAX_FRAMES: usize = 1 << 16;

/// How a video is looked at, and what reading it may cost.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoOptions {
    /// Frames looked at per second. Default: 1
    pub fps: f64,
    /// Most frames looked at, from the beginning. Default: 64
    ///
    /// The published call's own default is 1 frame (and a `total_pixels` of 3 x 28 x 28).
    pub max_frames: usize,
    /// Fewest pixels of a frame after resizing. Default: 16 x 28 x 28
    pub min_pixels: usize,
    /// Most pixels of a frame after resizing. Default: 64 x 28 x 28
    pub max_pixels: usize,
    /// Most pixels of all patches of the video together. Default: 512 x 28 x 28
    pub total_pixels: usize,
    /// Pictures per second of a folder; `None` takes each picture as one frame. Default: `None`
    pub folder_fps: Option<f64>,
    /// What reading may cost.
    pub limits: FrameLimits,
    /// The program that reads videos, looked for on the `PATH` where it is a bare name. Default: `ffmpeg`
    pub ffmpeg: PathBuf,
}

/// What reading or writing a video may cost before it ends in an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLimits {
    /// Longest side of a picture or frame. Default: 32,768
    pub max_side: u32,
    /// Most pixels of a picture or frame. Default: 2^26 (8,192 x 8,192)
    pub max_pixels: u64,
    /// Most bytes of frames taken from the program that reads videos. Default: 2^34 (16 GiB)
    pub max_bytes: u64,
    /// Most time for one pass over a file; reading a video takes up to three. Default: 5 minutes
    pub time: Duration,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            max_side: 1 << 15,
            max_pixels: 1 << 26,
            max_bytes: 1 << 34,
            time: Duration::from_secs(300),
        }
    }
}

impl Default for VideoOptions {
    fn default() -> Self {
        let budget = PixelBudget::video();
        Self {
            fps: 1.0,
            max_frames: 64,
            min_pixels: budget.min_pixels,
            max_pixels: budget.max_pixels,
            total_pixels: budget.total_pixels.unwrap_or(budget.max_pixels),
            folder_fps: None,
            limits: FrameLimits::default(),
            ffmpeg: PathBuf::from("ffmpeg"),
        }
    }
}

impl VideoOptions {
    /// The moments that are looked at.
    ///
    /// # Errors
    ///
    /// Where `fps` or `max_frames` is out of range.
    pub fn sampling(&self) -> Result<Sampling, VisionError> {
        Sampling::new(self.fps, self.max_frames)
    }

    /// The budget of pixels, with the published rule of sizes.
    pub fn budget(&self) -> PixelBudget {
        PixelBudget {
            min_pixels: self.min_pixels,
            max_pixels: self.max_pixels,
            total_pixels: Some(self.total_pixels),
            ..PixelBudget::video()
        }
    }
}

/// The moments of a video that are looked at: `i / fps` seconds for `i` from 0, `max_frames` of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    fps: f64,
    max_frames: usize,
}

impl Sampling {
    /// `fps` moments per second, at most `max_frames`.
    ///
    /// # Errors
    ///
    /// Where `fps` lies outside 0.00001 to 1,000 or `max_frames` outside 1 to 65,536.
    pub fn new(fps: f64, max_frames: usize) -> Result<Self, VisionError> {
        if !(1e-5..=1e3).contains(&fps) {
            let expected = "0.00001 to 1000 frames per second";
            return Err(PictureError::setting("fps", expected, fps).into());
        }
        if !(1..=MAX_FRAMES).contains(&max_frames) {
            let expected = format!("1 to {MAX_FRAMES}");
            return Err(PictureError::setting("max_frames", expected, max_frames).into());
        }
        Ok(Self { fps, max_frames })
    }

    /// Moments per second.
    pub fn fps(&self) -> f64 {
        self.fps
    }

    /// Most moments.
    pub fn max_frames(&self) -> usize {
        self.max_frames
    }

    /// The moments, in seconds.
    pub fn times(&self) -> impl Iterator<Item = f64> + use<> {
        let fps = self.fps;
        (0..self.max_frames).map(move |i| i as f64 / fps)
    }

    /// How many moments lie in a video of so many seconds: at least one.
    pub fn frames_in(&self, seconds: f64) -> usize {
        // What a product of decimal numbers is off by must not make a frame.
        let moments = (seconds * self.fps - 1e-6).ceil();
        (moments.max(1.0) as usize).min(self.max_frames)
    }
}

/// Frames of a source, one after another.
pub type Frames<'a> = Box<dyn Iterator<Item = Result<RgbImage, VisionError>> + 'a>;

/// A source of frames: a file, a camera, a drawing.
///
/// # Example
///
/// A source of one's own, a square that walks to the right for four seconds:
///
/// ```
/// use image::{Rgb, RgbImage};
/// use vision_encoder::{
///     FrameSource, Frames, Preprocessor, Sampling, VideoOptions, VisionError, read_frames,
/// };
///
/// struct Square;
///
/// impl FrameSource for Square {
///     fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
///         Ok(Some(sampling.frames_in(4.0)))
///     }
///
///     fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
///         let times = sampling.times().take_while(|&time| time < 4.0);
///         Ok(Box::new(times.map(|time| {
///             let left = (time * 50.0) as u32;
///             Ok(RgbImage::from_fn(320, 240, |x, y| {
///                 let inside = (left..left + 80).contains(&x) && (80..160).contains(&y);
///                 Rgb(if inside { [255; 3] } else { [0; 3] })
///             }))
///         })))
///     }
/// }
///
/// # fn main() -> Result<(), VisionError> {
/// let options = VideoOptions { fps: 2.0, ..VideoOptions::default() };
/// let input = read_frames(&mut Square, &options, &Preprocessor::unimoe_audio())?;
/// assert_eq!(input.grid.t, 4); // eight frames, two a patch
/// assert_eq!(input.seconds_per_step, Some(1.0));
/// # Ok(())
/// # }
/// ```
pub trait FrameSource {
    /// How many frames [`frames`](Self::frames) will give, where that can be told beforehand; it decides how the
    /// budget of pixels is shared. Where it can't, `max_frames` is assumed.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        let _ = sampling;
        Ok(None)
    }

    /// The frames shown at the moments of `sampling`, upright, for as long as the source lasts.
    ///
    /// # Errors
    ///
    /// Where the source can't be read, here or from the iterator.
    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError>;
}

/// Opens a file or a folder of frames; what it is decides its content, not its name.
///
/// - A folder: its numbered pictures ([`ImageFolder`]).
/// - A GIF, a WebP or PNG that moves: [`Animation`].
/// - Any other PNG, JPEG, WebP or BMP: one frame ([`StillPicture`]).
/// - Else a video that the program ffmpeg reads ([`FfmpegVideo`]).
///
/// # Errors
///
/// Where it can't be read.
pub fn open_source(
    path: &Path,
    options: &VideoOptions,
) -> Result<Box<dyn FrameSource + Send>, VisionError> {
    use kind::Kind;
    let limits = options.limits.clone();
    Ok(match kind::of(path, &limits)? {
        Kind::Folder => Box::new(ImageFolder::open(path, options.folder_fps, limits)?),
        Kind::Animation => Box::new(Animation::open(path, limits)?),
        Kind::Picture => Box::new(StillPicture::open(path, limits)?),
        Kind::Video => Box::new(FfmpegVideo::open(path, &options.ffmpeg, limits)?),
    })
}

/// Makes patches of a file or a folder of frames (see [`open_source`]).
///
/// # Errors
///
/// Where it can't be read or has no frames, and as [`Preprocessor::video`].
pub fn read_video(
    path: &Path,
    options: &VideoOptions,
    preprocessor: &Preprocessor,
) -> Result<VisionInput, VisionError> {
    let mut source = open_source(path, options)?;
    read_frames(source.as_mut(), options, preprocessor).map_err(|error| match error {
        VisionError::Picture(PictureError::NoFrames) => FrameError::NoFrames.at(path),
        error => error,
    })
}

/// Makes patches of the frames of a source. One frame at a time is held at its full size.
///
/// # Errors
///
/// Where the source fails or gives no frame, and as [`Preprocessor::video`].
pub fn read_frames(
    source: &mut dyn FrameSource,
    options: &VideoOptions,
    preprocessor: &Preprocessor,
) -> Result<VisionInput, VisionError> {
    let sampling = options.sampling()?;
    let preprocessor = preprocessor.clone().with_video_budget(options.budget());
    let planned = source.n_frames(&sampling)?;
    let planned = planned
        .unwrap_or(sampling.max_frames)
        .min(sampling.max_frames);

    let mut stack = None;
    for frame in source.frames(&sampling)?.take(sampling.max_frames) {
        let frame = frame?;
        let stack = match &mut stack {
            Some(stack) => stack,
            none => none.insert(preprocessor.begin_video(frame.dimensions(), planned)?),
        };
        stack.push(&frame)?;
    }
    stack.ok_or(PictureError::NoFrames)?.finish(sampling.fps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_counted_without_the_noise_of_decimals() {
        let sampling = Sampling::new(30.0, 64).expect("in range");
        assert_eq!(sampling.frames_in(0.1), 3); // 0.1 * 30 is a little above 3
        assert_eq!(sampling.frames_in(0.101), 4);
        assert_eq!(sampling.frames_in(0.0), 1);
        assert_eq!(sampling.frames_in(1e9), 64);
        assert_eq!(sampling.frames_in(f64::NAN), 1);
        let times: Vec<f64> = Sampling::new(2.0, 3).expect("in range").times().collect();
        assert_eq!(times, [0.0, 0.5, 1.0]);
    }

    #[test]
    fn rates_and_counts_out_of_range_are_errors() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9, 1e9] {
            assert!(Sampling::new(fps, 1).is_err(), "{fps}");
        }
        assert!(Sampling::new(1.0, 0).is_err());
        assert!(Sampling::new(1.0, usize::MAX).is_err());
    }
}
