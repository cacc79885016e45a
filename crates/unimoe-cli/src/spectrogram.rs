//! Spectrograms as pictures: mel bands over time, one panel above the other.

use std::path::Path;

use burn::tensor::Device;
use dac_codec::AudioClip;
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{ImageError, ImageFormat, Rgb, RgbImage};
use unimoe_train::{MelSpectrogram, MelSpectrogramConfig, SpectralError};

/// Rate at which sounds are drawn.
const RATE: u32 = 16_000;
/// Window and step in samples: 64 ms and 10 ms.
const WINDOW: usize = 1024;
const HOP: usize = 160;
/// Bands, each two points high.
const BANDS: usize = 80;
/// Points of a panel's plot: its height, and its width for a second; a frame is two points wide.
const HEIGHT: u32 = 2 * BANDS as u32;
const SECOND: u32 = 2 * RATE / HOP as u32;
/// Room for the marks to the left and right, for a panel's title above and its marks below.
const LEFT: u32 = 48;
const RIGHT: u32 = 16;
const ABOVE: u32 = 16;
const BELOW: u32 = 24;
/// Room for the picture's title.
const TITLE: u32 = 20;
/// Most letters of a title that make a picture wider.
const LONGEST_TITLE: usize = 80;
/// Longest piece of a sound that is drawn.
const MAX_SECONDS: f64 = 30.0;
/// Levels below the loudest that are drawn, in dB.
const RANGE: f64 = 80.0;
/// What a band is raised to before the logarithm.
const FLOOR: f64 = 1e-8;
/// Side of a letter.
const LETTER: u32 = 8;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([32, 32, 32]);

/// Black, blue, green, yellow: each step as much lighter as the one before, so that it reads in grey too. Points of the
/// viridis colours of matplotlib (Smith and van der Walt, CC0).
const COLOURS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 45, 123],
    [59, 82, 139],
    [44, 114, 142],
    [33, 145, 140],
    [40, 174, 128],
    [94, 201, 98],
    [173, 220, 48],
    [253, 231, 37],
];

/// A picture on its way.
pub struct Spectrogram {
    title: String,
    panels: Vec<Panel>,
}

struct Panel {
    title: String,
    /// Levels in dB below the loudest band of the sound, `[N][BANDS]`.
    frames: Vec<Vec<f64>>,
}

/// Why a sound can't be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// It can't be resampled.
    #[error(transparent)]
    Audio(#[from] dac_codec::DacError),
    /// The bands are not possible.
    #[error(transparent)]
    Spectrum(#[from] SpectralError),
}

impl Spectrogram {
    /// A picture with a title and no panels.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            panels: Vec::new(),
        }
    }

    /// Adds a panel below the others: the first 30 s of a sound.
    ///
    /// # Errors
    ///
    /// A [`DrawError`] where the sound can't be resampled.
    pub fn panel(&mut self, title: &str, clip: &AudioClip) -> Result<(), DrawError> {
        let most = (MAX_SECONDS * f64::from(clip.sample_rate)) as usize;
        let samples = clip.samples[..clip.samples.len().min(most)].to_vec();
        let clip = AudioClip { samples, ..*clip }.resampled(RATE)?;
        let seconds = clip.seconds();
        self.panels.push(Panel {
            title: format!("{title}, {seconds:.2} s"),
            frames: levels(&clip)?,
        });
        Ok(())
    }

    /// Writes the picture as PNG, whole or not at all.
    ///
    /// # Errors
    ///
    /// What keeps it from being written.
    pub fn write(&self, path: &Path) -> Result<(), ImageError> {
        let mut file = std::io::Cursor::new(Vec::new());
        self.draw().write_to(&mut file, ImageFormat::Png)?;
        let beside = path.with_extension("png.unfinished");
        std::fs::write(&beside, file.into_inner())?;
        std::fs::rename(&beside, path)?;
        Ok(())
    }

    fn draw(&self) -> RgbImage {
        let frames = self
            .panels
            .iter()
            .map(|panel| panel.frames.len())
            .max()
            .unwrap_or(0);
        let plot = 2 * frames as u32;
        let each = ABOVE + HEIGHT + BELOW;
        let title = self.title.chars().count().min(LONGEST_TITLE) as u32;
        let width = (LEFT + plot + RIGHT).max(8 + title.max(30) * LETTER);
        let mut image = RgbImage::from_pixel(width, TITLE + each * self.panels.len() as u32, PAPER);
        let room = ((width - 8) / LETTER) as usize;
        write(
            &mut image,
            4,
            6,
            &self.title.chars().take(room).collect::<String>(),
        );
        for (number, panel) in (0..).zip(&self.panels) {
            panel.draw(&mut image, TITLE + number * each);
        }
        image
    }
}

