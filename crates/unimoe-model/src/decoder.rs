//! The decoder: a stack of attention and Dynamic-Capacity MoE layers (UniMoE-Audio, section 3.2).
//!
//! `a = x + Attention(RMSNorm(x))`, `y = a + MoE(RMSNorm(a))` in each layer, and a final RMSNorm.
//!
//! Axes: `B` rows, `S` positions, `D` model width, `h` head width, `E` experts.

use burn::{
    config::Config,
    module::Module,
    nn::{RmsNorm, RmsNormConfig},
    tensor::{Device, Tensor},
};
use fused_ops::{CausalMask, rms_norm};
use moe_router::{DynamicCapacityMoe, DynamicCapacityMoeConfig, Routing, RoutingContext};

use crate::{
    attention::{GroupedQueryAttention, GroupedQueryAttentionConfig},
    cache::{KvCache, LayerCache},
    mrope::RopeTable,
};

/// Configuration to create a [`Decoder`].
#[derive(Config, Debug)]
pub struct DecoderConfig {
    /// Number of layers.
    pub n_layers: usize,
    /// The attention of every layer; its `d_model` is the model width `D`.
    pub attention: GroupedQueryAttentionConfig,
    /// The mixture of experts of every layer.
    pub moe: DynamicCapacityMoeConfig,
    /// Added to the mean square by the norms. Default: 1e-6
    #[config(default = 1e-6)]
    pub norm_epsilon: f64,
}

/// The stack of decoder layers with its final norm.
#[derive(Module, Debug)]
pub struct Decoder {
    /// The layers, first to last.
    pub layers: Vec<DecoderLayer>,
    /// The norm after the last layer.
    pub norm: RmsNorm,
}

/// One decoder layer.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Norm before the attention.
    pub attention_norm: RmsNorm,
    /// Self-attention.
    pub attention: GroupedQueryAttention,
    /// Norm before the experts.
    pub moe_norm: RmsNorm,
    /// Dynamic-Capacity MoE.
    pub moe: DynamicCapacityMoe,
}

/// What every layer of one pass shares.
#[derive(Debug)]
pub struct DecoderContext {
    /// Rotary table over `[B, 1, S, h]`.
    pub rope: RopeTable,
    /// Which keys the queries may see.
    pub mask: CausalMask,
    /// Padding and training noise for the routers.
    pub routing: RoutingContext,
    /// The layer whose attention weights are wanted.
    pub observed_layer: Option<usize>,
}

/// What a [`Decoder`] returns.
#[derive(Debug, Clone)]
pub struct DecoderOutput {
    /// Normed output of the last layer, `[B, S, D]`.
    pub hidden: Tensor<3>,
    /// The routing decision of each layer over `[B * S, E]`.
    pub routings: Vec<Routing>,
    /// Attention weights of the layer that was to be observed, where there is such a layer: `[B, Q, S, T]` in f32.
    pub attention: Option<Tensor<4>>,
}

/// What a [`DecoderLayer`] returns.
#[derive(Debug, Clone)]
pub struct LayerOutput {
    /// `[B, S, D]`
    pub hidden: Tensor<3>,
    /// The routing decision over `[B * S, E]`.
    pub routing: Routing,
    /// Attention weights, where they were to be observed: `[B, Q, S, T]` in f32.
    pub attention: Option<Tensor<4>>,
}

impl DecoderConfig {
    /// Initializes a [`Decoder`].
    pub fn init(&self, device: &Device) -> Decoder {
        let norm = || {
            RmsNormConfig::new(self.attention.d_model)
                .with_epsilon(self.norm_epsilon)
                .init(device)
        };
        let layer = || DecoderLayer {
            attention_norm: norm(),
            attention: self.attention.init(device),
            moe_norm: norm(),
            moe: self.moe.init(device),
        };
        Decoder {
            layers: (0..self.n_layers).map(|_| layer()).collect(),
            norm: norm(),
        }
    }
}

impl Decoder {
    /// Runs all layers over `x` and, with a cache, over what it holds.
    ///
    /// # Shapes
    ///
    /// - x: `[B, S, D]`
    /// - output: [`DecoderOutput`] over `[B, S, D]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        context: &DecoderContext,
        mut cache: Option<&mut KvCache>,
    ) -> DecoderOutput {
        let length = x.dims()[1];
        let mut hidden = x;
        let mut routings = Vec::with_capacity(self.layers.len());
        let mut attention = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let cache = cache.as_mut().map(|cache| cache.layer(index));
            let output = layer.forward(hidden, context, index, cache);
            hidden = output.hidden;
            routings.push(output.routing);
            attention = attention.or(output.attention);
        }
        if let Some(cache) = cache {
            cache.advance(length);
        }
        DecoderOutput {
            hidden: rms_norm(hidden, &self.norm),
            routings,
            attention,
        }
    }
}

impl DecoderLayer {
    /// Runs the layer, the one of place `index`.
    ///
    /// # Shapes
    ///
    /// - x: `[B, S, D]`
    /// - output: [`LayerOutput`] over `[B, S, D]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        context: &DecoderContext,
        index: usize,
        cache: Option<(&mut LayerCache, usize)>,
    ) -> LayerOutput {
        let normed = rms_norm(x.clone(), &self.attention_norm);
        let (rope, mask) = (&context.rope, &context.mask);
        let (attended, attention) = match context.observed_layer == Some(index) {
            true => {
                let (attended, weights) = self.attention.observe(normed, rope, mask, cache);
                (attended, Some(weights))
            }
            false => (self.attention.forward(normed, rope, mask, cache), None),
        };
        let x = x + attended;
        let routing = context.routing.for_layer(index);
        let moe = (self.moe).forward(rms_norm(x.clone(), &self.moe_norm), routing);
        LayerOutput {
            hidden: x + moe.hidden,
            routing: moe.routing,
            attention,
        }
    }
}
