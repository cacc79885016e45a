//! Smart resize: the size that a picture gets, a multiple of a merged patch inside a budget of pixels.
//!
//! Qwen2-VL (arXiv:2409.12191), section 2.1, as two published programs round it.

use crate::{PictureError, VisionError};

/// The most that a picture's longer side may be of its shorter one.
const MAX_ASPECT: f64 = 200.0;

/// Which published program's rounding decides a picture's size.
///
/// Both round each side to the nearest multiple of `factor`, half to even. A product above `max_pixels` is
/// scaled down by `sqrt(height * width / max_pixels)` and floored; one below `min_pixels` is scaled up by
/// `sqrt(min_pixels / (height * width))` and raised to a multiple. They differ for very long or very small pictures:
///
/// | | `Transformers` | `QwenVlUtils` |
/// |---|---|---|
/// | a side that rounds to 0 | stays 0, so the product is 0 and the picture is scaled up | becomes `factor` |
/// | a side floored to 0 | becomes `factor` | stays 0: no picture is left |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmartResize {
    /// Hugging Face's transformers 4.53: the image and video processors.
    Transformers,
    /// qwen-vl-utils 0.0.11: the published pipeline's videos.
    QwenVlUtils,
}

impl SmartResize {
    /// The height and width that a picture of `height` times `width` pixels gets.
    ///
    /// `factor` is the side of a merged patch in pixels. A result of 0 is what [`SmartResize::QwenVlUtils`] says of
    /// a picture too long for its budget.
    ///
    /// # Errors
    ///
    /// Where a side or `factor` is 0, `max_pixels` is no positive number, or one side is more than 200 times
    /// the other.
    pub fn size(
        self,
        height: usize,
        width: usize,
        factor: usize,
        min_pixels: usize,
        max_pixels: f64,
    ) -> Result<(usize, usize), VisionError> {
        if factor == 0 {
            return Err(PictureError::setting("factor", "at least 1", factor).into());
        }
        if !(max_pixels > 0.0 && max_pixels.is_finite()) {
            let expected = "a positive number of pixels";
            return Err(PictureError::setting("max_pixels", expected, max_pixels).into());
        }
        if height == 0 || width == 0 {
            return Err(PictureError::Empty { width, height }.into());
        }
        let (h, w) = (height as f64, width as f64);
        if h.max(w) / h.min(w) > MAX_ASPECT {
            return Err(PictureError::AspectRatio { width, height }.into());
        }

        let (unit, min) = (factor as f64, min_pixels as f64);
        let nearest = |side: f64| {
            let rounded = (side / unit).round_ties_even() * unit;
            match self {
                Self::Transformers => rounded,
                Self::QwenVlUtils => rounded.max(unit),
            }
        };
        let floor = |side: f64| {
            let floored = (side / unit).floor() * unit;
            match self {
                Self::Transformers => floored.max(unit),
                Self::QwenVlUtils => floored,
            }
        };
        let ceil = |side: f64| (side / unit).ceil() * unit;

        let (new_h, new_w) = (nearest(h), nearest(w));
        let (new_h, new_w) = if new_h * new_w > max_pixels {
            let shrink = (h * w / max_pixels).sqrt();
            (floor(h / shrink), floor(w / shrink))
        } else if new_h * new_w < min {
            let grow = (min / (h * w)).sqrt();
            (ceil(h * grow), ceil(w * grow))
        } else {
            (new_h, new_w)
        };
        Ok((new_h as usize, new_w as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even() {
        // 42 / 28 = 1.5 -> 2; 70 / 28 = 2.5 -> 2.
        let size = SmartResize::Transformers.size(42, 70, 28, 1, 1e6);
        assert_eq!(size.ok(), Some((56, 56)));
    }

    #[test]
    fn the_rules_part_at_a_side_that_vanishes() {
        // 20 x 3000 into 3136 pixels: shrunk by sqrt(60000 / 3136) = 4.37 to 4.6 x 686.
        let size = |rule: SmartResize| rule.size(20, 3000, 28, 784, 3136.0).ok();
        assert_eq!(size(SmartResize::Transformers), Some((28, 672)));
        assert_eq!(size(SmartResize::QwenVlUtils), Some((0, 672)));
    }

    #[test]
    fn impossible_requests_are_errors() {
        let rule = SmartResize::QwenVlUtils;
        let error = |height, width, factor, max| {
            let size = rule.size(height, width, factor, 784, max);
            size.expect_err("no size").to_string()
        };
        assert!(error(0, 5, 28, 1e6).contains("5 x 0"));
        assert!(error(1, 201, 28, 1e6).contains("200 times"));
        assert!(error(9, 9, 0, 1e6).contains("factor is 0"));
        assert!(error(9, 9, 28, f64::NAN).contains("NaN"));
        assert!(rule.size(1, 200, 28, 784, 1e6).is_ok());
    }
}
