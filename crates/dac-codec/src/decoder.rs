//! From the quantised latent to samples.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3.
//! Axes: `B` batch, `L` samples, `T` frames, `C` channels, `D` latent width.

use burn::{
    module::Module,
    nn::conv::{Conv1d, ConvTranspose1d},
    tensor::{Device, Tensor},
};

use crate::{
    config::DacConfig,
    conv, kernel,
    residual_unit::{DILATIONS, KERNEL, ResidualUnit},
    snake::Snake,
};

/// One stage up: a transposed convolution that halves the channels, then three residual units.
#[derive(Module, Debug)]
pub struct DecoderBlock {
    /// Activation in front of the transposed convolution.
    pub snake: Snake,
    /// Transposed convolution, `[C, C / 2, 2 stride]`.
    pub conv: ConvTranspose1d,
    /// Residual units with dilations 1, 3 and 9.
    pub units: Vec<ResidualUnit>,
}

/// The convolutional decoder; it ends in tanh, so samples lie in `(-1, 1)`.
#[derive(Module, Debug)]
pub struct Decoder {
    /// First convolution, `[C, D, 7]`.
    pub conv_in: Conv1d,
    /// The stages, one per stride.
    pub blocks: Vec<DecoderBlock>,
    /// Activation in front of the last convolution.
    pub snake: Snake,
    /// Last convolution, `[1, C, 7]`.
    pub conv_out: Conv1d,
}

impl DecoderBlock {
    fn new(channels: usize, stride: usize, device: &Device) -> Self {
        Self {
            snake: Snake::new(channels, device),
            conv: conv::up(channels, channels / 2, stride, device),
            units: DILATIONS
                .map(|dilation| ResidualUnit::new(channels / 2, dilation, device))
                .into(),
        }
    }

    /// Applies the stage.
    ///
    /// # Shapes
    ///
    /// - x: `[B, C, L]`
    /// - output: `[B, C / 2, L * stride]`, one sample less where the stride is odd
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = kernel::conv_transpose1d(self.snake.forward(x), &self.conv);
        self.units.iter().fold(x, |x, unit| unit.forward(x))
    }
}

impl Decoder {
    /// A randomly initialised decoder.
    pub fn new(config: &DacConfig, device: &Device) -> Self {
        let mut channels = config.decoder_dim;
        let conv_in = conv::Sizes::new(config.latent_dim, channels, KERNEL).init(device);
        let blocks = config
            .decoder_rates
            .iter()
            .map(|&stride| {
                let block = DecoderBlock::new(channels, stride, device);
                channels /= 2;
                block
            })
            .collect();
        Self {
            conv_in,
            blocks,
            snake: Snake::new(channels, device),
            conv_out: conv::Sizes::new(channels, 1, KERNEL).init(device),
        }
    }

    /// Decodes a latent.
    ///
    /// # Shapes
    ///
    /// - z: `[B, D, T]`
    /// - output: `[B, 1, L]`, `L` as [`DacConfig::decoded_length`] says
    pub fn forward(&self, z: Tensor<3>) -> Tensor<3> {
        self.forward_inspect(z, |_| ())
    }

    /// [`Decoder::forward`] that shows `inspect` each stage's output: the first convolution, each
    /// block, the activation, the last convolution, the tanh.
    pub fn forward_inspect(&self, z: Tensor<3>, mut inspect: impl FnMut(&Tensor<3>)) -> Tensor<3> {
        let mut x = kernel::conv1d(z, &self.conv_in);
        inspect(&x);
        for block in &self.blocks {
            x = block.forward(x);
            inspect(&x);
        }
        x = self.snake.forward(x);
        inspect(&x);
        x = kernel::conv1d(x, &self.conv_out);
        inspect(&x);
        x = x.tanh();
        inspect(&x);
        x
    }
}
