//! Self-attention of patches within their segments: windows, frames, or everything.
//!
//! `O = softmax(Q K^T / sqrt(h)) V W_o` in each segment. Segments of one length are one batch, without padding and
//! without a mask, so that the cost grows with the sum of the segments' squares.
//!
//! Axes: `N` patches, `D` width, `H` heads, `h` head width, `G` segments of `L` patches each.

use burn::{
    config::Config,
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{DType, Device, Tensor, activation::softmax},
};
use fused_ops::project;

use crate::{
    kernel::{Heads, split_heads},
    rope::RopeTable,
    window::Group,
};

/// Largest number of attention scores computed at once, so that memory grows with the patches, not with the squares.
const MAX_SCORES: usize = 1 << 22;

/// Configuration to create a [`SegmentAttention`].
#[derive(Config, Debug)]
pub struct SegmentAttentionConfig {
    /// Width `D`.
    pub d_model: usize,
    /// Heads `H`; divides `D`.
    pub n_heads: usize,
}

/// Multi-head self-attention within segments.
#[derive(Module, Debug)]
pub struct SegmentAttention {
    /// Queries, keys and values in one projection, `[D, 3 * D]`, with bias.
    pub qkv: Linear,
    /// Output projection, `[D, D]`, with bias.
    pub output: Linear,
    n_heads: usize,
}

impl SegmentAttentionConfig {
    /// Initializes a [`SegmentAttention`].
    ///
    /// # Panics
    ///
    /// Panics if the heads don't divide the width.
    pub fn init(&self, device: &Device) -> SegmentAttention {
        let (d_model, n_heads) = (self.d_model, self.n_heads);
        assert!(
            n_heads > 0 && d_model.is_multiple_of(n_heads),
            "{n_heads} heads don't divide a width of {d_model}"
        );
        SegmentAttention {
            qkv: LinearConfig::new(d_model, 3 * d_model).init(device),
            output: LinearConfig::new(d_model, d_model).init(device),
            n_heads,
        }
    }
}

impl SegmentAttention {
    /// Attends within the segments that `groups` cut `x` into, first to last.
    ///
    /// # Shapes
    ///
    /// - x: `[N, D]`
    /// - rope: over `[N, h / 2]`
    /// - output: `[N, D]`
    pub(crate) fn forward(&self, x: Tensor<2>, rope: &RopeTable, groups: &[Group]) -> Tensor<2> {
        let [patches, d_model] = x.dims();
        let heads = split_heads(project(&self.qkv, x), rope, self.n_heads);
        let context = attend(heads, groups, MAX_SCORES);
        project(&self.output, context.reshape([patches, d_model]))
    }
}

/// Attention of `[N, H, h]` within each segment, at most `max_scores` scores at once but for a single query's: of several
/// segments, of some heads of one, or of some queries of one head.
fn attend(heads: Heads, groups: &[Group], max_scores: usize) -> Tensor<3> {
    let Heads { q, k, v } = heads;
    let [_, n_heads, d_head] = q.dims();
    let mut parts = Vec::new();
    let mut first = 0;
    for &Group { count, length } in groups {
        let queries = (max_scores / length).clamp(1, length);
        let together = (max_scores / (length * length)).clamp(1, n_heads);
        let segments = (max_scores / (length * length * n_heads)).clamp(1, count);
        for segment in (0..count).step_by(segments) {
            let count = segments.min(count - segment);
            // [G * L, H, h] to [G, H, L, h].
            let batch = |x: &Tensor<3>| {
                let rows = x
                    .clone()
                    .narrow(0, first + segment * length, count * length);
                rows.reshape([count, length, n_heads, d_head])
                    .swap_dims(1, 2)
            };
            let (q, k, v) = (batch(&q), batch(&k).swap_dims(2, 3), batch(&v));
            let of_heads = |head: usize| {
                let n = together.min(n_heads - head);
                let [q, k, v] = [&q, &k, &v].map(|x| x.clone().narrow(1, head, n));
                let of_queries = |query: usize| {
                    let n = queries.min(length - query);
                    let scores = q.clone().narrow(2, query, n).matmul(k.clone());
                    let dtype = scores.dtype();
                    let weights = softmax(scores.cast(DType::F32), 3).cast(dtype);
                    weights.matmul(v.clone())
                };
                join((0..length).step_by(queries).map(of_queries).collect(), 2)
            };
            let context = join((0..n_heads).step_by(together).map(of_heads).collect(), 1);
            let context = context.swap_dims(1, 2);
            parts.push(context.reshape([count * length, n_heads, d_head]));
        }
        first += count * length;
    }
    join(parts, 0)
}

/// The parts side by side; a single one as it is.
fn join<const D: usize>(mut parts: Vec<Tensor<D>>, dim: usize) -> Tensor<D> {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            Tensor::cat(parts, dim)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Tolerance};

    use super::*;

    #[test]
    fn attention_in_blocks_equals_attention_at_once() {
        let device = Device::flex();
        let random = || Tensor::<3>::random([23, 2, 4], Distribution::Default, &device);
        let heads = Heads {
            q: random(),
            k: random(),
            v: random(),
        };
        let groups = [(3, 5), (1, 4), (4, 1)].map(|(count, length)| Group { count, length });
        let at_most = |scores| attend(heads.clone(), &groups, scores).into_data();
        let whole = at_most(usize::MAX);
        for scores in [1, 7, 25, 49, 60, 120] {
            at_most(scores).assert_approx_eq::<f32>(&whole, Tolerance::absolute(1e-6));
        }
    }

    #[test]
    fn a_segment_does_not_see_another() {
        let device = Device::flex();
        let x = Tensor::<3>::random([6, 1, 4], Distribution::Default, &device);
        let groups = [Group {
            count: 2,
            length: 3,
        }];
        let changed = x
            .clone()
            .slice_assign([0..3, 0..1, 0..4], Tensor::ones([3, 1, 4], &device));
        let second = |x: Tensor<3>| {
            let heads = Heads {
                q: x.clone(),
                k: x.clone(),
                v: x,
            };
            let y = attend(heads, &groups, usize::MAX);
            y.narrow(0, 3, 3).into_data()
        };
        assert_eq!(second(x), second(changed));
    }
}
