//! The codec's heavy operations.
//!
//! [`portable`] has them in Burn's tensor API: they run and differentiate on every backend. On the CPU (feature
//! `flex`), in float32, there are faster ones: [`mod@snake`] and the convolutions of [`trained`], with gradients of their
//! own, and those of [`flex`] outside autodiff. The portable form is what they are tested against.

#[cfg(feature = "flex")]
mod conv;
#[cfg(feature = "flex")]
mod correlation;
#[cfg(feature = "flex")]
mod flex;
mod portable;
#[cfg(feature = "flex")]
mod product;
#[cfg(feature = "flex")]
mod sine;
#[cfg(feature = "flex")]
mod snake;
#[cfg(all(test, feature = "flex"))]
mod testing;
#[cfg(feature = "flex")]
mod trained;
#[cfg(feature = "flex")]
mod window;

use burn::{
    nn::conv::{Conv1d, ConvTranspose1d},
    tensor::Tensor,
};

/// Added to `alpha` in front of the division, as the reference does.
const SNAKE_EPSILON: f32 = 1e-9;

/// [`Snake`](crate::snake::Snake).
///
/// # Shapes
///
/// - x: `[B, C, L]`, alpha: `[1, C, 1]`
/// - output: `[B, C, L]`
pub(crate) fn snake(x: Tensor<3>, alpha: Tensor<3>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(y) = snake::snake(&x, &alpha) {
        return y;
    }
    portable::snake(x, alpha)
}

/// A convolution.
///
/// # Shapes
///
/// - x: `[B, C, L]`
/// - output: `[B, C', L']`
pub(crate) fn conv1d(x: Tensor<3>, conv: &Conv1d) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::conv1d(&x, conv).or_else(|| trained::conv1d(&x, conv)) {
        return y;
    }
    portable::conv1d(x, conv)
}

/// A transposed convolution.
///
/// # Shapes
///
/// - x: `[B, C, L]`
/// - output: `[B, C', L']`
pub(crate) fn conv_transpose1d(x: Tensor<3>, conv: &ConvTranspose1d) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if let Some(y) =
        flex::conv_transpose1d(&x, conv).or_else(|| trained::conv_transpose1d(&x, conv))
    {
        return y;
    }
    portable::conv_transpose1d(x, conv)
}
