//! The softmax of causal attention.
//!
//! `P = softmax(scores + mask)` over the keys: those at or before a query's own position that are not padding.
//!
//! Axes: `B` rows, `Q` query heads, `N` key-value heads, `G = Q / N` query heads that share one, `n` queries, `T` keys.

use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData, activation::softmax};

/// What a blocked score becomes: far below any real score, and finite, so that a row without any
/// visible key (padding) averages values instead of becoming NaN.
const BLOCKED: f32 = -1e30;

/// Which keys a query may see: those at or before its own position that are not padding.
#[derive(Debug, Clone)]
pub struct CausalMask {
    padding: Option<Padding>,
    /// Number of cached positions before the first query.
    start: usize,
}

#[derive(Debug, Clone)]
struct Padding {
    /// `true` where the key is padding, `[B, 1, 1, T]`.
    keys: Tensor<4, Bool>,
    #[cfg(feature = "flex")]
    host: flex::HostPadding,
}

impl CausalMask {
    /// A mask over the keys of `real` (`true` where a key is not padding, `[B, T]` in row-major
    /// order) for queries that follow `start` cached positions.
    pub fn new(real: &[bool], batch: usize, start: usize, device: &Device) -> Self {
        let keys = real.len().checked_div(batch).unwrap_or(0);
        let padding = real.contains(&false).then(|| {
            let padded: Vec<bool> = real.iter().map(|real| !real).collect();
            Padding {
                keys: Tensor::from_data(TensorData::new(padded, [batch, 1, 1, keys]), device),
                #[cfg(feature = "flex")]
                host: flex::HostPadding::new(real, keys),
            }
        });
        Self { padding, start }
    }

    /// What to add to the scores of the queries; `None` where all is visible.
    fn bias(&self, queries: &Range<usize>, keys: usize, device: &Device) -> Option<Tensor<4>> {
        let fill = |mask: Tensor<4, Bool>| {
            Tensor::<4>::zeros(mask.dims(), (device, DType::F32)).mask_fill(mask, BLOCKED)
        };
        let (n, position) = (queries.len(), (self.start + queries.start) as i64);
        let causal = (position + 1 < keys as i64).then(|| {
            let key = Tensor::<1, Int>::arange(0..keys as i64, device).unsqueeze::<2>();
            let query = Tensor::<1, Int>::arange(position..position + n as i64, device);
            let query = query.unsqueeze_dim::<2>(1).expand([n, keys]);
            fill(
                key.expand([n, keys])
                    .greater(query)
                    .reshape([1, 1, n, keys]),
            )
        });
        let padding = self
            .padding
            .as_ref()
            .map(|padding| fill(padding.keys.clone()));
        match (causal, padding) {
            (Some(causal), Some(padding)) => Some(causal + padding),
            (causal, padding) => causal.or(padding),
        }
    }
}

/// The attention weights of some of the queries that `mask` is for.
///
/// A query without any visible key spreads its weight over all keys that only one rule blocks.
///
/// # Shapes
///
/// - scores: `[B, N, G * n, T]` in f32, the queries of each head behind those of the head before
/// - queries: `n` of them, counted from the first that isn't cached
/// - output: `[B, N, G * n, T]`
pub fn causal_softmax(scores: Tensor<4>, mask: &CausalMask, queries: Range<usize>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some((operation, operand)) = flex::causal_softmax(&scores, mask, &queries) {
        // The scores' only owner may write the weights where they stand.
        drop(scores);
        return crate::graph::apply(operation, [operand]);
    }
    portable(scores, mask, &queries)
}

fn portable(scores: Tensor<4>, mask: &CausalMask, queries: &Range<usize>) -> Tensor<4> {
    let [batch, kv_heads, rows, keys] = scores.dims();
    let scores = match mask.bias(queries, keys, &scores.device()) {
        Some(bias) => {
            let by_query = [batch, kv_heads * rows / queries.len(), queries.len(), keys];
            (scores.reshape(by_query) + bias).reshape([batch, kv_heads, rows, keys])
        }
        None => scores,
    };
    softmax(scores, 3)
}

#[cfg(feature = "flex")]
mod flex {
    use std::{ops::Range, sync::Arc};

    use burn::tensor::Tensor;
    use burn_flex::FlexTensor;

    use super::CausalMask;
    use crate::{
        arithmetic::{dot, exp, largest, map_sum},
        graph::{Fused, Operand, own, values},
        rows::each_row,
    };

    pub(super) fn causal_softmax(
        scores: &Tensor<4>,
        mask: &CausalMask,
        queries: &Range<usize>,
    ) -> Option<(CausalSoftmax, Operand)> {
        let [batch, kv_heads, rows, keys] = scores.dims();
        let padding = mask.padding.as_ref().map(|padding| padding.host.clone());
        let padded = padding.as_ref().map(|padding| padding.bias.len());
        let fits = padded.is_none_or(|padded| padded == batch * keys)
            && !queries.is_empty()
            && rows.is_multiple_of(queries.len())
            && batch * kv_heads * rows * keys > 0;
        let operand = Operand::of(scores).filter(|_| fits)?;
        let operation = CausalSoftmax {
            keys,
            rows: kv_heads * rows,
            queries: queries.len(),
            visible_to_first: mask.start + queries.start + 1,
            padding,
        };
        Some((operation, operand))
    }

    /// Which keys are padding, on the host.
    #[derive(Debug, Clone)]
    pub(super) struct HostPadding {
        /// What to add to the scores, `[B, T]`.
        bias: Arc<[f32]>,
        /// The first key of each row that is not padding; `T` where there is none.
        first: Arc<[usize]>,
    }

