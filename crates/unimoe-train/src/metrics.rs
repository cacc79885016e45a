//! Evaluation metrics: how near what was generated is to what was wanted.
//!
//! Every metric is computed on the host in f64, but for the spectra, which are computed on a device. The models that
//! turn sound into embeddings, class logits or words stay outside, behind [`Embedder`], [`Classifier`] and
//! [`Transcriber`]; [`StoredFeatures`] and [`StoredTexts`] give what such a model wrote into a file.

mod analysis;
mod audio;
mod clip;
mod edit;
mod error;
mod feature_report;
mod features;
mod frechet;
mod inception;
mod judged;
mod kl;
mod lines;
mod models;
mod pairing;
mod probabilities;
mod si_sdr;
mod similarity;
mod spectral_distance;
mod stored;
mod summary;
mod text;
mod text_report;

pub use analysis::{
    ANALYSIS_RATE, BassChroma, Cepstra, CepstralAnalysis, OnsetStrength, Pitch, PitchTracker,
    PowerSpectrogram, Timbre, bass_chroma, onset_strength, timbre, trimmed, warped_distance,
};
pub use audio::{AudioComparison, AudioItem, AudioOptions, AudioReport, LengthRule, Skipped};
pub use clip::EvalClip;
pub use edit::EditCounts;
pub use error::MetricError;
pub use feature_report::{
    EmbeddingItem, EmbeddingOptions, EmbeddingReport, KlSummary, LogitItem, LogitOptions,
    LogitReport,
};
pub use features::{Features, NamedFeatures};
pub use frechet::frechet_distance;
pub use inception::{InceptionScore, inception_score};
pub use judged::{
    CardError, CodecEvaluation, CodecFigures, CodecGroup, CodecItem, CodecReport, Confusion,
    ContentFigures, Figures, GenerationFacts, GenerationPlan, GenerationProgress, JudgedClip,
    KeptSound, ModelFingerprint, MusicClassifiers, MusicFigures, MusicItem, MusicReport,
    NearestCentroid, PocketSphinx, PocketSphinxOptions, RecognitionFigures, RoundTrips,
    SpeechEvaluation, SpeechFigures, SpeechItem, SpeechReport, TaskFigures, Versions, VoiceFigures,
    fill_card, spoken_words,
};
pub use kl::{KlDivergence, kl_divergence};
pub use models::{
    Classifier, Embedder, ModelFailure, Transcriber, classify_clips, embed_clips, transcribe_clips,
};
pub use pairing::{Pairing, Side};
pub use si_sdr::si_sdr;
pub use similarity::{CosineSimilarity, cosine_similarity};
pub use spectral_distance::{SpectralDistance, SpectralDistances};
pub use stored::{StoredFeatures, StoredTexts};
pub use summary::Summary;
pub use text::{ErrorRate, TextNormalization, character_error_rate, word_error_rate};
pub use text_report::{TextItem, TextPair, TextReport, read_text_pairs};
