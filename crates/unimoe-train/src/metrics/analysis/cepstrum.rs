//! Mel-frequency cepstra: the shape of the spectrum without its fine structure.
//!
//! Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition" (IEEE Trans. ASSP,
//! 1980), with Slaney's mel bands. `N` frames, `C` coefficients.

use super::{ANALYSIS_RATE, power::PowerSpectrogram};
use crate::spectral::{MelSpectrogramConfig, SpectralError, dct_rows, mel_filterbank};

/// Window and step of a frame in samples: 32 ms and 10 ms.
const WINDOW: usize = 512;
const HOP: usize = 160;
/// Bands, and where they lie in Hz.
const BANDS: usize = 40;
const LOWEST: f64 = 60.0;
const HIGHEST: f64 = 7600.0;
/// What a band's power is raised to before the logarithm: far below a step of 16 bits under the window.
const FLOOR: f64 = 1e-8;

/// Makes [`Cepstra`].
#[derive(Debug, Clone)]
pub struct CepstralAnalysis {
    /// The bands as triangles over the bins, `[F, BANDS]`.
    bands: Vec<f64>,
    /// Rows of the orthonormal discrete cosine transform, `[C, BANDS]`.
    cosines: Vec<f64>,
    count: usize,
    /// Power below which a band is not heard, as a share of the loudest of a sound.
    least: f64,
}

/// Cepstra of a sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Cepstra {
    /// The coefficients, `[N][C]`; the first one, of the mean of the bands, is the loudness.
    pub frames: Vec<Vec<f64>>,
}

impl CepstralAnalysis {
    /// Seconds from one frame to the next.
    pub const STEP: f64 = HOP as f64 / ANALYSIS_RATE as f64;

    /// With the first `count` coefficients, at most 40.
    ///
    /// # Errors
    ///
    /// A [`SpectralError`] where the bands are not possible, which for these settings they are.
    pub fn new(count: usize) -> Result<Self, SpectralError> {
        let mut config = MelSpectrogramConfig::new(ANALYSIS_RATE as usize, WINDOW, HOP, BANDS)
            .with_f_min(LOWEST);
        config.f_max = Some(HIGHEST);
        let bands = mel_filterbank(&config)?;
        let count = count.min(BANDS);
        Ok(Self {
            bands: bands.into_iter().map(f64::from).collect(),
            cosines: dct_rows(count, BANDS),
            count,
            least: 0.0,
        })
    }

    /// Hears nothing in a band that lies more than this many decibels below the loudest one of a sound: there is little of a voice there,
    /// and much of what recorded or coded it.
    pub fn within(self, decibel: f64) -> Self {
        Self {
            least: 10f64.powf(-decibel / 10.0),
            ..self
        }
    }

    /// The natural logarithm of the power in each of 40 mel bands, `[N][40]`.
    pub fn log_mel(&self, samples: &[f32]) -> Vec<Vec<f64>> {
        let power = PowerSpectrogram::new(samples, WINDOW, HOP);
        let frame = |bins: &[f64]| {
            let mut mel = vec![0.0; BANDS];
            for (power, weights) in bins.iter().zip(self.bands.chunks_exact(BANDS)) {
                for (sum, weight) in mel.iter_mut().zip(weights) {
                    *sum += power * weight;
                }
            }
            mel
        };
        let mut frames: Vec<Vec<f64>> = power.frames().map(frame).collect();
        let loudest = frames.iter().flatten().copied().fold(0.0, f64::max);
        let floor = FLOOR.max(self.least * loudest);
        for power in frames.iter_mut().flatten() {
            *power = power.max(floor).ln();
        }
        frames
    }

    /// The cepstra of `samples`.
    pub fn cepstra(&self, samples: &[f32]) -> Cepstra {
        let cepstrum = |logs: &Vec<f64>| {
            let rows = self.cosines.chunks_exact(BANDS).take(self.count);
            rows.map(|row| row.iter().zip(logs).map(|(a, b)| a * b).sum())
                .collect()
        };
        Cepstra {
            frames: self.log_mel(samples).iter().map(cepstrum).collect(),
        }
    }
}

impl Cepstra {
    /// The frames without the loudness and without their mean: what is said rather than by whom and through what.
    pub fn normalized(&self) -> Vec<Vec<f64>> {
        let width = self.frames.first().map_or(0, Vec::len);
        let mut mean = vec![0.0; width];
        for frame in &self.frames {
            for (sum, value) in mean.iter_mut().zip(frame) {
                *sum += value / self.frames.len() as f64;
            }
        }
        let centre = |frame: &Vec<f64>| {
            let pairs = frame.iter().zip(&mean).skip(1);
            pairs.map(|(value, mean)| value - mean).collect()
        };
        self.frames.iter().map(centre).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_gain_moves_the_first_coefficient_alone() {
        let analysis = CepstralAnalysis::new(13).expect("bands");
        let samples = noise(8000);
        let quieter: Vec<f32> = samples.iter().map(|sample| sample * 0.5).collect();
        let (a, b) = (analysis.cepstra(&samples), analysis.cepstra(&quieter));
        assert_eq!((a.frames.len(), a.frames[0].len()), (51, 13));
        for (x, y) in a.frames.iter().zip(&b.frames) {
            // ln 4 in each band, times sqrt(40).
            assert!((x[0] - y[0] - 4f64.ln() * 40f64.sqrt()).abs() < 1e-6);
            assert!(
                x[1..]
                    .iter()
                    .zip(&y[1..])
                    .all(|(x, y)| (x - y).abs() < 1e-6)
            );
        }
    }

    #[test]
    fn what_is_far_below_the_loudest_band_is_not_heard() {
        let hear = |range: Option<f64>, hiss: f32| {
            let tone = |i: usize| (i as f32 * 0.2).sin() * 0.5;
            let noise = noise(4000);
            let sound: Vec<f32> = (0..4000).map(|i| tone(i) + hiss * noise[i]).collect();
            let analysis = CepstralAnalysis::new(20).expect("bands");
            let analysis = match range {
                Some(decibel) => analysis.within(decibel),
                None => analysis,
            };
            analysis.cepstra(&sound).frames[10].clone()
        };
        let differ = |range| {
            let (one, two) = (hear(range, 1e-4), hear(range, 4e-4));
            one.iter()
                .zip(&two)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max)
        };
        assert!(differ(None) > 1.0, "{}", differ(None));
        assert!(differ(Some(40.0)) < 0.1, "{}", differ(Some(40.0)));
    }

    #[test]
    fn normalized_frames_have_no_loudness_and_no_mean() {
        let cepstra = Cepstra {
            frames: vec![vec![9.0, 1.0, 5.0], vec![7.0, 3.0, 5.0]],
        };
        assert_eq!(cepstra.normalized(), [[-1.0, 0.0], [1.0, 0.0]]);
    }
}
