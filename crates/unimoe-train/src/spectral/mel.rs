//! The mel spectrogram: magnitudes in bands as wide as hearing takes them.
//!
//! Bands are Slaney's (Auditory Toolbox, 1998): mels are linear in frequency below 1 kHz (200 / 3 Hz each) and
//! logarithmic above (a factor of 6.4 over 27 mels), and each triangle has area 1 over frequency in Hz, times 2.
//! The codec's paper (arXiv:2306.06546) takes its losses on these.
//! Axes: `B` batch, `L` samples, `N` frames, `F` frequency bins, `M` mel bands.

use burn::{
    config::Config,
    tensor::{Device, Tensor, TensorData},
};

use super::{
    error::{SpectralError, within},
    stft::{Stft, StftConfig},
};

/// Most bands.
const MAX_MELS: usize = 1024;
/// Highest sample rate, in Hz.
const MAX_SAMPLE_RATE: usize = 768_000;
/// Hz per mel in the linear part.
const HZ_PER_MEL: f64 = 200.0 / 3.0;
/// Where the logarithmic part begins, in Hz.
const BREAK_HZ: f64 = 1000.0;

/// Configuration to create a [`MelSpectrogram`].
#[derive(Config, Debug, PartialEq)]
pub struct MelSpectrogramConfig {
    /// Samples per second.
    pub sample_rate: usize,
    /// Length of the window, in samples.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Number of bands `M`.
    pub n_mels: usize,
    /// Where the lowest band begins, in Hz. Default: 0
    #[config(default = 0.0)]
    pub f_min: f64,
    /// Where the highest band ends, in Hz. Default: half the sample rate
    #[config(default = "None")]
    pub f_max: Option<f64>,
}

/// `mel = |X| W`, with the magnitudes of an [`Stft`] and the bands of [`mel_filterbank`].
#[derive(Debug, Clone)]
pub struct MelSpectrogram {
    stft: Stft,
    /// The bands, `[F, M]`.
    bands: Tensor<2>,
}

impl MelSpectrogramConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`SpectralError`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), SpectralError> {
        StftConfig::new(self.n_fft, self.hop).validate()?;
        within("sample_rate", self.sample_rate, 1, MAX_SAMPLE_RATE)?;
        within("n_mels", self.n_mels, 1, MAX_MELS)?;
        let nyquist = self.sample_rate as f64 / 2.0;
        within("f_max", self.f_max.unwrap_or(nyquist), 0.0, nyquist)?;
        within("f_min", self.f_min, 0.0, self.f_max.unwrap_or(nyquist))?;
        if self.f_min == self.f_max.unwrap_or(nyquist) {
            return Err(SpectralError {
                field: "f_min",
                expected: "less than f_max".into(),
                found: self.f_min.to_string(),
            });
        }
        Ok(())
    }

    /// Initializes a [`MelSpectrogram`].
    ///
    /// # Errors
    ///
    /// As [`MelSpectrogramConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<MelSpectrogram, SpectralError> {
        self.validate()?;
        let stft = StftConfig::new(self.n_fft, self.hop).init(device)?;
        let bins = stft.config().n_bins();
        let bands = TensorData::new(mel_filterbank(self)?, [bins, self.n_mels]);
        Ok(MelSpectrogram {
            stft,
            bands: Tensor::from_data(bands, device),
        })
    }
}

impl MelSpectrogram {
    /// Magnitudes in mel bands.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`, on the device that the spectrogram was made for
    /// - output: `[B, M, N]`, `N` as [`StftConfig::n_frames`] says
    pub fn forward(&self, audio: Tensor<2>) -> Tensor<3> {
        self.rows(audio).swap_dims(1, 2)
    }

    /// `log10(max(mel, floor))`.
    ///
    /// # Shapes
    ///
    /// As [`MelSpectrogram::forward`].
    pub fn log(&self, audio: Tensor<2>, floor: f64) -> Tensor<3> {
        log10(self.forward(audio), floor)
    }

    /// [`MelSpectrogram::forward`] as `[B, N, M]`.
    pub(crate) fn rows(&self, audio: Tensor<2>) -> Tensor<3> {
        let magnitudes = self.stft.magnitude_rows(audio);
        let [b, n, bins] = magnitudes.dims();
        let [_, m] = self.bands.dims();
        magnitudes
            .reshape([b * n, bins])
            .matmul(self.bands.clone())
            .reshape([b, n, m])
    }
}

/// `log10(max(x, floor))`.
pub(crate) fn log10(x: Tensor<3>, floor: f64) -> Tensor<3> {
    x.clamp_min(floor).log() / std::f64::consts::LN_10
}

