//! Where results go: checked before the work starts, so that an hour of it is not lost on a typing error.
//!
//! The libraries write a file beside its place and rename it, so it appears whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::CliError;

/// Endings that ask for a format, whether it is written here or not: no folder is meant.
const FORMATS: [&str; 15] = [
    "aac", "aiff", "avi", "flac", "gif", "m4a", "mkv", "mov", "mp3", "mp4", "ogg", "opus", "wav",
    "webm", "wma",
];

/// Where the user wants results.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The option that says so.
    pub option: &'static str,
    /// A file for one result, else a folder.
    pub path: &'a Path,
    /// Endings that the path of a file may have.
    pub endings: &'a [&'a str],
}

/// One place per result, in a folder that can be written.
///
/// Dropping it removes the folders that it made and that no result came to lie in.
#[derive(Debug)]
pub struct Outputs {
    paths: Vec<PathBuf>,
    folders: MadeFolders,
}

/// Folders that were made for results, outermost first; dropping it removes those that are empty.
#[derive(Debug)]
pub struct MadeFolders(Vec<PathBuf>);

impl MadeFolders {
    /// Makes `folder` and its missing parents, and remembers which it made.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn make(folder: &Path) -> io::Result<Self> {
        let mut missing: Vec<PathBuf> = folder
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        fs::create_dir_all(folder)?;
        Ok(Self(missing))
    }

    /// The folders, outermost first.
    pub fn paths(&self) -> &[PathBuf] {
        &self.0
    }
}

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Fails where a result lies in it, which is as it should be.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Outputs {
    /// Finds a place for each result: the target itself where it has one of its endings and there is one
    /// result, else a file in it, by the name in `names`.
    ///
    /// # Errors
    ///
    /// [`CliError::Argument`] where the target asks for something else, [`CliError::Output`] where it
    /// can't be written.
    pub fn reserve(target: Target<'_>, names: &[String]) -> Result<Self, CliError> {
        let Target {
            option,
            path: target,
            endings,
        } = target;
        let ending = target
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        let is_file = endings.contains(&ending.as_str()) && !target.is_dir();
        if is_file && names.len() != 1 {
            return Err(CliError::Argument {
                what: option,
                expected: format!("a folder for {} results", names.len()),
                found: target.display().to_string(),
            });
        }
        if !is_file && !target.is_dir() && FORMATS.contains(&ending.as_str()) {
            return Err(CliError::Argument {
                what: option,
                expected: format!("a path ending in .{}, or a folder", endings.join(", .")),
                found: target.display().to_string(),
            });
        }

        let (folder, paths) = if is_file {
            let folder = target.parent().unwrap_or(Path::new(""));
            (folder, vec![target.to_owned()])
        } else {
            (target, names.iter().map(|n| target.join(n)).collect())
        };
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let folders = if is_file {
            MadeFolders(Vec::new())
        } else {
            MadeFolders::make(folder).map_err(CliError::output(folder))?
        };
        for path in &paths {
            let free = if path.is_dir() {
                Err(io::Error::from(io::ErrorKind::IsADirectory))
            } else {
                tempfile::tempfile_in(folder).map(drop)
            };
            free.map_err(CliError::output(path))?;
        }
        Ok(Self { paths, folders })
    }

    /// The folders that were made, outermost first.
    pub fn made(&self) -> &[PathBuf] {
        &self.folders.0
    }

    /// The places, in the order of the names.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("music-{n}.wav")).collect()
    }

    fn reserve(path: &Path, count: usize) -> Result<Outputs, CliError> {
        let target = Target {
            option: "--output",
            path,
            endings: &["wav"],
        };
        Outputs::reserve(target, &names(count))
    }

    fn listing(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .expect("a folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_wav_path_is_one_file_and_everything_else_a_folder() {
        let root = tempfile::tempdir().expect("a folder");
        let file = root.path().join("a.WAV");
        let outputs = reserve(&file, 1).expect("a file");
        assert_eq!(outputs.paths(), [file]);

        let folder = root.path().join("b/c");
        let outputs = reserve(&folder, 2).expect("a folder");
        assert_eq!(
            outputs.paths(),
            [folder.join("music-1.wav"), folder.join("music-2.wav")]
        );
    }

    #[test]
    fn folders_that_no_result_came_to_lie_in_go_again() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("b/c/d");
        let outputs = reserve(&folder, 3).expect("a folder");
        assert_eq!(listing(&folder), Vec::<String>::new());
        drop(outputs);
        assert_eq!(listing(root.path()), Vec::<String>::new());

        let outputs = reserve(&folder, 3).expect("a folder");
        fs::write(&outputs.paths()[1], "x").expect("written");
        drop(outputs);
        assert_eq!(listing(&folder), ["music-2.wav"]);
    }

    #[test]
    fn unusable_targets_are_refused_before_the_work() {
        let root = tempfile::tempdir().expect("a folder");
        let plain = root.path().join("plain");
        fs::write(&plain, "").expect("written");
        fs::create_dir(root.path().join("taken")).expect("made");
        fs::create_dir(root.path().join("taken/music-1.wav")).expect("made");
        for (target, count, code) in [
            (root.path().join("one.wav"), 2, 2),
            (root.path().join("song.mp3"), 1, 2),
            (root.path().join("missing/one.wav"), 1, 5),
            (plain.join("one.wav"), 1, 5),
            (plain.clone(), 1, 5),
            (root.path().join("taken"), 1, 5),
        ] {
            let error = reserve(&target, count).expect_err("unusable");
            assert_eq!(error.code(), code, "{}: {error}", target.display());
        }
        assert_eq!(listing(root.path()), ["plain", "taken"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_read_only_folder_is_refused_even_to_root() {
        let error = reserve(Path::new("/sys"), 1).expect_err("read-only");
        assert_eq!(error.code(), 5);
        assert!(error.to_string().contains("/sys/music-1.wav"), "{error}");
    }
}
