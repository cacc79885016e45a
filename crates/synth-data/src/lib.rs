//! Speech, music and animations made from a seed, to train a small UniMoE on.
//!
//! Sentences of two small grammars are said by four voices of espeak-ng, scores are composed and played with a SoundFont, animations
//! are drawn whose cuts go with their music: the four domains of UniMoE-Audio (arXiv:2510.13344) in its imbalance, with a test set
//! that shares no text and no draw with the training set. Pure host code: no Burn, no device.
//!
//! ```no_run
//! use std::{ops::ControlFlow, path::Path};
//!
//! use synth_data::SynthConfig;
//!
//! # fn main() -> Result<(), synth_data::SynthError> {
//! let config = SynthConfig { scale: 0.001, ..SynthConfig::default() };
//! let summary = config.make(Path::new("synthetic"), &|_| ControlFlow::Continue(()))?;
//! assert_eq!(summary.domains["speech-en"].train, 100);
//! # Ok(())
//! # }
//! ```

mod animation;
mod attributes;
mod caption;
mod dataset;
mod error;
mod music;
mod pitch_lock;
mod random;
mod resample;
mod score;
mod sound;
mod soundfont;
mod speech;
#[cfg(test)]
mod test_font;
mod text;

pub use animation::{PICTURES_PER_SECOND, SIDE};
pub use attributes::{Attributes, Density, Instrument, Key, Mode, TempoClass};
pub use dataset::{
    Domain, DomainSummary, Progress, Summary, SynthConfig, TEST_MANIFEST, TRAIN_MANIFEST, Watch,
};
pub use error::SynthError;
pub use music::{DEFAULT_SOUNDFONT, MusicSynthesizer};
pub use score::{Note, PIECE_SECONDS, Part, Score};
pub use sound::SAMPLE_RATE;
pub use speech::{Speaker, SpeechSynthesizer};
pub use text::{Language, Texts, text_key};
