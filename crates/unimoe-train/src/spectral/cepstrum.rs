//! Mel cepstra with one frame for each step of a codec: the shape of the spectrum, without phase and pitch.
//!
//! Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition" (IEEE Trans. ASSP,
//! 1980), with Slaney's mel bands.
//! Axes: `B` batch, `L` samples, `N` frames, `M` mel bands, `C` coefficients.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    error::{SpectralError, within},
    mel::{MelSpectrogram, MelSpectrogramConfig, log10},
};

/// Mel bands.
const BANDS: usize = 40;
/// Length of the window, in steps.
const STEPS: usize = 3;

/// The first mel cepstral coefficients of whole steps of `hop` samples: a frame lies in the middle of its step.
#[derive(Debug, Clone)]
pub(crate) struct MelCepstrum {
    mel: MelSpectrogram,
    /// The cosine transform, `[M, C]`.
    cosines: Tensor<2>,
    hop: usize,
    floor: f64,
}

impl MelCepstrum {
    /// Of 40 bands in windows of three steps; magnitudes are raised to `floor`.
    ///
    /// # Errors
    ///
    /// A [`SpectralError`] where the window is too long, or more coefficients are asked for than there are bands.
    pub(crate) fn new(
        sample_rate: usize,
        hop: usize,
        coefficients: usize,
        floor: f64,
        device: &Device,
    ) -> Result<Self, SpectralError> {
        within("cepstral coefficients", coefficients, 1, BANDS)?;
        let mel = MelSpectrogramConfig::new(sample_rate, STEPS * hop, hop, BANDS).init(device)?;
        let rows = dct_rows(coefficients, BANDS);
        let columns = (0..BANDS).flat_map(|band| rows.iter().skip(band).step_by(BANDS));
        let columns: Vec<f32> = columns.map(|&cosine| cosine as f32).collect();
        Ok(Self {
            mel,
            cosines: Tensor::from_data(TensorData::new(columns, [BANDS, coefficients]), device),
            hop,
            floor,
        })
    }

    /// Cepstra of log10 magnitudes; a level ten times the floor is nought.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`, `L = N hop`
    /// - output: `[B, C, N]`; a single step has a second frame
    pub(crate) fn forward(&self, audio: Tensor<2>) -> Tensor<3> {
        let [b, length] = audio.dims();
        // The transform's frames lie at whole steps.
        let start = self.hop / 2;
        let logs = log10(
            self.mel.rows(audio.narrow(1, start, length - start)),
            self.floor,
        );
        let [_, n, bands] = logs.dims();
        let logs = (logs - (self.floor.log10() + 1.0)).reshape([b * n, bands]);
        let [_, c] = self.cosines.dims();
        let cepstra = logs.matmul(self.cosines.clone()).reshape([b, n, c]);
        cepstra.swap_dims(1, 2)
    }
}

/// The first `count` rows of the orthonormal discrete cosine transform of `bands` values, row-major `[count, bands]`.
pub(crate) fn dct_rows(count: usize, bands: usize) -> Vec<f64> {
    let cosine = |c: usize, band: usize| {
        let scale = if c == 0 { 1.0 } else { 2.0 } / bands as f64;
        let angle = std::f64::consts::PI * c as f64 * (band as f64 + 0.5) / bands as f64;
        scale.sqrt() * angle.cos()
    };
    (0..count)
        .flat_map(|c| (0..bands).map(move |band| cosine(c, band)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const HOP: usize = 80;

    fn cepstra(samples: Vec<f32>) -> Tensor<3> {
        let device = Device::flex();
        let cepstrum = MelCepstrum::new(8000, HOP, 12, 1e-4, &device).unwrap();
        let shape = [1, samples.len()];
        cepstrum.forward(Tensor::from_data(TensorData::new(samples, shape), &device))
    }

    fn noise(count: usize) -> Vec<f32> {
        (0..count)
            .map(|k| ((k * k * 7 + k * 13) % 101) as f32 / 50.0 - 1.0)
            .collect()
    }

    #[test]
    fn each_step_has_a_frame_and_a_gain_moves_the_first_coefficient_alone() {
        let samples = noise(10 * HOP);
        let louder = cepstra(samples.iter().map(|x| x * 10.0).collect());
        let moved = louder - cepstra(samples);
        assert_eq!(moved.dims(), [1, 12, 10]);
        // One in each of 40 bands.
        let first = moved.clone().narrow(1, 0, 1) - 40f64.sqrt();
        assert!(first.abs().max().into_scalar::<f32>() < 1e-3);
        assert!(moved.narrow(1, 1, 11).abs().max().into_scalar::<f32>() < 1e-3);
    }

    #[test]
    fn a_click_is_loudest_in_its_own_step() {
        let mut samples = vec![0.0; 9 * HOP];
        samples[4 * HOP + HOP / 2] = 1.0;
        let loudness = cepstra(samples).narrow(1, 0, 1).into_data();
        let loudness: Vec<f32> = loudness.iter::<f32>().collect();
        let loudest = (0..9).max_by(|&a, &b| loudness[a].total_cmp(&loudness[b]));
        assert_eq!(loudest, Some(4), "{loudness:?}");
        assert!((loudness[3] - loudness[5]).abs() < 1e-3);
    }

    #[test]
    fn more_coefficients_than_bands_are_refused() {
        let error = MelCepstrum::new(8000, HOP, 41, 1e-4, &Device::flex()).unwrap_err();
        assert_eq!(error.field, "cepstral coefficients");
    }
}
