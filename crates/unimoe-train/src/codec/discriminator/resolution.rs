//! One discriminator of the multi-resolution kind: it sees a complex spectrum, band by band.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3.3.
//! Axes: `B` batch, `L` samples, `N` frames, `F` frequency bins, `C` channels.

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, Tensor},
};

use super::{Judgement, activate, rows};
use crate::{
    codec::error::CodecTrainingError,
    spectral::{Stft, StftConfig},
};

/// Kernels over frames and bins, and strides over the bins, of a band's layers.
const LAYERS: [([usize; 2], usize); 5] = [
    ([3, 9], 1),
    ([3, 9], 2),
    ([3, 9], 2),
    ([3, 9], 2),
    ([3, 3], 1),
];
/// Kernel of the scores.
const LAST_KERNEL: [usize; 2] = [3, 3];

/// Convolutions over one band of a spectrum.
#[derive(Module, Debug)]
pub struct BandDiscriminator {
    /// The layers, `[C, C before, frames, bins]`.
    pub convs: Vec<Conv2d>,
    low: usize,
    high: usize,
}

/// Convolutions over the bands of one spectrum, real and imaginary part as two channels.
#[derive(Module, Debug)]
pub struct ResolutionDiscriminator {
    /// The bands, from low to high.
    pub bands: Vec<BandDiscriminator>,
    /// The scores of all bands side by side, `[1, C, 3, 3]`.
    pub conv_out: Conv2d,
    #[module(skip)]
    stft: Stft,
}

/// The bins of each band, from the first to the one after the last.
pub(super) fn bounds(ends: &[f64], n_bins: usize) -> Vec<(usize, usize)> {
    let at = |share: f64| ((share * n_bins as f64) as usize).min(n_bins);
    let mut low = 0;
    ends.iter()
        .map(|&end| {
            let band = (low, at(end).max(low));
            low = band.1;
            band
        })
        .collect()
}

fn conv(channels: [usize; 2], kernel: [usize; 2], stride: usize, device: &Device) -> Conv2d {
    let [height, width] = kernel.map(|size| size / 2);
    Conv2dConfig::new(channels, kernel)
        .with_stride([1, stride])
        .with_padding(PaddingConfig2d::Explicit(height, width, height, width))
        .init(device)
}

impl ResolutionDiscriminator {
    /// A discriminator of `channels` channels, randomly initialised.
    pub(super) fn new(
        window: usize,
        ends: &[f64],
        channels: usize,
        device: &Device,
    ) -> Result<Self, CodecTrainingError> {
        let config = StftConfig::quarter(window);
        let bands = bounds(ends, config.n_bins()).into_iter();
        let bands = bands.map(|(low, high)| {
            let mut before = 2;
            let layers = LAYERS.map(|(kernel, stride)| {
                let layer = conv([before, channels], kernel, stride, device);
                before = channels;
                layer
            });
            BandDiscriminator {
                convs: layers.into(),
                low,
                high,
            }
        });
        Ok(Self {
            bands: bands.collect(),
            conv_out: conv([channels, 1], LAST_KERNEL, 1, device),
            stft: config.init(device)?,
        })
    }

    /// Judges a batch.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`
    /// - output: [`Judgement`]
    pub fn forward(&self, audio: Tensor<2>) -> Judgement {
        let [b, _] = audio.dims();
        let image = self.stft.image(audio);
        let mut features = Vec::new();
        let bands = self.bands.iter().map(|band| {
            let mut x = image.clone().narrow(3, band.low, band.high - band.low);
            for conv in &band.convs {
                x = activate(conv.forward(x));
                features.push(rows(x.clone(), b));
            }
            x
        });
        let side_by_side = Tensor::cat(bands.collect(), 3);
        Judgement {
            score: rows(self.conv_out.forward(side_by_side), b),
            features,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_cover_every_bin_once() {
        // 0.1, 0.25, 0.5, 0.75 and 1 of 257.
        let expected = [(0, 25), (25, 64), (64, 128), (128, 192), (192, 257)];
        assert_eq!(bounds(&[0.1, 0.25, 0.5, 0.75, 1.0], 257), expected);
    }
}
