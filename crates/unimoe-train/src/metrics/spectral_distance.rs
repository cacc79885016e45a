//! Distances of the spectra of two sounds.
//!
//! `L` samples.

use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::MetricError;
use crate::spectral::{
    MultiScaleMelLoss, MultiScaleMelLossConfig, MultiScaleStftLoss, MultiScaleStftLossConfig, Stft,
    StftConfig,
};

/// Windows of the multi-resolution distance in samples.
const RESOLUTIONS: [usize; 3] = [512, 1024, 2048];
/// What its magnitudes are raised to before the logarithm.
const FLOOR: f64 = 1e-5;

/// Measures the distances, on one device and at one sample rate.
#[derive(Debug, Clone)]
pub struct SpectralDistance {
    mel: MultiScaleMelLoss,
    stft: MultiScaleStftLoss,
    resolutions: Vec<Stft>,
    device: Device,
}

/// Distances of a sound from another; all are 0 for equal sounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SpectralDistances {
    /// Mel distance of the Descript Audio Codec (arXiv:2306.06546, section 3.4): the mean distance of the logarithms
    /// (base 10) of mel bands, summed over the windows 32, 64, ... 2048.
    pub mel_distance: f64,
    /// STFT distance of the same paper: the mean distance of magnitudes and that of the logarithms of their squares,
    /// summed over the windows 2048 and 512.
    pub stft_distance: f64,
    /// Multi-resolution STFT distance (arXiv:1910.11480, eq. 4 to 6): `|X - Y| / |X|` in the Frobenius norm plus
    /// the mean of `|ln X - ln Y|`, `X` being the reference's magnitudes, as the mean over the windows 512, 1024 and 2048.
    pub multi_resolution_stft_distance: f64,
}

impl SpectralDistance {
    /// Makes the windows and bands.
    ///
    /// # Errors
    ///
    /// [`MetricError::Setting`] for a sample rate that is not within 1 Hz to 768 kHz.
    pub fn new(sample_rate: u32, device: &Device) -> Result<Self, MetricError> {
        let setting = |error: crate::SpectralError| MetricError::Setting {
            name: error.field,
            expected: error.expected,
            found: error.found,
        };
        let resolutions = RESOLUTIONS.map(|window| StftConfig::quarter(window).init(device));
        Ok(Self {
            mel: MultiScaleMelLossConfig::new(sample_rate as usize)
                .init(device)
                .map_err(setting)?,
            stft: MultiScaleStftLossConfig::new()
                .init(device)
                .map_err(setting)?,
            resolutions: resolutions
                .into_iter()
                .collect::<Result<_, _>>()
                .map_err(setting)?,
            device: device.clone(),
        })
    }

    /// The distances of `generated` from `reference`, both of `L` samples.
    ///
    /// # Errors
    ///
    /// [`MetricError::Shape`] for different lengths, [`MetricError::TooFew`] for no samples,
    /// [`MetricError::NotFinite`] for a sample that is not finite.
    pub fn between(
        &self,
        reference: &[f32],
        generated: &[f32],
    ) -> Result<SpectralDistances, MetricError> {
        if reference.len() != generated.len() {
            return Err(MetricError::Shape {
                what: "number of generated samples".into(),
                expected: reference.len(),
                found: generated.len(),
            });
        }
        let [x, y] = [
            ("the reference", reference),
            ("the generated sound", generated),
        ]
        .map(|(what, samples)| self.sound(what, samples));
        let (x, y) = (x?, y?);
        let number = |tensor: Tensor<1>| f64::from(tensor.into_scalar::<f32>());
        let each = self.resolutions.iter().map(|stft| {
            let [x, y] = [&x, &y].map(|sound| stft.magnitude(sound.clone()));
            let distance = number((x.clone() - y.clone()).square().sum()).sqrt();
            // The floor keeps the quotient of a silent reference finite.
            let size = number(x.clone().square().sum()).sqrt().max(FLOOR);
            let [x, y] = [x, y].map(|magnitude| magnitude.clamp_min(FLOOR).log());
            distance / size + number((x - y).abs().mean())
        });
        let multi_resolution = each.sum::<f64>() / self.resolutions.len() as f64;
        Ok(SpectralDistances {
            mel_distance: number(self.mel.forward(x.clone(), y.clone())),
            stft_distance: number(self.stft.forward(x, y)),
            multi_resolution_stft_distance: multi_resolution,
        })
    }

