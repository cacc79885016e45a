//! What is in a file, in 256 bits.

use std::{
    fmt, fs,
    fs::File,
    io::{self, Read},
    path::Path,
};

use sha2::{Digest as _, Sha256};

/// Most pictures of a folder.
const MAX_PICTURES: usize = 1 << 17;

/// SHA-256 of something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash(pub(crate) [u8; 32]);

impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl ContentHash {
    /// Reads 64 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes().as_chunks::<2>();
        if digits.0.len() != 32 || !digits.1.is_empty() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(digits.0) {
            let digits = str::from_utf8(digits).ok()?;
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Of several parts, kept apart by their lengths.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// Of a file's bytes, or of the names and bytes of the files in a folder; folders in it don't count.
    pub(crate) fn of_path(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        if metadata.is_file() {
            return Self::of_file(path);
        }
        let unusable = |reason| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        if !metadata.is_dir() {
            return unusable("neither a regular file nor a folder");
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.push(entry?.file_name());
            if names.len() > MAX_PICTURES {
                return unusable("too many files in the folder");
            }
        }
        names.sort();
        let mut hasher = Sha256::new();
        for name in names {
            let file = path.join(&name);
            if fs::metadata(&file)?.is_file() {
                let bytes = name.as_encoded_bytes();
                hasher.update((bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
                hasher.update(Self::of_file(&file)?.0);
            }
        }
        Ok(Self(hasher.finalize().into()))
    }

    fn of_file(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 1 << 16];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(Self(hasher.finalize().into())),
                read => hasher.update(&piece[..read]),
            }
        }
    }
}
