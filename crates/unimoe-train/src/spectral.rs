//! Spectra with gradients.