    /// The samples on the device, `[1, L]`.
    fn sound(&self, what: &str, samples: &[f32]) -> Result<Tensor<2>, MetricError> {
        if samples.is_empty() {
            return Err(MetricError::TooFew {
                what: format!("samples of {what}"),
                expected: 1,
                found: 0,
            });
        }
        if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(MetricError::NotFinite {
                what: format!("sample {index} of {what}"),
                found: samples[index].into(),
            });
        }
        let data = TensorData::new(samples.to_vec(), [1, samples.len()]);
        Ok(Tensor::from_data(data, &self.device))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, scale: f32) -> Vec<f32> {
        let mut state = 1u32;
        let next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            scale * ((state >> 8) as f32 / 8_388_608.0 - 1.0)
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn a_sound_is_at_no_distance_from_itself_and_the_louder_the_noise_the_farther() {
        for (name, device) in testkit::devices() {
            let measure = SpectralDistance::new(16_000, &device).expect("settings");
            let sound = noise(4_000, 0.3);
            let mut last = measure.between(&sound, &sound).expect("sounds");
            assert_eq!(last.mel_distance, 0.0, "{name}");
            assert_eq!(last.stft_distance, 0.0, "{name}");
            assert_eq!(last.multi_resolution_stft_distance, 0.0, "{name}");
            for level in [0.01, 0.1, 0.5] {
                let mut other = noise(8_000, level).split_off(4_000);
                other.iter_mut().zip(&sound).for_each(|(o, s)| *o += s);
                let found = measure.between(&sound, &other).expect("sounds");
                assert!(found.mel_distance > last.mel_distance, "{name}");
                assert!(found.stft_distance > last.stft_distance, "{name}");
                let [found_all, last_all] = [found, last].map(|d| d.multi_resolution_stft_distance);
                assert!(found_all > last_all, "{name}");
                last = found;
            }
        }
    }

    #[test]
    fn twice_as_loud_is_one_plus_the_logarithm_of_two() {
        let measure = SpectralDistance::new(16_000, &Device::flex()).expect("settings");
        let (sound, louder) = (noise(4_000, 0.3), noise(4_000, 0.6));
        let found = measure.between(&sound, &louder).expect("sounds");
        // |X - 2 X| / |X| = 1 and |ln X - ln 2 X| = ln 2, wherever X is above the floor.
        let distance = found.multi_resolution_stft_distance - (1.0 + 2.0f64.ln());
        assert!(distance.abs() < 1e-3, "{found:?}");
        // Seven windows, log10 2 each but for bands that no bin falls into.
        let most = 7.0 * 2.0f64.log10() + 1e-3;
        assert!(
            found.mel_distance <= most && found.mel_distance > 0.5 * most,
            "{found:?}"
        );
    }

    #[test]
    fn very_short_and_silent_sounds_have_finite_distances() {
        let measure = SpectralDistance::new(8_000, &Device::flex()).expect("settings");
        for (reference, generated) in [(vec![0.5], vec![-0.5]), (vec![0.0; 100], noise(100, 0.1))] {
            let found = measure.between(&reference, &generated).expect("sounds");
            assert!(found.mel_distance.is_finite() && found.stft_distance.is_finite());
            assert!(found.multi_resolution_stft_distance.is_finite());
        }
    }

    #[test]
    fn what_is_no_pair_of_sounds_is_refused() {
        let device = Device::flex();
        let measure = SpectralDistance::new(16_000, &device).expect("settings");
        assert!(matches!(
            measure.between(&[], &[]),
            Err(MetricError::TooFew { .. })
        ));
        assert!(matches!(
            measure.between(&[0.1], &[0.1, 0.2]),
            Err(MetricError::Shape { .. })
        ));
        let error = measure.between(&[0.1], &[f32::NAN]);
        assert!(matches!(error, Err(MetricError::NotFinite { .. })));
        let error = SpectralDistance::new(0, &device);
        assert!(matches!(error, Err(MetricError::Setting { .. })));
    }
}
