//! Files with an object of JSON in each line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

use serde::de::DeserializeOwned;

use super::MetricError;

/// Most bytes of a line: some 500,000 numbers.
const MAX_LINE: u64 = 16 << 20;

/// Reads the lines one after another; empty ones are left out. `expected` says in errors what a line is to be.
pub(super) fn read_lines<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
    mut each: impl FnMut(usize, T) -> Result<(), MetricError>,
) -> Result<(), MetricError> {
    let io = |source| MetricError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut limited = reader.by_ref().take(MAX_LINE + 1);
        if limited.read_until(b'\n', &mut bytes).map_err(io)? == 0 {
            break;
        }
        let bad = |reason: String| MetricError::Line {
            path: path.to_path_buf(),
            line,
            expected,
            reason,
        };
        if bytes.len() as u64 > MAX_LINE {
            return Err(bad(format!("longer than {MAX_LINE} bytes")));
        }
        // Some editors begin a file with a mark of its encoding.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let value = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        each(line, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<(usize, u32)>, MetricError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("numbers.jsonl");
        std::fs::write(&path, text).expect("written");
        let mut found = Vec::new();
        read_lines(&path, "a number", |line, number| {
            found.push((line, number));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn empty_lines_and_the_mark_of_an_encoding_are_passed_over() {
        let found = read(b"\xef\xbb\xbf1\n\n  \r\n2\r\n3").expect("numbers");
        assert_eq!(found, [(1, 1), (4, 2), (5, 3)]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = read(b"1\nx\n").expect_err("no number").to_string();
        assert!(error.contains("numbers.jsonl, line 2: "), "{error}");
        assert!(error.ends_with("expected a number"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_without_end_is_refused() {
        let error = read_lines(Path::new("/dev/zero"), "a number", |_, _: u32| Ok(()));
        let error = error.expect_err("no end").to_string();
        assert!(
            error.contains("line 1: longer than 16777216 bytes"),
            "{error}"
        );
    }
}
