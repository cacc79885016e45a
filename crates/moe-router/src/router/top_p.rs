//! Top-P routing: a token takes experts, likeliest first, until their probability reaches `p`.
//!
//! UniMoE-Audio (arXiv:2510.13344), eq. 1-3.

use super::{Choice, PoolLogits, Router, ranked};
use crate::RoutingNoise;

/// Takes the smallest set of experts whose probability reaches `p`.
///
/// `P = softmax(x W_g)`, and a token takes the likeliest experts until the sum of `P` is `p` or more;
/// the weights are `P` renormalised over the taken set. At `p = 1` that is the whole pool, never
/// more; it is never fewer than one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopP {
    /// Probability to reach, in `(0, 1]`.
    pub p: f64,
}

impl Router for TopP {
    fn choose(&self, logits: &PoolLogits<'_>, _noise: Option<&RoutingNoise>) -> Choice {
        Choice::by_token(logits, |row| {
            let mut order = ranked(row);
            order.truncate(self.count(row, &order));
            order
        })
    }
}

impl TopP {
    /// Size of the smallest set, in f64 so that the sum's rounding decides nothing.
    fn count(&self, row: &[f32], order: &[usize]) -> usize {
        if self.p >= 1.0 {
            return row.len();
        }
        let largest = f64::from(row[order[0]]);
        let masses = || order.iter().map(|&e| (f64::from(row[e]) - largest).exp());
        let target = self.p * masses().sum::<f64>();
        let mut mass = 0.0;
        for (taken, next) in masses().enumerate() {
            mass += next;
            if mass >= target {
                return taken + 1;
            }
        }
        row.len()
    }
}

/// The released code's count: one more than the ranked f32 masses still below `p`.
///
/// There a sum that stays below `p = 1` by rounding makes the count exceed the pool, and the token
/// then gets no routed expert at all; here the count ends at the pool.
pub(super) fn released_count(row: &[f32], p: f64) -> usize {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut probs: Vec<f32> = row.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = probs.iter().sum();
    for prob in &mut probs {
        *prob /= sum;
    }
    probs.sort_by(|a, b| b.total_cmp(a));
    let mut mass = 0.0;
    let below = probs
        .iter()
        .filter(|prob| {
            mass += **prob;
            mass < p as f32
        })
        .count();
    (below + 1).min(row.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::LN_2;

    /// Logits whose softmax is 1/2, 1/4, 1/8, 1/8.
    const HALVES: [f32; 4] = [3.0 * LN_2, 2.0 * LN_2, LN_2, LN_2];

    fn count(p: f64) -> usize {
        let choice = TopP { p }.choose(&PoolLogits::new(&HALVES, 4, 4), None);
        choice.visits.count()
    }

    #[test]
    fn takes_the_smallest_set_that_reaches_p() {
        assert_eq!(
            [0.01, 0.49, 0.6, 0.8, 0.99, 1.0].map(count),
            [1, 1, 2, 3, 4, 4]
        );
    }

    #[test]
    fn the_released_count_equals_the_smallest_set_away_from_its_edges() {
        for p in [0.01, 0.49, 0.6, 0.8, 0.99] {
            assert_eq!(released_count(&HALVES, p), count(p), "p = {p}");
        }
    }

    #[test]
    fn logits_without_a_number_still_take_an_expert() {
        let row = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let taken = TopP { p: 0.7 }.choose(&PoolLogits::new(&row, 3, 3), None);
        assert!((1..=3).contains(&taken.visits.count()));
        assert!((1..=3).contains(&released_count(&row, 0.7)));
    }
}
