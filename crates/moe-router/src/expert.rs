//! Experts: position-wise blocks that keep a token's width.
//!
//! Axes: `D` model width, `F` inner width.

use burn::{
    config::Config,
    module::{Initializer, Module},
    nn::{Linear, LinearConfig},
    tensor::{Device, Tensor},
};
use fused_ops::{project, swiglu};

/// A block that the router may send tokens to.
pub trait Expert: Module {
    /// Transforms the tokens that were routed here.
    ///
    /// # Shapes
    ///
    /// - x: `[n, D]`, `n` at least 1
    /// - output: `[n, D]`
    fn forward(&self, x: Tensor<2>) -> Tensor<2>;
}

/// Configuration to create a [`SwiGlu`].
#[derive(Config, Debug)]
pub struct SwiGluConfig {
    /// Model width `D`.
    pub d_model: usize,
    /// Inner width `F`.
    pub d_hidden: usize,
    /// Initializer of the three weights. Default: that of [`LinearConfig`]
    #[config(default = "Initializer::KaimingUniform{gain:1.0/f64::sqrt(3.0), fan_out_only:false}")]
    pub initializer: Initializer,
}

/// Gated feed-forward block without biases.
///
/// `Y = (silu(X W_gate) * X W_up) W_down` (Shazeer, arXiv:2002.05202; UniMoE-Audio's experts)
///
/// The weights stay row-major, `[in, out]`. Should be created with [`SwiGluConfig`].
#[derive(Module, Debug)]
pub struct SwiGlu {
    /// `W_gate`, `[D, F]`.
    pub gate_proj: Linear,
    /// `W_up`, `[D, F]`.
    pub up_proj: Linear,
    /// `W_down`, `[F, D]`.
    pub down_proj: Linear,
}

impl SwiGluConfig {
    /// Initializes a [`SwiGlu`].
    pub fn init(&self, device: &Device) -> SwiGlu {
        let linear = |d_input, d_output| {
            LinearConfig::new(d_input, d_output)
                .with_bias(false)
                .with_initializer(self.initializer.clone())
                .init(device)
        };
        SwiGlu {
            gate_proj: linear(self.d_model, self.d_hidden),
            up_proj: linear(self.d_model, self.d_hidden),
            down_proj: linear(self.d_hidden, self.d_model),
        }
    }
}

impl SwiGlu {
    /// Applies the block.
    ///
    /// # Shapes
    ///
    /// - x: `[..., D]`
    /// - output: `[..., D]`
    pub fn forward<const N: usize>(&self, x: Tensor<N>) -> Tensor<N> {
        let gate = project(&self.gate_proj, x.clone());
        let up = project(&self.up_proj, x);
        project(&self.down_proj, swiglu(gate, up))
    }
}

impl Expert for SwiGlu {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.forward(x)
    }
}
