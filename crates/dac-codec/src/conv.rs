//! The codec's convolutions as layers of Burn, with their padding rules in one place.

use burn::{
    module::Param,
    nn::{
        Initializer, PaddingConfig1d,
        conv::{Conv1d, Conv1dConfig, ConvTranspose1d, ConvTranspose1dConfig},
    },
    tensor::{Device, Tensor},
};

/// Standard deviation of fresh convolution weights.
pub(crate) const INIT_STD: f64 = 0.02;

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    channels_in: usize,
    channels_out: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: usize,
}

impl Sizes {
    /// A convolution that keeps the length; `kernel` is odd.
    pub(crate) fn new(channels_in: usize, channels_out: usize, kernel: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            kernel,
            stride: 1,
            dilation: 1,
            padding: kernel / 2,
        }
    }

    /// The same with holes of `dilation - 1` between the taps.
    pub(crate) fn dilated(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self.padding = self.kernel / 2 * dilation;
        self
    }

    /// The way down: kernel `2 stride`, padding `ceil(stride / 2)`.
    pub(crate) fn down(channels_in: usize, channels_out: usize, stride: usize) -> Self {
        Self {
            channels_in,
            channels_out,
            kernel: 2 * stride,
            stride,
            dilation: 1,
            padding: stride.div_ceil(2),
        }
    }

    /// Draws the weights; the bias is zero.
    pub(crate) fn init(self, device: &Device) -> Conv1d {
        let mut conv = Conv1dConfig::new(self.channels_in, self.channels_out, self.kernel)
            .with_stride(self.stride)
            .with_dilation(self.dilation)
            .with_padding(PaddingConfig1d::Explicit(self.padding, self.padding))
            .with_bias(false)
            .with_initializer(Initializer::Normal {
                mean: 0.0,
                std: INIT_STD,
            })
            .init(device);
        conv.bias = Some(zeros(self.channels_out, device));
        conv
    }
}

/// The way up: kernel `2 stride`, padding `ceil(stride / 2)`, no output padding.
pub(crate) fn up(
    channels_in: usize,
    channels_out: usize,
    stride: usize,
    device: &Device,
) -> ConvTranspose1d {
    let mut conv = ConvTranspose1dConfig::new([channels_in, channels_out], 2 * stride)
        .with_stride(stride)
        .with_padding(stride.div_ceil(2))
        .with_bias(false)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: INIT_STD,
        })
        .init(device);
    conv.bias = Some(zeros(channels_out, device));
    conv
}

fn zeros(channels: usize, device: &Device) -> Param<Tensor<1>> {
    Initializer::Zeros.init([channels], device)
}
