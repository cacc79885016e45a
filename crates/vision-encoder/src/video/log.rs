//! What ffmpeg says on its standard error, as far as it is of use.

use std::{collections::VecDeque, io::Read};

use ffmpeg_sidecar::log_parser::try_parse_duration;

use crate::FrameError;

/// Longest line that is kept, in bytes; a file's own metadata decides how long lines are.
const MAX_LINE: usize = 600;

/// Last lines of errors that are kept.
const MAX_LINES: usize = 4;

/// Duration and last words of a run.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Whether the input was recognised.
    pub(super) opened: bool,
    /// Seconds that the first input lasts, where it says so.
    pub(super) duration: Option<f64>,
    /// Time at which the first input begins in its own count of seconds, where it says so.
    pub(super) begin: Option<f64>,
    /// Time of the first frame in the file's own count of seconds, where the filter that says it is in use.
    pub(super) first_time: Option<f64>,
    duration_seen: bool,
    errors: VecDeque<String>,
    last: String,
}

impl Log {
    /// Reads to the end.
    pub(super) fn read(mut pipe: impl Read) -> Self {
        let mut log = Self::default();
        let mut line = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            for &byte in &buffer[..length] {
                if byte == b'\n' || byte == b'\r' {
                    log.line(&String::from_utf8_lossy(&line));
                    line.clear();
                } else if line.len() < MAX_LINE {
                    line.push(byte);
                }
            }
        }
        log.line(&String::from_utf8_lossy(&line));
        log
    }

    fn line(&mut self, line: &str) {
        let text = line.strip_prefix("[info] ").unwrap_or(line);
        if text.starts_with("Input #0") {
            self.opened = true;
        }
        // Metadata is indented by four, the line of the duration by two.
        if !self.duration_seen && text.starts_with("  Duration:") {
            self.duration_seen = true;
            let plausible = |seconds: &f64| seconds.is_finite() && *seconds > 0.0;
            self.duration = try_parse_duration(text.trim()).filter(plausible);
            let begin = text.split_once(", start: ");
            let begin = begin.and_then(|(_, rest)| rest.split(',').next()?.trim().parse().ok());
            self.begin = begin.filter(plausible);
        }
        if self.first_time.is_none()
            && let Some((_, rest)) = text.split_once(" pts_time:")
        {
            let seconds = rest.split_whitespace().next().map(str::parse);
            self.first_time = seconds.and_then(Result::ok);
        }
        let error = ["[error] ", "[fatal] ", "[panic] "]
            .into_iter()
            .find_map(|level| line.split_once(level));
        if let Some((_, words)) = error {
            if self.errors.len() == MAX_LINES {
                self.errors.pop_front();
            }
            self.errors.push_back(words.trim().to_string());
        }
        if !line.trim().is_empty() {
            self.last = line.trim().to_string();
        }
    }

    /// The last words as an error, those that are understood by their meaning.
    pub(super) fn error(&self) -> FrameError {
        let mut words: Vec<&str> = self.errors.iter().map(String::as_str).collect();
        words.dedup();
        let words = words.join("; ");
        if words.contains("matches no streams") || words.contains("does not contain any stream") {
            return FrameError::NoVideoStream;
        }
        let words = match (words.is_empty(), self.last.is_empty()) {
            (false, _) => words,
            (true, false) => self.last.clone(),
            (true, true) => "it said nothing".into(),
        };
        FrameError::Ffmpeg { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_duration_is_not_taken_from_metadata() {
        let text = "[info] Input #0, mov, from 'file:a':\n[info]   Metadata:\n\
            [info]     title           :   Duration: 99:00:00.00\n\
            [info]   Duration: 00:00:05.50, start: 0.0\n[info]   Duration: 00:00:07.00\n";
        let log = Log::read(text.as_bytes());
        assert!(log.opened);
        assert_eq!((log.duration, log.begin), (Some(5.5), None));
        let late = Log::read(&b"[info]   Duration: 00:01:43.00, start: 100.0, bitrate: 9 kb/s"[..]);
        assert_eq!((late.duration, late.begin), (Some(103.0), Some(100.0)));
        let shown = &b"[Parsed_showinfo_0 @ 0x5] [info] n: 0 pts: 64 pts_time:0.064 pos: 1"[..];
        assert_eq!(Log::read(shown).first_time, Some(0.064));
        let unknown = Log::read(&b"[info]   Duration: N/A, start: 0.0"[..]);
        assert_eq!(unknown.duration, None);
    }

    #[test]
    fn the_last_words_are_the_errors() {
        let text = "[info] hello\n[mov @ 0x5] [error] moov atom not found\n[info] bye\n";
        let log = Log::read(text.as_bytes());
        assert_eq!(
            log.error().to_string(),
            "ffmpeg failed: moov atom not found"
        );
        let endless = "x".repeat(1 << 20);
        assert!(Log::read(endless.as_bytes()).last.len() <= MAX_LINE);
    }
}
