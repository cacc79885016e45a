//! Pictures for people: what the model saw, with the borders of its tokens, and at which second.

use image::{Rgb, RgbImage, imageops};

/// Longer side that a small picture is enlarged towards, in pixels.
const LOOKABLE: u32 = 640;
/// Dashes of a grid line, in pixels.
const DASH: u32 = 4;
/// Largest side of a picture on a sheet, in pixels.
const THUMBNAIL: u32 = 224;
/// Space between the steps of a sheet, in pixels.
const GAP: u32 = 12;
/// Space between the frames of a step, in pixels.
const SEAM: u32 = 2;
/// Height of the strip with the time, in pixels.
const STRIP: u32 = 24;
/// Pixels of a sheet per point of a glyph.
const POINT: u32 = 3;

const BLACK: Rgb<u8> = Rgb([0, 0, 0]);
const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
const PAPER: Rgb<u8> = Rgb([64, 64, 64]);

/// Draws a picture with the borders between its squares of `cell` pixels, enlarged by a whole number where it
/// is small.
///
/// The borders are dashed in black and white: one of them shows on any picture.
pub fn with_grid(picture: &RgbImage, cell: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let factor = (LOOKABLE / width.max(height).max(1)).max(1);
    let border = (cell * factor).max(1);
    RgbImage::from_fn(width * factor, height * factor, |x, y| {
        let on_border = |at: u32| at > 0 && at.is_multiple_of(border);
        if !on_border(x) && !on_border(y) {
            return *picture.get_pixel(x / factor, y / factor);
        }
        match ((x + y) / DASH).is_multiple_of(2) {
            true => BLACK,
            false => WHITE,
        }
    })
}

/// Draws all frames in one picture, with the `labels` of the first ones below them.
///
/// Frames of one step in time, `depth` of them, stand close together: the model sees them as one.
pub fn sheet(frames: &[RgbImage], depth: usize, labels: &[String]) -> RgbImage {
    let depth = depth.max(1);
    let small: Vec<RgbImage> = frames.iter().map(thumbnail).collect();
    let width = small.iter().map(RgbImage::width).max().unwrap_or(1);
    let height = small.iter().map(RgbImage::height).max().unwrap_or(1);
    let step = (depth as u32 * (width + SEAM) - SEAM, height + STRIP);
    let steps = frames.len().div_ceil(depth).max(1) as u32;
    // About three times as wide as high.
    let ideal = (3.0 * f64::from(steps) * f64::from(step.1) / f64::from(step.0)).sqrt();
    let columns = (ideal.round() as u32).clamp(1, steps);
    let rows = steps.div_ceil(columns);

    let mut sheet = RgbImage::from_pixel(
        columns * (step.0 + GAP) + GAP,
        rows * (step.1 + GAP) + GAP,
        PAPER,
    );
    for (index, picture) in small.iter().enumerate() {
        let (step_index, frame) = ((index / depth) as u32, (index % depth) as u32);
        let x = GAP + step_index % columns * (step.0 + GAP) + frame * (width + SEAM);
        let y = GAP + step_index / columns * (step.1 + GAP);
        imageops::replace(&mut sheet, picture, x.into(), y.into());
        if let Some(text) = labels.get(index) {
            write(&mut sheet, text, x, y + height + (STRIP - 5 * POINT) / 2);
        }
    }
    sheet
}

fn thumbnail(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= THUMBNAIL {
        return picture.clone();
    }
    let side = |pixels: u32| {
        let scaled = u64::from(pixels) * u64::from(THUMBNAIL) / u64::from(longest);
        scaled.max(1) as u32
    };
    imageops::thumbnail(picture, side(width), side(height))
}

/// Writes digits, points, spaces and `s`; what leaves the sheet is cut.
fn write(sheet: &mut RgbImage, text: &str, left: u32, top: u32) {
    let (width, height) = sheet.dimensions();
    for (character, left) in text.chars().zip((left..).step_by(4 * POINT as usize)) {
        let rows = glyph(character);
        for (y, x) in (0..5 * POINT).flat_map(|y| (0..3 * POINT).map(move |x| (y, x))) {
            let inked = rows[(y / POINT) as usize] & (4 >> (x / POINT)) != 0;
            if inked && left + x < width && top + y < height {
                sheet.put_pixel(left + x, top + y, WHITE);
            }
        }
    }
}

/// Five rows of three points.
fn glyph(character: char) -> [u8; 5] {
    match character {
        '0' => [7, 5, 5, 5, 7],
        '1' => [2, 6, 2, 2, 7],
        '2' => [7, 1, 7, 4, 7],
        '3' => [7, 1, 3, 1, 7],
        '4' => [5, 5, 7, 1, 1],
        '5' => [7, 4, 7, 1, 7],
        '6' => [7, 4, 7, 5, 7],
        '7' => [7, 1, 2, 2, 2],
        '8' => [7, 5, 7, 5, 7],
        '9' => [7, 5, 7, 1, 7],
        '.' => [0, 0, 0, 0, 2],
        's' => [3, 4, 2, 1, 6],
        _ => [0; 5],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_stand_between_cells_and_show_on_any_colour() {
        for level in [0, 127, 255] {
            let picture = RgbImage::from_pixel(400, 336, Rgb([level; 3]));
            let drawn = with_grid(&picture, 28);
            assert_eq!(drawn.dimensions(), (400, 336));
            for (x, y, pixel) in drawn.enumerate_pixels() {
                let inside = (x % 28 != 0 || x == 0) && (y % 28 != 0 || y == 0);
                assert!(!inside || *pixel == Rgb([level; 3]), "{x} {y}");
            }
            let border: Vec<_> = (1..336).map(|y| *drawn.get_pixel(28, y)).collect();
            assert!(border.contains(&BLACK) && border.contains(&WHITE));
        }
    }

    #[test]
    fn small_pictures_grow_by_a_whole_number() {
        let picture = RgbImage::from_fn(56, 28, |x, _| Rgb([x as u8, 0, 0]));
        let drawn = with_grid(&picture, 28);
        assert_eq!(drawn.dimensions(), (11 * 56, 11 * 28));
        for (x, y) in [(0, 0), (10, 5), (11, 5), (307, 9), (309, 9)] {
            assert_eq!(drawn.get_pixel(x, y)[0] as u32, x / 11);
        }
        assert_ne!(drawn.get_pixel(308, 9)[0], 28);
    }

    #[test]
    fn a_sheet_holds_every_frame_and_keeps_steps_together() {
        let colours: Vec<_> = (1..=5).map(|n| Rgb([40 * n, 0, 0])).collect();
        let frames: Vec<_> = (colours.iter())
            .map(|&colour| RgbImage::from_pixel(56, 56, colour))
            .collect();
        let sheet = sheet(&frames, 2, &["0.50 s".into()]);
        for colour in colours {
            let pixels = sheet.pixels().filter(|&&pixel| pixel == colour).count();
            assert_eq!(pixels, 56 * 56);
        }
        assert_eq!(sheet.get_pixel(GAP + 56 + SEAM, GAP), &Rgb([80, 0, 0]));
        assert!(sheet.pixels().any(|&pixel| pixel == WHITE));
    }

    #[test]
    fn a_sheet_of_large_or_no_frames_stays_small() {
        let frames = vec![RgbImage::new(5000, 30); 3];
        let drawn = sheet(&frames, 1, &[]);
        assert!(drawn.width() < 1000 && drawn.height() < 500);
        sheet(&[], 0, &["1 s".into()]);
    }
}
