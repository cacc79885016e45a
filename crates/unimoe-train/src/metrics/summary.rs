//! A metric over many clips.

use serde::{Deserialize, Serialize};

/// Mean and spread of a metric over clips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of clips.
    pub count: usize,
    /// Mean.
    pub mean: f64,
    /// Sample standard deviation (divisor `count - 1`); 0 for a single clip.
    pub std: f64,
    /// Least value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
}

impl Summary {
    /// The summary of `values`; `None` where there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            count,
            mean,
            std: (squares / (count - 1).max(1) as f64).sqrt(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_values_by_hand() {
        // Squares of the distances from 3: 4 + 1 + 9, by 2.
        let found = Summary::of(&[1.0, 2.0, 6.0]).expect("values");
        assert_eq!(
            (found.count, found.mean, found.min, found.max),
            (3, 3.0, 1.0, 6.0)
        );
        assert_eq!(found.std, 7.0f64.sqrt());
        assert_eq!(Summary::of(&[4.0]).expect("a value").std, 0.0);
        assert_eq!(Summary::of(&[]), None);
    }
}
