//! Where results go: writability is checked before the work, files appear whole or not at all.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use crate::error::CliError;

/// Endings that ask for a format that is not written here.
const OTHER_FORMATS: [&str; 9] = [
    "aac", "aiff", "flac", "m4a", "mp3", "mp4", "ogg", "opus", "wma",
];

/// One reserved place per result.
///
/// Dropping it before [`publish`](Self::publish) removes everything that it made.
#[derive(Debug)]
pub struct Outputs {
    slots: Vec<Slot>,
    // Declared after the slots: their files go first.
    _folders: MadeFolders,
}

#[derive(Debug)]
struct Slot {
    path: PathBuf,
    /// `None` once published.
    file: Option<NamedTempFile>,
}

/// Folders that were made for the results, outermost first; empty ones go again when dropped.
#[derive(Debug)]
struct MadeFolders(Vec<PathBuf>);

impl Drop for MadeFolders {
    fn drop(&mut self) {
        for folder in self.0.iter().rev() {
            // Fails where a result lies in it, which is as it should be.
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Outputs {
    /// Reserves a place for each of `names`: `target` itself where it ends in `.extension` and there is
    /// one result, else `target/NAME.extension`.
    ///
    /// # Errors
    ///
    /// [`CliError::Argument`] where the target asks for something else, [`CliError::Output`] where it
    /// can't be written.
    pub fn reserve(target: &Path, names: &[String], extension: &str) -> Result<Self, CliError> {
        let ending = target
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase())
            .unwrap_or_default();
        let is_file = ending == extension && !target.is_dir();
        if is_file && names.len() != 1 {
            return Err(CliError::Argument {
                what: "--output",
                expected: format!("a folder for {} results", names.len()),
                found: target.display().to_string(),
            });
        }
        if !is_file && !target.is_dir() && OTHER_FORMATS.contains(&ending.as_str()) {
            return Err(CliError::Argument {
                what: "--output",
                expected: format!("a .{extension} path or a folder"),
                found: target.display().to_string(),
            });
        }

        let (folder, paths) = if is_file {
            let folder = target.parent().unwrap_or(Path::new(""));
            (folder, vec![target.to_owned()])
        } else {
            let paths = names
                .iter()
                .map(|n| target.join(format!("{n}.{extension}")));
            (target, paths.collect())
        };
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CliError::Output { path, source }
        };

        let folders = if is_file {
            MadeFolders(Vec::new())
        } else {
            make_folders(folder).map_err(failed(folder))?
        };
        let slots = paths
            .into_iter()
            .map(|path| {
                if path.is_dir() {
                    return Err(failed(&path)(io::Error::from(io::ErrorKind::IsADirectory)));
                }
                let file = temporary(folder).map_err(failed(&path))?;
                Ok(Slot {
                    path,
                    file: Some(file),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            slots,
            _folders: folders,
        })
    }

    /// Writes the bytes of a result beside its place, down to the disk.
    ///
    /// # Errors
    ///
    /// [`CliError::Output`] where the disk is full, for example.
    pub fn write(&mut self, index: usize, bytes: &[u8]) -> Result<(), CliError> {
        let slot = &mut self.slots[index];
        let Some(file) = &mut slot.file else {
            return Ok(());
        };
        let file = file.as_file_mut();
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .map_err(|source| CliError::Output {
                path: slot.path.clone(),
                source,
            })
    }

    /// Moves a written result to its place, and says where that is.
    ///
    /// # Errors
    ///
    /// [`CliError::Output`] where the place was lost in the meantime.
    pub fn publish(&mut self, index: usize) -> Result<PathBuf, CliError> {
        let slot = &mut self.slots[index];
        if let Some(file) = slot.file.take() {
            file.persist(&slot.path).map_err(|error| CliError::Output {
                path: slot.path.clone(),
                source: error.error,
            })?;
        }
        Ok(slot.path.clone())
    }
}

/// Creates `folder` and its missing parents, and remembers which it made.
fn make_folders(folder: &Path) -> io::Result<MadeFolders> {
    let mut missing: Vec<PathBuf> = folder
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    fs::create_dir_all(folder)?;
    Ok(MadeFolders(missing))
}

/// A file in `folder` that has the permissions of any new file once it is renamed.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unimoe-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|n| format!("music-{n}")).collect()
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
        let mut outputs = Outputs::reserve(&file, &names(1), "wav").expect("a file");
        outputs.write(0, b"x").expect("written");
        assert_eq!(outputs.publish(0).expect("published"), file);

        let folder = root.path().join("b/c");
        let mut outputs = Outputs::reserve(&folder, &names(2), "wav").expect("a folder");
        for index in 0..2 {
            outputs.write(index, b"x").expect("written");
            outputs.publish(index).expect("published");
        }
        drop(outputs);
        assert_eq!(listing(&folder), ["music-1.wav", "music-2.wav"]);
        assert_eq!(listing(root.path()), ["a.WAV", "b"]);
    }

    #[test]
    fn what_is_not_published_leaves_nothing_behind() {
        let root = tempfile::tempdir().expect("a folder");
        let old = root.path().join("a.wav");
        fs::write(&old, "old").expect("written");
        let mut outputs = Outputs::reserve(&old, &names(1), "wav").expect("a file");
        outputs.write(0, b"new").expect("written");
        drop(outputs);
        assert_eq!(fs::read(&old).expect("still there"), b"old");

        let folder = root.path().join("b/c/d");
        drop(Outputs::reserve(&folder, &names(3), "wav").expect("a folder"));
        assert_eq!(listing(root.path()), ["a.wav"]);
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
            let error = Outputs::reserve(&target, &names(count), "wav").expect_err("unusable");
            assert_eq!(error.code(), code, "{}: {error}", target.display());
        }
        assert_eq!(listing(root.path()), ["plain", "taken"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_read_only_folder_is_refused_even_to_root() {
        let error = Outputs::reserve(Path::new("/sys"), &names(1), "wav").expect_err("read-only");
        assert_eq!(error.code(), 5);
        assert!(error.to_string().contains("/sys/music-1.wav"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_result_has_the_permissions_of_any_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().expect("a folder");
        let plain = root.path().join("plain");
        fs::write(&plain, "").expect("written");
        let mut outputs =
            Outputs::reserve(&root.path().join("a.wav"), &names(1), "wav").expect("a file");
        let path = outputs.publish(0).expect("published");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
