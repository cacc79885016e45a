//! Bicubic resizing with antialiasing of 8-bit pictures, rounded as published programs do it.
//!
//! Each output pixel is a sum of input pixels weighted by the cubic kernel with `a = -0.5`, widened by the scale
//! where the picture shrinks: first along the rows, then along the columns.

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer as Convolution,
    images::{TypedImage, TypedImageRef},
    pixels::{F32x3, U8x3},
};
use image::RgbImage;

use crate::PictureError;

/// Rows that are converted to float at a time.
const STRIP: u32 = 16;

/// Which published program's rounding the resizing follows. They differ by a level of 255 here and there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bicubic {
    /// Pillow: rounded to 8 bits along the rows and again along the columns, half up, as Pillow 11 does. The published
    /// image processor's. Pillow 13 may take the columns first, which rounds some values by a level otherwise.
    Pillow,
    /// torchvision's functional `resize` of a tensor: float, rounded once, half to even. The published pipeline's
    /// videos.
    TorchvisionFloat,
    /// torchvision's kernel for 8 bits: as Pillow with weights of 16 bits, and the fastest. That of the image and
    /// video processors which transformers calls fast.
    TorchvisionInteger,
}

/// Resizes pictures, keeping its buffers from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Resizer {
    convolution: Convolution,
    strip: Vec<F32x3>,
    rows: Vec<F32x3>,
    columns: Vec<F32x3>,
    levels: Vec<U8x3>,
}

/// Width and height.
type Size = (u32, u32);

impl Resizer {
    /// The picture at `size`.
    pub(crate) fn resize(
        &mut self,
        picture: &RgbImage,
        size: Size,
        kind: Bicubic,
    ) -> Result<RgbImage, PictureError> {
        let from = picture.dimensions();
        if from == size {
            return Ok(picture.clone());
        }
        if pixels(from) == 0 {
            return Err(PictureError::Empty {
                width: from.0 as usize,
                height: from.1 as usize,
            });
        }
        let mut resized = RgbImage::new(size.0, size.1);
        let result = match kind {
            Bicubic::Pillow => self.float(picture, &mut resized, Some(half_up), half_up),
            Bicubic::TorchvisionFloat => self.float(picture, &mut resized, None, half_to_even),
            Bicubic::TorchvisionInteger => self.integer(picture, &mut resized),
        };
        result.map_err(|reason| PictureError::Resize {
            from,
            to: size,
            reason,
        })?;
        Ok(resized)
    }

    /// Resizes in float; `between` is what happens to a value between the two directions.
    fn float(
        &mut self,
        picture: &RgbImage,
        resized: &mut RgbImage,
        between: Option<fn(f32) -> f32>,
        last: fn(f32) -> f32,
    ) -> Result<(), String> {
        let ((from_width, from_height), (width, height)) =
            (picture.dimensions(), resized.dimensions());
        let Self {
            convolution,
            strip,
            rows,
            columns,
            ..
        } = self;
        rows.resize(pixels((width, from_height)), F32x3::new([0.0; 3]));
        let lines = STRIP as usize * from_width as usize * 3;
        let targets = rows.chunks_mut(pixels((width, STRIP)));
        for (source, target) in picture.as_raw().chunks(lines).zip(targets) {
            strip.clear();
            let floats = source.as_chunks().0.iter();
            strip.extend(floats.map(|levels: &[u8; 3]| F32x3::new(levels.map(f32::from))));
            if from_width == width {
                target.copy_from_slice(strip);
            } else {
                let height = (target.len() / width as usize) as u32;
                convolve(
                    convolution,
                    (strip, (from_width, height)),
                    (target, (width, height)),
                )?;
            }
        }
        if let Some(between) = between
            && from_width != width
        {
            for pixel in rows.iter_mut() {
                pixel.0 = pixel.0.map(between);
            }
        }
        let floats = if from_height == height {
            rows
        } else {
            columns.resize(pixels((width, height)), F32x3::new([0.0; 3]));
            convolve(
                convolution,
                (rows, (width, from_height)),
                (columns, (width, height)),
            )?;
            columns
        };
        for (to, from) in resized.pixels_mut().zip(floats) {
            to.0 = from.0.map(|value| last(value) as u8);
        }
        Ok(())
    }

