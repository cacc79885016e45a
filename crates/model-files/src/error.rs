//! What can go wrong between a module and the files of its parameters.

use std::path::PathBuf;

/// Why the weights of a model can't be loaded or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder has no weights.
    #[error(
        "{}: neither model.safetensors.index.json nor model.safetensors is there",
        folder.display()
    )]
    NoWeights {
        /// The model folder.
        folder: PathBuf,
    },
    /// The index is not JSON.
    #[error("{}: not JSON: {source}", path.display())]
    IndexJson {
        /// The index.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An entry of the index can't be understood.
    #[error("{}: the entry {entry} should be {expected}", path.display())]
    IndexEntry {
        /// The index.
        path: PathBuf,
        /// The entry.
        entry: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A file that the index names is missing.
    #[error("{}: the shard is missing; the index places {tensor} in it", path.display())]
    ShardMissing {
        /// The missing file.
        path: PathBuf,
        /// A tensor that should be in it.
        tensor: String,
    },
    /// A header is longer than its file or than the format allows.
    #[error("{}: the header claims {found} bytes, at most {limit} are possible", path.display())]
    HeaderLength {
        /// The file.
        path: PathBuf,
        /// Claimed length in bytes.
        found: u64,
        /// Largest possible length in bytes.
        limit: u64,
    },
    /// A header is not a safetensors header.
    #[error("{}: not a safetensors header: {source}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file is longer or shorter than its header says.
    #[error("{}: {expected} bytes expected, {found} found: truncated or damaged", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Length by the header, in bytes.
        expected: u64,
        /// Length on disk, in bytes.
        found: u64,
    },
    /// Parameters can't be kept in the wanted type.
    #[error("parameters can't be kept as {found}, expected F32, F16 or BF16")]
    Type {
        /// The type that was asked for.
        found: String,
    },
    /// A tensor is missing.
    #[error("{}: the tensor {tensor} is missing", path.display())]
    TensorMissing {
        /// The folder or file where it should be.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// Two files hold the same tensor.
    #[error("{tensor} is in both {} and {}", first.display(), second.display())]
    TensorTwice {
        /// The tensor.
        tensor: String,
        /// One file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// A tensor has no place in the model.
    #[error("{}: the model has no place for the tensor {tensor}", path.display())]
    TensorExtra {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
    /// A tensor has another shape than the configuration says.
    #[error("{}: {tensor} should have the shape {expected:?}, found {found:?}", path.display())]
    TensorShape {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Shape by the configuration.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor is not of a float type that can be loaded.
    #[error("{}: {tensor} should be F32, F16 or BF16, found {found}", path.display())]
    TensorType {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor holds a NaN, an infinity, or a number that the wanted type can't hold.
    #[error("{}: {tensor}[{index}] is {value}, which is not a finite {dtype}", path.display())]
    NotFinite {
        /// The file that holds it.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Place in row-major order.
        index: usize,
        /// The value.
        value: f32,
        /// The type to load it in.
        dtype: String,
    },
    /// Two parameters of the module have the same name in the checkpoint.
    #[error("two parameters are called {tensor} in the checkpoint")]
    NameTwice {
        /// The name.
        tensor: String,
    },
    /// A parameter of the module has no name in the checkpoint.
    #[error("the parameter {path} has no name in the checkpoint")]
    NoName {
        /// Path in the module.
        path: String,
    },
}
