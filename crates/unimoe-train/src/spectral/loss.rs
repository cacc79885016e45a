//! How far two sounds are apart, on several scales at once: long windows tell pitches apart, short ones moments.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3.4.
//! Axes: `B` batch, `L` samples.

use burn::{
    config::Config,
    tensor::{Device, Tensor},
};

use super::{
    error::{SpectralError, within},
    mel::{MelSpectrogram, MelSpectrogramConfig, log10},
    stft::{Stft, StftConfig},
};

/// Most scales.
const MAX_SCALES: usize = 32;

/// Configuration to create a [`MultiScaleMelLoss`]. The defaults are the codec's.
#[derive(Config, Debug, PartialEq)]
pub struct MultiScaleMelLossConfig {
    /// Samples per second.
    pub sample_rate: usize,
    /// Length of each scale's window; it moves on by a quarter. Default: 32, 64, ... 2048
    #[config(default = "vec![32, 64, 128, 256, 512, 1024, 2048]")]
    pub windows: Vec<usize>,
    /// Bands of each scale. Default: 5, 10, ... 320
    #[config(default = "vec![5, 10, 20, 40, 80, 160, 320]")]
    pub n_mels: Vec<usize>,
    /// What magnitudes are raised to before the logarithm. Default: 1e-5
    #[config(default = 1e-5)]
    pub floor: f64,
}

/// `sum over scales of mean |log10 max(mel(x), floor) - log10 max(mel(y), floor)|`.
#[derive(Debug, Clone)]
pub struct MultiScaleMelLoss {
    scales: Vec<MelSpectrogram>,
    floor: f64,
}

/// Configuration to create a [`MultiScaleStftLoss`]. The defaults are the codec's.
#[derive(Config, Debug, PartialEq)]
pub struct MultiScaleStftLossConfig {
    /// Length of each scale's window; it moves on by a quarter. Default: 2048, 512
    #[config(default = "vec![2048, 512]")]
    pub windows: Vec<usize>,
    /// What magnitudes are raised to before the logarithm. Default: 1e-5
    #[config(default = 1e-5)]
    pub floor: f64,
}

/// `sum over scales of mean |X - Y| + mean |log10 max(X, floor)^2 - log10 max(Y, floor)^2|`, `X` and `Y` magnitudes.
#[derive(Debug, Clone)]
pub struct MultiScaleStftLoss {
    scales: Vec<Stft>,
    floor: f64,
}

impl MultiScaleMelLossConfig {
    /// Initializes a [`MultiScaleMelLoss`].
    ///
    /// # Errors
    ///
    /// A [`SpectralError`] names the setting that is out of range.
    pub fn init(&self, device: &Device) -> Result<MultiScaleMelLoss, SpectralError> {
        check(&self.windows, self.floor)?;
        if self.n_mels.len() != self.windows.len() {
            return Err(SpectralError {
                field: "n_mels",
                expected: format!("one number for each of {} windows", self.windows.len()),
                found: format!("{:?}", self.n_mels),
            });
        }
        let scales = self.windows.iter().zip(&self.n_mels);
        let scales = scales.map(|(&window, &n_mels)| {
            let hop = StftConfig::quarter(window).hop;
            MelSpectrogramConfig::new(self.sample_rate, window, hop, n_mels).init(device)
        });
        Ok(MultiScaleMelLoss {
            scales: scales.collect::<Result<_, _>>()?,
            floor: self.floor,
        })
    }
}

impl MultiScaleMelLoss {
    /// The distance of `x` from `y`.
    ///
    /// # Shapes
    ///
    /// - x, y: `[B, L]`
    /// - output: `[1]`
    pub fn forward(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        self.per_row(x, y).mean()
    }

    /// The distance of each row of `x` from that of `y`.
    ///
    /// # Shapes
    ///
    /// - x, y: `[B, L]`
    /// - output: `[B]`
    pub fn per_row(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        let distances = self.scales.iter().map(|scale| {
            let [x, y] = [&x, &y].map(|sound| log10(scale.rows(sound.clone()), self.floor));
            difference(x, y)
        });
        distances.reduce(|a, b| a + b).expect("at least one scale")
    }
}

impl MultiScaleStftLossConfig {
    /// Initializes a [`MultiScaleStftLoss`].
    ///
    /// # Errors
    ///
    /// A [`SpectralError`] names the setting that is out of range.
    pub fn init(&self, device: &Device) -> Result<MultiScaleStftLoss, SpectralError> {
        check(&self.windows, self.floor)?;
        let scales = self.windows.iter();
        let scales = scales.map(|&window| StftConfig::quarter(window).init(device));
        Ok(MultiScaleStftLoss {
            scales: scales.collect::<Result<_, _>>()?,
            floor: self.floor,
        })
    }
}

