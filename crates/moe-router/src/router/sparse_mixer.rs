//! The release's rule for choosing and weighting: a sparse mixer in several rounds.
//!
//! UniMoE-Audio's published code; the gradient follows GRIN (arXiv:2409.12136).
//! Axes: `K` rounds, `T` tokens, `E` experts of the pool.

use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

use super::{Choice, ExpertCount, PoolLogits, Router, mask_logits, top_p::released_count};
use crate::{RoutingNoise, context::PickNoise, mask::ExpertMask};

/// Weight of a drawn expert that isn't the largest (GRIN's midpoint estimate).
const OFF_MAXIMUM: f32 = 0.3333;

/// Uniform noise above this keeps a drawn expert's full weight.
const KEEP_ABOVE: f32 = 0.75;

/// Added to sums that weights are divided by.
const SUM_EPS: f32 = 1e-6;

/// Takes experts one after another, weighting each against its near ties only.
///
/// In each round, with `m` the largest logit not yet taken, the candidates are the `i` with
/// `(m - L_i) / max(|L_i|, |m|) <= 2 * jitter_eps`. In evaluation the largest is taken (the lower
/// index first among equals); its raw weight is its softmax among the candidates, so 1 unless there
/// is a near tie. Weights are the raw weights divided by their sum: close to `1/k` each.
///
/// In training with `differentiable` and noise, the round takes the largest of the candidates' logits
/// plus Gumbel noise instead; an expert that isn't the largest weighs `0.3333` of its softmax unless
/// its uniform noise exceeds 0.75, and the gradient is that of the softmax without this factor.
///
/// Departs from the release in this: the count never exceeds the pool (see [`TopP`](super::TopP)),
/// and noise is indexed by token, not by the group of tokens of equal count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SparseMixer {
    /// How many experts a token takes.
    pub count: ExpertCount,
    /// Half the relative width of a near tie.
    pub jitter_eps: f64,
    /// Whether training draws the picks and uses the mixer's own gradient.
    pub differentiable: bool,
}

/// The rounds of all tokens, kept where at least one round has a near tie.
#[derive(Debug, Clone)]
pub(super) struct Mixing {
    rounds: usize,
    /// `true` where the expert is no candidate, `[K, T, E]`.
    dropped: Vec<bool>,
    /// 1 at the expert taken, `[K, T, E]`.
    picks: Vec<f32>,
    /// Factor on the pick's softmax minus 1, `[K, T]`; empty where all are 0.
    excess: Vec<f32>,
}

/// One round of one token.
struct Round {
    pick: usize,
    candidates: Vec<bool>,
    factor: f32,
}

impl Router for SparseMixer {
    fn choose(&self, logits: &PoolLogits<'_>, noise: Option<&RoutingNoise>) -> Choice {
        let (tokens, experts) = (logits.tokens(), logits.experts());
        let counts: Vec<usize> = (0..tokens)
            .map(|token| self.count(logits.row(token)))
            .collect();
        let rounds = counts.iter().copied().max().unwrap_or(0);
        let noise = noise
            .filter(|_| self.differentiable)
            .map(|noise| noise.picks(rounds, tokens, experts));

        let mut visits = ExpertMask::none(tokens, experts);
        let mut mixing = Mixing::new(rounds, tokens, experts);
        let mut near_tie = false;
        for (token, &count) in counts.iter().enumerate() {
            let row = logits.row(token);
            for index in 0..count {
                let draw = noise.as_deref().map(|noise| (noise, index, token));
                let round = self.round(row, visits.row(token), draw);
                near_tie |= round.candidates.iter().filter(|c| **c).count() > 1;
                visits.set(token, round.pick, true);
                mixing.record(index * tokens + token, &round);
            }
        }
        mixing.drop_unit_factors();
        Choice {
            visits,
            mixing: near_tie.then_some(mixing),
        }
    }

