//! Reading text files whose size nobody vouches for.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
};

/// Most bytes read from a configuration or an index; the released index has 0.2 million.
const MAX_BYTES: u64 = 1 << 26;

/// The content of a regular file of at most 64 MiB.
///
/// # Errors
///
/// What the system says, and [`ErrorKind::InvalidData`] for what is larger or no regular file.
pub fn read_text(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        let reason = "not a regular file";
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        let reason = format!("more than {MAX_BYTES} bytes");
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_or_no_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        let file = File::create(&path).expect("a file");
        file.set_len(MAX_BYTES).expect("room");
        assert_eq!(read_text(&path).expect("just fits").len() as u64, MAX_BYTES);
        file.set_len(1 << 40).expect("a sparse file");
        let error = read_text(&path).expect_err("too large");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(read_text(folder.path()).is_err());
    }
}
