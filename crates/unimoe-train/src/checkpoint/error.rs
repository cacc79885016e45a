//! What can go wrong with checkpoints.

use std::path::PathBuf;

use thiserror::Error;

/// Why a checkpoint could not be written or taken up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read or written. Where the disk is full this says so.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A setting of the policy is impossible.
    #[error("{setting} should be {expected}, found {found}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Another process writes checkpoints there.
    #[error("{folder}: another run writes its checkpoints here", folder = folder.display())]
    InUse {
        /// The folder of the checkpoints.
        folder: PathBuf,
    },
    /// It has no such entry.
    #[error("{folder}: the checkpoint holds no `{name}`", folder = folder.display())]
    Missing {
        /// The checkpoint.
        folder: PathBuf,
        /// Name of the tensor or value.
        name: String,
    },
    /// Two entries have the same name.
    #[error("the checkpoint would hold `{name}` twice")]
    Twice {
        /// Name of the tensor or value.
        name: String,
    },
    /// An entry is not what is expected.
    #[error("`{name}` in the checkpoint: {source}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A tensor has an element type that checkpoints don't hold.
    #[error("`{name}` is of the type {found}, which checkpoints don't hold")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A file is not JSON, or not of the expected form.
    #[error("{path}: damaged: {source}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It was written by a newer version of this program.
    #[error(
        "{folder}: a checkpoint of format {found}; this version knows formats up to {known}",
        folder = folder.display()
    )]
    Version {
        /// The checkpoint.
        folder: PathBuf,
        /// Its format.
        found: u64,
        /// Newest known format.
        known: u64,
    },
    /// A file is shorter or longer than when it was written.
    #[error(
        "{path}: truncated or damaged: {expected} bytes were written, {found} are there; \
         remove its folder to go on from the checkpoint before",
        path = path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes written.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A file has another content than when it was written.
    #[error(
        "{path}: damaged: its checksum was {expected:08x} and is {found:08x}; \
         remove its folder to go on from the checkpoint before",
        path = path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// CRC-32 when it was written.
        expected: u32,
        /// CRC-32 now.
        found: u32,
    },
    /// The checkpoint is of a run with other settings.
    #[error(
        "{folder}: a checkpoint of a run with other settings: `{setting}` was {found} there and is \
         {expected} here; resume with the settings of that run, or start in another folder",
        folder = folder.display()
    )]
    Settings {
        /// The checkpoint.
        folder: PathBuf,
        /// The first setting that differs, as in `optimizer.learning_rate`.
        setting: String,
        /// Its value here, as JSON.
        expected: String,
        /// Its value in the checkpoint, as JSON.
        found: String,
    },
    /// The tensors of a checkpoint can't be read.
    #[error(transparent)]
    Tensors(#[from] model_files::WeightsError),
}