    fn weights(&self, logits: Tensor<2>, choice: &Choice, visits: &ExpertMask) -> Tensor<2> {
        let device = logits.device();
        let Some(mixing) = &choice.mixing else {
            return equal_weights(&choice.visits, visits, &device);
        };
        let weights = normalize(mixing.raw_weights(logits));
        if *visits == choice.visits {
            weights
        } else {
            normalize(weights * visits.to_float_tensor(&device))
        }
    }
}

impl SparseMixer {
    fn count(&self, row: &[f32]) -> usize {
        match self.count {
            ExpertCount::TopP { p } => released_count(row, p),
            ExpertCount::TopK { k } => k.clamp(1, row.len()),
        }
    }

    fn round(
        &self,
        row: &[f32],
        taken: &[bool],
        draw: Option<(&PickNoise, usize, usize)>,
    ) -> Round {
        let largest = argmax(row, |expert| !taken[expert]);
        let m = row[largest];
        let width = (2.0 * self.jitter_eps) as f32;
        let candidates: Vec<bool> = (0..row.len())
            .map(|i| {
                let distance = (m - row[i]) / row[i].abs().max(m.abs());
                // Written so that 0/0 stays a candidate, as in the release.
                let far = distance > width;
                i == largest || (!taken[i] && !far)
            })
            .collect();
        let Some((noise, index, token)) = draw else {
            return Round {
                pick: largest,
                candidates,
                factor: 1.0,
            };
        };
        let gumbel = noise.gumbel(index, token);
        let drawn: Vec<f32> = row.iter().zip(gumbel).map(|(l, g)| l + g).collect();
        let pick = argmax(&drawn, |expert| candidates[expert]);
        let full = pick == largest || noise.uniform(index, token) > KEEP_ABOVE;
        Round {
            pick,
            candidates,
            factor: if full { 1.0 } else { OFF_MAXIMUM },
        }
    }
}

impl Mixing {
    fn new(rounds: usize, tokens: usize, experts: usize) -> Self {
        Self {
            rounds,
            dropped: vec![true; rounds * tokens * experts],
            picks: vec![0.0; rounds * tokens * experts],
            excess: vec![0.0; rounds * tokens],
        }
    }

    fn record(&mut self, place: usize, round: &Round) {
        let experts = round.candidates.len();
        let start = place * experts;
        for (dropped, candidate) in self.dropped[start..].iter_mut().zip(&round.candidates) {
            *dropped = !candidate;
        }
        self.picks[start + round.pick] = 1.0;
        self.excess[place] = round.factor - 1.0;
    }

    fn drop_unit_factors(&mut self) {
        if self.excess.iter().all(|excess| *excess == 0.0) {
            self.excess.clear();
        }
    }

    /// The raw weights of all rounds, `[T, E]`.
    fn raw_weights(&self, logits: Tensor<2>) -> Tensor<2> {
        let device = logits.device();
        let [tokens, experts] = logits.dims();
        let shape = [self.rounds, tokens, experts];
        let dropped = Tensor::from_data(TensorData::new(self.dropped.clone(), shape), &device);
        let picks: Tensor<3> =
            Tensor::from_data(TensorData::new(self.picks.clone(), shape), &device);

        let logits: Tensor<3> = logits.unsqueeze::<3>().expand(shape);
        let mut taken = softmax(mask_logits(logits, dropped), 2) * picks;
        if !self.excess.is_empty() {
            let excess: Tensor<3> = Tensor::from_data(
                TensorData::new(self.excess.clone(), [self.rounds, tokens, 1]),
                &device,
            );
            // The factor changes the value, not the gradient.
            taken = taken.clone() + (taken.detach() * excess);
        }
        taken.sum_dim(0).squeeze_dim::<2>(0)
    }
}

