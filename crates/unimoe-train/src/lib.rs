//! Training of UniMoE-Audio for Burn: from manifests of clips to a model folder that generates.
//!
//! Start at [`Curriculum`]: four specialists, their integration, its warm-up and the joint model.
//! The features `flex` (CPU), `cuda`, `rocm`, `vulkan`, `metal` and `wgpu` compile backends in; the device
//! is chosen at run time.

mod batch;
mod checkpoint;
mod codec;
mod curriculum;
mod data;
mod error;
mod event;
mod example;
mod folder;
mod guided_attention;
mod learner;
mod metrics;
mod model_learner;
mod normal;
mod objective;
mod optim;
mod report;
mod reproduce;
mod spectral;
mod stage;
mod trainer;

pub use batch::{Batch, BatchSettings};
pub use checkpoint::{CheckpointError, CheckpointPolicy, Checkpoints, StateReader, StateWriter};
pub use codec::{
    AdversarialConfig, BandDiscriminator, CODEC_FOLDER, CodecLearner, CodecObjective, CodecPreset,
    CodecStart, CodecTraining, CodecTrainingConfig, CodecTrainingError, DiscriminatorConfig,
    Discriminators, EnvelopeObjective, Judgement, PeriodDiscriminator, ResolutionDiscriminator,
    Sound, SoundSet, SoundSetOptions, discriminator_loss, feature_matching_loss, generator_loss,
};
pub use curriculum::Curriculum;
pub use data::{
    AudioMeasures, Balance, CheckOptions, CheckOutcome, Clip, ClipSet, ClipSetOptions, CodeCache,
    CodecEncoder, Comparison, ContentHash, DataError, Dataset, Defect, Defects, DomainReport,
    Dropped, DuplicateRules, Fault, Filter, Fingerprint, Governance, GovernanceOptions,
    GovernanceReport, Governed, Key, Limits, LoadedBatch, Loader, Manifest, ModelLimits,
    OrderConfig, Origin, Policy, Position, PrepareProgress, Record, RecordLengths, Reference,
    Sampling, Task, VisionReader, check_manifest, normalized_text, spoken_characters,
};
pub use error::TrainError;
pub use event::{Event, EventError, JsonLines, LayerLoad, Observer, Observers, RoutingSummary};
pub use example::{Content, Example, ExampleBuilder, ExampleError, Request, SpokenText};
pub use folder::write_model_folder;
pub use guided_attention::GuidedAttention;
pub use learner::{Learner, StepContext, StepOutcome, ValidationOutcome};
pub use metrics::{
    ANALYSIS_RATE, AudioComparison, AudioItem, AudioOptions, AudioReport, BassChroma, CardError,
    Cepstra, CepstralAnalysis, Classifier, CodecEvaluation, CodecFigures, CodecGroup, CodecItem,
    CodecReport, Confusion, ContentFigures, CosineSimilarity, EditCounts, Embedder, EmbeddingItem,
    EmbeddingOptions, EmbeddingReport, ErrorRate, EvalClip, Features, Figures, GenerationFacts,
    GenerationPlan, GenerationProgress, InceptionScore, JudgedClip, KeptSound, KlDivergence,
    KlSummary, LengthRule, LogitItem, LogitOptions, LogitReport, MetricError, ModelFailure,
    ModelFingerprint, MusicClassifiers, MusicFigures, MusicItem, MusicReport, NamedFeatures,
    NearestCentroid, OnsetStrength, Pairing, Pitch, PitchTracker, PocketSphinx,
    PocketSphinxOptions, PowerSpectrogram, RecognitionFigures, RoundTrips, Side, Skipped,
    SpectralDistance, SpectralDistances, SpeechEvaluation, SpeechFigures, SpeechItem, SpeechReport,
    StoredFeatures, StoredTexts, Summary, TaskFigures, TextItem, TextNormalization, TextPair,
    TextReport, Timbre, Transcriber, Versions, VoiceFigures, bass_chroma, character_error_rate,
    classify_clips, cosine_similarity, embed_clips, fill_card, frechet_distance, inception_score,
    kl_divergence, onset_strength, read_text_pairs, si_sdr, spoken_words, timbre, transcribe_clips,
    trimmed, warped_distance, word_error_rate,
};
pub use model_learner::ModelLearner;
pub use objective::{DomainLosses, Objective, ObjectiveConfig, ObjectiveError};
pub use optim::{
    LoraConfig, OptimError, Optimized, OptimizerConfig, Precision, Schedule, StepReport,
    autodiff_device,
};
pub use report::{
    DomainRouting, GradientConflict, ReportError, RunLog, dead_experts, gradient_conflict,
    mutual_information, render_report, shared_parameters, write_plots, write_report,
};
pub use reproduce::{
    Claim, Figure, Method, MethodResult, REPRODUCTION_FILES, Reproduction, ReproductionResults,
};
pub use spectral::{
    MelSpectrogram, MelSpectrogramConfig, MultiScaleMelLoss, MultiScaleMelLossConfig,
    MultiScaleStftLoss, MultiScaleStftLossConfig, SpectralError, Spectrum, Stft, StftConfig,
    mel_filterbank,
};
pub use stage::{
    ClipExamples, DenseBaseline, DomainClips, Integration, IntegrationError, JointTraining,
    MODEL_FOLDER, MoeBaseline, REPORT_FILE, SpecialistTraining, Stage, StageConfig, StageData,
    WARMED_UP, Warmup, Workplace,
};
pub use trainer::{CHECKPOINTS_FOLDER, LoopConfig, RunEnd, Training};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
