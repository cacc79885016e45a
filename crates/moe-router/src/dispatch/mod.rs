//! Dispatch: sends tokens to their experts and sums what comes back.
//!
//! `out[t] = sum_e weights[t, e] * E_e(x[t])` over the visited experts; null experts add nothing.
//!
//! Axes: `T` tokens, `D` model width, `C` gate columns (routed, null, shared).

mod dense;
mod grouped;

use burn::{config::Config, tensor::Tensor};

use crate::{expert::Expert, mask::ExpertMask};

/// How tokens reach their experts. All dispatches give the same values and gradients.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Dispatch {
    /// Every expert computes every token; the weights mask. The oracle for the others.
    Dense,
    /// Each expert computes the tokens that visit it. Reads only the weights of experts in use.
    Grouped,
}

/// What a dispatch needs.
#[derive(Debug)]
pub(crate) struct DispatchInput<'a, E> {
    /// Tokens, `[T, D]`.
    pub x: Tensor<2>,
    /// Routed experts, in the order of the first columns.
    pub routed: &'a [E],
    /// Shared experts.
    pub shared: &'a [E],
    /// First column of the shared experts; `None` where they are simply added.
    pub shared_column: Option<usize>,
    /// `true` where the token visits the expert, `[T, C]`.
    pub visits: &'a ExpertMask,
    /// Final weights, `[T, C]`, f32.
    pub weights: Tensor<2>,
}

/// An expert and its gate column, `None` where its output is simply added.
type Seat<'a, E> = (&'a E, Option<usize>);

impl Dispatch {
    pub(crate) fn run<E: Expert>(self, input: DispatchInput<'_, E>) -> Tensor<2> {
        match self {
            Self::Dense => dense::run(input),
            Self::Grouped => grouped::run(input),
        }
    }
}

impl<'a, E> DispatchInput<'a, E> {
    /// Shared experts first: they usually start the sum with all tokens.
    fn seats(&self) -> impl Iterator<Item = Seat<'a, E>> + use<'a, E> {
        let first = self.shared_column;
        let shared = self.shared.iter().enumerate();
        let routed = self.routed.iter().enumerate();
        shared
            .map(move |(index, expert)| (expert, first.map(|first| first + index)))
            .chain(routed.map(|(index, expert)| (expert, Some(index))))
    }
}
