//! The dilated residual unit that encoder and decoder share.
//!
//! Axes: `B` batch, `C` channels, `L` samples.

use burn::{
    module::Module,
    nn::conv::Conv1d,
    tensor::{Device, Tensor},
};

use crate::{conv, kernel, snake::Snake};

/// Kernel of the dilated convolution.
pub(crate) const KERNEL: usize = 7;
/// Dilations of the three units of a stage.
pub(crate) const DILATIONS: [usize; 3] = [1, 3, 9];

/// `y = x + W2 snake(W1 * snake(x))`: a dilated convolution of kernel 7, then a pointwise one.
#[derive(Module, Debug)]
pub struct ResidualUnit {
    /// Activation in front of the dilated convolution.
    pub snake1: Snake,
    /// Dilated convolution, `[C, C, 7]`.
    pub conv1: Conv1d,
    /// Activation in front of the pointwise convolution.
    pub snake2: Snake,
    /// Pointwise convolution, `[C, C, 1]`.
    pub conv2: Conv1d,
}

impl ResidualUnit {
    /// A unit of `channels` channels, randomly initialised.
    pub fn new(channels: usize, dilation: usize, device: &Device) -> Self {
        let sizes = conv::Sizes::new(channels, channels, KERNEL).dilated(dilation);
        Self {
            snake1: Snake::new(channels, device),
            conv1: sizes.init(device),
            snake2: Snake::new(channels, device),
            conv2: conv::Sizes::new(channels, channels, 1).init(device),
        }
    }

    /// Applies the unit.
    ///
    /// # Shapes
    ///
    /// - x: `[B, C, L]`
    /// - output: `[B, C, L]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = kernel::conv1d(self.snake1.forward(x.clone()), &self.conv1);
        x + kernel::conv1d(self.snake2.forward(y), &self.conv2)
    }
}
