//! What can go wrong in training.

use std::path::PathBuf;

use thiserror::Error;

use crate::{
    checkpoint::CheckpointError, codec::CodecTrainingError, data::DataError, event::EventError,
    example::ExampleError, metrics::MetricError, objective::ObjectiveError, optim::OptimError,
    report::ReportError, spectral::SpectralError, stage::IntegrationError,
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
    /// Settings of a codec's training, or nothing to train it on.
    #[error(transparent)]
    CodecTraining(#[from] CodecTrainingError),
    /// Manifests, clips or their order.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The log of events.
    #[error(transparent)]
    Event(#[from] EventError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A clip that the model can't learn.
    #[error(transparent)]
    Example(#[from] ExampleError),
    /// The optimizer, its settings, or a gradient that is not finite.
    #[error(transparent)]
    Optim(#[from] OptimError),
    /// The objective's settings.
    #[error(transparent)]
    Objective(#[from] ObjectiveError),
    /// Specialists that don't go together.
    #[error(transparent)]
    Integration(#[from] IntegrationError),
    /// A model can't be written.
    #[error("cannot write the model to {path}: {source}", path = path.display())]
    Save {
        /// Its folder.
        path: PathBuf,
        /// What happened.
        source: Box<unimoe_model::UniMoeError>,
    },
    /// A measurement that is no number: the weights are spoilt.
    #[error("after step {step} the loss that is measured is {loss}")]
    MeasuredNotFinite {
        /// Steps done.
        step: u64,
        /// The loss.
        loss: f64,
    },
    /// A setting that makes no run.
    #[error("{field} must be {expected}, found {found}")]
    Setting {
        /// The setting.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A model that the stage is not for.
    #[error("{path}: the stage needs {expected}, found {found}", path = path.display())]
    Structure {
        /// Its folder.
        path: PathBuf,
        /// What the stage needs.
        expected: &'static str,
        /// What the model is.
        found: String,
    },
    /// Parts of a model folder that don't go together.
    #[error("{path}: {what}: expected {expected}, found {found}", path = path.display())]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// What the model has.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The loss of a batch is no number.
    #[error("step {step}: the loss is {loss}, in a batch of the clips {}", clips.join(", "))]
    LossNotFinite {
        /// The step, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// Ids of the clips.
        clips: Vec<String>,
    },
    /// A report, or what it shows.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// Something that was to be measured.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Settings of a spectrum.
    #[error(transparent)]
    Spectral(#[from] SpectralError),
    /// A file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl TrainError {
    /// Whether somebody wanted the work to stop.
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Data(DataError::Interrupted))
    }
}
