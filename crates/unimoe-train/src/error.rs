//! What can go wrong in training.

use std::path::PathBuf;

use thiserror::Error;

use crate::{
    checkpoint::CheckpointError, data::DataError, event::EventError, metrics::MetricError,
    report::ReportError,
};

/// Why training could not start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The model or one of its files.
    #[error(transparent)]
    Model(#[from] unimoe_model::UniMoeError),
    /// The codec or one of its files.
    #[error(transparent)]
    Codec(#[from] dac_codec::DacError),
    /// Manifests, clips or their order.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The log of events.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A report, or what it shows.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Something that was to be measured.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}
