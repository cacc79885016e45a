//! Capacity: how many tokens an expert takes at most, and which it drops.
//!
//! Axes: `T` tokens, `E` experts of the pool (routed, then null), `C` gate columns.

use burn::config::Config;

use crate::{error::MoeConfigError, mask::ExpertMask};

/// Upper bound on the tokens of an expert.
///
/// `capacity = max(ceil(T / E * factor), minimum)` over all `T` tokens of the pass, padding included.
#[derive(Config, Debug, PartialEq)]
pub struct Capacity {
    /// Multiple of the even share `T / E`.
    pub factor: f64,
    /// Capacity never falls below this.
    pub minimum: usize,
    /// Which tokens an overfull expert drops.
    pub policy: DropPolicy,
}

/// Which tokens an overfull expert drops.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum DropPolicy {
    /// Keeps the tokens with the largest logits; shared experts are untouched.
    Probs,
    /// Keeps the first tokens. With [`Weighting::Released`](crate::Weighting::Released) this also
    /// binds the shared experts, as in the release: tokens past the capacity lose them. A token that
    /// is left with nothing gets zeros here, NaN in the release.
    Position,
}

impl Capacity {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`MoeConfigError::OutOfRange`] if the factor is negative or not finite.
    pub fn validate(&self) -> Result<(), MoeConfigError> {
        if self.factor >= 0.0 && self.factor.is_finite() {
            return Ok(());
        }
        Err(MoeConfigError::OutOfRange {
            field: "capacity factor",
            expected: "[0, inf)",
            found: self.factor,
        })
    }

    /// Tokens that each of `experts` experts takes out of `tokens`.
    pub fn tokens_per_expert(&self, tokens: usize, experts: usize) -> usize {
        let share = tokens as f64 / experts as f64 * self.factor;
        (share.ceil() as usize).max(self.minimum)
    }

    /// Takes the visits beyond the capacity out of `visits`, `[T, C]`, given the logits, `[T, C]`.
    pub(crate) fn apply(&self, visits: &mut ExpertMask, logits: &[f32], pool: usize) {
        let columns = visits.experts();
        let capacity = self.tokens_per_expert(visits.tokens(), pool);
        let bound = match self.policy {
            DropPolicy::Probs => pool,
            DropPolicy::Position => columns,
        };
        for column in 0..bound {
            let mut visitors: Vec<usize> = (0..visits.tokens())
                .filter(|&token| visits.visits(token, column))
                .collect();
            if self.policy == DropPolicy::Probs {
                let logit = |token: usize| logits[token * columns + column] + 0.0;
                visitors.sort_by(|&a, &b| logit(b).total_cmp(&logit(a)));
            }
            for &token in visitors.iter().skip(capacity) {
                visits.set(token, column, false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(policy: DropPolicy) -> Vec<bool> {
        // Three tokens that all visit the one expert of the pool and one shared expert.
        let mut visits = ExpertMask::none(3, 0).with_full_columns(2);
        let logits = [0.0, 9.0, 2.0, 9.0, 1.0, 9.0];
        Capacity::new(0.6, 1, policy).apply(&mut visits, &logits, 1);
        visits.as_slice().to_vec()
    }

    /// Capacity `ceil(3 / 1 * 0.6) = 2`.
    #[test]
    fn probs_keeps_the_likeliest_and_leaves_shared_experts() {
        assert_eq!(
            kept(DropPolicy::Probs),
            [false, true, true, true, true, true]
        );
    }

    #[test]
    fn position_keeps_the_first_in_every_column() {
        let expected = [true, true, true, true, false, false];
        assert_eq!(kept(DropPolicy::Position), expected);
    }

    #[test]
    fn capacity_has_a_floor_and_no_overflow() {
        let capacity = |factor, minimum| Capacity::new(factor, minimum, DropPolicy::Probs);
        assert_eq!(capacity(0.1, 3).tokens_per_expert(20, 5), 3);
        assert_eq!(capacity(1.2, 2).tokens_per_expert(20, 5), 5);
        assert_eq!(capacity(1e308, 2).tokens_per_expert(20, 5), usize::MAX);
        assert!(capacity(f64::NAN, 0).validate().is_err());
    }
}
