//! How long a video lasts, from the list of its packets that ffmpeg's `framecrc` writes.
//!
//! ```text
//! #tb 0: 1/1000
//! 0,         64,         64,      500,      554, 0x986edd13
//! ```
//!
//! A line has the stream, the times of decoding and of showing, the duration, the size and a checksum.

use std::io::BufRead;

/// Longest line that is looked at, in bytes.
const MAX_LINE: u64 = 4096;

/// Seconds from the first frame's beginning to the last one's end; `None` where there is no packet.
pub(super) fn seconds(mut list: impl BufRead) -> Option<f64> {
    let (mut unit, mut begin, mut end) = (None, f64::INFINITY, f64::NEG_INFINITY);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = std::io::Read::take(&mut list, MAX_LINE);
        if !matches!(bounded.read_until(b'\n', &mut line), Ok(1..)) {
            break;
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(fraction) = text.strip_prefix("#tb 0:") {
            let (numerator, denominator) = fraction.split_once('/')?;
            unit = Some(number(numerator)? / number(denominator)?);
        } else if !text.starts_with('#') {
            let mut fields = text.split(',').skip(2).map(number);
            if let (Some(Some(shown)), Some(Some(duration))) = (fields.next(), fields.next()) {
                begin = begin.min(shown);
                end = end.max(shown + duration);
            }
        }
    }
    let seconds = (end - begin) * unit?;
    (seconds.is_finite() && seconds > 0.0).then_some(seconds)
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_end_counts_from_the_first_frames_beginning() {
        // Shown in another order than decoded.
        let list = "#software: x\n#tb 0: 1/1000\n0, -500, 64, 500, 554, 0x98\n0, 0, 1064, 500, 1, 0x1\n\
            0, 500, 564, 500, 1, 0x1, F=0x0\n";
        assert_eq!(seconds(list.as_bytes()), Some(1.5));
    }

    #[test]
    fn lists_without_packets_or_sense_have_no_length() {
        for list in [
            "",
            "#tb 0: 1/1000\n",
            "0, 0, 0, 5\n",
            "#tb 0: 1/0\n0, 0, 0, 5\n",
            "#tb 0: x\n",
            "0,\n,,,,\n\0",
        ] {
            assert_eq!(seconds(list.as_bytes()), None, "{list}");
        }
        assert_eq!(seconds(&vec![b'0'; 1 << 20][..]), None);
    }
}
