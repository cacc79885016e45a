//! Spectra with gradients: what the codec's losses and the metrics listen with.
//!
//! Axes: `B` batch, `L` samples, `N` frames, `F` frequency bins, `M` mel bands.

mod cepstrum;
mod error;
mod loss;
mod mel;
mod stft;

pub(crate) use cepstrum::{MelCepstrum, dct_rows};
pub use error::SpectralError;
pub use loss::{
    MultiScaleMelLoss, MultiScaleMelLossConfig, MultiScaleStftLoss, MultiScaleStftLossConfig,
};
pub use mel::{MelSpectrogram, MelSpectrogramConfig, mel_filterbank};
pub use stft::{Spectrum, Stft, StftConfig};
