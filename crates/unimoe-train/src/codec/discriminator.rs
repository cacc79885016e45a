//! What tells recordings from reconstructions, so that the codec learns what the distances don't measure.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3.3, with plain weights in place of weight-normed ones.
//! Axes: `B` batch, `L` samples.

mod draw;
mod period;
mod resolution;

use burn::{
    config::Config,
    module::Module,
    tensor::{Device, Tensor, activation::leaky_relu},
};

pub use period::PeriodDiscriminator;
pub use resolution::{BandDiscriminator, ResolutionDiscriminator};

use super::error::CodecTrainingError;
use crate::spectral::StftConfig;

/// Slope of the activation below zero.
const SLOPE: f64 = 0.1;
/// Most discriminators of a kind, most bands, most layers.
const MAX_PARTS: usize = 32;
/// Most channels, longest period.
const MAX_SIZE: usize = 1 << 14;

/// Configuration to create [`Discriminators`]. The defaults are the codec's.
#[derive(Config, Debug, PartialEq)]
pub struct DiscriminatorConfig {
    /// Periods that the signal is folded by. Default: 2, 3, 5, 7, 11
    #[config(default = "vec![2, 3, 5, 7, 11]")]
    pub periods: Vec<usize>,
    /// Channels of the layers that see a folded signal; all but the last keep one place in three. Default: 32, 128,
    /// 512, 1024, 1024
    #[config(default = "vec![32, 128, 512, 1024, 1024]")]
    pub period_channels: Vec<usize>,
    /// Windows of the spectra; they move on by a quarter. Default: 2048, 1024, 512
    #[config(default = "vec![2048, 1024, 512]")]
    pub windows: Vec<usize>,
    /// Where the bands of a spectrum end, as shares of its bins; the last is 1. Default: 0.1, 0.25, 0.5, 0.75, 1
    #[config(default = "vec![0.1, 0.25, 0.5, 0.75, 1.0]")]
    pub bands: Vec<f64>,
    /// Channels of the layers that see a spectrum. Default: 32
    #[config(default = 32)]
    pub resolution_channels: usize,
}

/// All discriminators: multi-period, then multi-resolution.
#[derive(Module, Debug)]
pub struct Discriminators {
    /// One for each period.
    pub periods: Vec<PeriodDiscriminator>,
    /// One for each window.
    pub resolutions: Vec<ResolutionDiscriminator>,
}

/// What one discriminator thinks of a batch.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// How much like a recording each place is, about 1 for recordings and 0 for reconstructions, `[B, places]`.
    pub score: Tensor<2>,
    /// What each layer but the last saw, `[B, values]`.
    pub features: Vec<Tensor<2>>,
}

impl DiscriminatorConfig {
    /// Sizes for tests and small machines.
    pub fn tiny() -> Self {
        Self::new()
            .with_periods(vec![2, 3, 5])
            .with_period_channels(vec![4, 8, 16])
            .with_windows(vec![256, 128])
            .with_bands(vec![0.25, 1.0])
            .with_resolution_channels(4)
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`CodecTrainingError::Setting`] or [`CodecTrainingError::Spectral`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), CodecTrainingError> {
        let wrong = |setting, expected: String, found: &dyn std::fmt::Debug| {
            Err(CodecTrainingError::Setting {
                setting,
                expected,
                found: format!("{found:?}"),
            })
        };
        let sizes = format!("1 to {MAX_PARTS} numbers of 1 to {MAX_SIZE}");
        let some = |values: &[usize], least: usize| {
            (least..=MAX_PARTS).contains(&values.len())
                && values.iter().all(|value| (1..=MAX_SIZE).contains(value))
        };
        if self.periods.is_empty() && self.windows.is_empty() {
            return wrong("periods", "one, or a window".into(), &self.periods);
        }
        if !some(&self.periods, 0) {
            return wrong("periods", sizes, &self.periods);
        }
        if !some(&self.period_channels, 1) {
            return wrong("period_channels", sizes, &self.period_channels);
        }
        if !(1..=MAX_SIZE).contains(&self.resolution_channels) {
            let expected = format!("1 to {MAX_SIZE}");
            return wrong("resolution_channels", expected, &self.resolution_channels);
        }
        if !some(&self.windows, 0) {
            return wrong("windows", sizes, &self.windows);
        }
        let mut low = 0.0;
        for &end in &self.bands {
            // A NaN is neither above nor below.
            if end.partial_cmp(&low) != Some(std::cmp::Ordering::Greater) {
                return wrong("bands", "rising shares".into(), &self.bands);
            }
            low = end;
        }
        if self.bands.len() > MAX_PARTS || low != 1.0 {
            let expected = format!("at most {MAX_PARTS} shares, the last of them 1");
            return wrong("bands", expected, &self.bands);
        }
        for &window in &self.windows {
            let stft = StftConfig::quarter(window);
            stft.validate()?;
            if resolution::bounds(&self.bands, stft.n_bins())
                .iter()
                .any(|(low, high)| low == high)
            {
                let expected = format!("at least one bin of the window {window} in each");
                return wrong("bands", expected, &self.bands);
            }
        }
        Ok(())
    }

    /// Initializes [`Discriminators`] with weights drawn from `seed`, the same on every device.
    ///
    /// # Errors
    ///
    /// As [`DiscriminatorConfig::validate`].
    pub fn init(&self, seed: u64, device: &Device) -> Result<Discriminators, CodecTrainingError> {
        self.validate()?;
        let periods = self.periods.iter();
        let periods = periods.map(|&p| PeriodDiscriminator::new(p, &self.period_channels, device));
        let windows = self.windows.iter();
        let channels = self.resolution_channels;
        let resolutions = windows
            .map(|&window| ResolutionDiscriminator::new(window, &self.bands, channels, device));
        let discriminators = Discriminators {
            periods: periods.collect(),
            resolutions: resolutions.collect::<Result<_, _>>()?,
        };
        Ok(draw::weights(discriminators, seed, device))
    }
}

impl Discriminators {
    /// What each discriminator thinks, in order.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`
    /// - output: one [`Judgement`] for each period and for each window
    pub fn forward(&self, audio: Tensor<2>) -> Vec<Judgement> {
        let periods = self.periods.iter().map(|d| d.forward(audio.clone()));
        let resolutions = self.resolutions.iter().map(|d| d.forward(audio.clone()));
        periods.chain(resolutions).collect()
    }
}

/// The activation between layers.
fn activate<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    leaky_relu(x, SLOPE)
}

/// All values of each row.
fn rows<const D: usize>(x: Tensor<D>, b: usize) -> Tensor<2> {
    let values = x.dims().iter().product::<usize>() / b.max(1);
    x.reshape([b, values])
}
