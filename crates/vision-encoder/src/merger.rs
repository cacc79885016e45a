//! Squares of patches to tokens of the language model's width.
//!
//! `y = gelu([RMSNorm(x_1), .., RMSNorm(x_m)] W_1) W_2` over the `m` patches of a square.
//!
//! Axes: `N` patches, `D` width, `m` patches of a token, `O` width of the tokens.

use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig},
    tensor::{Device, Tensor, activation::gelu},
};
use fused_ops::project;

use crate::kernel::rms_norm;

/// Configuration to create a [`PatchMerger`].
#[derive(Config, Debug)]
pub struct PatchMergerConfig {
    /// Width `D` of a patch.
    pub d_model: usize,
    /// Patches `m` of a token.
    pub merged: usize,
    /// Width `O` of a token.
    pub d_out: usize,
    /// Added to the mean square by the norm. Default: 1e-6
    #[config(default = 1e-6)]
    pub norm_epsilon: f64,
}

/// Merges neighbouring patches.
#[derive(Module, Debug)]
pub struct PatchMerger {
    /// Norm of each patch.
    pub norm: RmsNorm,
    /// First layer, `[m * D, m * D]`, with bias.
    pub hidden: Linear,
    /// Second layer, `[m * D, O]`, with bias.
    pub output: Linear,
}

impl PatchMergerConfig {
    /// Initializes a [`PatchMerger`].
    pub fn init(&self, device: &Device) -> PatchMerger {
        let wide = self.merged * self.d_model;
        PatchMerger {
            norm: RmsNormConfig::new(self.d_model)
                .with_epsilon(self.norm_epsilon)
                .init(device),
            hidden: LinearConfig::new(wide, wide).init(device),
            output: LinearConfig::new(wide, self.d_out).init(device),
        }
    }
}

impl PatchMerger {
    /// Merges patches of which those of a token follow each other.
    ///
    /// # Shapes
    ///
    /// - x: `[N, D]`
    /// - output: `[N / m, O]`
    ///
    /// # Panics
    ///
    /// Panics if `m` doesn't divide `N`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [patches, d_model] = x.dims();
        let wide = self.hidden.weight.dims()[0];
        let squares = rms_norm(x, &self.norm).reshape([patches * d_model / wide, wide]);
        project(&self.output, gelu(project(&self.hidden, squares)))
    }
}
