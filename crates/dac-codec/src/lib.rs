#![doc = include_str!("../README.md")]

mod atomic;
pub mod audio;
mod checkpoint;
pub mod chunked;
pub mod code_file;
pub mod codec;
pub mod config;
mod conv;
pub mod decoder;
pub mod encoder;
pub mod error;
mod kernel;
mod packets;
pub mod quantizer;
pub mod resample;
pub mod residual_unit;
pub mod snake;
pub mod weight_norm;
mod weights;

pub use audio::AudioClip;
pub use chunked::{ChunkedDecoder, ChunkedEncoder, Context};
pub use code_file::{CodeFile, CodeFileError};
pub use codec::{DacCodec, Encoded, Reconstructed};
pub use config::DacConfig;
pub use error::DacError;
pub use model_files::ModelPath;
pub use quantizer::{Dequantized, Quantized};
