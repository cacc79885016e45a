//! Normal random numbers that are the same on every machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws from the normal distribution of mean 0 and deviation 1, by Box and Muller's method.
pub(crate) struct Normal(ChaCha8Rng);

impl Normal {
    /// Draws from `seed` on.
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> f64 {
        let mut even = || (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        // Never the logarithm of 0.
        let (radius, angle) = (1.0 - even(), even());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_numbers_lies_past_a_deviation_and_a_quarter() {
        let mut normal = Normal::new(3);
        let values: Vec<f64> = (0..20_000).map(|_| normal.next()).collect();
        let mean = values.iter().sum::<f64>() / 2e4;
        let variance = values.iter().map(|x| x * x).sum::<f64>() / 2e4;
        // Four standard errors: of the mean 0.028, of the variance 0.04, of the share 0.0115.
        assert!(mean.abs() < 0.028, "{mean}");
        assert!((variance - 1.0).abs() < 0.04, "{variance}");
        let past = values.iter().filter(|x| x.abs() > 1.2816).count() as f64 / 2e4;
        assert!((past - 0.2).abs() < 0.0115, "{past}");
    }
}
