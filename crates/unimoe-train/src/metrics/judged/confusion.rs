//! Which class was taken for which.

use serde::{Deserialize, Serialize};

/// A confusion table: how often each class was found for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// The classes.
    pub classes: Vec<String>,
    /// How often the class of the column was found where that of the row was right; a last column counts sounds in
    /// which nothing was found.
    pub counts: Vec<Vec<usize>>,
}

impl Confusion {
    /// An empty table.
    pub fn new(classes: &[String]) -> Self {
        Self {
            classes: classes.to_vec(),
            counts: vec![vec![0; classes.len() + 1]; classes.len()],
        }
    }

    /// Counts a sound of class `right` in which `found` was found.
    ///
    /// # Panics
    ///
    /// Panics where there is no such class.
    pub fn count(&mut self, right: usize, found: Option<usize>) {
        let none = self.classes.len();
        self.counts[right][found.unwrap_or(none)] += 1;
    }

    /// Number of sounds.
    pub fn total(&self) -> usize {
        self.counts.iter().flatten().sum()
    }

    /// Number of sounds whose class was found.
    pub fn right(&self) -> usize {
        (0..self.classes.len())
            .map(|class| self.counts[class][class])
            .sum()
    }

    /// Share of sounds whose class was found; 0 for no sounds.
    pub fn accuracy(&self) -> f64 {
        self.right() as f64 / self.total().max(1) as f64
    }

    /// The share that the best blind guess reaches: that of the most frequent class.
    pub fn chance(&self) -> f64 {
        let most = self
            .counts
            .iter()
            .map(|row| row.iter().sum::<usize>())
            .max();
        most.unwrap_or(0) as f64 / self.total().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_and_chance_by_hand() {
        let mut table = Confusion::new(&["a".into(), "b".into()]);
        for (right, found) in [(0, Some(0)), (0, Some(1)), (0, None), (1, Some(1))] {
            table.count(right, found);
        }
        assert_eq!(table.counts, [[1, 1, 1], [0, 1, 0]]);
        assert_eq!((table.accuracy(), table.chance()), (0.5, 0.75));
        assert_eq!(Confusion::default().accuracy(), 0.0);
    }
}