    /// Resizes in integers, one direction after the other: one call for both would begin with the columns.
    fn integer(&mut self, picture: &RgbImage, resized: &mut RgbImage) -> Result<(), String> {
        let (from, size) = (picture.dimensions(), resized.dimensions());
        let between = (size.0, from.1);
        let Self {
            convolution,
            levels,
            ..
        } = self;
        let pixel = |levels: &[u8; 3]| U8x3::new(*levels);
        let source: Vec<U8x3> = picture.as_raw().as_chunks().0.iter().map(pixel).collect();
        levels.resize(pixels(between), U8x3::new([0; 3]));
        let mut target = vec![U8x3::new([0; 3]); pixels(size)];
        let rows = if from.0 == size.0 {
            &source
        } else {
            convolve(convolution, (&source, from), (levels, between))?;
            levels
        };
        let columns = if from.1 == size.1 {
            rows
        } else {
            convolve(convolution, (rows, between), (&mut target, size))?;
            &target
        };
        for (to, from) in resized.pixels_mut().zip(columns) {
            to.0 = from.0;
        }
        Ok(())
    }
}

/// Resizes pixels between sizes that differ in one direction.
fn convolve<P: PixelTrait>(
    convolution: &mut Convolution,
    (source, from): (&[P], Size),
    (target, size): (&mut [P], Size),
) -> Result<(), String> {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    let source = TypedImageRef::new(from.0, from.1, source).map_err(|error| error.to_string())?;
    let target = TypedImage::from_pixels_slice(size.0, size.1, target);
    let mut target = target.map_err(|error| error.to_string())?;
    let resized = convolution.resize_typed(&source, &mut target, &options);
    resized.map_err(|error| error.to_string())
}

fn pixels((width, height): Size) -> usize {
    width as usize * height as usize
}

fn half_up(value: f32) -> f32 {
    (value + 0.5).floor().clamp(0.0, 255.0)
}

fn half_to_even(value: f32) -> f32 {
    value.round_ties_even().clamp(0.0, 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Bicubic; 3] = [
        Bicubic::Pillow,
        Bicubic::TorchvisionFloat,
        Bicubic::TorchvisionInteger,
    ];

    #[test]
    fn one_colour_stays_one_colour_at_every_size() {
        let picture = RgbImage::from_pixel(50, 37, image::Rgb([3, 127, 255]));
        let mut resizer = Resizer::default();
        for kind in KINDS {
            for size in [(50, 37), (20, 37), (50, 80), (99, 14), (1, 1)] {
                let resized = resizer.resize(&picture, size, kind).expect("a size");
                assert_eq!(resized.dimensions(), size);
                let same = resized.pixels().all(|pixel| pixel.0 == [3, 127, 255]);
                assert!(same, "{kind:?} {size:?}");
            }
        }
    }

    #[test]
    fn a_pixel_between_two_levels_is_the_kernels_sum() {
        // Doubling a row [0, 0, 0, 128, 128, 128]: the outputs lie a quarter of a pixel off the centres. Left of the
        // step, 0.2265625 * 128 = 29 of the next pixel less 0.0234375 * ... of none; right of it the rest of 128.
        let picture = RgbImage::from_fn(6, 1, |x, _| image::Rgb([if x < 3 { 0 } else { 128 }; 3]));
        for kind in KINDS {
            let resized = Resizer::default()
                .resize(&picture, (12, 1), kind)
                .expect("a size");
            let levels: Vec<u8> = resized.pixels().map(|pixel| pixel.0[0]).collect();
            // Weights at 1.75, 0.75, 0.25, 1.25: -0.0234375, 0.2265625, 0.8671875, -0.0703125.
            // 3 -> -0.0234375 * 128 = -3 -> 0; 4 -> -9 -> 0; 5 -> (0.2265625 - 0.0234375) * 128 = 26.
            // The other side is 128 less the mirrored sum: 128 - 26, 128 + 9, 128 + 3.
            assert_eq!(
                levels,
                [0, 0, 0, 0, 0, 26, 102, 137, 131, 128, 128, 128],
                "{kind:?}"
            );
        }
    }
}
