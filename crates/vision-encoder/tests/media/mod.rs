//! Pictures, animations and videos that the tests make themselves.
#![allow(dead_code)]

use std::{
    f64::consts::TAU,
    ffi::OsStr,
    fs::{self, File},
    io::{BufWriter, Cursor},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use image::{
    Delay, Frame, ImageFormat, Rgb, RgbImage, RgbaImage,
    codecs::{gif::GifEncoder, webp::WebPEncoder},
};
use vision_encoder::{FrameSource, Sampling, VideoOptions, VisionError, open_source};

/// A picture of one grey level.
pub fn grey(width: u32, height: u32, level: u8) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([level; 3]))
}

/// A picture that is the same in no two corners.
pub fn pattern(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let level = |scale: u32| ((x * scale + y * 3 + seed * 29) % 256) as u8;
        Rgb([level(5), level(7), (255 * y / height.max(2)) as u8])
    })
}

/// The error and its causes in one line.
pub fn words(error: &VisionError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

/// All sampled frames of a path.
pub fn frames(path: &Path, options: &VideoOptions) -> Result<Vec<RgbImage>, VisionError> {
    let mut source = open_source(path, options)?;
    all(source.as_mut(), &options.sampling()?)
}

/// All sampled frames of a source.
pub fn all(
    source: &mut dyn FrameSource,
    sampling: &Sampling,
) -> Result<Vec<RgbImage>, VisionError> {
    source.frames(sampling)?.collect()
}

/// The red level in the middle of each frame.
pub fn levels(frames: &[RgbImage]) -> Vec<u8> {
    let level = |frame: &RgbImage| frame.get_pixel(frame.width() / 2, frame.height() / 2).0[0];
    frames.iter().map(level).collect()
}

/// Sampling options at a rate.
pub fn at(fps: f64, max_frames: usize) -> VideoOptions {
    VideoOptions {
        fps,
        max_frames,
        ..VideoOptions::default()
    }
}

/// A GIF of frames with delays in milliseconds.
pub fn gif(frames: &[(RgbaImage, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new_with_speed(&mut bytes, 30);
    for (frame, delay) in frames {
        let delay = Delay::from_numer_denom_ms(*delay, 1);
        let frame = Frame::from_parts(frame.clone(), 0, 0, delay);
        encoder.encode_frame(frame).unwrap();
    }
    drop(encoder);
    bytes
}

/// A PNG animation of frames with delays in milliseconds.
pub fn apng(frames: &[(RgbaImage, u32)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = frames[0].0.dimensions();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(frames.len() as u32, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    for (frame, delay) in frames {
        writer.set_frame_delay(*delay as u16, 1000).unwrap();
        writer.write_image_data(frame.as_raw()).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

/// A WebP animation of frames with delays in milliseconds: still WebP pictures in the animation's chunks.
pub fn webp(frames: &[(RgbaImage, u32)]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], content: &[u8]| {
        let mut chunk = name.to_vec();
        chunk.extend((content.len() as u32).to_le_bytes());
        chunk.extend(content);
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    };
    let three = |number: u32| number.to_le_bytes()[..3].to_vec();
    let (width, height) = frames[0].0.dimensions();
    let size = [three(width - 1), three(height - 1)].concat();

    // Flags: animation and alpha.
    let mut content = b"WEBP".to_vec();
    content.extend(chunk(b"VP8X", &[&[0x12, 0, 0, 0][..], &size].concat()));
    content.extend(chunk(b"ANIM", &[0; 6]));
    for (frame, delay) in frames {
        let mut still = Vec::new();
        let pixels = frame.as_raw();
        let encoder = WebPEncoder::new_lossless(&mut still);
        encoder
            .encode(pixels, width, height, image::ExtendedColorType::Rgba8)
            .unwrap();
        let mut frame = [three(0), three(0), size.clone(), three(*delay)].concat();
        frame.push(2); // replaces what was there
        frame.extend(&still[12..]);
        content.extend(chunk(b"ANMF", &frame));
    }
    chunk(b"RIFF", &content)
}

/// A still picture's file.
pub fn still(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A mono WAV of a tone.
pub fn wav(path: &Path, seconds: f64, rate: u32) {
    let samples: Vec<u8> = (0..(seconds * f64::from(rate)) as u32)
        .map(|n| (f64::from(n) * 440.0 * TAU / f64::from(rate)).sin())
        .flat_map(|sample| ((sample * 16_000.0) as i16).to_le_bytes())
        .collect();
    let length = samples.len() as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((2 * rate).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples);
    fs::write(path, bytes).unwrap();
}

/// Whether ffmpeg is there. Where it isn't, says that the test is skipped, or panics where
/// `UNIMOE_REQUIRE_FFMPEG` is 1.
pub fn have_ffmpeg() -> bool {
    let run = Command::new("ffmpeg")
        .arg("-version")
        .stdout(Stdio::null())
        .status();
    let there = run.is_ok_and(|status| status.success());
    if !there {
        let required = std::env::var_os("UNIMOE_REQUIRE_FFMPEG").is_some_and(|value| value == "1");
        assert!(
            !required,
            "UNIMOE_REQUIRE_FFMPEG=1, but there is no ffmpeg on the PATH"
        );
        println!("SKIPPED: there is no ffmpeg on the PATH");
    }
    there
}

/// Runs ffmpeg; returns what it writes to its standard output.
pub fn ffmpeg<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-hide_banner", "-loglevel", "error", "-y"])
        .args(arguments);
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
    output.stdout
}

/// Writes a video of these frames, each of which comes back exactly: at `rate` frames per second, with more
/// arguments before the output.
pub fn video(output: &Path, frames: &[RgbImage], rate: f64, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (n, frame) in frames.iter().enumerate() {
        let file = File::create(folder.path().join(format!("{n:05}.png"))).unwrap();
        frame
            .write_to(&mut BufWriter::new(file), ImageFormat::Png)
            .unwrap();
    }
    let rate = rate.to_string();
    let input = folder.path().join("%05d.png");
    let begin = [
        "-framerate",
        &rate,
        "-i",
        input.to_str().unwrap(),
        "-c:v",
        "png",
    ];
    let mut arguments: Vec<&OsStr> = begin.iter().map(OsStr::new).collect();
    arguments.extend(more.iter().map(OsStr::new));
    let mut url = std::ffi::OsString::from("file:");
    url.push(output);
    arguments.push(&url);
    ffmpeg(arguments);
}

/// Frames of the levels 0, 2, 4, ...
pub fn staircase(count: usize) -> Vec<RgbImage> {
    (0..count)
        .map(|n| grey(32, 24, (2 * n % 256) as u8))
        .collect()
}

/// Writes bytes to a file in a folder.
pub fn write(folder: &tempfile::TempDir, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Copies a video with the remark that it is to be turned by a quarter.
pub fn turn(from: &Path, to: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-loglevel",
        "error",
        "-y",
        "-display_rotation:v:0",
        "90",
        "-i",
    ]);
    let known = command
        .arg(from)
        .args(["-c", "copy"])
        .arg(to)
        .output()
        .unwrap();
    if !known.status.success() {
        // Before version 6 it was metadata.
        let metadata = ["-c", "copy", "-metadata:s:v", "rotate=90"].map(OsStr::new);
        ffmpeg(
            [OsStr::new("-i"), from.as_os_str()]
                .into_iter()
                .chain(metadata)
                .chain([to.as_os_str()]),
        );
    }
}
