//! The progress bar: seconds of audio made, and how many per second of waiting.

use std::{fmt::Write, io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// A bar on standard error, or nothing where nobody watches.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    visible: bool,
}

impl Progress {
    /// `quiet` shows nothing, and so does a standard error that is no terminal.
    pub fn new(quiet: bool) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            visible: !quiet && std::io::stderr().is_terminal(),
        }
    }

    /// Shows what goes on, where its length is not known.
    pub fn spin(&mut self, message: &'static str) {
        self.bar.finish_and_clear();
        if self.visible {
            self.bar = ProgressBar::new_spinner().with_message(message);
            self.bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// Starts a bar for `frames` frames, of which `frame_rate` are a second of audio.
    pub fn start(&mut self, message: &'static str, frames: usize, frame_rate: f64) {
        self.bar.finish_and_clear();
        if !self.visible {
            return;
        }
        let template = "{msg} {wide_bar} {audio} {speed}";
        // The template is a constant that the unit test renders; a bar without style beats no work.
        let style = ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key(
                "audio",
                move |state: &ProgressState, out: &mut dyn Write| {
                    let _ = out.write_str(&audio(state.pos(), state.len(), frame_rate));
                },
            )
            .with_key(
                "speed",
                move |state: &ProgressState, out: &mut dyn Write| {
                    let _ = out.write_str(&speed(state.pos(), state.elapsed(), frame_rate));
                },
            );
        self.bar = ProgressBar::new(frames as u64)
            .with_style(style)
            .with_message(message);
    }

    /// Starts a bar for `total` things.
    pub fn count(&mut self, message: &'static str, total: usize) {
        self.bar.finish_and_clear();
        if self.visible {
            let template = "{msg} {wide_bar} {pos}/{len} {eta}";
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar = ProgressBar::new(total as u64)
                .with_style(style)
                .with_message(message);
        }
    }

    /// Sets the number of frames that are done.
    pub fn set(&self, frames: usize) {
        self.bar.set_position(frames as u64);
    }

    /// Tells something that the user should know, without tearing the bar.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("note: {text}"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

fn audio(frames: u64, total: Option<u64>, frame_rate: f64) -> String {
    let seconds = frames as f64 / frame_rate;
    match total {
        Some(total) => format!("{seconds:.1}/{:.1} s", total as f64 / frame_rate),
        None => format!("{seconds:.1} s"),
    }
}

fn speed(frames: u64, elapsed: Duration, frame_rate: f64) -> String {
    let waited = elapsed.as_secs_f64().max(1e-3);
    format!("{:.2} s/s", frames as f64 / frame_rate / waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_as_seconds_of_audio() {
        assert_eq!(audio(75, Some(500), 50.0), "1.5/10.0 s");
        assert_eq!(audio(75, None, 50.0), "1.5 s");
        assert_eq!(speed(75, Duration::from_secs(3), 50.0), "0.50 s/s");
        assert_eq!(speed(50, Duration::ZERO, 50.0), "1000.00 s/s");
    }

    #[test]
    fn a_quiet_bar_can_be_driven_all_the_same() {
        let mut progress = Progress::new(true);
        progress.spin("loading");
        progress.start("music", 100, 50.0);
        progress.set(100);
        progress.finish();
        assert!(progress.bar.is_hidden());
    }
}
