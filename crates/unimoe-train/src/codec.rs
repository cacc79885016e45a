//! Training of the codec, so that a whole system can be trained with nothing from outside.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3: distances of spectra, the quantiser's losses, quantizer
//! dropout, then a game against discriminators. Start at [`CodecTraining`]. Weights are trained as they are: the
//! weight norm that published checkpoints carry is folded away when they are loaded.

mod adversarial;
mod config;
mod crop;
mod discriminator;
mod error;
mod learner;
mod sounds;
mod start;
mod training;

pub use adversarial::{discriminator_loss, feature_matching_loss, generator_loss};
pub use config::{
    AdversarialConfig, CodecObjective, CodecPreset, CodecTrainingConfig, EnvelopeObjective,
};
pub use discriminator::{
    BandDiscriminator, DiscriminatorConfig, Discriminators, Judgement, PeriodDiscriminator,
    ResolutionDiscriminator,
};
pub use error::CodecTrainingError;
pub use learner::CodecLearner;
pub use sounds::{Sound, SoundSet, SoundSetOptions};
pub use training::{CODEC_FOLDER, CodecStart, CodecTraining};
