//! Kullback-Leibler divergence of class probabilities, paired clip by clip.

use super::{
    Features, MetricError,
    probabilities::{log_sigmoid, log_softmax},
};

/// Divergences of paired rows in nats; `p` is the softmax of the reference's logits, `q` that of the generated one's.
#[derive(Debug, Clone, PartialEq)]
pub struct KlDivergence {
    /// `KL(p || q) = sum_k p (ln p - ln q)` of each pair.
    pub forward: Vec<f64>,
    /// `KL(q || p)` of each pair.
    pub reverse: Vec<f64>,
    /// `sum_k p (ln p - ln (q + eps))` of each pair, as tools that evaluate generated sound compute it.
    pub smoothed: Vec<f64>,
    /// `sum_k s(p) (ln s(p) - ln (s(q) + eps))` of each pair, with the sigmoid of each logit instead of the softmax:
    /// for classifiers of several labels per clip. These are no distributions, so that it may be negative.
    pub sigmoid: Vec<f64>,
}

/// Divergence of the class probabilities of paired rows of logits. `epsilon` keeps the smoothed kinds finite;
/// 1e-6 is usual.
///
/// # Errors
///
/// [`MetricError::Shape`] where the two don't have as many rows of the same width,
/// [`MetricError::Setting`] for an `epsilon` that is not within 0 to 1.
pub fn kl_divergence(
    reference: &Features,
    generated: &Features,
    epsilon: f64,
) -> Result<KlDivergence, MetricError> {
    reference.check_paired(generated)?;
    if !(epsilon > 0.0 && epsilon < 1.0) {
        return Err(MetricError::Setting {
            name: "epsilon",
            expected: "a number above 0 and below 1".into(),
            found: epsilon.to_string(),
        });
    }
    let mut found = KlDivergence {
        forward: Vec::new(),
        reverse: Vec::new(),
        smoothed: Vec::new(),
        sigmoid: Vec::new(),
    };
    let smooth = |log: f64| (log.exp() + epsilon).ln();
    for (reference, generated) in reference.rows().zip(generated.rows()) {
        let (p, q) = (log_softmax(reference), log_softmax(generated));
        found.forward.push(divergence(&p, |k| q[k]));
        found.reverse.push(divergence(&q, |k| p[k]));
        found.smoothed.push(divergence(&p, |k| smooth(q[k])));
        let p: Vec<f64> = reference.iter().map(|&logit| log_sigmoid(logit)).collect();
        let other = |k: usize| smooth(log_sigmoid(generated[k]));
        found.sigmoid.push(divergence(&p, other));
    }
    Ok(found)
}

/// `sum_k exp(a_k) (a_k - b_k)` of logarithms.
fn divergence(a: &[f64], b: impl Fn(usize) -> f64) -> f64 {
    let terms = a.iter().enumerate().map(|(k, a)| a.exp() * (a - b(k)));
    terms.sum()
}

impl KlDivergence {
    /// Mean of one kind over the pairs.
    pub fn mean(per_pair: &[f64]) -> f64 {
        per_pair.iter().sum::<f64>() / per_pair.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(values: &[f64]) -> Features {
        Features::new(values.len(), values.to_vec()).expect("a row")
    }

    #[test]
    fn two_classes_by_hand() {
        // p = (3/4, 1/4), q = (1/2, 1/2).
        let (p, q) = (row(&[3.0f64.ln(), 0.0]), row(&[1.0, 1.0]));
        let found = kl_divergence(&p, &q, 1e-6).expect("a pair");
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((found.forward[0] - expected).abs() < 1e-15);
        let reverse = -0.5 * (1.5f64.ln() + 0.5f64.ln());
        assert!((found.reverse[0] - reverse).abs() < 1e-15);
    }

    #[test]
    fn extreme_logits_give_finite_divergences() {
        let most = f64::from(f32::MAX);
        let found = kl_divergence(&row(&[most, -most]), &row(&[-most, most]), 1e-6).expect("rows");
        let all = [found.forward, found.reverse, found.smoothed, found.sigmoid].concat();
        assert!(all.iter().all(|value| value.is_finite()), "{all:?}");
    }

    #[test]
    fn an_epsilon_that_smooths_nothing_is_refused() {
        for epsilon in [0.0, -1.0, 1.0, f64::NAN] {
            let error = kl_divergence(&row(&[0.0]), &row(&[0.0]), epsilon);
            assert!(matches!(error, Err(MetricError::Setting { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(4), ..ProptestConfig::default() })]

        #[test]
        fn divergences_are_not_negative_and_zero_for_equal_logits(
            p in prop::collection::vec(-20.0..20.0, 6), q in prop::collection::vec(-20.0..20.0, 6),
        ) {
            let found = kl_divergence(&row(&p), &row(&q), 1e-6).expect("a pair");
            prop_assert!(found.forward[0] > -1e-12 && found.reverse[0] > -1e-12);
            let same = kl_divergence(&row(&p), &row(&p), 1e-6).expect("a pair");
            prop_assert!(same.forward[0].abs() < 1e-12);
        }
    }
}
