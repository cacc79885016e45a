//! The Qwen2.5-VL vision transformer for Burn: pictures and videos to embeddings.

mod error;
mod input;

pub use error::VisionError;
pub use input::{Grid, VisionInput, VisionKind};
