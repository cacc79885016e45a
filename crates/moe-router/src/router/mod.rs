//! Routers: from logits to the experts that a token visits, and their weights.
//!
//! Axes: `T` tokens, `E` experts of the pool (routed, then null).

mod sparse_mixer;
mod top_k;
mod top_p;

use std::fmt::Debug;

use burn::{
    config::Config,
    tensor::{Bool, Tensor, activation::softmax},
};

use crate::{RoutingNoise, error::MoeConfigError, mask::ExpertMask};

pub use sparse_mixer::SparseMixer;
pub use top_k::TopK;
pub use top_p::TopP;

use sparse_mixer::Mixing;

/// Decides which experts of the pool each token visits, and with what weights.
///
/// The decision is discrete and made on the host; the weights are tensors and carry the gradient.
pub trait Router: Clone + Debug + Send {
    /// Chooses at least one expert for every token.
    ///
    /// `noise` is there in training only.
    fn choose(&self, logits: &PoolLogits<'_>, noise: Option<&RoutingNoise>) -> Choice;

    /// Combine weights over the pool, zero where `visits` is `false`.
    ///
    /// `visits` is the choice without padding and dropped visits. Unless overridden: `P`
    /// renormalised over the visited experts (UniMoE-Audio, eq. 3), zeros for a token without any.
    ///
    /// # Shapes
    ///
    /// - logits: `[T, E]`, f32
    /// - output: `[T, E]`, f32
    fn weights(&self, logits: Tensor<2>, choice: &Choice, visits: &ExpertMask) -> Tensor<2> {
        let _ = choice;
        softmax_where(logits, visits)
    }
}

/// The pool's part of the router logits in host memory.
#[derive(Debug, Clone, Copy)]
pub struct PoolLogits<'a> {
    values: &'a [f32],
    columns: usize,
    experts: usize,
}

/// What a [`Router`] chose.
#[derive(Debug, Clone)]
pub struct Choice {
    /// `true` where the token takes the expert, `[T, E]`.
    pub visits: ExpertMask,
    /// The near ties of a sparse mixer.
    mixing: Option<Mixing>,
}

/// How experts are chosen and weighted among themselves.
#[derive(Config, Debug, PartialEq)]
pub enum Gating {
    /// [`TopP`]: the likeliest until their mass reaches `p` (UniMoE-Audio, eq. 1-3).
    TopP {
        /// Probability to reach, in `(0, 1]`.
        p: f64,
    },
    /// [`TopK`]: the `k` likeliest.
    TopK {
        /// Experts per token.
        k: usize,
    },
    /// [`SparseMixer`]: the released code's rule.
    SparseMixer {
        /// How many experts a token takes.
        count: ExpertCount,
        /// Half the relative width of a near tie, `router_jitter_noise` in the release.
        jitter_eps: f64,
        /// Whether training draws the picks and uses the mixer's own gradient.
        differentiable: bool,
    },
}

/// How many experts the [`SparseMixer`] takes for a token.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum ExpertCount {
    /// As many as it takes for their mass to reach `p`.
    TopP {
        /// Probability to reach, in `(0, 1]`.
        p: f64,
    },
    /// Always `k`.
    TopK {
        /// Experts per token.
        k: usize,
    },
}

impl Gating {
    /// Checks the settings against a pool of `pool` experts.
    ///
    /// # Errors
    ///
    /// Names the first setting that is out of its range.
    pub fn validate(&self, pool: usize) -> Result<(), MoeConfigError> {
        match self {
            Self::TopP { p } => check_p(*p),
            Self::TopK { k } => check_k(*k, pool),
            Self::SparseMixer {
                count, jitter_eps, ..
            } => {
                if !(0.0..=1.0).contains(jitter_eps) {
                    return Err(MoeConfigError::OutOfRange {
                        field: "jitter_eps",
                        expected: "[0, 1]",
                        found: *jitter_eps,
                    });
                }
                match count {
                    ExpertCount::TopP { p } => check_p(*p),
                    ExpertCount::TopK { k } => check_k(*k, pool),
                }
            }
        }
    }

