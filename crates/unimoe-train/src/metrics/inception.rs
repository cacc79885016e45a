//! The inception score of class logits: how sure a classifier is of each clip, and how different the clips are.
//!
//! `IS = exp(mean_x KL(p(y|x) || p(y)))`, `p(y)` being the mean over the clips of a split (Salimans et al.,
//! arXiv:1606.03498, section 4). 1 where all clips look alike, the number of classes at most.

use super::{Features, MetricError, probabilities::log_softmax};

/// Inception scores of the splits.
#[derive(Debug, Clone, PartialEq)]
pub struct InceptionScore {
    /// One per split.
    pub per_split: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub std: f64,
}

/// Inception score over `splits` consecutive parts of `N / splits` rows each; rows beyond them are left out.
///
/// # Errors
///
/// [`MetricError::Setting`] for no split or more splits than rows.
pub fn inception_score(logits: &Features, splits: usize) -> Result<InceptionScore, MetricError> {
    if splits == 0 || splits > logits.count() {
        return Err(MetricError::Setting {
            name: "the number of splits",
            expected: format!("1 to {}, the number of clips", logits.count()),
            found: splits.to_string(),
        });
    }
    let rows: Vec<Vec<f64>> = logits.rows().map(log_softmax).collect();
    let per_split: Vec<f64> = rows
        .chunks_exact(rows.len() / splits)
        .take(splits)
        .map(score)
        .collect();
    let count = splits as f64;
    let mean = per_split.iter().sum::<f64>() / count;
    let squares = per_split.iter().map(|score| (score - mean).powi(2));
    let std = (squares.sum::<f64>() / count).sqrt();
    Ok(InceptionScore {
        per_split,
        mean,
        std,
    })
}

/// The score of one split's log-probabilities.
fn score(rows: &[Vec<f64>]) -> f64 {
    let count = rows.len() as f64;
    let classes = rows.first().map_or(0, Vec::len);
    let marginal: Vec<f64> = (0..classes)
        .map(|k| rows.iter().map(|row| row[k].exp()).sum::<f64>() / count)
        .collect();
    let divergence = |row: &Vec<f64>| -> f64 {
        let terms = row.iter().zip(&marginal).map(|(log, marginal)| {
            let p = log.exp();
            // Where no clip is of the class, its term is 0.
            if p > 0.0 {
                p * (log - marginal.ln())
            } else {
                0.0
            }
        });
        terms.sum()
    };
    (rows.iter().map(divergence).sum::<f64>() / count).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_and_different_clips_score_the_number_of_classes() {
        let mut logits = vec![-1e4; 9];
        for class in 0..3 {
            logits[class * 3 + class] = 1e4;
        }
        let logits = Features::new(3, logits).expect("rows");
        let found = inception_score(&logits, 1).expect("a score");
        assert!((found.mean - 3.0).abs() < 1e-12);
        assert_eq!(found.std, 0.0);
        // A split of one clip knows no difference.
        assert_eq!(
            inception_score(&logits, 3).expect("a score").per_split,
            [1.0; 3]
        );
    }

    #[test]
    fn rows_beyond_the_last_whole_split_are_left_out() {
        let logits =
            Features::new(2, (0..14).map(f64::from).map(f64::sin).collect()).expect("rows");
        let whole = logits.select(0..6).expect("rows");
        assert_eq!(
            inception_score(&logits, 3).expect("a score"),
            inception_score(&whole, 3).expect("a score")
        );
    }

    #[test]
    fn impossible_splits_are_refused() {
        let logits = Features::new(2, vec![0.0; 4]).expect("rows");
        for splits in [0, 3, usize::MAX] {
            assert!(matches!(
                inception_score(&logits, splits),
                Err(MetricError::Setting { .. })
            ));
        }
    }
}