    impl HostPadding {
        pub(super) fn new(real: &[bool], keys: usize) -> Self {
            let bias = |real: &bool| if *real { 0.0 } else { super::BLOCKED };
            let first = |row: &[bool]| row.iter().position(|real| *real).unwrap_or(keys);
            Self {
                bias: real.iter().map(bias).collect(),
                first: real.chunks(keys.max(1)).map(first).collect(),
            }
        }
    }

    #[derive(Debug, Clone)]
    pub(super) struct CausalSoftmax {
        keys: usize,
        /// Rows of scores for each row of the batch.
        rows: usize,
        queries: usize,
        visible_to_first: usize,
        padding: Option<HostPadding>,
    }

    impl CausalSoftmax {
        /// Number of keys at or before the position of a row's query.
        fn until(&self, row: usize) -> usize {
            (self.visible_to_first + row % self.queries).min(self.keys)
        }

        fn sees_nothing(&self, row: usize) -> bool {
            let padding = self.padding.as_ref();
            padding.is_some_and(|padding| padding.first[row / self.rows] >= self.until(row))
        }

        /// Number of keys from the first whose weights may differ from zero.
        fn reach(&self, row: usize) -> usize {
            if self.sees_nothing(row) {
                self.keys
            } else {
                self.until(row)
            }
        }
    }

    impl Fused<1> for CausalSoftmax {
        type Saved = FlexTensor;

        fn forward(&self, [scores]: [FlexTensor; 1]) -> (FlexTensor, FlexTensor) {
            let mut weights = own(scores);
            each_row(weights.storage_mut(), self.keys, self.keys, |row, x| {
                let bias = self
                    .padding
                    .as_ref()
                    .map(|padding| &padding.bias[row / self.rows * self.keys..][..self.keys]);
                let until = self.until(row);
                match bias {
                    Some(bias) if self.sees_nothing(row) => spread(x, until, bias),
                    bias => softmax_row(x, until, bias),
                }
            });
            (weights.clone(), weights)
        }

        /// `dS = P (dP - sum(P dP))`
        fn backward(&self, weights: FlexTensor, gradient: FlexTensor) -> [FlexTensor; 1] {
            let weights = values(&weights);
            let mut out = own(gradient);
            each_row(out.storage_mut(), self.keys, self.keys, |row, out| {
                let (out, zeros) = out.split_at_mut(self.reach(row));
                let weights = &weights[row * self.keys..][..out.len()];
                let mean = dot(weights, out);
                for (out, weight) in out.iter_mut().zip(weights) {
                    *out = weight * (*out - mean);
                }
                zeros.fill(0.0);
            });
            [out]
        }
    }

    /// The softmax of the first `until` scores; zero for the others.
    #[inline(always)]
    fn softmax_row(x: &mut [f32], until: usize, bias: Option<&[f32]>) {
        let (x, later) = x.split_at_mut(until);
        if let Some(bias) = bias {
            for (x, bias) in x.iter_mut().zip(bias) {
                *x += bias;
            }
        }
        let largest = largest(x);
        let factor = 1.0 / map_sum(x, |x| exp(x - largest));
        for x in x {
            *x *= factor;
        }
        later.fill(0.0);
    }

    /// The weights of a query that sees nothing: equal over the keys that only one rule blocks, or over all where two
    /// block every key.
    fn spread(x: &mut [f32], until: usize, bias: &[f32]) {
        let blocks = |key: usize| usize::from(key >= until) + usize::from(bias[key] != 0.0);
        let fewest = (0..x.len()).map(blocks).min().unwrap_or(0);
        let count = (0..x.len()).filter(|&key| blocks(key) == fewest).count();
        for (key, x) in x.iter_mut().enumerate() {
            *x = if blocks(key) == fewest {
                1.0 / count as f32
            } else {
                0.0
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_same_with_gradients, devices, random};

    /// Both with and without padding, in the middle and at the front, up to rows that see nothing at all.
    #[test]
    fn weights_and_their_gradients_equal_the_portable_ones() {
        let [batch, heads, group, keys] = [3, 2, 2, 37];
        let mut padded = vec![true; batch * keys];
        padded[..5].fill(false);
        padded[keys + 7] = false;
        padded[2 * keys..].fill(false);
        for device in devices() {
            for real in [vec![true; batch * keys], padded.clone()] {
                for (start, queries) in [(0, 0..37), (0, 4..9), (30, 0..7), (36, 0..1)] {
                    let mask = CausalMask::new(&real, batch, start, &device);
                    let scores = random([batch, heads, group * queries.len(), keys], 1) * 5.0;
                    assert_same_with_gradients(
                        [scores],
                        &device,
                        |[scores]| causal_softmax(scores, &mask, queries.clone()),
                        |[scores]| portable(scores, &mask, &queries),
                    );
                }
            }
        }
    }

    #[test]
    fn scores_that_somebody_else_holds_stay_as_they_are() {
        let mask = CausalMask::new(&[true; 4], 1, 0, &Device::flex());
        let scores = random([1, 1, 4, 4], 3);
        let before = scores.clone().into_data();
        let weights = causal_softmax(scores.clone(), &mask, 0..4);
        scores.into_data().assert_eq(&before, true);
        assert_eq!(
            weights
                .sum_dim(3)
                .into_data()
                .try_into_vec::<f32>()
                .expect("f32")
                .len(),
            4
        );
    }
}
