//! What can go wrong with a file, a configuration or a request.

use std::{error::Error, io, path::PathBuf};

use thiserror::Error as ThisError;

use crate::code_file::CodeFileError;

/// An error of this crate: the thing, what was expected of it and what was found.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum DacError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A setting of a [`DacConfig`](crate::DacConfig) is outside its range or contradicts another.
    #[error("codec configuration: {field} is {found}, expected {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: String,
    },
    /// A file has no usable codec configuration.
    #[error("{}: no usable codec configuration: {reason}", path.display())]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is no checkpoint, or a damaged or hostile one.
    #[error("{}: not a readable checkpoint (PyTorch or safetensors)", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the file's reader found.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The checkpoint lacks a tensor.
    #[error("{}: tensor {tensor} is missing, expected shape {expected:?}", path.display())]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Shape that the configuration asks for.
        expected: Vec<usize>,
    },
    /// The checkpoint holds a tensor that the configuration has no place for.
    #[error("{}: tensor {tensor} of shape {found:?} is not part of this configuration", path.display())]
    ExtraTensor {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor's shape differs from what the configuration asks for.
    #[error("{}: tensor {tensor} has shape {found:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Shape that the configuration asks for.
        expected: Vec<usize>,
        /// Its shape.
        found: Vec<usize>,
    },
    /// A tensor is not stored as floats.
    #[error("{}: tensor {tensor} holds {found}, expected f64, f32, f16 or bf16", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Its element type.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error("{}: tensor {tensor} holds {found} at element {index}, expected finite values", path.display())]
    NonFiniteWeight {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Place in row-major order.
        index: usize,
        /// The value.
        found: f32,
    },
    /// An argument of a call does not fit the codec.
    #[error("{what} is {found}, expected {expected}")]
    Input {
        /// The argument.
        what: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A sound file of unknown type, without sound, or damaged.
    #[error("{name}: {reason}")]
    Audio {
        /// The file, or what the caller calls the stream.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// What the decoder found, where it said something.
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// A sound file is longer than the caller allows.
    #[error("{name}: longer than {max_seconds} s, the most that is read")]
    AudioTooLong {
        /// The file, or what the caller calls the stream.
        name: String,
        /// The caller's limit in seconds.
        max_seconds: f64,
    },
    /// A file of codes is damaged.
    #[error("{name}: not a readable file of codes")]
    CodeFile {
        /// The file, or what the caller calls the stream.
        name: String,
        /// What is wrong with it.
        source: CodeFileError,
    },
}

impl DacError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
