//! The gate: tokens to router logits.

use burn::{
    module::Module,
    nn::Linear,
    tensor::{DType, Tensor},
};
use fused_ops::project;

/// Scores every column of the router for every token.
///
/// The layer hands over f32 tokens and expects f32 logits, whatever its own dtype. Columns are
/// routed experts, null experts and, with [`Weighting::Released`](crate::Weighting::Released), the
/// shared experts.
pub trait Gate: Module {
    /// Computes the router logits.
    ///
    /// # Shapes
    ///
    /// - x: `[T, D]`, f32
    /// - output: `[T, columns]`, f32
    fn logits(&self, x: Tensor<2>) -> Tensor<2>;
}

/// `L = x W_g`, computed in f32 even where the weight is stored in half precision.
impl Gate for Linear {
    fn logits(&self, x: Tensor<2>) -> Tensor<2> {
        project(self, x)
    }
}

/// Casts only where there is something to cast, so that autodiff records nothing.
pub(crate) fn in_f32<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F32 => x,
        _ => x.cast(DType::F32),
    }
}
