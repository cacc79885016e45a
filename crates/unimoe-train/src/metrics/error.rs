//! What can go wrong with what is to be measured.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error as ThisError;
use unimoe_model::UniMoeError;
use vision_encoder::VisionError;

use super::Side;
use crate::data::DataError;

/// Why something could not be measured: the thing, what was expected of it and what was found.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum MetricError {
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A line of a file is not what it should be.
    #[error("{}, line {line}: {reason}, expected {expected}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What a line is to be.
        expected: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{}: {found}, expected {expected}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it is to be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Two entries have one name.
    #[error("{}: `{id}` is there twice, expected one entry per clip", path.display())]
    Duplicate {
        /// The file or folder.
        path: PathBuf,
        /// The name.
        id: String,
    },
    /// A clip is on one side only.
    #[error("`{id}` is among the {present} only, and {others} more clips are on one side only; expected it among the {} too", present.other())]
    Unpaired {
        /// The first such clip.
        id: String,
        /// The side that has it.
        present: Side,
        /// Number of further clips that are on one side only.
        others: usize,
    },
    /// A model's answer for a clip is missing.
    #[error("{}: nothing for the clip `{id}`", path.display())]
    Missing {
        /// The file of answers.
        path: PathBuf,
        /// The clip.
        id: String,
    },
    /// Two things that belong together differ in size.
    #[error("{what}: {found}, expected {expected}")]
    Shape {
        /// What has the size.
        what: String,
        /// The size it should have.
        expected: usize,
        /// Its size.
        found: usize,
    },
    /// There is too little to measure.
    #[error("{what}: {found}, expected at least {expected}")]
    TooFew {
        /// What there is too little of.
        what: String,
        /// The least number.
        expected: usize,
        /// The number.
        found: usize,
    },
    /// There is too much to measure.
    #[error("{what}: {found}, expected at most {expected}")]
    TooMany {
        /// What there is too much of.
        what: String,
        /// The greatest number.
        expected: u64,
        /// The number.
        found: u64,
    },
    /// A number is infinite, no number, or beyond what f32 holds.
    #[error("{what}: {found}, expected a finite number within the range of f32")]
    NotFinite {
        /// Which number.
        what: String,
        /// Its value.
        found: f64,
    },
    /// A setting is outside its range.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: String,
    },
    /// A sound has nothing in it.
    #[error("{what} is silent, expected a sound that reaches 1/65536 of full scale")]
    Silent {
        /// The sound.
        what: String,
    },
    /// Two sounds that are to be equally long are not.
    #[error("`{id}`: {generated} samples were generated for {reference}, expected as many")]
    Lengths {
        /// The clip.
        id: String,
        /// Samples of the reference.
        reference: usize,
        /// Samples of what was generated.
        generated: usize,
    },
    /// A record of a manifest lacks what is measured by.
    #[error("{}, line {line}: `{id}` has no usable `{field}`, expected {expected}", manifest.display())]
    Attribute {
        /// The manifest.
        manifest: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The record.
        id: String,
        /// The field.
        field: &'static str,
        /// What it should have.
        expected: &'static str,
    },
    /// A program that is needed is not there, or does not start.
    #[error("cannot run {}, which comes with {package}", program.display())]
    ProgramMissing {
        /// The program.
        program: PathBuf,
        /// What has it.
        package: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program failed or took too long.
    #[error("{} {found}", program.display())]
    ProgramFailed {
        /// The program.
        program: PathBuf,
        /// How it ended.
        found: String,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A manifest could not be used.
    #[error(transparent)]
    Data(Box<DataError>),
    /// A model refused a request, or failed.
    #[error("cannot generate `{id}`")]
    Generate {
        /// The first clip of the batch.
        id: String,
        /// What the model says.
        source: Box<UniMoeError>,
    },
    /// A video could not be read.
    #[error("cannot read the video of `{id}`")]
    Video {
        /// The clip.
        id: String,
        /// What is wrong with it.
        source: Box<VisionError>,
    },
    /// Somebody stopped the work.
    #[error("stopped")]
    Stopped,
    /// A sound file could not be read or resampled.
    #[error(transparent)]
    Audio(#[from] dac_codec::DacError),
    /// A model from outside failed.
    #[error("the model failed on the clip `{id}`")]
    Model {
        /// The clip.
        id: String,
        /// What the model says.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<DataError> for MetricError {
    fn from(error: DataError) -> Self {
        Self::Data(Box::new(error))
    }
}