/// The bands as triangles over the bins, row-major `[F, M]`.
///
/// A band narrower than the bins may miss them all; it is then zero.
///
/// # Errors
///
/// As [`MelSpectrogramConfig::validate`].
pub fn mel_filterbank(config: &MelSpectrogramConfig) -> Result<Vec<f32>, SpectralError> {
    config.validate()?;
    let (bins, m) = (config.n_fft / 2 + 1, config.n_mels);
    let nyquist = config.sample_rate as f64 / 2.0;
    let (low, high) = (
        to_mel(config.f_min),
        to_mel(config.f_max.unwrap_or(nyquist)),
    );
    // Corners: each band rises from one to the next and falls to the one after.
    let corners: Vec<f64> = (0..m + 2)
        .map(|i| to_hz(low + (high - low) * i as f64 / (m + 1) as f64))
        .collect();
    let mut bands = vec![0f32; bins * m];
    for (f, row) in bands.chunks_exact_mut(m).enumerate() {
        let hz = f as f64 * config.sample_rate as f64 / config.n_fft as f64;
        for (value, corner) in row.iter_mut().zip(corners.windows(3)) {
            let [left, top, right] = [corner[0], corner[1], corner[2]];
            let height = ((hz - left) / (top - left)).min((right - hz) / (right - top));
            *value = (height.max(0.0) * 2.0 / (right - left)) as f32;
        }
    }
    Ok(bands)
}

fn log_mels_per_e() -> f64 {
    27.0 / 6.4f64.ln()
}

fn to_mel(hz: f64) -> f64 {
    if hz < BREAK_HZ {
        return hz / HZ_PER_MEL;
    }
    BREAK_HZ / HZ_PER_MEL + (hz / BREAK_HZ).ln() * log_mels_per_e()
}

fn to_hz(mel: f64) -> f64 {
    let break_mel = BREAK_HZ / HZ_PER_MEL;
    if mel < break_mel {
        return mel * HZ_PER_MEL;
    }
    BREAK_HZ * ((mel - break_mel) / log_mels_per_e()).exp()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn corners_are_slaneys() {
        // 40 frequencies from 0 to 11,025 Hz as the documentation of librosa 0.10 lists them.
        let step = to_mel(11_025.0) / 39.0;
        for (index, hz) in [(1, 85.317), (11, 938.49), (12, 1024.856), (39, 11_025.0)] {
            assert!((to_hz(step * index as f64) - hz).abs() < 1e-2, "{index}");
        }
        assert!((to_mel(6400.0) - 42.0).abs() < 1e-12);
    }

    #[test]
    fn every_band_has_area_one() {
        // Bins of 1 Hz, far narrower than the bands, so that sums are nearly integrals.
        let config = MelSpectrogramConfig::new(4000, 4000, 1000, 12).with_f_min(100.0);
        let bands = mel_filterbank(&config).unwrap();
        for band in 0..12 {
            let area: f32 = bands.iter().skip(band).step_by(12).sum();
            assert!((area - 1.0).abs() < 1e-3, "{band}: {area}");
        }
        let below: f32 = bands[..100 * 12].iter().sum();
        assert_eq!(below, 0.0, "nothing below f_min");
    }

    #[test]
    fn a_band_hears_its_own_pitch_most() {
        let device = Device::flex();
        let config = MelSpectrogramConfig::new(8000, 512, 128, 20);
        // Corners are even below 1 kHz: 22 of them over to_mel(4000) = 35.16 mels; the fifth top is at 558 Hz.
        let top = to_hz(to_mel(4000.0) * 5.0 / 21.0);
        assert!((top - 558.0).abs() < 1.0, "{top}");
        let sine: Vec<f32> = (0..4000)
            .map(|k| (std::f64::consts::TAU * top * f64::from(k) / 8000.0).sin() as f32)
            .collect();
        let audio = Tensor::from_data(TensorData::new(sine, [1, 4000]), &device);
        let mel = config.init(&device).unwrap();
        let heard = mel.forward(audio.clone());
        assert_eq!(heard.dims(), [1, 20, 4000 / 128 + 1]);
        let loudest = heard.mean_dim(2).argmax(1).into_scalar::<i32>();
        assert_eq!(loudest, 4);
        let quietest = mel.log(audio * 0.0, 1e-5).max().into_scalar::<f32>();
        assert!((quietest + 5.0).abs() < 1e-5);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let good = MelSpectrogramConfig::new(16_000, 512, 128, 40);
        for (config, field) in [
            (good.clone().with_f_min(f64::NAN), "f_min"),
            (good.clone().with_f_max(Some(9000.0)), "f_max"),
            (
                good.clone().with_f_min(500.0).with_f_max(Some(500.0)),
                "f_min",
            ),
            (MelSpectrogramConfig::new(0, 512, 128, 40), "sample_rate"),
            (MelSpectrogramConfig::new(16_000, 512, 128, 0), "n_mels"),
            (MelSpectrogramConfig::new(16_000, 1 << 40, 128, 40), "n_fft"),
        ] {
            assert_eq!(config.validate().unwrap_err().field, field);
        }
    }
}