impl MultiScaleStftLoss {
    /// The distance of `x` from `y`.
    ///
    /// # Shapes
    ///
    /// - x, y: `[B, L]`
    /// - output: `[1]`
    pub fn forward(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        self.per_row(x, y).mean()
    }

    /// The distance of each row of `x` from that of `y`.
    ///
    /// # Shapes
    ///
    /// - x, y: `[B, L]`
    /// - output: `[B]`
    pub fn per_row(&self, x: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
        let distances = self.scales.iter().map(|scale| {
            let [x, y] = [&x, &y].map(|sound| scale.magnitude_rows(sound.clone()));
            let [log_x, log_y] = [&x, &y].map(|x| log10(x.clone(), self.floor));
            difference(x, y) + difference(log_x, log_y) * 2.0
        });
        distances.reduce(|a, b| a + b).expect("at least one scale")
    }
}

/// `mean |x - y|` of each row, `[B, N, F] -> [B]`.
fn difference(x: Tensor<3>, y: Tensor<3>) -> Tensor<1> {
    let [b, n, f] = x.dims();
    let means = (x - y).abs().reshape([b, n * f]).mean_dim(1);
    means.reshape([b])
}

fn check(windows: &[usize], floor: f64) -> Result<(), SpectralError> {
    within("the number of windows", windows.len(), 1, MAX_SCALES)?;
    // The lower end is what f32 still tells from zero.
    within("floor", floor, 1e-30, 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use burn::tensor::TensorData;

    fn sound(scale: f32, device: &Device) -> Tensor<2> {
        let samples: Vec<f32> = (0..400)
            .map(|k| scale * ((k * k % 37) as f32 / 37.0 - 0.5))
            .collect();
        Tensor::from_data(TensorData::new(samples, [2, 200]), device)
    }

    #[test]
    fn a_sound_twice_as_loud_is_a_constant_away_on_every_scale() {
        let device = Device::flex();
        let mel = MultiScaleMelLossConfig::new(8000)
            .with_windows(vec![32, 64])
            .with_n_mels(vec![3, 6])
            .init(&device)
            .unwrap();
        let [x, y] = [1.0, 2.0].map(|scale| sound(scale, &device));
        assert_eq!(mel.forward(x.clone(), x.clone()).into_scalar::<f32>(), 0.0);
        // log10 2 on each of two scales, wherever there is sound.
        let distance = mel.forward(x.clone(), y.clone()).into_scalar::<f32>();
        assert!((distance - 2.0 * 2f32.log10()).abs() < 1e-4, "{distance}");

        let stft = MultiScaleStftLossConfig::new()
            .with_windows(vec![32])
            .init(&device)
            .unwrap();
        let level = StftConfig::quarter(32)
            .init(&device)
            .unwrap()
            .magnitude(x.clone())
            .mean();
        // The magnitudes differ by those of x itself, the logarithms of their squares by 2 log10 2.
        let expected = level.into_scalar::<f32>() + 2.0 * 2f32.log10();
        let distance = stft.forward(x, y).into_scalar::<f32>();
        assert!((distance - expected).abs() < 1e-3, "{distance} {expected}");
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let device = Device::flex().autodiff();
        let mel = MultiScaleMelLossConfig::new(8000)
            .with_windows(vec![32, 64])
            .with_n_mels(vec![3, 6])
            .init(&device)
            .unwrap();
        let stft = MultiScaleStftLossConfig::new()
            .with_windows(vec![48])
            .init(&device)
            .unwrap();
        let target = sound(2.0, &device);
        let losses: [&dyn Fn(Tensor<2>) -> Tensor<1>; 2] =
            [&|x| mel.forward(x, target.clone()), &|x| {
                stft.forward(x, target.clone())
            }];
        for loss in losses {
            let x = sound(1.0, &device).require_grad();
            let gradient = x.grad(&loss(x.clone()).backward()).unwrap();
            // Along the gradient itself the slope is its norm.
            let expected = gradient.clone().square().sum().sqrt().into_scalar::<f32>();
            let along = gradient / expected;
            let moved =
                |step: f32| loss(sound(1.0, &device) + along.clone() * step).into_scalar::<f32>();
            let difference = (moved(2e-4) - moved(-2e-4)) / 4e-4;
            assert!(
                (expected - difference).abs() < 0.01 * expected,
                "{expected} {difference}"
            );
        }
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let device = Device::flex();
        let config = MultiScaleMelLossConfig::new(8000);
        for (config, field) in [
            (config.clone().with_windows(vec![]), "the number of windows"),
            (config.clone().with_windows(vec![32]), "n_mels"),
            (config.clone().with_floor(f64::NAN), "floor"),
        ] {
            assert_eq!(config.init(&device).unwrap_err().field, field);
        }
    }
}
