//! Animations whose cuts, motion and colours go with the music.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use gif::{Encoder, EncodingError, Frame, Repeat};
use rand::{Rng, RngExt};

use crate::{
    attributes::{Attributes, Mode, TempoClass, pick},
    error::SynthError,
    score::PIECE_SECONDS,
};

/// Width and height in pixels: the least that the vision encoder looks at.
pub const SIDE: u16 = 112;
/// Pictures per second.
pub const PICTURES_PER_SECOND: u32 = 8;

/// Colours of a mood's backgrounds.
type Palette = [[u8; 3]; 4];

/// Half the shape's width in pixels.
const RADIUS: f64 = 12.0;

/// A shape that moves over backgrounds that are cut.
#[derive(Debug, Clone, PartialEq)]
pub struct Animation {
    palette: Palette,
    /// The background of each picture, an index of the palette.
    backgrounds: Vec<u8>,
    /// The shape's middle in each picture, in pixels.
    centres: Vec<[f64; 2]>,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Disc,
    Square,
    Diamond,
}

impl Animation {
    /// Draws an animation that goes with music.
    pub(crate) fn draw(attributes: &Attributes, rng: &mut impl Rng) -> Self {
        let pictures = (PIECE_SECONDS * f64::from(PICTURES_PER_SECOND)) as usize;
        let every = pictures_between_cuts(attributes.tempo_class);
        let mut background = rng.random_range(0..4u8);
        let mut backgrounds = Vec::with_capacity(pictures);
        for i in 0..pictures {
            if i > 0 && i % every == 0 {
                background = (background + rng.random_range(1..4u8)) % 4;
            }
            backgrounds.push(background);
        }

        let step = pixels_per_second(attributes.tempo_class) / f64::from(PICTURES_PER_SECOND);
        let angle = rng.random_range(0.0..std::f64::consts::TAU);
        let mut at: [f64; 2] = [rng.random_range(20.0..92.0), rng.random_range(20.0..92.0)];
        let mut way = [step * angle.cos(), step * angle.sin()];
        let mut centres = Vec::with_capacity(pictures);
        for _ in 0..pictures {
            centres.push(at);
            for axis in 0..2 {
                if !(14.0..=98.0).contains(&(at[axis] + way[axis])) {
                    way[axis] = -way[axis];
                }
                at[axis] += way[axis];
            }
        }
        let shape = pick(&[Shape::Disc, Shape::Square, Shape::Diamond], rng);
        Self {
            palette: palette(attributes.mode),
            backgrounds,
            centres,
            shape,
        }
    }

    /// Writes a GIF that repeats.
    pub(crate) fn write(&self, path: &Path) -> Result<(), SynthError> {
        let failed = |error: EncodingError| {
            let source = match error {
                EncodingError::Io(source) => source,
                other => std::io::Error::other(other),
            };
            SynthError::write(path)(source)
        };
        let file = File::create(path).map_err(SynthError::write(path))?;
        self.encode(BufWriter::new(file)).map_err(failed)
    }

    fn encode(&self, file: BufWriter<File>) -> Result<(), EncodingError> {
        let mut colours: Vec<u8> = self.palette.concat();
        colours.extend(self.palette.iter().flat_map(|c| contrast(*c)));
        let mut encoder = Encoder::new(file, SIDE, SIDE, &colours)?;
        encoder.set_repeat(Repeat::Infinite)?;
        for (i, (background, centre)) in self.backgrounds.iter().zip(&self.centres).enumerate() {
            let frame = Frame {
                width: SIDE,
                height: SIDE,
                // Hundredths of a second: 12 and 13 in turn are an eighth in the mean.
                delay: 12 + (i % 2) as u16,
                buffer: Cow::Owned(self.picture(*background, *centre)),
                ..Frame::default()
            };
            encoder.write_frame(&frame)?;
        }
        let mut file = encoder.into_inner()?;
        file.flush()?;
        Ok(())
    }

    fn picture(&self, background: u8, [cx, cy]: [f64; 2]) -> Vec<u8> {
        let pixels = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (f64::from(x), f64::from(y))));
        pixels
            .map(|(x, y)| {
                let (dx, dy) = ((x - cx).abs(), (y - cy).abs());
                let inside = match self.shape {
                    Shape::Disc => dx.hypot(dy) <= RADIUS,
                    Shape::Square => dx.max(dy) <= RADIUS - 1.0,
                    Shape::Diamond => dx + dy <= RADIUS + 2.0,
                };
                if inside { background + 4 } else { background }
            })
            .collect()
    }
}

/// Pictures from cut to cut: 0.4, 1 and 2 cuts per second.
fn pictures_between_cuts(tempo: TempoClass) -> usize {
    match tempo {
        TempoClass::Slow => 20,
        TempoClass::Medium => 8,
        TempoClass::Fast => 4,
    }
}

