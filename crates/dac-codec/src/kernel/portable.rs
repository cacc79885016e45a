//! The operations in Burn's tensor API, for every backend and for gradients.

use burn::{
    nn::conv::{Conv1d, ConvTranspose1d},
    tensor::Tensor,
};

use super::SNAKE_EPSILON;

pub(super) fn snake(x: Tensor<3>, alpha: Tensor<3>) -> Tensor<3> {
    let wave = (x.clone() * alpha.clone()).sin();
    x + wave.square() / (alpha + SNAKE_EPSILON)
}

pub(super) fn conv1d(x: Tensor<3>, conv: &Conv1d) -> Tensor<3> {
    conv.forward(x)
}

pub(super) fn conv_transpose1d(x: Tensor<3>, conv: &ConvTranspose1d) -> Tensor<3> {
    conv.forward(x)
}
