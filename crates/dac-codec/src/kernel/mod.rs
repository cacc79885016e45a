//! The codec's heavy operations.
//!
//! Written with Burn's tensor API, so that they run and differentiate on every backend.

use burn::{
    nn::conv::{Conv1d, ConvTranspose1d},
    tensor::Tensor,
};

/// Added to `alpha` in front of the division, as the reference does.
pub(crate) const SNAKE_EPSILON: f32 = 1e-9;

/// [`Snake`](crate::snake::Snake): x `[B, C, L]`, alpha `[1, C, 1]`.
pub(crate) fn snake(x: Tensor<3>, alpha: Tensor<3>) -> Tensor<3> {
    let wave = (x.clone() * alpha.clone()).sin();
    x + wave.square() / (alpha + SNAKE_EPSILON)
}

/// A convolution `[B, C, L] -> [B, C', L']`.
pub(crate) fn conv1d(x: Tensor<3>, conv: &Conv1d) -> Tensor<3> {
    conv.forward(x)
}

/// A transposed convolution `[B, C, L] -> [B, C', L']`.
pub(crate) fn conv_transpose1d(x: Tensor<3>, conv: &ConvTranspose1d) -> Tensor<3> {
    conv.forward(x)
}
