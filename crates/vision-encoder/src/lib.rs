//! The Qwen2.5-VL vision transformer for Burn: pictures and videos to embeddings.

mod attention;
mod block;
mod config;
mod encoder;
mod error;
mod input;
mod kernel;
mod merger;
mod patch_embed;
mod preprocess;
mod resize;
mod rope;
mod smart_resize;
mod video;
mod weights;
mod window;

pub use attention::{SegmentAttention, SegmentAttentionConfig};
pub use block::{GatedMlp, VisionBlock, VisionBlockConfig};
pub use config::{AttentionScope, VisionEncoderConfig};
pub use encoder::{LoadOptions, VisionEncoder, VisionStage};
pub use error::{FrameError, PictureError, VisionError, WeightsError};
pub use input::{Grid, VisionInput, VisionKind};
pub use merger::{PatchMerger, PatchMergerConfig};
pub use patch_embed::{PatchEmbed, PatchEmbedConfig};
pub use preprocess::{FrameStack, PixelBudget, Preprocessor};
pub use resize::Bicubic;
pub use smart_resize::SmartResize;
pub use video::{
    Animation, FfmpegVideo, FrameLimits, FrameSource, Frames, ImageFolder, Sampling, StillPicture,
    VideoOptions, check_mux, mux, open_source, read_frames, read_picture, read_video,
};
pub use weights::released_name;
pub use window::PatchLayout;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
