//! The routing decision as a value.
//!
//! Axes: `T` tokens, `E` experts of the pool (routed, then null), `C` gate columns (the pool, then the
//! shared experts with [`Weighting::Released`](crate::Weighting::Released)).

use std::sync::Arc;

use burn::tensor::{Bool, Tensor, activation::softmax};

use crate::mask::ExpertMask;

/// What the router decided for one pass of one layer.
///
/// Only the decision itself is stored; everything else is computed when it is asked for.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Router logits, `[T, C]`, f32.
    pub logits: Tensor<2>,
    /// Final weights, `[T, C]`, f32: zero where the token does not visit the expert.
    pub weights: Tensor<2>,
    /// Which expert each token visits after padding and capacity, `[T, C]`.
    pub visits: ExpertMask,
    /// Which experts of the pool each token asked for before capacity, `[T, E]`; `None` where
    /// nothing was dropped from the pool.
    pub(crate) requested: Option<ExpertMask>,
    pub(crate) host_logits: Arc<[f32]>,
    pub(crate) real: Option<Arc<[bool]>>,
    pub(crate) n_routed: usize,
    pub(crate) pool: usize,
}

impl Routing {
    /// Number of tokens `T`.
    pub fn tokens(&self) -> usize {
        self.visits.tokens()
    }

    /// Number of routed experts.
    pub fn n_routed(&self) -> usize {
        self.n_routed
    }

    /// Number of null experts.
    pub fn n_null(&self) -> usize {
        self.pool - self.n_routed
    }

    /// Number of experts in the pool `E`: routed and null.
    pub fn pool(&self) -> usize {
        self.pool
    }

    /// Whether `token` is no padding.
    pub fn is_real(&self, token: usize) -> bool {
        self.real.as_ref().is_none_or(|real| real[token])
    }

    /// The final mask on the device.
    ///
    /// # Shapes
    ///
    /// - output: `[T, C]`, `true` where the token visits the expert
    pub fn mask(&self) -> Tensor<2, Bool> {
        self.visits.to_tensor(&self.logits.device())
    }

    /// Which experts of the pool each token asked for before capacity, `[T, E]`.
    pub fn requested(&self) -> ExpertMask {
        match &self.requested {
            Some(requested) => requested.clone(),
            None => self.visits.first_columns(self.pool),
        }
    }

    /// Experts of the pool that each token asked for, null experts included; 0 for padding.
    pub fn experts_per_token(&self) -> Vec<usize> {
        let requested = self.requested();
        (0..self.tokens()).map(|t| requested.count_row(t)).collect()
    }

    /// Tokens that visit each expert of the pool, after capacity.
    pub fn load(&self) -> Vec<usize> {
        (0..self.pool)
            .map(|e| self.visits.count_column(e))
            .collect()
    }

    /// Visits that capacity dropped from each expert of the pool.
    pub fn drops(&self) -> Vec<usize> {
        match &self.requested {
            None => vec![0; self.pool],
            Some(requested) => (0..self.pool)
                .map(|e| requested.count_column(e) - self.visits.count_column(e))
                .collect(),
        }
    }

    /// Entropy of each token's probabilities over the pool, in nats, computed on the host.
    pub fn entropy(&self) -> Vec<f64> {
        let columns = self.visits.experts();
        (0..self.tokens())
            .map(|token| entropy(&self.host_logits[token * columns..][..self.pool]))
            .collect()
    }

    /// Softmax over the pool, `P` of UniMoE-Audio's eq. 1.
    ///
    /// # Shapes
    ///
    /// - output: `[T, E]`
    pub fn probs(&self) -> Tensor<2> {
        softmax(self.pool_logits(), 1)
    }

    /// The pool's logits.
    ///
    /// # Shapes
    ///
    /// - output: `[T, E]`
    pub fn pool_logits(&self) -> Tensor<2> {
        self.logits.clone().narrow(1, 0, self.pool)
    }
}

fn entropy(logits: &[f32]) -> f64 {
    let logits = || logits.iter().map(|&logit| f64::from(logit));
    let largest = logits().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = logits().map(|l| (l - largest).exp()).sum::<f64>().ln();
    logits()
        .map(|logit| logit - largest - log_sum)
        .map(|log_p| -log_p.exp() * log_p)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_equal_logits_is_the_logarithm_of_their_number() {
        assert!((entropy(&[3.0; 4]) - 4f64.ln()).abs() < 1e-12);
        assert!(entropy(&[0.0, -60.0]).abs() < 1e-12);
    }
}