impl Panel {
    /// Draws the panel from the line `top` on.
    fn draw(&self, image: &mut RgbImage, top: u32) {
        write(image, LEFT, top + 4, &self.title);
        let plot = top + ABOVE;
        for (frame, levels) in (0..).zip(&self.frames) {
            for (band, &level) in (0..).zip(levels) {
                let colour = colour(1.0 + level / RANGE);
                let (x, y) = (LEFT + 2 * frame, plot + HEIGHT - 2 * (band + 1));
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    image.put_pixel(x + dx, y + dy, colour);
                }
            }
        }
        for (hz, name) in [
            (0.0, "0"),
            (500.0, "0.5"),
            (1000.0, "1"),
            (2000.0, "2"),
            (4000.0, "4"),
            (8000.0, "8 kHz"),
        ] {
            let y = plot + HEIGHT - 1 - (height(hz) * f64::from(HEIGHT - 1)).round() as u32;
            line(image, LEFT - 4, y, 4, 1);
            let wide = LETTER * name.len() as u32;
            write(
                image,
                LEFT - 6 - wide.min(LEFT - 6),
                y.saturating_sub(4),
                name,
            );
        }
        let wide = 2 * self.frames.len() as u32;
        let below = plot + HEIGHT;
        line(image, LEFT, below, wide, 1);
        for half in 0..=(2 * wide / SECOND) {
            let x = LEFT + half * SECOND / 2;
            line(image, x, below, 1, if half % 2 == 0 { 5 } else { 3 });
            if half % 2 == 0 {
                write(
                    image,
                    x.saturating_sub(4),
                    below + 7,
                    &format!("{} s", half / 2),
                );
            }
        }
    }
}

/// The mel bands of a sound in dB below its loudest one.
fn levels(clip: &AudioClip) -> Result<Vec<Vec<f64>>, DrawError> {
    if clip.samples.is_empty() {
        return Ok(Vec::new());
    }
    // Small, and the same on every machine: the device of the model is not asked.
    let device = Device::flex();
    let bands: MelSpectrogram =
        MelSpectrogramConfig::new(RATE as usize, WINDOW, HOP, BANDS).init(&device)?;
    let [_, _, length] = clip.to_tensor(&device).dims();
    let mel = bands
        .log(clip.to_tensor(&device).reshape([1, length]), FLOOR)
        .swap_dims(1, 2);
    let values: Vec<f64> = mel
        .into_data()
        .iter::<f64>()
        .map(|level| 20.0 * level)
        .collect();
    let loudest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let rows = values.chunks_exact(BANDS);
    Ok(rows
        .map(|row| row.iter().map(|level| level - loudest).collect())
        .collect())
}

/// How far up a frequency lies, 0 to 1, on Slaney's mel scale.
fn height(hz: f64) -> f64 {
    let mel = |hz: f64| match hz < 1000.0 {
        true => hz * 3.0 / 200.0,
        false => 15.0 + (hz / 1000.0).ln() * 27.0 / 6.4f64.ln(),
    };
    mel(hz) / mel(f64::from(RATE) / 2.0)
}

