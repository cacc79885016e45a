//! Bicubic resizing with antialiasing of 8-bit pictures, as Pillow and torchvision do it.
//!
//! Each output pixel is a sum of input pixels weighted by the cubic kernel with `a = -0.5`, widened by the scale
//! where the picture shrinks. Rows are resized first and rounded to 8 bits, then columns. The weights are integers
//! of 16 bits as in torchvision's kernel; Pillow's are longer, so a value may differ from Pillow's by one level.

use fast_image_resize::{
    FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer as Convolution,
    images::{Image, ImageRef},
};
use image::RgbImage;

use crate::PictureError;

/// Resizes pictures, keeping its buffers from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Resizer {
    convolution: Convolution,
    rows: Vec<u8>,
}

impl Resizer {
    /// The picture at `height` times `width` pixels.
    pub(crate) fn resize(
        &mut self,
        picture: &RgbImage,
        height: u32,
        width: u32,
    ) -> Result<RgbImage, PictureError> {
        let (from_width, from_height) = picture.dimensions();
        if (from_width, from_height) == (width, height) {
            return Ok(picture.clone());
        }
        let mut resized = RgbImage::new(width, height);
        let Self { convolution, rows } = self;
        let source = (picture.as_raw().as_slice(), from_width, from_height);
        if from_width == width || from_height == height {
            pass(convolution, source, (&mut resized, width, height))?;
        } else {
            // One call for both directions would begin with the columns, which rounds otherwise.
            rows.resize(width as usize * from_height as usize * 3, 0);
            pass(convolution, source, (rows, width, from_height))?;
            let source = (rows.as_slice(), width, from_height);
            pass(convolution, source, (&mut resized, width, height))?;
        }
        Ok(resized)
    }
}

/// Resizes pixels of a width and a height that differ in one of the two.
fn pass(
    convolution: &mut Convolution,
    (from, from_width, from_height): (&[u8], u32, u32),
    (to, width, height): (&mut [u8], u32, u32),
) -> Result<(), PictureError> {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
    let failed = |reason: String| PictureError::Resize {
        from: (from_width, from_height),
        to: (width, height),
        reason,
    };
    let source = ImageRef::new(from_width, from_height, from, PixelType::U8x3)
        .map_err(|error| failed(error.to_string()))?;
    let mut target = Image::from_slice_u8(width, height, to, PixelType::U8x3)
        .map_err(|error| failed(error.to_string()))?;
    convolution
        .resize(&source, &mut target, &options)
        .map_err(|error| failed(error.to_string()))
}
