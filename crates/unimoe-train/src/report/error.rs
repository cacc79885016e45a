//! Why a report could not be made.

use std::path::PathBuf;

use thiserror::Error;

use crate::event::EventError;

/// Why a report, or what it shows, could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The log of a run.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A folder holds no log.
    #[error("{path} is not the folder of a run: expected a file {expected} in it", path = path.display())]
    NoRun {
        /// The folder.
        path: PathBuf,
        /// Name of the log.
        expected: &'static str,
    },
    /// The report could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A plot could not be drawn.
    #[error("the plot `{plot}` can't be drawn: {message}")]
    Plot {
        /// Its title.
        plot: String,
        /// What the library for plots said.
        message: String,
    },
    /// A loss has no gradient.
    #[error(
        "the loss of domain `{domain}` has no gradient: expected one that was computed on an autodiff device"
    )]
    NoGradient {
        /// The domain.
        domain: String,
    },
}
