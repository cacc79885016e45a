//! Folders that appear whole or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{RequestError, UniMoeError, WeightsError};

/// Has `fill` write a folder, which takes its place once it is complete. The place must be free, or an empty folder.
///
/// # Errors
///
/// What `fill` says, and a [`UniMoeError`] where `folder` holds something or can't be written.
pub(crate) fn write_new_folder<T>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<T, UniMoeError>,
) -> Result<T, UniMoeError> {
    let io = |source| WeightsError::Io {
        path: folder.to_path_buf(),
        source,
    };
    let is_there = folder.exists();
    if is_there && fs::read_dir(folder).map_err(io)?.next().is_some() {
        return Err(RequestError::FolderInUse {
            folder: folder.to_path_buf(),
        }
        .into());
    }
    // A folder that is there may be a mount, which can't be replaced: it is filled from within.
    let place = match folder.parent() {
        _ if is_there => folder,
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(place).map_err(io)?;
    let unfinished = tempfile::Builder::new()
        .prefix(".unimoe-init-")
        .tempdir_in(place)
        .map_err(io)?;
    let filled = fill(unfinished.path())?;
    if is_there {
        move_content(unfinished.path(), folder).map_err(io)?;
    } else {
        make_readable(unfinished.path()).map_err(io)?;
        fs::rename(unfinished.path(), folder).map_err(io)?;
        // The folder has moved: there is nothing left to remove.
        let _: PathBuf = unfinished.keep();
    }
    Ok(filled)
}

/// Moves everything in `from` to the empty folder `to`, or nothing.
fn move_content(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut moved = Vec::new();
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        if let Err(error) = fs::rename(from.join(&name), to.join(&name)) {
            for name in moved {
                // Back into the temporary folder, which goes as a whole.
                fs::rename(to.join(&name), from.join(&name))?;
            }
            return Err(error);
        }
        moved.push(name);
    }
    Ok(())
}

/// Temporary folders are private to their owner; a model folder is like any other.
#[cfg(unix)]
fn make_readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
