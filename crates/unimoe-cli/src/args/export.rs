//! Arguments of `unimoe voices` and `unimoe export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `unimoe voices`.
#[derive(Debug, Args)]
pub struct VoicesArgs {
    /// Model folder; without it the built-in model
    #[arg(short, long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Report as a JSON list on standard output
    #[arg(long)]
    pub json: bool,
}

/// `unimoe export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Model folder; without it the built-in model
    #[arg(value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Folder to write; must not exist, or be empty
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Codec weights, where they don't lie beside the model
    #[arg(long, value_name = "PATH")]
    pub codec: Option<PathBuf>,
    /// Number type of the weights of model and codec
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = StoredType::F16)]
    pub dtype: StoredType,
    /// Fail where all files together would have more bytes
    #[arg(long, value_name = "COUNT")]
    pub max_bytes: Option<u64>,
    /// Voices to bring along: a JSON list of objects with name, text, audio (a sound file beside the list) and, if
    /// wanted, description [default: those of the model]
    #[arg(long, value_name = "FILE")]
    pub voices: Option<PathBuf>,
    /// Settings where a user leaves them open, as generation.json of a model folder [default: the model's]
    #[arg(long, value_name = "FILE")]
    pub generation: Option<PathBuf>,
    /// Manifests of the clips that the model learnt from: their words are the ones that it knows [default: the model's]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub learnt: Vec<PathBuf>,
    /// Report as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Number type of weights in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoredType {
    /// 32 bits
    F32,
    /// 16 bits
    F16,
    /// 16 bits with the range of 32
    Bf16,
}
