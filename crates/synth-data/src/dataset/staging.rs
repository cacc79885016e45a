//! A folder that appears whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::error::SynthError;

/// A folder beside the one that is wanted, removed unless it is published.
#[derive(Debug)]
pub(super) struct Staging {
    folder: TempDir,
    out: PathBuf,
}

impl Staging {
    /// Makes the folder; `out` must be absent or empty, folders above it are made.
    pub fn beside(out: &Path) -> Result<Self, SynthError> {
        match fs::read_dir(out) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(SynthError::NotEmpty {
                        path: out.to_path_buf(),
                    });
                }
            }
            Err(_) if out.symlink_metadata().is_ok() => {
                return Err(SynthError::NotEmpty {
                    path: out.to_path_buf(),
                });
            }
            Err(_) => {}
        }
        let parent = match out.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(SynthError::write(parent))?;
        let folder = tempfile::Builder::new()
            .prefix(".synth-")
            .tempdir_in(parent);
        Ok(Self {
            folder: folder.map_err(SynthError::write(out))?,
            out: out.to_path_buf(),
        })
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name.
    pub fn publish(self) -> Result<(), SynthError> {
        let Self { folder, out } = self;
        let failed = |source| SynthError::Write {
            path: out.clone(),
            source,
        };
        open_to_others(folder.path()).map_err(failed)?;
        // Not every system renames over an empty folder.
        match fs::remove_dir(&out) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        fs::rename(folder.path(), &out).map_err(failed)?;
        // The name that it removes is gone.
        drop(folder);
        Ok(())
    }
}

/// A temporary folder is its owner's alone; a data set is as readable as any folder.
fn open_to_others(folder: &Path) -> std::io::Result<()> {
    // A new folder has the permissions that the system gives by default.
    let default = fs::metadata(folder.join("speech"))?.permissions();
    fs::set_permissions(folder, default)
}
