//! Grouped-query attention with rotary positions, causal, with or without a cache.
//!
//! `O = softmax(Q K^T / sqrt(h) + mask) V W_o`; each group of query heads shares one key-value head.
//!
//! Axes: `B` rows, `S` new positions, `T` all positions (cached and new), `D` model width, `Q` query
//! heads, `N` key-value heads, `h` head width.

use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{DType, Device, Tensor},
};
use fused_ops::{CausalMask, causal_softmax, project};

use crate::{cache::LayerCache, mrope::RopeTable};

/// Largest number of attention scores computed at once, so that memory grows with `T`, not `S * T`.
const MAX_SCORES: usize = 1 << 24;

/// Configuration to create a [`GroupedQueryAttention`].
#[derive(Config, Debug)]
pub struct GroupedQueryAttentionConfig {
    /// Model width `D`.
    pub d_model: usize,
    /// Query heads `Q`.
    pub n_heads: usize,
    /// Key-value heads `N`; divides `Q`.
    pub n_kv_heads: usize,
    /// Head width `h`.
    pub d_head: usize,
}

/// Causal self-attention in which groups of query heads share keys and values.
#[derive(Module, Debug)]
pub struct GroupedQueryAttention {
    /// Query projection, `[D, Q * h]`, with bias.
    pub q_proj: Linear,
    /// Key projection, `[D, N * h]`, with bias.
    pub k_proj: Linear,
    /// Value projection, `[D, N * h]`, with bias.
    pub v_proj: Linear,
    /// Output projection, `[Q * h, D]`, without bias.
    pub o_proj: Linear,
    n_heads: usize,
    n_kv_heads: usize,
    d_head: usize,
}

impl GroupedQueryAttentionConfig {
    /// Initializes a [`GroupedQueryAttention`].
    ///
    /// # Panics
    ///
    /// Panics if the key-value heads don't divide the query heads.
    pub fn init(&self, device: &Device) -> GroupedQueryAttention {
        let (n_heads, n_kv_heads, d_head) = (self.n_heads, self.n_kv_heads, self.d_head);
        assert!(
            n_kv_heads > 0 && n_heads.is_multiple_of(n_kv_heads),
            "{n_kv_heads} key-value heads don't divide {n_heads} query heads"
        );
        let linear =
            |d_in, d_out, bias| LinearConfig::new(d_in, d_out).with_bias(bias).init(device);
        GroupedQueryAttention {
            q_proj: linear(self.d_model, n_heads * d_head, true),
            k_proj: linear(self.d_model, n_kv_heads * d_head, true),
            v_proj: linear(self.d_model, n_kv_heads * d_head, true),
            o_proj: linear(n_heads * d_head, self.d_model, false),
            n_heads,
            n_kv_heads,
            d_head,
        }
    }
}

