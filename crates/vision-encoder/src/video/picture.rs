//! Still pictures: read within limits, turned upright, laid on white where they are transparent.

use std::{
    io::BufReader,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage, RgbaImage};

use super::{FrameLimits, FrameSource, Frames, Sampling, kind};
use crate::{FrameError, VisionError};

/// Largest file of a picture or animation that is read, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// Most memory that a decoder may ask for, in bytes.
const MAX_MEMORY: u64 = 1 << 29;

/// A still picture as a source of one frame.
#[derive(Debug)]
pub struct StillPicture {
    path: PathBuf,
    limits: FrameLimits,
}

impl StillPicture {
    /// Opens a PNG, JPEG, WebP, GIF (its first frame) or BMP.
    ///
    /// # Errors
    ///
    /// Where there is no such file.
    pub fn open(path: &Path, limits: FrameLimits) -> Result<Self, VisionError> {
        kind::open_file(path).map_err(|error| error.at(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            limits,
        })
    }
}

impl FrameSource for StillPicture {
    fn n_frames(&mut self, _: &Sampling) -> Result<Option<usize>, VisionError> {
        Ok(Some(1))
    }

    fn frames(&mut self, _: &Sampling) -> Result<Frames<'_>, VisionError> {
        Ok(Box::new(std::iter::once_with(|| {
            read_picture(&self.path, &self.limits)
        })))
    }
}

/// Reads a still picture (PNG, JPEG, WebP, BMP, or the first frame of a GIF), upright as its EXIF data says, with
/// what is transparent on white. Its content decides what it is, not its name.
///
/// # Errors
///
/// Where it can't be read, is no picture or is larger than `limits` allow.
pub fn read_picture(path: &Path, limits: &FrameLimits) -> Result<RgbImage, VisionError> {
    decode(path, limits).map_err(|error| error.at(path))
}

pub(super) fn decode(path: &Path, limits: &FrameLimits) -> Result<RgbImage, FrameError> {
    let format = kind::picture_format(path)?.ok_or(FrameError::NotAPicture)?;
    let mut reader = ImageReader::with_format(open_bounded(path)?, format);
    reader.limits(decoder_limits(limits));
    let mut decoder = reader.into_decoder().map_err(FrameError::picture)?;
    check_size(decoder.dimensions(), limits)?;
    // Damaged EXIF data must not cost the picture.
    let orientation = decoder.orientation();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(FrameError::picture)?;
    if let Ok(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(if picture.color().has_alpha() {
        on_white(&picture.into_rgba8())
    } else {
        picture.into_rgb8()
    })
}

/// Opens a file of at most [`MAX_FILE`] bytes: some decoders read all of it at once.
pub(super) fn open_bounded(path: &Path) -> Result<BufReader<std::fs::File>, FrameError> {
    let file = kind::open_file(path)?;
    let length = file.metadata().map_err(FrameError::io("read"))?.len();
    if length > MAX_FILE {
        return Err(FrameError::ByteLimit { limit: MAX_FILE });
    }
    Ok(BufReader::new(file))
}

pub(super) fn decoder_limits(limits: &FrameLimits) -> Limits {
    let mut decoder = Limits::no_limits();
    decoder.max_image_width = Some(limits.max_side);
    decoder.max_image_height = Some(limits.max_side);
    decoder.max_alloc = Some(MAX_MEMORY.min(limits.max_pixels.saturating_mul(16)));
    decoder
}

pub(super) fn check_size(
    (width, height): (u32, u32),
    limits: &FrameLimits,
) -> Result<(), FrameError> {
    let pixels = u64::from(width) * u64::from(height);
    if width > limits.max_side || height > limits.max_side || pixels > limits.max_pixels {
        return Err(FrameError::TooLarge {
            width,
            height,
            max_side: limits.max_side,
            max_pixels: limits.max_pixels,
        });
    }
    Ok(())
}

/// Lays a picture on white, as the published code does with what is transparent.
pub(super) fn on_white(picture: &RgbaImage) -> RgbImage {
    let mut opaque = RgbImage::new(picture.width(), picture.height());
    for (to, from) in opaque.pixels_mut().zip(picture.pixels()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        to.0 = [red, green, blue]
            .map(|level| ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    opaque
}

#[cfg(test)]
mod tests {
    use image::Rgba;

    use super::*;

    #[test]
    fn transparent_parts_are_white() {
        let pixels = [[10, 20, 30, 255], [10, 20, 30, 0], [0, 100, 255, 51]];
        let picture = RgbaImage::from_fn(3, 1, |x, _| Rgba(pixels[x as usize]));
        // A fifth of the colour, four fifths of 255.
        let expected = [10, 20, 30, 255, 255, 255, 204, 224, 255];
        assert_eq!(on_white(&picture).into_raw(), expected);
    }
}
