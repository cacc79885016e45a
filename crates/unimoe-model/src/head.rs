//! The codec head: logits of all channels at once.
//!
//! Axes: `B` rows, `S` positions, `D` model width, `K` codec channels, `V` codec vocabulary.

use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};

/// Configuration to create a [`CodecHead`].
#[derive(Config, Debug)]
pub struct CodecHeadConfig {
    /// Model width `D`.
    pub d_model: usize,
    /// Codec channels `K`.
    pub n_channels: usize,
    /// Codec vocabulary `V`.
    pub n_codes: usize,
}

/// Projects hidden states to one distribution over codes for each channel.
#[derive(Module, Debug)]
pub struct CodecHead {
    /// Projection `[D, K * V]`, without bias.
    pub projection: Linear,
    n_channels: usize,
}

impl CodecHeadConfig {
    /// Initializes a [`CodecHead`].
    pub fn init(&self, device: &Device) -> CodecHead {
        CodecHead {
            projection: LinearConfig::new(self.d_model, self.n_channels * self.n_codes)
                .with_bias(false)
                .init(device),
            n_channels: self.n_channels,
        }
    }
}

impl CodecHead {
    /// Logits of every channel.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, S, D]`
    /// - output: `[B, S, K, V]`
    pub fn forward(&self, hidden: Tensor<3>) -> Tensor<4> {
        let [batch, length, _] = hidden.dims();
        let logits = fused_ops::project(&self.projection, hidden);
        let n_codes = logits.dims()[2] / self.n_channels;
        logits.reshape([batch, length, self.n_channels, n_codes])
    }
}
