//! Putting a sound beside a video's pictures.

use std::{ffi::OsString, fs, path::Path, time::Instant};

use tempfile::TempPath;

use super::{
    VideoOptions,
    child::Running,
    ffmpeg::{FfmpegVideo, file_url, input, push},
    kind,
};
use crate::{FrameError, VisionError};

/// Endings of files that are written, with ffmpeg's name of the container and of the sound's encoder.
const CONTAINERS: [(&str, &str, &str); 5] = [
    ("mp4", "mp4", "aac"),
    ("m4v", "mp4", "aac"),
    ("mov", "mov", "aac"),
    ("mkv", "matroska", "aac"),
    ("webm", "webm", "libopus"),
];

/// Seconds that the sound may outlast the pictures, whose length is rounded.
const SLACK: f64 = 0.05;

/// Writes `output`: the pictures of `video` as they are, rotation included, with `sound` in place of its own.
///
/// The sound is encoded as AAC, in a webm as Opus, and cut where the pictures end. The file is written under another
/// name beside `output` first, so that none is there where writing fails; one that is there before is replaced.
///
/// # Errors
///
/// Where `output` is one of the inputs or its ending is unknown, an input can't be read, ffmpeg is missing, takes
/// longer than the limit or fails.
pub fn mux(
    video: &Path,
    sound: &Path,
    output: &Path,
    options: &VideoOptions,
) -> Result<(), VisionError> {
    let job = Job::new(video, output, options)?;
    job.spare(sound)?;
    let container = kind::sound_container(sound).map_err(|error| error.at(sound))?;
    let length = job.source.length().map_err(|error| error.at(video))?;

    let mut arguments = input(sound, container, &options.limits);
    push(&mut arguments, &["-map", "0:V:0", "-map", "1:a:0"]);
    push(&mut arguments, &["-c:v", "copy", "-c:a", job.encoder]);
    if let Some(seconds) = length {
        push(&mut arguments, &["-t", &format!("{:.6}", seconds + SLACK)]);
    }
    let written = job.write(arguments)?;
    written
        .persist(output)
        .map_err(|error| FrameError::io("write")(error.error).at(output))
}

/// Finds out whether [`mux`] could put the pictures of `video` into `output`, which it doesn't touch: each container
/// holds some ways of coding pictures only.
///
/// # Errors
///
/// As [`mux`].
pub fn check_mux(video: &Path, output: &Path, options: &VideoOptions) -> Result<(), VisionError> {
    let mut arguments = Vec::new();
    push(&mut arguments, &["-map", "0:V:0", "-c:v", "copy"]);
    push(&mut arguments, &["-frames:v", "1"]);
    let job = Job::new(video, output, options)?;
    // What is wrong with the video itself is said of it, not of the output.
    job.source.duration()?;
    // What was written goes with its guard.
    job.write(arguments).map(drop)
}

/// A file to write from a video.
struct Job<'a> {
    source: FfmpegVideo,
    output: &'a Path,
    options: &'a VideoOptions,
    container: &'static str,
    /// Of the sound.
    encoder: &'static str,
}

impl<'a> Job<'a> {
    fn new(video: &Path, output: &'a Path, options: &'a VideoOptions) -> Result<Self, VisionError> {
        let source = FfmpegVideo::open(video, &options.ffmpeg, options.limits.clone())?;
        let (container, encoder) = container(output).map_err(|error| error.at(output))?;
        let job = Self {
            source,
            output,
            options,
            container,
            encoder,
        };
        job.spare(video)?;
        Ok(job)
    }

    /// Refuses to write to what is read.
    fn spare(&self, input: &Path) -> Result<(), VisionError> {
        let input =
            fs::canonicalize(input).map_err(|error| FrameError::io("read")(error).at(input))?;
        match fs::canonicalize(self.output) {
            Ok(output) if output == input => Err(FrameError::OverwritesInput.at(self.output)),
            _ => Ok(()),
        }
    }

    /// Writes a new file beside the output from the video, with these arguments behind it.
    fn write(&self, more: Vec<OsString>) -> Result<TempPath, VisionError> {
        // What ffmpeg says is about any of the files.
        self.run(more).map_err(|error| error.at(self.output))
    }

    fn run(&self, more: Vec<OsString>) -> Result<TempPath, FrameError> {
        let folder = match self.output.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let written = temporary(folder)?;
        let mut arguments = self.source.input();
        arguments.extend(more);
        push(&mut arguments, &["-y", "-f", self.container]);
        arguments.push(file_url(&written));
        let (program, limit) = (&self.options.ffmpeg, self.options.limits.time);
        let finished = Running::start(program, arguments, Instant::now(), limit)?.finish()?;
        match finished.succeeded {
            true => Ok(written),
            false => Err(finished.log.error()),
        }
    }
}

/// ffmpeg's names of the container and of the sound's encoder.
fn container(output: &Path) -> Result<(&'static str, &'static str), FrameError> {
    let ending = output.extension().unwrap_or_default().to_string_lossy();
    CONTAINERS
        .into_iter()
        .find(|(name, ..)| ending.eq_ignore_ascii_case(name))
        .map(|(_, container, encoder)| (container, encoder))
        .ok_or(FrameError::UnknownEnding {
            expected: "mp4, m4v, mov, mkv or webm",
        })
}

/// A new file with the rights that a file of the user's own would have, removed unless it is kept.
fn temporary(folder: &Path) -> Result<TempPath, FrameError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unfinished-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder
        .tempfile_in(folder)
        .map_err(FrameError::io("write"))?;
    Ok(file.into_temp_path())
}
