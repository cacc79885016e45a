//! Which token visits which expert, on the host.
//!
//! Axes: `T` tokens, `E` experts.

use burn::tensor::{Bool, Device, Tensor, TensorData};

/// A boolean `[T, E]` table in host memory: `true` where the token visits the expert.
///
/// The routing decision is made on the host (the grouped dispatch needs it there), so reading it
/// costs nothing; [`ExpertMask::to_tensor`] uploads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpertMask {
    tokens: usize,
    experts: usize,
    visits: Vec<bool>,
}

impl ExpertMask {
    /// A table of `tokens` rows and `experts` columns without any visit.
    pub fn none(tokens: usize, experts: usize) -> Self {
        Self {
            tokens,
            experts,
            visits: vec![false; tokens * experts],
        }
    }

    /// Number of rows `T`.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Number of columns `E`.
    pub fn experts(&self) -> usize {
        self.experts
    }

    /// Whether `token` visits `expert`.
    ///
    /// # Panics
    ///
    /// Panics if either is out of range.
    pub fn visits(&self, token: usize, expert: usize) -> bool {
        self.row(token)[expert]
    }

    /// Sets whether `token` visits `expert`.
    ///
    /// # Panics
    ///
    /// Panics if either is out of range.
    pub fn set(&mut self, token: usize, expert: usize, visits: bool) {
        assert!(
            expert < self.experts,
            "expert {expert} of {} experts",
            self.experts
        );
        self.visits[token * self.experts + expert] = visits;
    }

    /// The visits of one token.
    ///
    /// # Panics
    ///
    /// Panics if `token` is out of range.
    pub fn row(&self, token: usize) -> &[bool] {
        &self.visits[token * self.experts..][..self.experts]
    }

    /// The whole table in row-major order.
    pub fn as_slice(&self) -> &[bool] {
        &self.visits
    }

    /// Number of experts that `token` visits.
    pub fn count_row(&self, token: usize) -> usize {
        self.row(token).iter().filter(|visits| **visits).count()
    }

    /// Number of tokens that visit `expert`.
    pub fn count_column(&self, expert: usize) -> usize {
        (0..self.tokens)
            .filter(|&token| self.visits(token, expert))
            .count()
    }

    /// Number of visits in all.
    pub fn count(&self) -> usize {
        self.visits.iter().filter(|visits| **visits).count()
    }

    /// Whether some token visits no expert.
    pub fn has_empty_row(&self) -> bool {
        (0..self.tokens).any(|token| !self.row(token).contains(&true))
    }

    /// Takes all visits from `token`.
    pub(crate) fn clear_row(&mut self, token: usize) {
        self.visits[token * self.experts..][..self.experts].fill(false);
    }

    /// The first `experts` columns.
    pub(crate) fn first_columns(&self, experts: usize) -> Self {
        let rows = (0..self.tokens).flat_map(|token| &self.row(token)[..experts]);
        Self {
            tokens: self.tokens,
            experts,
            visits: rows.copied().collect(),
        }
    }

    /// This table with `experts` more columns that every token visits.
    pub(crate) fn with_full_columns(&self, experts: usize) -> Self {
        let mut visits = Vec::with_capacity(self.tokens * (self.experts + experts));
        for token in 0..self.tokens {
            visits.extend_from_slice(self.row(token));
            visits.resize(visits.len() + experts, true);
        }
        Self {
            tokens: self.tokens,
            experts: self.experts + experts,
            visits,
        }
    }

    /// Uploads the table.
    ///
    /// # Shapes
    ///
    /// - output: `[T, E]`
    pub fn to_tensor(&self, device: &Device) -> Tensor<2, Bool> {
        let shape = [self.tokens, self.experts];
        Tensor::from_data(TensorData::new(self.visits.clone(), shape), device)
    }

    /// Uploads the complement: `true` where the token does not visit the expert.
    pub(crate) fn to_absent_tensor(&self, device: &Device) -> Tensor<2, Bool> {
        let absent: Vec<bool> = self.visits.iter().map(|visits| !visits).collect();
        let shape = [self.tokens, self.experts];
        Tensor::from_data(TensorData::new(absent, shape), device)
    }

    /// Uploads the table as ones and zeros.
    pub(crate) fn to_float_tensor(&self, device: &Device) -> Tensor<2> {
        let ones: Vec<f32> = self
            .visits
            .iter()
            .map(|&visits| f32::from(visits))
            .collect();
        let shape = [self.tokens, self.experts];
        Tensor::from_data(TensorData::new(ones, shape), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_match_the_table_by_hand() {
        let mut mask = ExpertMask::none(2, 3);
        mask.set(0, 0, true);
        mask.set(0, 2, true);
        assert_eq!((mask.count_row(0), mask.count_row(1)), (2, 0));
        assert_eq!((mask.count_column(2), mask.count()), (1, 2));
        assert!(mask.has_empty_row());
        let wide = mask.with_full_columns(1);
        assert_eq!(wide.row(1), &[false, false, false, true]);
        assert_eq!(wide.first_columns(3), mask);
    }
}