/// The weights where every raw weight is 1: a softmax over one candidate has no gradient, so they are
/// constants, and the device computes nothing.
fn equal_weights(chosen: &ExpertMask, visits: &ExpertMask, device: &Device) -> Tensor<2> {
    let (tokens, experts) = (visits.tokens(), visits.experts());
    let mut weights = Vec::with_capacity(tokens * experts);
    for token in 0..tokens {
        let mut weight = 1.0 / (chosen.count_row(token) as f32 + SUM_EPS);
        if visits.row(token) != chosen.row(token) {
            weight /= visits.count_row(token) as f32 * weight + SUM_EPS;
        }
        let visits = visits.row(token).iter();
        weights.extend(visits.map(|&visits| if visits { weight } else { 0.0 }));
    }
    Tensor::from_data(TensorData::new(weights, [tokens, experts]), device)
}

/// `w / (sum(w) + 1e-6)`, as the release divides.
fn normalize(weights: Tensor<2>) -> Tensor<2> {
    let sum = weights.clone().sum_dim(1).add_scalar(SUM_EPS);
    weights / sum
}

/// Index of the largest value among the allowed, the lowest among equals.
fn argmax(values: &[f32], allowed: impl Fn(usize) -> bool) -> usize {
    let mut best: Option<usize> = None;
    for expert in (0..values.len()).filter(|&expert| allowed(expert)) {
        if best.is_none_or(|best| values[expert] > values[best]) {
            best = Some(expert);
        }
    }
    best.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixer(k: usize, jitter_eps: f64) -> SparseMixer {
        SparseMixer {
            count: ExpertCount::TopK { k },
            jitter_eps,
            differentiable: false,
        }
    }

    fn weights(mixer: SparseMixer, row: &[f32]) -> Vec<f32> {
        let choice = mixer.choose(&PoolLogits::new(row, row.len(), row.len()), None);
        let logits = Tensor::<1>::from_floats(row, &Device::flex()).unsqueeze::<2>();
        let visits = choice.visits.clone();
        mixer
            .weights(logits, &choice, &visits)
            .into_data()
            .try_into_vec()
            .expect("f32")
    }

    #[test]
    fn distinct_logits_share_equally() {
        let found = weights(mixer(2, 0.01), &[3.0, 1.0, 2.0]);
        for (found, expected) in found.iter().zip([0.5, 0.0, 0.5]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    /// Three equal logits, two rounds: raw weights 1/3, then 1/2.
    #[test]
    fn of_equal_logits_the_last_taken_weighs_most() {
        let found = weights(mixer(2, 0.01), &[1.0, 1.0, 1.0]);
        for (found, expected) in found.iter().zip([0.4, 0.6, 0.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn zero_logits_are_near_ties() {
        let found = weights(mixer(1, 0.0), &[0.0, 0.0]);
        // One taken expert carries all weight, whatever its raw weight of 1/2.
        assert!(
            (found[0] - 1.0).abs() < 1e-5 && found[1] == 0.0,
            "{found:?}"
        );
    }

    /// Softmax of two equal logits is 1/2; the second round has one candidate, of raw weight 1.
    #[test]
    fn a_drawn_expert_off_the_maximum_weighs_a_third_unless_its_noise_is_high() {
        let device = Device::flex();
        let mixer = SparseMixer {
            differentiable: true,
            ..mixer(2, 0.5)
        };
        let row = [1.0, 1.0];
        for (uniform, raw) in [(0.5, 0.5 * 0.3333), (0.76, 0.5)] {
            // Noise that makes the second expert win the first round.
            let gumbel = Tensor::from_data([[[0.0, 5.0]], [[0.0, 0.0]]], &device);
            let uniform = Tensor::from_data([[uniform], [0.0]], &device);
            let noise = RoutingNoise::given(gumbel, uniform);
            let choice = mixer.choose(&PoolLogits::new(&row, 2, 2), Some(&noise));
            let logits = Tensor::from_data([row], &device);
            let weights = mixer.weights(logits, &choice, &choice.visits);
            let found: Vec<f32> = weights.into_data().try_into_vec().expect("f32");
            for (found, expected) in found.iter().zip([1.0 / (1.0 + raw), raw / (1.0 + raw)]) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }
}
