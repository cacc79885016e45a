//! Running the program and making files for it.
#![allow(clippy::unwrap_used, dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use image::{Delay, DynamicImage, Frame, Rgb, RgbImage, codecs::gif::GifEncoder};
use tempfile::TempDir;

/// A folder of its own for each test, and the program run in it.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_unimoe"));
        command.current_dir(self.0.path());
        command
    }

    pub fn run(&self, line: &[&str]) -> Output {
        self.command().args(line).output().unwrap()
    }

    /// Runs what must work, and returns its standard output.
    pub fn works(&self, line: &[&str]) -> String {
        let output = self.run(line);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{line:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail with `code` and one line that contains all of `words`.
    pub fn fails(&self, line: &[&str], code: i32, words: &[&str]) {
        check_failure(&self.run(line), code, words);
    }

    /// The names in a folder, sorted.
    pub fn listing(&self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(name))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A model folder of the tiny preset.
    pub fn model(&self, name: &str) -> PathBuf {
        self.works(&["init", "--preset", "tiny", "--seed", "3", "--out", name]);
        self.path(name)
    }

    /// A sound of 220 Hz.
    pub fn tone(&self, name: &str, rate: u32, channels: u16, seconds: f32) -> PathBuf {
        let path = self.path(name);
        let samples = (0..(rate as f32 * seconds) as usize).flat_map(|index| {
            let angle = index as f32 / rate as f32 * 220.0 * std::f32::consts::TAU;
            std::iter::repeat_n((angle.sin() * 8000.0) as i16, channels.into())
        });
        write_wav(&path, rate, channels, samples);
        path
    }
}

pub fn check_failure(output: &Output, code: i32, words: &[&str]) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{errors}");
    let lines: Vec<&str> = errors
        .lines()
        .filter(|l| !l.starts_with("note: "))
        .collect();
    let [line] = lines[..] else {
        panic!("not one line: {errors}");
    };
    assert!(line.starts_with("error: ") && line.len() < 1000, "{line}");
    for word in words {
        assert!(line.contains(word), "no `{word}` in: {line}");
    }
}

pub fn write_wav(path: &Path, rate: u32, channels: u16, samples: impl Iterator<Item = i16>) {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
}

/// The samples of a valid 16 kHz mono 16-bit file of at least a second.
pub fn read_wav(path: &Path) -> Vec<i16> {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    assert_eq!(
        (spec.channels, spec.sample_rate, spec.bits_per_sample),
        (1, 16_000, 16)
    );
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    assert!(samples.len() >= 16_000, "{} samples", samples.len());
    samples
}

/// Frames of plain colours, each another: red grows by `step` levels.
pub fn colours(count: u8, step: u8, width: u32, height: u32) -> Vec<RgbImage> {
    let frame = |n: u8| RgbImage::from_pixel(width, height, Rgb([n * step, 80, 255 - n * step]));
    (1..=count).map(frame).collect()
}

/// Writes an animation of one frame per second.
pub fn write_gif(path: &Path, frames: &[RgbImage]) {
    let mut encoder = GifEncoder::new(fs::File::create(path).unwrap());
    for frame in frames {
        let frame = DynamicImage::ImageRgb8(frame.clone()).into_rgba8();
        let second = Delay::from_numer_denom_ms(1000, 1);
        let frame = Frame::from_parts(frame, 0, 0, second);
        encoder.encode_frame(frame).unwrap();
    }
}

/// Writes a folder of numbered pictures.
pub fn write_folder(path: &Path, frames: &[RgbImage]) {
    fs::create_dir(path).unwrap();
    for (number, frame) in (1..).zip(frames) {
        frame.save(path.join(format!("{number}.png"))).unwrap();
    }
}

/// Runs ffmpeg in a folder; `false` where there is none, which fails with `UNIMOE_REQUIRE_FFMPEG=1`.
pub fn ffmpeg(place: &Place, line: &str) -> bool {
    let run = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(line.split_whitespace())
        .current_dir(place.0.path())
        .status();
    match run {
        Ok(status) => {
            assert!(status.success(), "ffmpeg {line}");
            true
        }
        Err(error) => {
            let required = std::env::var("UNIMOE_REQUIRE_FFMPEG").is_ok_and(|value| value == "1");
            assert!(!required, "ffmpeg is required: {error}");
            eprintln!("skipped: there is no ffmpeg");
            false
        }
    }
}
