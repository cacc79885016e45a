//! The periodic activation of the codec.
//!
//! Axes: `B` batch, `C` channels, `L` samples.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor},
};

use crate::kernel;

/// `y = x + sin(alpha x)^2 / (alpha + 1e-9)`, one learned `alpha` per channel.
///
/// Ziyin et al., "Neural networks fail to learn periodic functions and how to fix it"
/// (arXiv:2006.08195), as the Descript Audio Codec (arXiv:2306.06546) uses it.
#[derive(Module, Debug)]
pub struct Snake {
    /// Frequency of each channel, `[1, C, 1]`.
    pub alpha: Param<Tensor<3>>,
}

impl Snake {
    /// A Snake of `channels` channels with `alpha = 1`.
    pub fn new(channels: usize, device: &Device) -> Self {
        Self {
            alpha: burn::nn::Initializer::Ones.init([1, channels, 1], device),
        }
    }

    /// Applies the activation.
    ///
    /// # Shapes
    ///
    /// - x: `[B, C, L]`
    /// - output: `[B, C, L]`
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        kernel::snake(x, self.alpha.val())
    }
}
