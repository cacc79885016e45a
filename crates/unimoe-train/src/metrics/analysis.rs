//! What a sound is like: spectrum, cepstrum, pitch, onsets, chroma. On the host, in f64, the same on every machine.
//!
//! All of it takes mono samples at [`ANALYSIS_RATE`]. `L` samples, `N` frames, `F` frequency bins.

mod cepstrum;
mod chroma;
mod onset;
mod pitch;
mod power;
mod timbre;
mod trim;
mod warping;

pub use cepstrum::{Cepstra, CepstralAnalysis};
pub use chroma::{BassChroma, bass_chroma};
pub use onset::{OnsetStrength, onset_strength};
pub use pitch::{Pitch, PitchTracker};
pub use power::PowerSpectrogram;
pub use timbre::{Timbre, timbre};
pub use trim::trimmed;
pub use warping::warped_distance;

/// Samples per second of everything that is analysed.
pub const ANALYSIS_RATE: u32 = 16_000;
