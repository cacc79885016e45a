//! What can go wrong in the training of a codec.

use thiserror::Error;

use crate::spectral::SpectralError;

/// Why a codec can't be trained.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum CodecTrainingError {
    /// A setting is out of range or contradicts another.
    #[error("codec training: {setting} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: String,
    },
    /// Settings of a spectrum.
    #[error(transparent)]
    Spectral(#[from] SpectralError),
    /// There is nothing to learn from.
    #[error("no clip to train the codec on, at least one expected")]
    NoClips,
}
