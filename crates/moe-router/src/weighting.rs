//! How the pool's weights and the shared experts come together.
//!
//! Axes: `T` tokens, `E` experts of the pool (routed, then null), `C` gate columns.

use burn::{config::Config, tensor::Tensor};

use crate::{mask::ExpertMask, router::softmax_where};

/// How the pool's weights and the shared experts come together.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Weighting {
    /// Shared experts are always on and simply added (UniMoE-Audio, eq. 3).
    ///
    /// The gate has a column for each routed and each null expert.
    Paper,
    /// One softmax over the taken and all shared experts (the released code).
    ///
    /// A shared expert is scaled by its own probability; the experts of the pool share what is left
    /// by the router's weights. The gate has a column for each shared expert too, after the pool's.
    Released,
}

impl Weighting {
    /// Number of gate columns `C`.
    pub fn gate_columns(self, pool: usize, shared: usize) -> usize {
        match self {
            Self::Paper => pool,
            Self::Released => pool + shared,
        }
    }

    /// Final weights `[T, C]` from the pool's, `[T, E]`.
    pub(crate) fn combine(
        self,
        logits: Tensor<2>,
        pool_weights: Tensor<2>,
        visits: &ExpertMask,
    ) -> Tensor<2> {
        let [tokens, pool] = pool_weights.dims();
        let columns = logits.dims()[1];
        if self == Self::Paper || columns == pool {
            return pool_weights;
        }
        let probs = softmax_where(logits, visits);
        let pool_mass = probs.clone().narrow(1, 0, pool).sum_dim(1);
        debug_assert_eq!(pool_mass.dims(), [tokens, 1]);
        let shared = probs.narrow(1, pool, columns - pool);
        Tensor::cat(vec![pool_weights * pool_mass, shared], 1)
    }
}
