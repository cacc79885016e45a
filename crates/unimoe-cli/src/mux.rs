//! Videos with their new sound.

use std::{
    fs,
    path::{Path, PathBuf},
};

use vision_encoder::{VideoOptions, check_mux, mux};

use crate::{
    args::Clip,
    error::CliError,
    interrupt::Interrupt,
    output::{Outputs, Target},
};

/// Endings of videos that [`mux`] writes.
const ENDINGS: [&str; 5] = ["mp4", "m4v", "mov", "mkv", "webm"];
/// Ending of a video whose own is not among them: a container that takes most codecs.
const OTHER: &str = "mkv";

/// A place for each video with its new sound.
#[derive(Debug)]
pub struct Muxing(Outputs);

impl Muxing {
    /// Checks before the work that the videos are such, that ffmpeg is there, and that the results have a place.
    ///
    /// # Errors
    ///
    /// [`CliError::Input`] for what is no video file, [`CliError::Argument`] where a video would be replaced or the
    /// target can't be, [`CliError::Output`] where it can't be written.
    pub fn reserve(
        target: &Path,
        clips: &[Clip],
        options: &VideoOptions,
        interrupt: &Interrupt,
    ) -> Result<Self, CliError> {
        let target = Target {
            option: "--mux",
            path: target,
            endings: &ENDINGS,
        };
        let outputs = Outputs::reserve(target, &names(clips))?;
        interrupt.remove_on_stop(outputs.made());
        for (clip, output) in clips.iter().zip(outputs.paths()) {
            let same = |path: &&PathBuf| {
                let real = fs::canonicalize(&clip.video);
                real.is_ok_and(|real| fs::canonicalize(path).is_ok_and(|path| path == real))
            };
            if let Some(path) = outputs.paths().iter().find(same) {
                return Err(CliError::Argument {
                    what: "--mux",
                    expected: "another file than the video".into(),
                    found: path.display().to_string(),
                });
            }
            check_mux(&clip.video, output, options)
                .map_err(CliError::input("the video for --mux"))?;
            interrupt.check()?;
        }
        Ok(Self(outputs))
    }

    /// Writes each video with its sound, and returns where.
    ///
    /// # Errors
    ///
    /// [`CliError::Output`] that names the video; those before it stay, none is half-written.
    pub fn write<'a>(
        self,
        clips: &[Clip],
        sounds: impl Iterator<Item = &'a Path>,
        options: &VideoOptions,
        interrupt: &Interrupt,
    ) -> Result<Vec<PathBuf>, CliError> {
        let paths = self.0.paths();
        for ((clip, sound), path) in clips.iter().zip(sounds).zip(paths) {
            interrupt.check()?;
            mux(&clip.video, sound, path, options).map_err(|error| {
                // A child that the same Ctrl-C ended gives an error.
                match interrupt.check() {
                    Ok(()) => CliError::output(path)(error),
                    Err(interrupted) => interrupted,
                }
            })?;
        }
        Ok(paths.to_vec())
    }
}

/// The results' names in a folder, with the endings of the videos where they are written.
fn names(clips: &[Clip]) -> Vec<String> {
    let ending = |clip: &Clip| {
        let own = clip.video.extension().unwrap_or_default();
        let own = own.to_string_lossy().to_lowercase();
        ENDINGS.into_iter().find(|&ending| ending == own)
    };
    (1..)
        .zip(clips)
        .map(|(number, clip)| format!("video-music-{number}.{}", ending(clip).unwrap_or(OTHER)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_containers_of_their_videos_where_these_are_written() {
        let clips = ["a.MOV", "b.avi", "c"].map(|video| Clip {
            video: video.into(),
            caption: "calm".into(),
        });
        let expected = [
            "video-music-1.mov",
            "video-music-2.mkv",
            "video-music-3.mkv",
        ];
        assert_eq!(names(&clips), expected);
    }
}
