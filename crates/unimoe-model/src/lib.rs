//! UniMoE-Audio for Burn: speech and music generation from text, a voice and a video.
//!
//! Start at [`Pipeline`]: it takes requests to sound. [`UniMoe`] is the model alone, [`Generation`] the
//! loop over its steps. The features `flex` (CPU), `cuda`, `rocm`, `vulkan`, `metal` and `wgpu` compile
//! backends in; the device is chosen at run time ([`DeviceChoice`]).

mod attention;
mod cache;
mod companions;
mod config;
mod decoder;
mod defaults;
mod delay;
mod device;
mod dtype;
mod embedding;
mod error;
mod export;
mod generate;
mod guidance;
mod head;
mod init;
mod input;
mod learnt_words;
mod loss;
mod model;
mod mrope;
mod new_folder;
mod pipeline;
mod prepare;
mod prompt;
mod random;
mod request;
mod sampler;
mod save;
mod stream;
mod tokenizer;
mod vision;
mod voices;
mod weights;

pub use attention::{GroupedQueryAttention, GroupedQueryAttentionConfig};
pub use cache::{KvCache, KvCacheShape, LayerCache};
pub use companions::Companions;
pub use config::{CodecConfig, MoeConfig, TextConfig, TokenDrop, UniMoeConfig, VisionConfig};
pub use decoder::{
    Decoder, DecoderConfig, DecoderContext, DecoderLayer, DecoderOutput, LayerOutput,
};
pub use defaults::GenerationDefaults;
pub use delay::{CodeGrid, DelayPattern, Prefill, SpecialCodes};
pub use device::{Backend, DeviceChoice, DeviceError};
pub use embedding::{CodecEmbedding, CodecEmbeddingConfig};
pub use error::{
    CodesError, CompanionError, ConfigError, GenerationError, InputError, PromptError,
    RequestError, SamplingError, TokenizerError, UniMoeError, WeightsError,
};
pub use export::{ExportOptions, Exported, RecordedVoice, export_folder};
pub use fused_ops::CausalMask;
pub use generate::{
    Batching, GeneratedCodes, GeneratedFrame, Generation, GenerationOptions, GenerationRequest,
    PromptRow, StopReason,
};
pub use guidance::{ClassifierFreeGuidance, EosRule};
pub use head::{CodecHead, CodecHeadConfig};
pub use init::{NewCodec, NewFolder, Preset, init_folder, init_model_folder};
pub use input::ModelInput;
pub use learnt_words::{LearntWords, WordList};
pub use loss::{CodecLoss, IGNORED, codec_cross_entropy};
pub use model::{DecodeState, LoadOptions, ModelOutput, UniMoe};
pub use model_files::{EmbeddedFiles, ModelPath, Shards, StoredTensor};
pub use mrope::{MultimodalRope, MultimodalRopeConfig, Positions, RopeTable};
pub use pipeline::{Generated, Pipeline, PipelineOptions, find_codec};
pub use prompt::{Prompt, PromptBatch, PromptText};
pub use request::{MusicRequest, Request, RequestOptions, SpeechRequest, VideoMusicRequest, Voice};
pub use sampler::{Sampler, SamplingConfig};
pub use stream::{AudioChunk, Progress, Session, StepOutput};
pub use tokenizer::{TokenBatch, Tokenizer, Vocabulary};
pub use vision::{EncodedVision, VisionSpan};
pub use vision_encoder::{Grid, VisionInput, VisionKind};
pub use voices::{NamedVoice, Voices};
pub use weights::released_name;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
