//! Putting a sound beside a video's pictures.

use std::{fs, path::Path, time::Instant};

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

/// Seconds that the sound may outlast the stated duration, which is rounded.
const SLACK: f64 = 0.05;

/// Writes `output`: the pictures of `video` as they are, rotation included, with `sound` in place of its own.
///
/// The sound is encoded as AAC, in a webm as Opus, and cut where the video ends. The file is written under another name
/// beside `output` first, so that none is there where writing fails; one that is there before is replaced.
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
    let source = FfmpegVideo::open(video, &options.ffmpeg, options.limits.clone())?;
    for input in [video, sound] {
        let same =
            fs::canonicalize(input).map_err(|error| FrameError::io("read")(error).at(input))?;
        if fs::canonicalize(output).is_ok_and(|output| output == same) {
            return Err(FrameError::OverwritesInput.at(output));
        }
    }
    let (_, container, encoder) = container(output).map_err(|error| error.at(output))?;
    let sound_container = kind::sound_container(sound).map_err(|error| error.at(sound))?;
    let duration = source.duration()?;

    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let written = temporary(folder).map_err(|error| error.at(output))?;

    let mut arguments = source.input();
    arguments.extend(input(sound, sound_container, &options.limits));
    push(&mut arguments, &["-map", "0:V:0", "-map", "1:a:0"]);
    push(&mut arguments, &["-c:v", "copy", "-c:a", encoder]);
    if let Some(seconds) = duration {
        push(&mut arguments, &["-t", &format!("{:.6}", seconds + SLACK)]);
    }
    push(&mut arguments, &["-y", "-f", container]);
    arguments.push(file_url(&written));

    let limit = options.limits.time;
    let run = || -> Result<(), FrameError> {
        let deadline = Instant::now() + limit;
        let finished = Running::start(&options.ffmpeg, arguments, deadline, limit)?.finish()?;
        if !finished.succeeded {
            return Err(finished.log.error());
        }
        Ok(())
    };
    // What it says is about any of the three files.
    run().map_err(|error| error.at(output))?;
    written
        .persist(output)
        .map_err(|error| FrameError::io("write")(error.error).at(output))
}

fn container(output: &Path) -> Result<(&str, &str, &str), FrameError> {
    let ending = output.extension().unwrap_or_default().to_string_lossy();
    CONTAINERS
        .into_iter()
        .find(|(name, ..)| ending.eq_ignore_ascii_case(name))
        .ok_or(FrameError::UnknownEnding {
            expected: "mp4, m4v, mov, mkv or webm",
        })
}

/// A new file with the rights that a file of the user's own would have, removed unless it is kept.
fn temporary(folder: &Path) -> Result<tempfile::TempPath, FrameError> {
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
