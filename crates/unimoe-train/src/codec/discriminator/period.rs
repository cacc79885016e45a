//! One discriminator of the multi-period kind: it sees every p-th sample side by side.
//!
//! HiFi-GAN (arXiv:2010.05646), section 2.3. For period 3 the samples `0 1 2 3 4 5 6` become the columns
//!
//! ```text
//! 0 1 2
//! 3 4 5
//! 6 5 4    (mirrored at the end)
//! ```
//!
//! and kernels run down the columns.
//! Axes: `B` batch, `L` samples, `P` period, `C` channels.

use burn::{
    module::Module,
    nn::{
        PaddingConfig1d,
        conv::{Conv1d, Conv1dConfig},
    },
    tensor::{Device, Tensor, ops::PadMode},
};

use super::{Judgement, activate, rows};

/// Kernel of the layers.
const KERNEL: usize = 5;
/// Stride of all layers but the last of them.
const STRIDE: usize = 3;
/// Kernel of the scores.
const LAST_KERNEL: usize = 3;

/// Convolutions down the columns of a folded signal.
#[derive(Module, Debug)]
pub struct PeriodDiscriminator {
    /// The layers, `[C, C before, 5]`.
    pub convs: Vec<Conv1d>,
    /// The scores, `[1, C, 3]`.
    pub conv_out: Conv1d,
    period: usize,
}

impl PeriodDiscriminator {
    /// A discriminator with layers of the given channels, randomly initialised.
    pub(super) fn new(period: usize, channels: &[usize], device: &Device) -> Self {
        let conv = |before, after, kernel: usize, stride| {
            let padding = kernel / 2;
            Conv1dConfig::new(before, after, kernel)
                .with_stride(stride)
                .with_padding(PaddingConfig1d::Explicit(padding, padding))
                .init(device)
        };
        let mut before = 1;
        let layers = channels.iter().enumerate().map(|(index, &after)| {
            let stride = if index + 1 < channels.len() {
                STRIDE
            } else {
                1
            };
            let layer = conv(before, after, KERNEL, stride);
            before = after;
            layer
        });
        Self {
            convs: layers.collect(),
            conv_out: conv(before, 1, LAST_KERNEL, 1),
            period,
        }
    }

    /// Judges a batch.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`
    /// - output: [`Judgement`]
    pub fn forward(&self, audio: Tensor<2>) -> Judgement {
        let [b, _] = audio.dims();
        // Kernels as wide as one column make the columns rows of a batch.
        let mut x = self.columns(audio);
        let mut features = Vec::new();
        for conv in &self.convs {
            x = activate(conv.forward(x));
            features.push(rows(x.clone(), b));
        }
        Judgement {
            score: rows(self.conv_out.forward(x), b),
            features,
        }
    }

    /// `[B, L] -> [B * P, 1, ceil(L / P)]`.
    fn columns(&self, audio: Tensor<2>) -> Tensor<3> {
        let [b, length] = audio.dims();
        let height = length.div_ceil(self.period);
        let missing = height * self.period - length;
        let audio = if missing == 0 {
            audio
        } else if missing < length {
            audio.pad([(0, 0), (0, missing)], PadMode::Reflect)
        } else {
            audio.pad([(0, 0), (0, missing)], PadMode::Constant(0.0))
        };
        audio
            .reshape([b, height, self.period])
            .swap_dims(1, 2)
            .reshape([b * self.period, 1, height])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_a_period_apart_stand_in_one_column() {
        let device = Device::flex();
        let audio = Tensor::<1>::from_data([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &device);
        let discriminator = PeriodDiscriminator::new(3, &[2], &device);
        let columns = discriminator.columns(audio.clone().unsqueeze());
        let expected = [0.0, 3.0, 6.0, 1.0, 4.0, 5.0, 2.0, 5.0, 4.0];
        assert_eq!(columns.dims(), [3, 1, 3]);
        assert_eq!(
            columns.into_data().iter::<f32>().collect::<Vec<_>>(),
            expected
        );
        // Too short to be mirrored.
        let one = discriminator.columns(audio.narrow(0, 1, 1).unsqueeze());
        assert_eq!(
            one.into_data().iter::<f32>().collect::<Vec<_>>(),
            [1.0, 0.0, 0.0]
        );
    }
}
