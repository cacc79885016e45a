//! Checkpoints: whole or not at all.
//!
//! A checkpoint is a folder `step-00000123` with
//!
//! - `tensors-00001.safetensors`, ...: the tensors;
//! - `state.json`: the run's settings and all values that are no tensors;
//! - `checkpoint.json`: format, step, validation loss, and size and CRC-32 of the files above.
//!
//! It is written beside as a hidden folder, synced to the disk, and renamed.

mod disk;
mod error;
mod keeper;
mod reader;
mod settings;
mod writer;

pub use error::CheckpointError;
pub use keeper::{CheckpointPolicy, Checkpoints};
pub use reader::StateReader;
pub use writer::StateWriter;
