//! Cosine similarity of paired embeddings: speaker similarity, where they are of speakers.

use super::{Features, MetricError};

/// Least norm that a vector is divided by.
const LEAST_NORM: f64 = 1e-8;

/// Cosine similarity of paired rows.
#[derive(Debug, Clone, PartialEq)]
pub struct CosineSimilarity {
    /// One per pair, in -1 to 1.
    pub per_pair: Vec<f64>,
    /// Their mean.
    pub mean: f64,
}

/// `cos(x, y) = x . y / (max(|x|, 1e-8) max(|y|, 1e-8))` of each pair of rows; a row of zeros gives 0.
///
/// # Errors
///
/// [`MetricError::Shape`] where the two don't have as many rows of the same width.
pub fn cosine_similarity(x: &Features, y: &Features) -> Result<CosineSimilarity, MetricError> {
    x.check_paired(y)?;
    let per_pair: Vec<f64> = x.rows().zip(y.rows()).map(|(x, y)| cosine(x, y)).collect();
    let mean = per_pair.iter().sum::<f64>() / per_pair.len() as f64;
    Ok(CosineSimilarity { per_pair, mean })
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let norm = |v| dot(v, v).sqrt().max(LEAST_NORM);
    // Rounding may carry the quotient of parallel vectors beyond 1.
    (dot(x, y) / (norm(x) * norm(y))).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parallel_orthogonal_and_opposite_vectors() {
        let x = Features::new(2, vec![3.0, 4.0, 1.0, 0.0, 3.0, 4.0, 0.0, 0.0]).expect("rows");
        let y = Features::new(2, vec![6.0, 8.0, 0.0, 2.0, -6.0, -8.0, 1.0, 1.0]).expect("rows");
        let found = cosine_similarity(&x, &y).expect("pairs");
        assert_eq!(found.per_pair, [1.0, 0.0, -1.0, 0.0]);
        assert_eq!(found.mean, 0.0);
    }

    #[test]
    fn unpaired_rows_are_refused() {
        let x = Features::new(2, vec![1.0; 4]).expect("rows");
        for y in [
            Features::new(2, vec![1.0; 2]),
            Features::new(4, vec![1.0; 8]),
        ] {
            let y = y.expect("rows");
            assert!(matches!(
                cosine_similarity(&x, &y),
                Err(MetricError::Shape { .. })
            ));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(2), ..ProptestConfig::default() })]

        #[test]
        fn the_cosine_is_symmetric_and_free_of_scale(
            x in prop::collection::vec(-1e3..1e3, 5), y in prop::collection::vec(-1e3..1e3, 5), scale in 1e-3..1e3,
        ) {
            let scaled: Vec<f64> = x.iter().map(|v| v * scale).collect();
            prop_assert!((cosine(&x, &y) - cosine(&y, &x)).abs() < 1e-12);
            prop_assert!((cosine(&x, &y) - cosine(&scaled, &y)).abs() < 1e-9);
        }
    }
}
