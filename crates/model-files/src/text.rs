//! Reading text files whose size nobody vouches for.

use std::io::{self, ErrorKind};

use crate::model_path::ModelPath;

/// Most bytes read from a configuration or an index; the released index has 0.2 million.
const MAX_BYTES: u64 = 1 << 26;

/// The content of a regular file of at most 64 MiB.
///
/// # Errors
///
/// What the system says, and [`ErrorKind::InvalidData`] for what is larger, no regular file, or not UTF-8.
pub fn read_text(path: impl Into<ModelPath>) -> io::Result<String> {
    let bytes = path.into().read(MAX_BYTES)?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

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
