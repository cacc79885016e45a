//! What the blocks do between their matrix products.
//!
//! [`portable`] has it in Burn's tensor API: it runs and differentiates on every backend. On the CPU (feature `flex`),
//! in float32 and outside autodiff, [`flex`] is faster; the portable form is what it is tested against.
//!
//! Axes: `N` patches, `D` width, `H` heads, `h` head width, `F` inner width.

#[cfg(feature = "flex")]
mod exp;
#[cfg(feature = "flex")]
mod flex;
mod portable;

use burn::{nn::RmsNorm, tensor::Tensor};

use crate::rope::RopeTable;

/// Queries, keys and values by heads, `[N, H, h]` each: rotated, and the queries divided by the root of `h`.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    pub(crate) q: Tensor<3>,
    pub(crate) k: Tensor<3>,
    pub(crate) v: Tensor<3>,
}

/// `Y = X / sqrt(mean(X^2) + eps) * gamma`.
///
/// # Shapes
///
/// - x: `[N, D]`
/// - output: `[N, D]`
pub(crate) fn rms_norm(x: Tensor<2>, norm: &RmsNorm) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::rms_norm(&x, norm) {
        return y;
    }
    portable::rms_norm(x, norm)
}

/// Cuts the projection of queries, keys and values into heads and rotates them.
///
/// # Shapes
///
/// - qkv: `[N, 3 * D]`
/// - rope: over `[N, h / 2]`
/// - output: [`Heads`] of `[N, H, h]`
pub(crate) fn split_heads(qkv: Tensor<2>, rope: &RopeTable, n_heads: usize) -> Heads {
    #[cfg(feature = "flex")]
    if let Some(heads) = flex::split_heads(&qkv, rope, n_heads) {
        return heads;
    }
    portable::split_heads(qkv, rope, n_heads)
}

/// `silu(gate) * up`.
///
/// # Shapes
///
/// - gate, up: `[N, F]`
/// - output: `[N, F]`
pub(crate) fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::swiglu(&gate, &up) {
        return y;
    }
    portable::swiglu(gate, up)
}
