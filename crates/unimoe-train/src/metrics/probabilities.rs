//! Class probabilities from logits, with their logarithms.

/// Log-probabilities of one row: `ln softmax(l) = l - max - ln sum exp(l - max)`.
pub(super) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - greatest).exp()).sum();
    let shift = greatest + sum.ln();
    logits.iter().map(|logit| logit - shift).collect()
}

/// `ln s(l)` of the sigmoid `s(l) = 1 / (1 + exp(-l))`, without overflow.
pub(super) fn log_sigmoid(logit: f64) -> f64 {
    logit.min(0.0) - (-logit.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_add_up_to_one_whatever_the_logits() {
        for logits in [
            vec![0.0; 4],
            vec![-3e38, 0.0, 3e38],
            vec![1000.0, 1001.0],
            vec![5.0],
        ] {
            let sum: f64 = log_softmax(&logits).iter().map(|l| l.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{logits:?}: {sum}");
        }
    }

    #[test]
    fn the_sigmoid_is_exact_in_the_middle_and_finite_at_the_ends() {
        assert!((log_sigmoid(0.0) - 0.5f64.ln()).abs() < 1e-15);
        assert!((log_sigmoid(2.0) - (1.0 / (1.0 + (-2.0f64).exp())).ln()).abs() < 1e-15);
        assert_eq!(log_sigmoid(3e38), 0.0);
        assert_eq!(log_sigmoid(-3e38), -3e38);
    }
}