impl GroupedQueryAttention {
    /// Attends from `x` to itself and to what `cache` holds; appends the new keys and values to it.
    ///
    /// `cache` is a layer's cache with the number of positions in it.
    ///
    /// # Shapes
    ///
    /// - x: `[B, S, D]`
    /// - rope: over `[B, 1, S, h]`
    /// - mask: over `[B, T]` keys
    /// - output: `[B, S, D]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        rope: &RopeTable,
        mask: &CausalMask,
        cache: Option<(&mut LayerCache, usize)>,
    ) -> Tensor<3> {
        self.run(x, rope, mask, cache, false).0
    }

    /// [`forward`](Self::forward), and the weights in f32 with which each head looked at all positions; those of a query add up to 1.
    ///
    /// # Shapes
    ///
    /// - output: `[B, S, D]` and `[B, Q, S, T]`
    pub fn observe(
        &self,
        x: Tensor<3>,
        rope: &RopeTable,
        mask: &CausalMask,
        cache: Option<(&mut LayerCache, usize)>,
    ) -> (Tensor<3>, Tensor<4>) {
        let (output, weights) = self.run(x, rope, mask, cache, true);
        (output, Tensor::cat(weights, 2))
    }

    /// The output, and where it `is_observed` the weights in parts of some queries each, `[B, Q, n, T]`.
    fn run(
        &self,
        x: Tensor<3>,
        rope: &RopeTable,
        mask: &CausalMask,
        cache: Option<(&mut LayerCache, usize)>,
        is_observed: bool,
    ) -> (Tensor<3>, Vec<Tensor<4>>) {
        let [batch, length, _] = x.dims();
        let scale = (self.d_head as f64).powf(-0.5);
        let q = rope.rotate_heads(project(&self.q_proj, x.clone()), self.n_heads, scale);
        let k = rope.rotate_heads(project(&self.k_proj, x.clone()), self.n_kv_heads, 1.0);
        let v = project(&self.v_proj, x)
            .reshape([batch, length, self.n_kv_heads, self.d_head])
            .swap_dims(1, 2);
        let (k, v) = match cache {
            Some((layer, start)) => layer.append(start, k, v),
            None => (k, v),
        };

        let keys = k.dims()[2];
        let step = (MAX_SCORES / (batch * self.n_heads * keys)).clamp(1, length);
        let mut parts = Vec::with_capacity(length.div_ceil(step));
        let mut observed = Vec::new();
        for first in (0..length).step_by(step) {
            let n = step.min(length - first);
            let part = if n == length {
                q.clone()
            } else {
                q.clone().narrow(2, first, n)
            };
            let (context, weights) = self.attend(part, &k, &v, mask, first);
            parts.push(context);
            if is_observed {
                observed.push(weights.reshape([batch, self.n_heads, n, keys]));
            }
        }
        let context = match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => {
                parts.extend(last);
                Tensor::cat(parts, 2)
            }
        };
        let merged = context
            .swap_dims(1, 2)
            .reshape([batch, length, self.n_heads * self.d_head]);
        (project(&self.o_proj, merged), observed)
    }

    /// Softmax attention of `q` `[B, Q, n, h]`, from query `first` on and already scaled, over `k`, `v` `[B, N, T, h]` to
    /// `[B, Q, n, h]`, and its weights, `[B, N, Q / N * n, T]`.
    fn attend(
        &self,
        q: Tensor<4>,
        k: &Tensor<4>,
        v: &Tensor<4>,
        mask: &CausalMask,
        first: usize,
    ) -> (Tensor<4>, Tensor<4>) {
        let [batch, n_heads, n, d_head] = q.dims();
        let dtype = q.dtype();
        let rows = n_heads / self.n_kv_heads * n;

        // The query heads of a group become rows of one product with their shared keys.
        let q = q.reshape([batch, self.n_kv_heads, rows, d_head]);
        let scores = q.matmul(k.clone().swap_dims(2, 3)).cast(DType::F32);
        let weights = causal_softmax(scores, mask, first..first + n);
        let context = weights.clone().cast(dtype).matmul(v.clone());
        (context.reshape([batch, n_heads, n, d_head]), weights)
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Distribution, Tolerance},
    };

    use super::*;
    use crate::mrope::{MultimodalRopeConfig, Positions};

    #[test]
    fn observed_weights_are_those_of_the_output_and_add_up_to_one() {
        let device = Device::flex();
        // Heads that copy: values and output are the input, so the output is the weights' mean of the inputs.
        let mut attention = GroupedQueryAttentionConfig::new(4, 2, 1, 2).init(&device);
        let swap = [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]];
        attention.v_proj.weight = Param::from_data(swap, &device);
        attention.v_proj.bias = None;
        let same = Tensor::<2>::eye(4, &device);
        attention.o_proj.weight = Param::from_tensor(same);
        let rope = MultimodalRopeConfig::new(2, [1, 0, 0]).init();
        let real = [true, true, true, false];
        let table = rope.table(&Positions::text(&real, 1), &device);
        let mask = CausalMask::new(&real, 1, 0, &device);
        let x = Tensor::<3>::random([1, 4, 4], Distribution::Default, &device);
        let (output, weights) = attention.observe(x.clone(), &table, &mask, None);
        let alone = attention.forward(x.clone(), &table, &mask, None);
        assert_eq!(output.to_data(), alone.to_data());
        assert_eq!(weights.dims(), [1, 2, 4, 4]);
        let sums = weights.clone().sum_dim(3).into_data();
        sums.assert_approx_eq::<f32>(
            &Tensor::<4>::ones([1, 2, 4, 1], &device).into_data(),
            Tolerance::default(),
        );
        let mean = weights.matmul(x.narrow(2, 0, 2).unsqueeze_dim::<4>(1));
        let expected = mean.swap_dims(1, 2).reshape([1, 4, 4]);
        output
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::default());
    }

    #[test]
    fn a_token_does_not_see_later_tokens_or_padding() {
        let device = Device::flex();
        let attention = GroupedQueryAttentionConfig::new(8, 4, 2, 4).init(&device);
        let rope = MultimodalRopeConfig::new(4, [2, 0, 0]).init();
        let real = [false, true, true, true];
        let table = rope.table(&Positions::text(&real, 1), &device);
        let mask = CausalMask::new(&real, 1, 0, &device);
        let x = Tensor::<3>::random([1, 4, 8], Distribution::Default, &device);
        let changed = x
            .clone()
            .slice_assign([0..1, 0..1, 0..8], Tensor::ones([1, 1, 8], &device))
            .slice_assign([0..1, 3..4, 0..8], Tensor::ones([1, 1, 8], &device));

        let at = |x: Tensor<3>| attention.forward(x, &table, &mask, None).narrow(1, 1, 2);
        at(x)
            .into_data()
            .assert_approx_eq::<f32>(&at(changed).into_data(), Tolerance::default());
    }
}
