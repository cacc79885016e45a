//! GIF, WebP and PNG animations, by the delays of their frames.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use image::{
    AnimationDecoder, ImageDecoder, ImageError, ImageFormat, RgbImage,
    codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder},
};

use super::{
    FrameLimits, FrameSource, Frames, Sampling,
    kind::picture_format,
    picture::{check_size, decoder_limits, on_white, open_bounded},
};
use crate::{FrameError, VisionError};

/// Delays of up to so many milliseconds are shown as [`SLOW`] by browsers, which authors rely on.
const TOO_FAST: f64 = 10.0;

/// What takes the place of a delay that is too short, in milliseconds.
const SLOW: f64 = 100.0;

/// What the rounding of a moment may be off by, in milliseconds.
const NOISE: f64 = 1e-6;

/// An animation in a GIF, WebP or PNG file, which plays once.
///
/// Delays of up to 10 ms count as 100 ms, as in browsers. What is transparent lies on white. A damaged file gives the
/// frames before the damage.
#[derive(Debug)]
pub struct Animation {
    path: PathBuf,
    format: ImageFormat,
    limits: FrameLimits,
}

impl Animation {
    /// Opens a GIF, WebP or PNG.
    ///
    /// # Errors
    ///
    /// Where there is no such file.
    pub fn open(path: &Path, limits: FrameLimits) -> Result<Self, VisionError> {
        let format = picture_format(path)
            .and_then(|format| format.ok_or(FrameError::NotAPicture))
            .map_err(|error| error.at(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            format,
            limits,
        })
    }

    fn shown(&self) -> Result<Shown, FrameError> {
        let reader = open_bounded(&self.path)?;
        let limits = decoder_limits(&self.limits);
        let frames = match self.format {
            ImageFormat::Gif => {
                let mut decoder = GifDecoder::new(reader).map_err(FrameError::picture)?;
                check_size(decoder.dimensions(), &self.limits)?;
                decoder.set_limits(limits).map_err(FrameError::picture)?;
                decoder.into_frames()
            }
            ImageFormat::Png => {
                let decoder =
                    PngDecoder::with_limits(reader, limits).map_err(FrameError::picture)?;
                check_size(decoder.dimensions(), &self.limits)?;
                decoder.apng().map_err(FrameError::picture)?.into_frames()
            }
            ImageFormat::WebP => {
                let mut decoder = WebPDecoder::new(reader).map_err(FrameError::picture)?;
                check_size(decoder.dimensions(), &self.limits)?;
                decoder.set_limits(limits).map_err(FrameError::picture)?;
                decoder.into_frames()
            }
            _ => return Err(FrameError::NotAPicture),
        };
        Ok(Shown {
            frames,
            limits: self.limits.clone(),
            begun: Instant::now(),
            time: 0.0,
            any: false,
        })
    }
}

impl FrameSource for Animation {
    /// Reads the delays, for which all frames that may be looked at are decoded.
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        let failed = |error: FrameError| error.at(&self.path);
        let enough = sampling.max_frames() as f64 / sampling.fps() * 1e3;
        let mut end = 0.0;
        for frame in self.shown().map_err(failed)? {
            end = frame.map_err(failed)?.end;
            if end >= enough {
                break;
            }
        }
        Ok(Some(sampling.frames_in(end / 1e3)))
    }

    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let mut shown = self.shown().map_err(|error| error.at(&self.path))?;
        let path = &self.path;
        let mut current: Option<(RgbImage, f64)> = None;
        let frames = sampling.times().map_while(move |time| {
            let moment = time * 1e3 + NOISE;
            while current.as_ref().is_none_or(|(_, end)| *end <= moment) {
                match shown.next()? {
                    // Only what is looked at is worth converting.
                    Ok(next) if next.end <= moment => continue,
                    Ok(next) => current = Some((on_white(next.frame.buffer()), next.end)),
                    Err(error) => return Some(Err(error.at(path))),
                }
            }
            current.as_ref().map(|(frame, _)| Ok(frame.clone()))
        });
        Ok(Box::new(frames))
    }
}

/// The frames of an animation with the time at which each ends.
struct Shown {
    frames: image::Frames<'static>,
    limits: FrameLimits,
    begun: Instant,
    time: f64,
    any: bool,
}

struct ShownFrame {
    frame: image::Frame,
    /// In milliseconds from the beginning.
    end: f64,
}

impl Iterator for Shown {
    type Item = Result<ShownFrame, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = match self.frames.next() {
            None if self.any => return None,
            None => return Some(Err(FrameError::NoFrames)),
            Some(Ok(frame)) => frame,
            Some(Err(ImageError::Limits(error))) => {
                let error = ImageError::Limits(error);
                return Some(Err(FrameError::Picture { source: error }));
            }
            Some(Err(_)) if self.any => return None,
            Some(Err(error)) => return Some(Err(FrameError::Picture { source: error })),
        };
        if self.begun.elapsed() > self.limits.time {
            let limit = self.limits.time;
            return Some(Err(FrameError::TimeLimit { limit }));
        }
        self.any = true;
        let (numerator, denominator) = frame.delay().numer_denom_ms();
        let delay = f64::from(numerator) / f64::from(denominator.max(1));
        self.time += if delay <= TOO_FAST { SLOW } else { delay };
        Some(Ok(ShownFrame {
            frame,
            end: self.time,
        }))
    }
}