/// The shape's speed.
fn pixels_per_second(tempo: TempoClass) -> f64 {
    match tempo {
        TempoClass::Slow => 15.0,
        TempoClass::Medium => 40.0,
        TempoClass::Fast => 90.0,
    }
}

/// Backgrounds that are far from each other within a mood.
fn palette(mode: Mode) -> Palette {
    match mode {
        Mode::Major => [
            [250, 220, 50],
            [250, 120, 30],
            [120, 220, 70],
            [250, 110, 180],
        ],
        Mode::Minor => [[15, 20, 60], [150, 165, 190], [50, 90, 170], [90, 90, 90]],
        Mode::WholeTone => [
            [205, 170, 250],
            [150, 240, 230],
            [250, 200, 225],
            [110, 110, 220],
        ],
        Mode::Diminished => [[10, 10, 10], [170, 10, 20], [235, 235, 235], [80, 0, 90]],
    }
}

/// White on dark colours, black on bright ones.
fn contrast([r, g, b]: [u8; 3]) -> [u8; 3] {
    let bright = 0.3 * f64::from(r) + 0.6 * f64::from(g) + 0.1 * f64::from(b) > 128.0;
    if bright { [0; 3] } else { [255; 3] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{attributes::COMBINATIONS, random};

    fn animation(combination: usize, seed: u64) -> (Attributes, Animation) {
        let mut rng = random::stream(seed, "test", combination);
        let attributes = Attributes::draw(combination, &mut rng);
        (attributes, Animation::draw(&attributes, &mut rng))
    }

    /// The pictures of a file: when each begins in seconds, and its pixels in RGBA.
    fn read(path: &Path) -> Vec<(f64, Vec<u8>)> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options
            .read_info(File::open(path).expect("a file"))
            .expect("a GIF");
        let mut at = 0.0;
        let mut pictures = Vec::new();
        while let Some(frame) = decoder.read_next_frame().expect("a picture") {
            assert_eq!((frame.width, frame.height), (SIDE, SIDE));
            pictures.push((at, frame.buffer.to_vec()));
            at += f64::from(frame.delay) / 100.0;
        }
        assert!((at - PIECE_SECONDS).abs() < 1e-9, "{at} s");
        pictures
    }

    /// The colour that most pixels have.
    fn background(picture: &[u8]) -> [u8; 3] {
        let mut counts = std::collections::HashMap::new();
        for pixel in picture.chunks(4) {
            *counts.entry([pixel[0], pixel[1], pixel[2]]).or_insert(0) += 1;
        }
        counts
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .expect("pixels")
            .0
    }

    #[test]
    fn two_pictures_per_second_show_the_cut_rate() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.gif");
        for combination in 0..COMBINATIONS {
            let (attributes, animation) = animation(combination, 1);
            animation.write(&path).expect("written");
            let pictures = read(&path);
            assert_eq!(pictures.len(), 40);
            let seen: Vec<[u8; 3]> = (0..10)
                .map(|i| {
                    let shown = pictures
                        .iter()
                        .rev()
                        .find(|(at, _)| *at <= f64::from(i) * 0.5 + 1e-9);
                    background(&shown.expect("the first is at 0").1)
                })
                .collect();
            let cuts = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
            // Ten pictures have nine gaps, 4.5 s: 2, 1 and 0.4 cuts per second.
            let expected = match attributes.tempo_class {
                TempoClass::Fast => 9..=9,
                TempoClass::Medium => 4..=5,
                TempoClass::Slow => 1..=2,
            };
            assert!(
                expected.contains(&cuts),
                "{:?}: {cuts} cuts",
                attributes.tempo_class
            );
        }
    }

    #[test]
    fn the_shape_moves_with_the_tempo_and_stays_inside() {
        for combination in 0..COMBINATIONS {
            let (attributes, animation) = animation(combination, 2);
            let step = pixels_per_second(attributes.tempo_class) / 8.0;
            for pair in animation.centres.windows(2) {
                let way = (pair[1][0] - pair[0][0]).hypot(pair[1][1] - pair[0][1]);
                assert!((way - step).abs() < 1e-9);
                assert!(
                    pair[1]
                        .iter()
                        .all(|c| (RADIUS..=112.0 - RADIUS).contains(c))
                );
            }
        }
    }

    #[test]
    fn backgrounds_of_a_mood_are_far_apart() {
        for mode in Mode::ALL {
            let palette = palette(*mode);
            for (i, one) in palette.iter().enumerate() {
                for other in &palette[..i] {
                    let squares = one
                        .iter()
                        .zip(other)
                        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                    let distance = squares.sum::<f64>().sqrt();
                    assert!(distance > 50.0, "{one:?} and {other:?}: {distance}");
                }
            }
        }
    }

    #[test]
    fn the_same_stream_writes_the_same_bytes() {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = |name: &str| {
            let path = folder.path().join(name);
            animation(5, 3).1.write(&path).expect("written");
            std::fs::read(path).expect("read")
        };
        assert_eq!(bytes("a.gif"), bytes("b.gif"));
    }
}