fn colour(share: f64) -> Rgb<u8> {
    let place = share.clamp(0.0, 1.0) * (COLOURS.len() - 1) as f64;
    let low = (place as usize).min(COLOURS.len() - 2);
    let part = place - low as f64;
    let mix = |c: usize| {
        let [a, b] = [COLOURS[low][c], COLOURS[low + 1][c]].map(f64::from);
        (a + (b - a) * part).round() as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}

/// A filled rectangle, cut at the picture's edges.
fn line(image: &mut RgbImage, x: u32, y: u32, width: u32, height: u32) {
    for y in y..(y + height).min(image.height()) {
        for x in x..(x + width).min(image.width()) {
            image.put_pixel(x, y, INK);
        }
    }
}

/// Letters with their upper left corner at a place; what has no letter becomes a dot.
fn write(image: &mut RgbImage, x: u32, y: u32, text: &str) {
    for (place, letter) in (0..).zip(text.chars()) {
        let rows = BASIC_FONTS
            .get(letter)
            .or_else(|| BASIC_FONTS.get('.'))
            .unwrap_or_default();
        for (dy, row) in (0..).zip(rows) {
            for dx in (0..LETTER).filter(|bit| row & (1 << bit) != 0) {
                line(image, x + place * LETTER + dx, y + dy, 1, 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, seconds: f64) -> AudioClip {
        let sample = |n: usize| (n as f64 * hz / 16_000.0 * std::f64::consts::TAU).sin() as f32;
        AudioClip {
            samples: (0..(16_000.0 * seconds) as usize).map(sample).collect(),
            sample_rate: RATE,
        }
    }

    #[test]
    fn a_tone_is_a_bright_line_at_its_height_in_its_panel() {
        let mut picture = Spectrogram::new("a title");
        picture.panel("low", &tone(500.0, 1.0)).expect("drawn");
        picture.panel("high", &tone(4000.0, 0.5)).expect("drawn");
        let image = picture.draw();
        // A second and the frame at its end.
        assert_eq!(
            (image.width(), image.height()),
            (LEFT + 202 + RIGHT, TITLE + 2 * 200)
        );
        for (number, hz) in [(0, 500.0), (1, 4000.0)] {
            let top = TITLE + number * 200 + ABOVE;
            let brightness = |y: u32| {
                let Rgb([r, g, _]) = *image.get_pixel(LEFT + 50, top + y);
                u32::from(r) + u32::from(g)
            };
            let brightest = (0..HEIGHT).max_by_key(|&y| brightness(y)).expect("a line");
            let expected = (1.0 - height(hz)) * f64::from(HEIGHT);
            // A band is two points high, and its tone may lie at its edge.
            assert!(
                (f64::from(brightest) - expected).abs() < 5.0,
                "{brightest} {expected}"
            );
        }
    }

    #[test]
    fn silence_and_nothing_are_drawn_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut picture = Spectrogram::new(&"x\u{4f60}".repeat(200));
        let silent = AudioClip {
            samples: vec![0.0; 800],
            sample_rate: 8000,
        };
        picture.panel("silent", &silent).expect("drawn");
        let nothing = AudioClip {
            samples: Vec::new(),
            sample_rate: RATE,
        };
        picture.panel("nothing", &nothing).expect("drawn");
        let path = folder.path().join("a.png");
        picture.write(&path).expect("written");
        let read = image::open(&path).expect("a picture");
        assert_eq!(read.height(), TITLE + 2 * 200);
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn colours_go_from_dark_to_light() {
        let light = |share: f64| {
            let Rgb([r, g, b]) = colour(share);
            0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
        };
        let steps: Vec<f64> = (0..=20).map(|step| light(f64::from(step) / 20.0)).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
        assert_eq!(colour(-1.0), colour(0.0));
    }
}
