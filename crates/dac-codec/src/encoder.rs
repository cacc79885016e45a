//! From samples to the continuous latent.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3.
//! Axes: `B` batch, `L` samples, `T` frames, `C` channels, `D` latent width.

use burn::{
    module::Module,
    nn::conv::Conv1d,
    tensor::{Device, Tensor},
};

use crate::{
    config::DacConfig,
    conv, kernel,
    residual_unit::{DILATIONS, KERNEL, ResidualUnit},
    snake::Snake,
};

/// One stage down: three residual units, then a strided convolution that doubles the channels.
#[derive(Module, Debug)]
pub struct EncoderBlock {
    /// Residual units with dilations 1, 3 and 9.
    pub units: Vec<ResidualUnit>,
    /// Activation in front of the strided convolution.
    pub snake: Snake,
    /// Strided convolution, `[2C, C, 2 stride]`.
    pub conv: Conv1d,
}

/// The convolutional encoder. Does not quantise.
#[derive(Module, Debug)]
pub struct Encoder {
    /// First convolution, `[C, 1, 7]`.
    pub conv_in: Conv1d,
    /// The stages, one per stride.
    pub blocks: Vec<EncoderBlock>,
    /// Activation in front of the last convolution.
    pub snake: Snake,
    /// Last convolution, `[D, C, 3]`.
    pub conv_out: Conv1d,
}

impl EncoderBlock {
    fn new(channels: usize, stride: usize, device: &Device) -> Self {
        Self {
            units: DILATIONS
                .map(|dilation| ResidualUnit::new(channels, dilation, device))
                .into(),
            snake: Snake::new(channels, device),
            conv: conv::Sizes::down(channels, 2 * channels, stride).init(device),
        }
    }

    /// Applies the stage.
    ///
    /// # Shapes
    ///
    /// - x: `[B, C, L]`
    /// - output: `[B, 2C, L / stride]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.units.iter().fold(x, |x, unit| unit.forward(x));
        kernel::conv1d(self.snake.forward(x), &self.conv)
    }
}

impl Encoder {
    /// A randomly initialised encoder.
    pub fn new(config: &DacConfig, device: &Device) -> Self {
        let mut channels = config.encoder_dim;
        let conv_in = conv::Sizes::new(1, channels, KERNEL).init(device);
        let blocks = config
            .encoder_rates
            .iter()
            .map(|&stride| {
                let block = EncoderBlock::new(channels, stride, device);
                channels *= 2;
                block
            })
            .collect();
        Self {
            conv_in,
            blocks,
            snake: Snake::new(channels, device),
            conv_out: conv::Sizes::new(channels, config.latent_dim, 3).init(device),
        }
    }

    /// Encodes audio whose length is a multiple of the hop.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, 1, L]`
    /// - output: `[B, D, T]`
    pub fn forward(&self, audio: Tensor<3>) -> Tensor<3> {
        self.forward_inspect(audio, |_| ())
    }

    /// [`Encoder::forward`] that shows `inspect` each stage's output: the first convolution, each
    /// block, the activation, the last convolution.
    pub fn forward_inspect(
        &self,
        audio: Tensor<3>,
        mut inspect: impl FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        let mut x = kernel::conv1d(audio, &self.conv_in);
        inspect(&x);
        for block in &self.blocks {
            x = block.forward(x);
            inspect(&x);
        }
        x = self.snake.forward(x);
        inspect(&x);
        x = kernel::conv1d(x, &self.conv_out);
        inspect(&x);
        x
    }
}
