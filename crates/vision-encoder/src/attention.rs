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

use crate::{rope::RopeTable, window::Group};

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
    /// - rope: over `[N, 1, h / 2]`
    /// - output: `[N, D]`
    pub(crate) fn forward(&self, x: Tensor<2>, rope: &RopeTable, groups: &[Group]) -> Tensor<2> {
        let [patches, d_model] = x.dims();
        let d_head = d_model / self.n_heads;
        let qkv = self.qkv.forward(x);
        let heads = |part: usize| {
            let part = qkv.clone().narrow(1, part * d_model, d_model);
            part.reshape([patches, self.n_heads, d_head])
        };
        let (q, k, v) = (rope.rotate(heads(0)), rope.rotate(heads(1)), heads(2));
        let context = attend(q, k, v, groups, MAX_SCORES);
        self.output.forward(context.reshape([patches, d_model]))
    }
}

/// Attention of `[N, H, h]` within each segment, at most `max_scores` scores at once but for a single query's.
fn attend(
    q: Tensor<3>,
    k: Tensor<3>,
    v: Tensor<3>,
    groups: &[Group],
    max_scores: usize,
) -> Tensor<3> {
    let [_, n_heads, d_head] = q.dims();
    let q = q * (d_head as f64).powf(-0.5);
    let mut parts = Vec::new();
    let mut first = 0;
    for group in groups {
        let length = group.length;
        let of_one_query = n_heads * length;
        let segments = (max_scores / (of_one_query * length)).clamp(1, group.count);
        let queries = (max_scores / of_one_query).clamp(1, length);
        for segment in (0..group.count).step_by(segments) {
            let count = segments.min(group.count - segment);
            // [G * L, H, h] to [G, H, L, h].
            let batch = |x: &Tensor<3>| {
                let rows = x
                    .clone()
                    .narrow(0, first + segment * length, count * length);
                rows.reshape([count, length, n_heads, d_head])
                    .swap_dims(1, 2)
            };
            let (q, k, v) = (batch(&q), batch(&k).swap_dims(2, 3), batch(&v));
            for query in (0..length).step_by(queries) {
                let n = queries.min(length - query);
                let scores = q.clone().narrow(2, query, n).matmul(k.clone());
                let dtype = scores.dtype();
                let weights = softmax(scores.cast(DType::F32), 3).cast(dtype);
                let context = weights.matmul(v.clone()).swap_dims(1, 2);
                parts.push(context.reshape([count * n, n_heads, d_head]));
            }
        }
        first += group.count * length;
    }
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            Tensor::cat(parts, 0)
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
        let (q, k, v) = (random(), random(), random());
        let groups = [(3, 5), (1, 4), (4, 1)].map(|(count, length)| Group { count, length });
        let at_most = |scores| attend(q.clone(), k.clone(), v.clone(), &groups, scores).into_data();
        let whole = at_most(usize::MAX);
        for scores in [1, 25, 60, 120] {
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
            let y = attend(x.clone(), x.clone(), x, &groups, usize::MAX);
            y.narrow(0, 3, 3).into_data()
        };
        assert_eq!(second(x), second(changed));
    }
}
