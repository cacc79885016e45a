//! Top-K routing: every token takes the `k` likeliest experts.

use super::{Choice, PoolLogits, Router, ranked};
use crate::RoutingNoise;

/// Takes the `k` experts with the largest logits, the lower index first among equals.
///
/// Weights are the softmax over the taken experts. A pool smaller than `k` is taken whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK {
    /// Experts per token.
    pub k: usize,
}

impl Router for TopK {
    fn choose(&self, logits: &PoolLogits<'_>, _noise: Option<&RoutingNoise>) -> Choice {
        let k = self.k.clamp(1, logits.experts());
        Choice::by_token(logits, |row| {
            let mut order = ranked(row);
            order.truncate(k);
            order
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_index() {
        let values = [1.0, 2.0, 2.0, 2.0];
        let choice = TopK { k: 2 }.choose(&PoolLogits::new(&values, 4, 4), None);
        assert_eq!(choice.visits.row(0), &[false, true, true, false]);
    }

    #[test]
    fn never_more_than_the_pool() {
        let values = [0.0, 1.0];
        let choice = TopK { k: 9 }.choose(&PoolLogits::new(&values, 2, 2), None);
        assert_eq!(choice.visits.count(), 2);
    }
}
