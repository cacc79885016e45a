//! What ends the program early, its exit code, and its one line.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use unimoe_model::DeviceError;

/// Exit code of a command line that says nothing sensible.
pub const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The work itself failed.
    #[error("cannot {action}")]
    Work {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Arguments that contradict each other.
    #[error("{what} is {found}, expected {expected}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A text, a recording, a model folder or a code file is unusable.
    #[error("cannot use {what}")]
    Input {
        /// What was given.
        what: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// There is no such device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A result can't be written.
    #[error("cannot write {}", path.display())]
    Output {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Standard output can't be written.
    #[error("cannot write to standard output")]
    Stdout(#[from] io::Error),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// Wraps what is wrong with the input `what`.
    pub fn input<E>(what: impl Into<String>) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let what = what.into();
        move |source| Self::Input {
            what,
            source: source.into(),
        }
    }

    /// Wraps why `action` failed.
    pub fn work<E>(action: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Work {
            action,
            source: source.into(),
        }
    }

    /// Wraps why `path` can't be written.
    pub fn output<E>(path: &Path) -> impl FnOnce(E) -> Self + use<E>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let path = path.to_owned();
        move |source| Self::Output {
            path,
            source: source.into(),
        }
    }

    /// The number that the program ends with; `unimoe --help` lists them.
    pub fn code(&self) -> u8 {
        match self {
            Self::Work { .. } => 1,
            Self::Argument { .. } => USAGE,
            Self::Input { .. } => 3,
            Self::Device(_) => 4,
            Self::Output { .. } | Self::Stdout(_) => 5,
            Self::Interrupted => 130,
        }
    }

    /// [`code`](Self::code) for the system.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code())
    }

    /// Whether the reader of standard output went away, as `| head` does.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Stdout(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// An error and its causes on one line: `A: B: C`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors name their cause in their own message.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first paragraph of an argument parser's message, on one line.
pub fn usage_line(message: &str) -> String {
    let lines = message.lines().take_while(|line| !line.is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_one_line_and_names_each_cause_once() {
        let inner = io::Error::other("disk on\nfire");
        let error = CliError::output(Path::new("a.wav"))(inner);
        assert_eq!(chain(&error), "cannot write a.wav: disk on fire");

        #[derive(Debug, thiserror::Error)]
        #[error("b: {source}")]
        struct Twice {
            source: io::Error,
        }
        let error = CliError::work("do it")(Twice {
            source: io::Error::other("c"),
        });
        assert_eq!(chain(&error), "cannot do it: b: c");
    }

    #[test]
    fn a_usage_message_is_cut_to_one_line() {
        let message = "error: missing:\n  <TEXT>\n  --voice <FILE>\n\nUsage: unimoe";
        assert_eq!(usage_line(message), "error: missing: <TEXT> --voice <FILE>");
    }

    #[test]
    fn only_a_closed_pipe_passes_silently() {
        let closed = CliError::Stdout(io::Error::from(io::ErrorKind::BrokenPipe));
        let full = CliError::Stdout(io::Error::from(io::ErrorKind::StorageFull));
        assert!(closed.is_broken_pipe());
        assert!(!full.is_broken_pipe());
        assert!(!CliError::Interrupted.is_broken_pipe());
    }
}
