//! Patches of pixels to vectors: a convolution whose kernel is as large as its stride, so a matrix product.
//!
//! `y = x W`. Axes: `N` patches, `P` values of a patch (channels, frames, rows, columns), `D` width.

use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use fused_ops::project;

/// Configuration to create a [`PatchEmbed`].
#[derive(Config, Debug)]
pub struct PatchEmbedConfig {
    /// Values `P` of a patch.
    pub patch_values: usize,
    /// Width `D`.
    pub d_model: usize,
}

/// Embeds patches.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// The projection, `[P, D]`, without bias.
    pub projection: Linear,
}

impl PatchEmbedConfig {
    /// Initializes a [`PatchEmbed`].
    pub fn init(&self, device: &Device) -> PatchEmbed {
        PatchEmbed {
            projection: LinearConfig::new(self.patch_values, self.d_model)
                .with_bias(false)
                .init(device),
        }
    }
}

impl PatchEmbed {
    /// Embeds each patch.
    ///
    /// # Shapes
    ///
    /// - x: `[N, P]`
    /// - output: `[N, D]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        project(&self.projection, x)
    }
}
