//! Auxiliary losses on the routing decision, and the annealing of their weight.
//!
//! Axes: `T` tokens, `E` experts of the pool (routed, then null), `C` gate columns.

use burn::{
    config::Config,
    tensor::{
        Tensor,
        activation::{log_softmax, softmax},
    },
};

use crate::{router::mask_logits, routing::Routing};

/// A differentiable loss on a routing decision.
pub trait RoutingLoss {
    /// Computes the loss.
    ///
    /// # Shapes
    ///
    /// - token_weights: `[T]`; `None` weighs all tokens alike, padding included
    /// - output: `[1]`
    fn loss(&self, routing: &Routing, token_weights: Option<Tensor<1>>) -> Tensor<1>;

    /// The mean of the loss over the layers of a model; `None` without layers.
    ///
    /// # Shapes
    ///
    /// - token_weights: `[T]`
    /// - output: `[1]`
    fn mean_over_layers(
        &self,
        routings: &[Routing],
        token_weights: Option<Tensor<1>>,
    ) -> Option<Tensor<1>> {
        routings
            .iter()
            .map(|routing| self.loss(routing, token_weights.clone()))
            .reduce(|sum, loss| sum + loss)
            .map(|sum| sum / routings.len() as f32)
    }
}

/// Load balancing: `E * sum_e mean_t(visits[t, e]) * mean_t(r[t, e])`.
///
/// `r` is the softmax of the pool's logits over the experts that the token asked for (before capacity;
/// uniform for a token that asked for none), as in the released code. Token weights `a` turn both
/// means into `sum_t(a_t z_t) / sum_t(a_t)`; without any weight in all, the loss is 0. Pass 1 for real
/// tokens and 0 for padding to leave padding out, which the release does not do by itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadBalance;

/// Router z-loss: the mean of `logsumexp(logits)^2` over all gate columns (ST-MoE, arXiv:2202.08906,
/// eq. 5), which keeps logits small.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouterZ;

/// Mean entropy of the pool's probabilities, in nats: added to a loss it makes the router decided,
/// subtracted undecided.
#[derive(Debug, Clone, Copy, Default)]
pub struct RouterEntropy;

impl RoutingLoss for LoadBalance {
    fn loss(&self, routing: &Routing, token_weights: Option<Tensor<1>>) -> Tensor<1> {
        let requested = routing.requested();
        let logits = routing.pool_logits();
        let visits = requested.to_float_tensor(&logits.device());
        // Not `softmax_where`: a token without experts keeps its uniform row.
        let absent = requested.to_absent_tensor(&logits.device());
        let probs = softmax(mask_logits(logits, absent), 1);
        let share = weighted_mean(visits, token_weights.clone());
        let mass = weighted_mean(probs, token_weights);
        (share * mass).sum() * routing.pool() as f32
    }
}

impl RoutingLoss for RouterZ {
    fn loss(&self, routing: &Routing, token_weights: Option<Tensor<1>>) -> Tensor<1> {
        let logits = routing.logits.clone();
        let largest = logits.clone().detach().max_dim(1);
        let log_sum = (logits - largest.clone()).exp().sum_dim(1).log() + largest;
        weighted_mean(log_sum.square(), token_weights).reshape([1])
    }
}

impl RoutingLoss for RouterEntropy {
    fn loss(&self, routing: &Routing, token_weights: Option<Tensor<1>>) -> Tensor<1> {
        let log_probs = log_softmax(routing.pool_logits(), 1);
        let entropy = (log_probs.clone().exp() * log_probs).sum_dim(1).neg();
        weighted_mean(entropy, token_weights).reshape([1])
    }
}

impl Routing {
    /// [`LoadBalance`] of this decision.
    ///
    /// # Shapes
    ///
    /// - token_weights: `[T]`; `None` weighs all tokens alike, padding included
    /// - output: `[1]`
    pub fn balance_loss(&self, token_weights: Option<Tensor<1>>) -> Tensor<1> {
        LoadBalance.loss(self, token_weights)
    }

    /// [`RouterZ`] of this decision.
    ///
    /// # Shapes
    ///
    /// - token_weights: `[T]`; `None` weighs all tokens alike, padding included
    /// - output: `[1]`
    pub fn z_loss(&self, token_weights: Option<Tensor<1>>) -> Tensor<1> {
        RouterZ.loss(self, token_weights)
    }

    /// [`RouterEntropy`] of this decision.
    ///
    /// # Shapes
    ///
    /// - token_weights: `[T]`; `None` weighs all tokens alike, padding included
    /// - output: `[1]`
    pub fn entropy_loss(&self, token_weights: Option<Tensor<1>>) -> Tensor<1> {
        RouterEntropy.loss(self, token_weights)
    }
}

/// Mean over the tokens, `[T, n] -> [1, n]`.
fn weighted_mean(values: Tensor<2>, token_weights: Option<Tensor<1>>) -> Tensor<2> {
    match token_weights {
        None => values.mean_dim(0),
        Some(weights) => {
            let weights = weights.unsqueeze_dim::<2>(1);
            // All weights zero: the sums above are zero too, and so is the mean.
            let total = weights.clone().sum_dim(0).clamp_min(f32::MIN_POSITIVE);
            (values * weights).sum_dim(0) / total
        }
    }
}

/// A weight that goes linearly from `start` to `end` over `steps` steps, then stays.
///
/// ```
/// let weight = moe_router::LinearAnnealing::released();
/// assert_eq!(weight.at(0), 0.025);
/// assert!((weight.at(5_000) - 0.013).abs() < 1e-12);
/// assert_eq!(weight.at(20_000), 0.001);
/// ```
#[derive(Config, Debug, Copy, PartialEq)]
pub struct LinearAnnealing {
    /// Value at step 0.
    pub start: f64,
    /// Value from step `steps` on.
    pub end: f64,
    /// Number of steps between the two.
    pub steps: usize,
}

impl LinearAnnealing {
    /// From 0.025 to 0.001 over 10,000 steps, as UniMoE-Audio was trained.
    pub fn released() -> Self {
        Self::new(0.025, 0.001, 10_000)
    }

    /// The weight at `step`, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        if step >= self.steps {
            return self.end;
        }
        self.start + (self.end - self.start) * (step as f64 / self.steps as f64)
    }
}
