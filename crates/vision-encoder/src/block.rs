//! One block: attention and a gated feed-forward layer, each on the normed input and added to it.
//!
//! `a = x + Attention(RMSNorm(x))`, `y = a + (silu(b W_g) * b W_u) W_d` with `b = RMSNorm(a)`.
//!
//! Axes: `N` patches, `D` width, `F` inner width.

use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig, RmsNorm, RmsNormConfig},
    tensor::{Device, Int, Tensor},
};
use fused_ops::project;

use crate::{
    attention::{SegmentAttention, SegmentAttentionConfig},
    kernel::{rms_norm, swiglu},
    rope::RopeTable,
    window::Group,
};

/// Configuration to create a [`VisionBlock`].
#[derive(Config, Debug)]
pub struct VisionBlockConfig {
    /// Width `D`.
    pub d_model: usize,
    /// Attention heads.
    pub n_heads: usize,
    /// Inner width `F`.
    pub d_ff: usize,
    /// Added to the mean square by the norms. Default: 1e-6
    #[config(default = 1e-6)]
    pub norm_epsilon: f64,
}

/// One block of a [`VisionEncoder`](crate::VisionEncoder).
#[derive(Module, Debug)]
pub struct VisionBlock {
    /// Norm before the attention.
    pub attention_norm: RmsNorm,
    /// Self-attention.
    pub attention: SegmentAttention,
    /// Norm before the feed-forward layer.
    pub mlp_norm: RmsNorm,
    /// Feed-forward layer.
    pub mlp: GatedMlp,
}

/// A feed-forward layer with a gate (SwiGLU) and biases.
#[derive(Module, Debug)]
pub struct GatedMlp {
    /// What opens and closes, `[D, F]`.
    pub gate_proj: Linear,
    /// What goes through, `[D, F]`.
    pub up_proj: Linear,
    /// Back to the width, `[F, D]`.
    pub down_proj: Linear,
}

/// What the blocks of one kind share in a call: who attends to whom.
#[derive(Debug)]
pub(crate) struct AttentionContext {
    /// Rotary table in the order in which this kind attends.
    pub(crate) rope: RopeTable,
    /// The segments in that order.
    pub(crate) groups: Vec<Group>,
    /// That order as rows of `x`, and the way back; `None` where it is the order of `x`.
    pub(crate) order: Option<[Tensor<1, Int>; 2]>,
}

impl VisionBlockConfig {
    /// Initializes a [`VisionBlock`].
    ///
    /// # Panics
    ///
    /// Panics if the heads don't divide the width.
    pub fn init(&self, device: &Device) -> VisionBlock {
        let norm = || {
            RmsNormConfig::new(self.d_model)
                .with_epsilon(self.norm_epsilon)
                .init(device)
        };
        VisionBlock {
            attention_norm: norm(),
            attention: SegmentAttentionConfig::new(self.d_model, self.n_heads).init(device),
            mlp_norm: norm(),
            mlp: GatedMlp {
                gate_proj: LinearConfig::new(self.d_model, self.d_ff).init(device),
                up_proj: LinearConfig::new(self.d_model, self.d_ff).init(device),
                down_proj: LinearConfig::new(self.d_ff, self.d_model).init(device),
            },
        }
    }
}

impl VisionBlock {
    /// Runs the block.
    ///
    /// # Shapes
    ///
    /// - x: `[N, D]`
    /// - output: `[N, D]`
    pub(crate) fn forward(&self, x: Tensor<2>, context: &AttentionContext) -> Tensor<2> {
        let mut normed = rms_norm(x.clone(), &self.attention_norm);
        if let Some([there, _]) = &context.order {
            normed = normed.select(0, there.clone());
        }
        let mut attended = self
            .attention
            .forward(normed, &context.rope, &context.groups);
        if let Some([_, back]) = &context.order {
            attended = attended.select(0, back.clone());
        }
        let x = x + attended;
        let fed = self.mlp.forward(rms_norm(x.clone(), &self.mlp_norm));
        x + fed
    }
}

impl GatedMlp {
    /// Runs the layer.
    ///
    /// # Shapes
    ///
    /// - x: `[N, D]`
    /// - output: `[N, D]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gate = project(&self.gate_proj, x.clone());
        let up = project(&self.up_proj, x);
        project(&self.down_proj, swiglu(gate, up))
    }
}
