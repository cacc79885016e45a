//! Frames on a pipe: binary PPM pictures, each of which says its own size.

use std::io::{BufRead, ErrorKind, Read};

use image::RgbImage;

use super::{FrameLimits, picture::check_size};
use crate::FrameError;

/// Longest number in a header.
const MAX_DIGITS: usize = 10;

/// Reads the next frame, `None` where the pipe ends before it is complete. Its bytes are taken off `bytes_left`.
pub(super) fn read_frame(
    pipe: &mut impl BufRead,
    limits: &FrameLimits,
    bytes_left: &mut u64,
) -> Result<Option<RgbImage>, FrameError> {
    let mut magic = [0; 2];
    if !fill(pipe, &mut magic)? {
        return Ok(None);
    }
    let numbers = [number(pipe)?, number(pipe)?, number(pipe)?];
    let [Some(width), Some(height), Some(levels)] = numbers else {
        return Ok(None);
    };
    if &magic != b"P6" || levels != 255 || width == 0 || height == 0 {
        return Err(FrameError::Ffmpeg {
            words: "its output is not the pictures that were asked for".to_string(),
        });
    }
    check_size((width, height), limits)?;
    let length = u64::from(width) * u64::from(height) * 3;
    *bytes_left = bytes_left
        .checked_sub(length)
        .ok_or(FrameError::ByteLimit {
            limit: limits.max_bytes,
        })?;
    let mut frame = RgbImage::new(width, height);
    Ok(fill(pipe, &mut frame)?.then_some(frame))
}

/// Fills the buffer; `false` where the pipe ends before.
fn fill(pipe: &mut impl Read, buffer: &mut [u8]) -> Result<bool, FrameError> {
    match pipe.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(source) => Err(FrameError::Io {
            action: "read",
            source,
        }),
    }
}

/// Reads a number and the white space behind it; `None` where the pipe ends or there is no number.
fn number(pipe: &mut impl BufRead) -> Result<Option<u32>, FrameError> {
    let mut digits = String::new();
    let mut byte = [0];
    while fill(pipe, &mut byte)? {
        match byte[0] {
            b'0'..=b'9' if digits.len() < MAX_DIGITS => digits.push(char::from(byte[0])),
            byte if byte.is_ascii_whitespace() && digits.is_empty() => {}
            byte if byte.is_ascii_whitespace() => return Ok(digits.parse().ok()),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8], mut left: u64) -> Result<Vec<(u32, u32)>, FrameError> {
        let limits = FrameLimits::default();
        let mut sizes = Vec::new();
        while let Some(frame) = read_frame(&mut bytes, &limits, &mut left)? {
            sizes.push(frame.dimensions());
        }
        Ok(sizes)
    }

    #[test]
    fn each_frame_has_its_size_and_the_last_may_be_cut() {
        let pipe = b"P6\n2 1\n255\nabcdefP6\n1 2\n255\nabcdefP6\n1 2\n255\nabc";
        assert_eq!(read(pipe, 1000).expect("two frames"), [(2, 1), (1, 2)]);
        assert!(matches!(read(pipe, 10), Err(FrameError::ByteLimit { .. })));
    }

    #[test]
    fn a_header_cannot_ask_for_much_memory() {
        let error = read(b"P6\n4294967295 4294967295\n255\n", u64::MAX).expect_err("too large");
        assert!(matches!(error, FrameError::TooLarge { .. }));
        assert!(
            read(b"P6\n99999999999 1\n255\n", u64::MAX)
                .expect("no frame")
                .is_empty()
        );
        assert!(read(b"P5\n1 1\n255\na", u64::MAX).is_err());
    }
}
