//! Judging what a model generates from the records of a manifest: speech by a recogniser and by its voice, music by
//! classifiers that are fitted on real clips, a codec by its round trips.

mod card;
mod classifier;
mod codec;
mod confusion;
mod content;
mod generation;
mod language;
mod music;
mod recognizer;
mod sounds;
mod speech;
mod voice;

pub use card::{CardError, Figures, fill_card};
pub use classifier::NearestCentroid;
pub use codec::{CodecEvaluation, CodecFigures, CodecGroup, CodecItem, CodecReport};
pub use confusion::Confusion;
pub use content::ContentFigures;
pub use generation::{GenerationFacts, GenerationPlan, GenerationProgress, ModelFingerprint};
pub use language::spoken_words;
pub use music::{MusicClassifiers, MusicFigures, MusicItem, MusicReport, TaskFigures};
pub use recognizer::{PocketSphinx, PocketSphinxOptions};
pub use sounds::{JudgedClip, KeptSound, RoundTrips, Versions};
pub use speech::{RecognitionFigures, SpeechEvaluation, SpeechFigures, SpeechItem, SpeechReport};
pub use voice::VoiceFigures;

/// What is wrong with the settings of a spectrum, as a metric says it.
fn setting(error: crate::spectral::SpectralError) -> super::MetricError {
    super::MetricError::Setting {
        name: error.field,
        expected: error.expected,
        found: error.found,
    }
}

/// A record without a field that it is judged by.
fn lacks(
    record: &crate::data::Record,
    field: &'static str,
    expected: &'static str,
) -> super::MetricError {
    super::MetricError::Attribute {
        manifest: record.origin.manifest.to_path_buf(),
        line: record.origin.line,
        id: record.id.clone(),
        field,
        expected,
    }
}
