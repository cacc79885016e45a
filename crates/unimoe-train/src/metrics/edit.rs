//! The edit distance, with its parts.

use serde::{Deserialize, Serialize};

use super::MetricError;

/// Most cells of one table of distances: texts of some 60,000 characters each, an hour of speech.
const MAX_CELLS: u64 = 4_000_000_000;

/// How one sequence becomes another: an alignment with the fewest edits.
///
/// There may be several such alignments; only the sum of the edits is the same in all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditCounts {
    /// Elements that are equal.
    pub hits: u64,
    /// Elements that stand for another one.
    pub substitutions: u64,
    /// Elements of the reference that are missing.
    pub deletions: u64,
    /// Elements that are not in the reference.
    pub insertions: u64,
}

/// The edits of one cell of the table; their sum is the distance.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    substitutions: u32,
    deletions: u32,
    insertions: u32,
}

impl Cell {
    fn cost(self) -> u32 {
        self.substitutions + self.deletions + self.insertions
    }
}

impl EditCounts {
    /// The fewest substitutions, deletions and insertions that turn `reference` into `hypothesis`
    /// (Levenshtein, each counting 1).
    ///
    /// Time grows with the product of the lengths, memory with one of them; equal beginnings and ends cost nothing.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooMany`] where that product is beyond 4e9.
    pub fn between<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Result<Self, MetricError> {
        let prefix = matching(reference.iter(), hypothesis.iter());
        let (a, b) = (&reference[prefix..], &hypothesis[prefix..]);
        let suffix = matching(a.iter().rev(), b.iter().rev());
        let (a, b) = (&a[..a.len() - suffix], &b[..b.len() - suffix]);
        let cells = a.len() as u64 * b.len() as u64;
        if cells > MAX_CELLS || a.len().max(b.len()) > u32::MAX as usize {
            return Err(MetricError::TooMany {
                what: format!("edit distance of {} and {} elements", a.len(), b.len()),
                expected: MAX_CELLS,
                found: cells,
            });
        }
        let cell = last_cell(a, b);
        let [substitutions, deletions, insertions] =
            [cell.substitutions, cell.deletions, cell.insertions].map(u64::from);
        Ok(Self {
            hits: reference.len() as u64 - substitutions - deletions,
            substitutions,
            deletions,
            insertions,
        })
    }

    /// Number of edits.
    pub fn edits(&self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }

    /// Length of the reference.
    pub fn reference_length(&self) -> u64 {
        self.hits + self.substitutions + self.deletions
    }

    /// The counts of two pairs together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            hits: self.hits + other.hits,
            substitutions: self.substitutions + other.substitutions,
            deletions: self.deletions + other.deletions,
            insertions: self.insertions + other.insertions,
        }
    }
}

fn matching<T: PartialEq>(a: impl Iterator<Item = T>, b: impl Iterator<Item = T>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

/// The table, row by row: a row per element of `a`, of which only the last is kept.
fn last_cell<T: PartialEq>(a: &[T], b: &[T]) -> Cell {
    let mut row: Vec<Cell> = (0..=b.len() as u32)
        .map(|insertions| Cell {
            insertions,
            ..Cell::default()
        })
        .collect();
    for x in a {
        let mut diagonal = row[0];
        row[0].deletions += 1;
        for (column, y) in (1..).zip(b) {
            let mut best = diagonal;
            best.substitutions += u32::from(x != y);
            diagonal = row[column];
            let mut down = diagonal;
            down.deletions += 1;
            let mut right = row[column - 1];
            right.insertions += 1;
            for other in [down, right] {
                if other.cost() < best.cost() {
                    best = other;
                }
            }
            row[column] = best;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distance(a: &[u8], b: &[u8]) -> u64 {
        EditCounts::between(a, b).expect("short texts").edits()
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0u8..4, 0..12)
    }

    /// The definition, by recursion.
    fn by_definition(a: &[u8], b: &[u8]) -> u64 {
        match (a, b) {
            ([], rest) | (rest, []) => rest.len() as u64,
            ([x, a_rest @ ..], [y, b_rest @ ..]) => {
                let replaced = by_definition(a_rest, b_rest) + u64::from(x != y);
                let shorter = by_definition(a_rest, b).min(by_definition(a, b_rest)) + 1;
                replaced.min(shorter)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

        #[test]
        fn the_distance_is_symmetric_and_obeys_the_triangle(a in text(), b in text(), c in text()) {
            prop_assert_eq!(distance(&a, &b), distance(&b, &a));
            prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c));
            prop_assert_eq!(distance(&a, &b) == 0, a == b);
        }

        #[test]
        fn the_table_equals_the_recursive_definition(
            a in prop::collection::vec(0u8..3, 0..6), b in prop::collection::vec(0u8..3, 0..6),
        ) {
            prop_assert_eq!(distance(&a, &b), by_definition(&a, &b));
        }

        #[test]
        fn the_parts_add_up_to_both_lengths(a in text(), b in text()) {
            let counts = EditCounts::between(&a, &b).expect("short texts");
            prop_assert_eq!(counts.reference_length(), a.len() as u64);
            prop_assert_eq!(counts.hits + counts.substitutions + counts.insertions, b.len() as u64);
        }
    }

    #[test]
    fn long_equal_texts_cost_nothing_and_long_unequal_ones_are_refused() {
        let long = vec![0u8; 1 << 20];
        assert_eq!(distance(&long, &long), 0);
        let error = EditCounts::between(&long, &vec![1u8; 1 << 20]).expect_err("too long");
        assert!(matches!(error, MetricError::TooMany { .. }), "{error}");
    }
}