    fn mixer(count: ExpertCount, jitter_eps: f64, differentiable: bool) -> SparseMixer {
        SparseMixer {
            count,
            jitter_eps,
            differentiable,
        }
    }
}

impl Router for Gating {
    fn choose(&self, logits: &PoolLogits<'_>, noise: Option<&RoutingNoise>) -> Choice {
        match *self {
            Self::TopP { p } => TopP { p }.choose(logits, noise),
            Self::TopK { k } => TopK { k }.choose(logits, noise),
            Self::SparseMixer {
                count,
                jitter_eps,
                differentiable,
            } => Self::mixer(count, jitter_eps, differentiable).choose(logits, noise),
        }
    }

    fn weights(&self, logits: Tensor<2>, choice: &Choice, visits: &ExpertMask) -> Tensor<2> {
        match *self {
            Self::TopP { p } => TopP { p }.weights(logits, choice, visits),
            Self::TopK { k } => TopK { k }.weights(logits, choice, visits),
            Self::SparseMixer {
                count,
                jitter_eps,
                differentiable,
            } => Self::mixer(count, jitter_eps, differentiable).weights(logits, choice, visits),
        }
    }
}

impl<'a> PoolLogits<'a> {
    /// The first `experts` of `columns` values per token.
    ///
    /// # Panics
    ///
    /// Panics if `experts` is not in `1..=columns` or `values` holds no whole number of rows.
    pub fn new(values: &'a [f32], columns: usize, experts: usize) -> Self {
        assert!(
            experts > 0 && experts <= columns && values.len().is_multiple_of(columns),
            "{} logits are no rows of {columns} columns with {experts} experts",
            values.len()
        );
        Self {
            values,
            columns,
            experts,
        }
    }

    /// Number of tokens `T`.
    pub fn tokens(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Number of experts `E`.
    pub fn experts(&self) -> usize {
        self.experts
    }

    /// The logits of one token.
    ///
    /// # Panics
    ///
    /// Panics if `token` is out of range.
    pub fn row(&self, token: usize) -> &'a [f32] {
        &self.values[token * self.columns..][..self.experts]
    }
}

impl Choice {
    /// A choice with the default weights.
    pub fn new(visits: ExpertMask) -> Self {
        Self {
            visits,
            mixing: None,
        }
    }

    /// Lets `take` name the experts of each token.
    fn by_token(logits: &PoolLogits<'_>, mut take: impl FnMut(&[f32]) -> Vec<usize>) -> Self {
        let mut visits = ExpertMask::none(logits.tokens(), logits.experts());
        for token in 0..logits.tokens() {
            for expert in take(logits.row(token)) {
                visits.set(token, expert, true);
            }
        }
        Self::new(visits)
    }
}

/// Softmax over the visited experts of each token; zeros for a token that visits none.
pub(crate) fn softmax_where(logits: Tensor<2>, visits: &ExpertMask) -> Tensor<2> {
    let device = logits.device();
    let weights = softmax(mask_logits(logits, visits.to_absent_tensor(&device)), 1);
    if visits.has_empty_row() {
        weights * visits.to_float_tensor(&device)
    } else {
        weights
    }
}

/// Puts the lowest finite number where `absent` is `true`: a row of nothing else then has a uniform
/// softmax instead of NaN.
pub(crate) fn mask_logits<const D: usize>(logits: Tensor<D>, absent: Tensor<D, Bool>) -> Tensor<D> {
    logits.mask_fill(absent, f32::MIN)
}

/// Expert indices by falling logit, the lower index first among equals.
fn ranked(row: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    // Adding zero makes -0 equal to 0; a total order keeps a NaN from upsetting the sort.
    order.sort_by(|&a, &b| (row[b] + 0.0).total_cmp(&(row[a] + 0.0)));
    order
}

fn check_p(p: f64) -> Result<(), MoeConfigError> {
    if p > 0.0 && p <= 1.0 {
        return Ok(());
    }
    Err(MoeConfigError::OutOfRange {
        field: "p",
        expected: "(0, 1]",
        found: p,
    })
}

fn check_k(k: usize, pool: usize) -> Result<(), MoeConfigError> {
    if (1..=pool).contains(&k) {
        return Ok(());
    }
    Err(MoeConfigError::TopK { k, pool })
}
