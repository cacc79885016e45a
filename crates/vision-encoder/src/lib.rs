//! The Qwen2.5-VL vision transformer for Burn: pictures and videos to embeddings.

mod attention;
mod block;
mod config;
mod convert;
mod encoder;
mod error;
mod files;
mod input;
mod merger;
mod patch_embed;
mod rope;
mod shards;
mod weights;
mod window;

pub use attention::{SegmentAttention, SegmentAttentionConfig};
pub use block::{GatedMlp, VisionBlock, VisionBlockConfig};
pub use config::{AttentionScope, VisionEncoderConfig};
pub use encoder::{LoadOptions, VisionEncoder, VisionStage};
pub use error::{VisionError, WeightsError};
pub use input::{Grid, VisionInput, VisionKind};
pub use merger::{PatchMerger, PatchMergerConfig};
pub use patch_embed::{PatchEmbed, PatchEmbedConfig};
pub use rope::VisionRope;
pub use weights::released_name;
pub use window::PatchLayout;
