//! Training of UniMoE-Audio for Burn: from manifests of clips to a model folder that generates.
//!
//! Start at `curriculum`: four specialists, their integration, its warm-up and the joint model.
//! The features `flex` (CPU), `cuda`, `rocm`, `vulkan`, `metal` and `wgpu` compile backends in; the device
//! is chosen at run time.

mod checkpoint;
mod codec;
mod data;
mod error;
mod event;
mod learner;
mod metrics;
mod optim;
mod report;
mod spectral;
mod stage;

pub use checkpoint::{CheckpointError, CheckpointPolicy, Checkpoints, StateReader, StateWriter};
pub use data::{
    Clip, ClipSet, ClipSetOptions, CodeCache, CodecEncoder, ContentHash, DataError, Dataset,
    Defect, Defects, Fault, Key, LoadedBatch, Loader, Manifest, OrderConfig, Origin, Policy,
    Position, PrepareProgress, Record, Reference, Sampling, Task, VisionReader,
};
pub use error::TrainError;
pub use event::{Event, EventError, JsonLines, LayerLoad, Observer, Observers, RoutingSummary};
pub use learner::{Learner, StepContext, StepOutcome, ValidationOutcome};
pub use metrics::{
    Classifier, CosineSimilarity, EditCounts, Embedder, ErrorRate, EvalClip, Features,
    InceptionScore, KlDivergence, MetricError, ModelFailure, NamedFeatures, Pairing, Side,
    StoredFeatures, StoredTexts, Summary, TextItem, TextNormalization, TextPair, TextReport,
    Transcriber, character_error_rate, classify_clips, cosine_similarity, embed_clips,
    frechet_distance, inception_score, kl_divergence, read_text_pairs, si_sdr, transcribe_clips,
    word_error_rate,
};
pub use optim::{
    LoraConfig, OptimError, Optimized, OptimizerConfig, Precision, Schedule, StepReport,
    autodiff_device,
};
pub use report::{
    DomainRouting, GradientConflict, ReportError, Run, dead_experts, gradient_conflict,
    mutual_information, shared_parameters,
};
