//! Files that are on the disk when we say so.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// A file that is being written.
pub(super) trait Output: Write + Seek + Send {
    /// Waits until what was written is on the disk.
    fn sync(&self) -> io::Result<()>;
}

impl Output for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Creates files: the tests put disks there that fill up.
pub(super) type Create = fn(&Path) -> io::Result<Box<dyn Output>>;

/// An ordinary file.
pub(super) fn create(path: &Path) -> io::Result<Box<dyn Output>> {
    Ok(Box::new(File::create_new(path)?))
}

/// Size and checksum of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) bytes: u64,
    pub(super) crc32: u32,
}

/// Writes a whole file to the disk.
pub(super) fn write(create: Create, path: &Path, content: &[u8]) -> io::Result<Stamp> {
    let mut file = create(path)?;
    file.write_all(content)?;
    file.sync()?;
    Ok(Stamp {
        bytes: content.len() as u64,
        crc32: crc32fast::hash(content),
    })
}

/// Reads a whole file for its checksum, a piece at a time.
pub(super) fn checksum(path: &Path) -> io::Result<u32> {
    let mut file = File::open(path)?;
    let mut checksum = crc32fast::Hasher::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(checksum.finalize()),
            read => checksum.update(&piece[..read]),
        }
    }
}

/// Waits until the names in a folder are on the disk.
#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
