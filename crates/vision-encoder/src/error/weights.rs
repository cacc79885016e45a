//! What can go wrong with the weights of an encoder.

use std::{io, path::PathBuf};

/// Weights could not be loaded: the file, the tensor, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A folder holds no weights.
    #[error(
        "{}: no weights, expected model.safetensors or model.safetensors.index.json",
        folder.display()
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// Parameters can't be kept in the type that was asked for.
    #[error("parameters can't be kept as {found}, expected F32, F16 or BF16")]
    Type {
        /// What was asked for.
        found: String,
    },
    /// The index of a sharded model is not JSON.
    #[error("{}: not readable as JSON", path.display())]
    IndexJson {
        /// The index.
        path: PathBuf,
        /// What the reader of JSON found.
        source: serde_json::Error,
    },
    /// An entry of the index of a sharded model is not what it should be.
    #[error("{}: {entry} is not {expected}", path.display())]
    IndexEntry {
        /// The index.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What it should be.
        expected: &'static str,
    },
    /// The header of a safetensors file can't be understood.
    #[error("{}: the header is damaged", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What its reader found.
        source: serde_json::Error,
    },
    /// A safetensors file claims a header longer than it may be.
    #[error("{}: the header claims {found} bytes, expected at most {limit}", path.display())]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// Claimed bytes.
        found: u64,
        /// Allowed bytes.
        limit: u64,
    },
    /// A safetensors file is shorter or longer than its header says.
    #[error("{}: the file has {found} bytes, expected {expected}", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A tensor is not there.
    #[error("{}: tensor {tensor} is missing", path.display())]
    TensorMissing {
        /// The file or folder.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
    },
    /// Two files hold the same tensor.
    #[error("tensor {tensor} is in {} and in {}, expected one", first.display(), second.display())]
    TensorTwice {
        /// Name of the tensor.
        tensor: String,
        /// One file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// The encoder's part of a file holds a tensor that the encoder has no place for.
    #[error("{}: tensor {tensor} is not part of this encoder", path.display())]
    TensorExtra {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{}: tensor {tensor} has shape {found:?}, expected {expected:?}", path.display())]
    TensorShape {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Shape that the configuration asks for.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's elements are of a type that is not read.
    #[error("{}: tensor {tensor} has elements of type {found}, expected F32, F16 or BF16", path.display())]
    TensorType {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Type in the file.
        found: String,
    },
    /// A value is not finite in the type that parameters are kept in.
    #[error("{}: tensor {tensor} holds {value} at {index}, which is not finite as {dtype}", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Name of the tensor.
        tensor: String,
        /// Place of the value.
        index: usize,
        /// The value.
        value: f32,
        /// Type that parameters are kept in.
        dtype: String,
    },
    /// A parameter has no name on disk.
    #[error("the parameter {path} has no name in published checkpoints")]
    NoName {
        /// Path of the parameter in the module.
        path: String,
    },
}
