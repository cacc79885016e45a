//! Files that appear whole or not at all.

use std::{
    fs::Permissions,
    io::{self, BufWriter, Seek, Write},
    path::Path,
};

use tempfile::Builder;

use crate::error::DacError;

/// What [`write`]'s callback writes to.
pub(crate) trait Target: Write + Seek {}
impl<W: Write + Seek> Target for W {}

/// Writes `path` through a temporary file in the same folder, which is renamed once it is complete and removed
/// where something fails.
pub(crate) fn write(
    path: &Path,
    fill: impl FnOnce(&mut dyn Target) -> io::Result<()>,
) -> Result<(), DacError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let save = || {
        let mut builder = Builder::new();
        let builder = builder.prefix(".unfinished-");
        if let Some(permissions) = default_permissions() {
            builder.permissions(permissions);
        }
        let mut file = builder.tempfile_in(folder)?;
        let mut writer = BufWriter::new(file.as_file_mut());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    save().map_err(DacError::io("write", path))
}

/// What an ordinary new file gets; the process's umask is taken off.
#[cfg(unix)]
fn default_permissions() -> Option<Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn default_permissions() -> Option<Permissions> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        write(&path, |file| file.write_all(b"old")).expect("written");
        let error = write(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(matches!(error, Err(DacError::Io { .. })));
        assert_eq!(fs::read(&path).expect("readable"), b"old");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
