//! The Frechet distance of two sets of embeddings.
//!
//! Each set is taken for a normal distribution with its mean `m` and covariance `S` (divisor `N - 1`):
//! `d = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`, which is the square of a distance (Heusel et al.,
//! arXiv:1706.08500, eq. 6; Kilgour et al., arXiv:1812.08466, for sound).
//!
//! `N` clips, `D` width.

use nalgebra::{DMatrix, SymmetricEigen};

use super::{Features, MetricError};

/// Frechet distance of two sets; 0 where mean and covariance agree. Both sets have at least two rows; fewer rows than
/// columns are well defined, though an estimate from few rows is too high.
///
/// # Errors
///
/// [`MetricError::Shape`] where the widths differ, [`MetricError::TooFew`] for a set of a single row.
///
/// ```
/// use unimoe_train::{Features, frechet_distance};
///
/// let set = Features::new(2, vec![0.0, 1.0, 2.0, 0.0, 1.0, 5.0])?;
/// let shifted = Features::new(2, vec![3.0, 1.0, 5.0, 0.0, 4.0, 5.0])?;
/// let distance = frechet_distance(&set, &shifted)?;
/// assert!((distance - 9.0).abs() < 1e-9); // shifted by 3
/// # Ok::<(), unimoe_train::MetricError>(())
/// ```
pub fn frechet_distance(x: &Features, y: &Features) -> Result<f64, MetricError> {
    x.check_width(y)?;
    let (x, y) = (Gaussian::of(x)?, Gaussian::of(y)?);
    let shift: f64 = x
        .mean
        .iter()
        .zip(&y.mean)
        .map(|(a, b)| (a - b).powi(2))
        .sum();
    let spread = x.variance() + y.variance();
    // What is left of 0 by rounding may lie below it.
    Ok((shift + spread - 2.0 * root_trace(&x, &y)).max(0.0))
}

/// A set of embeddings as a normal distribution: `S = A A^T` with a factor `A`.
struct Gaussian {
    mean: Vec<f64>,
    /// The centred rows by `sqrt(N - 1)`, as columns: `A`, `[D, N]`.
    factor: DMatrix<f64>,
}

impl Gaussian {
    fn of(features: &Features) -> Result<Self, MetricError> {
        let count = features.count();
        if count < 2 {
            return Err(MetricError::TooFew {
                what: "rows of a set for the Frechet distance".into(),
                expected: 2,
                found: count,
            });
        }
        let mut factor = DMatrix::from_column_slice(features.width(), count, features.values());
        let mean = factor.column_mean();
        for mut column in factor.column_iter_mut() {
            column -= &mean;
        }
        factor /= ((count - 1) as f64).sqrt();
        Ok(Self {
            mean: mean.iter().copied().collect(),
            factor,
        })
    }

    /// `tr S`.
    fn variance(&self) -> f64 {
        self.factor.norm_squared()
    }

    /// Whether the covariance is smaller than the product of the centred rows.
    fn is_narrow(&self) -> bool {
        self.factor.nrows() <= self.factor.ncols()
    }
}

/// `tr (S1 S2)^(1/2)`, the sum of the singular values of `A1^T A2`: the roots of the eigenvalues of
/// `L^T S2 L` for any `L` with `S1 = L L^T`. No matrix is larger than the data's smaller side.
fn root_trace(x: &Gaussian, y: &Gaussian) -> f64 {
    if x.is_narrow() && y.is_narrow() {
        by_covariance(x, y)
    } else {
        by_products(x, y)
    }
}

/// With `L` from the eigenvectors of `S1`: matrices of `[D, D]`.
fn by_covariance(x: &Gaussian, y: &Gaussian) -> f64 {
    let SymmetricEigen {
        eigenvectors: mut root,
        eigenvalues,
    } = SymmetricEigen::new(&x.factor * x.factor.transpose());
    for (mut column, value) in root.column_iter_mut().zip(&eigenvalues) {
        column *= value.max(0.0).sqrt();
    }
    let inner = root.transpose() * &y.factor;
    sum_of_roots(&inner * inner.transpose())
}

/// With `L = A1`: matrices of the products of centred rows, `[N, N]` of the smaller set.
fn by_products(x: &Gaussian, y: &Gaussian) -> f64 {
    let products = if x.factor.ncols() <= y.factor.ncols() {
        x.factor.transpose() * &y.factor
    } else {
        y.factor.transpose() * &x.factor
    };
    sum_of_roots(&products * products.transpose())
}

/// The roots of the eigenvalues, which are not negative but for rounding.
fn sum_of_roots(matrix: DMatrix<f64>) -> f64 {
    let size = matrix.nrows() as f64;
    let eigenvalues = matrix.symmetric_eigenvalues();
    // A root makes much of the rounding of an eigenvalue that is 0: 1e-16 becomes 1e-8.
    let rounding = size * f64::EPSILON * eigenvalues.amax();
    let kept = eigenvalues.iter().filter(|&&value| value > rounding);
    kept.map(|value| value.sqrt()).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(rows: usize, width: usize) -> impl Strategy<Value = Features> {
        prop::collection::vec(-5.0..5.0, rows * width)
            .prop_map(move |values| Features::new(width, values).expect("whole rows"))
    }

    fn distance(x: &Features, y: &Features) -> f64 {
        frechet_distance(x, y).expect("two sets")
    }

    #[test]
    fn one_dimension_is_the_closed_form() {
        // Means 2 and 3, standard deviations sqrt(2) and sqrt(8): 1 + (sqrt(8) - sqrt(2))^2 = 3.
        let x = Features::new(1, vec![1.0, 3.0]).expect("rows");
        let y = Features::new(1, vec![1.0, 5.0]).expect("rows");
        assert!((distance(&x, &y) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn sets_without_spread_are_as_far_as_their_means() {
        let x = Features::new(2, vec![1.0; 6]).expect("rows");
        let y = Features::new(2, vec![4.0; 4]).expect("rows");
        assert_eq!(distance(&x, &y), 18.0);
        assert_eq!(distance(&x, &x), 0.0);
    }

    #[test]
    fn the_largest_numbers_stay_finite() {
        let most = f64::from(f32::MAX);
        let x = Features::new(2, vec![most, -most, -most, most, most, most]).expect("rows");
        let y = Features::new(2, vec![0.0, 1.0, 2.0, 3.0]).expect("rows");
        assert!(distance(&x, &y).is_finite());
    }

    #[test]
    fn a_single_row_and_another_width_are_refused() {
        let two = Features::new(2, vec![0.0, 1.0, 2.0, 3.0]).expect("rows");
        let one = Features::new(2, vec![0.0; 2]).expect("a row");
        let wide = Features::new(4, vec![0.0; 8]).expect("rows");
        assert!(matches!(
            frechet_distance(&two, &one),
            Err(MetricError::TooFew { .. })
        ));
        assert!(matches!(
            frechet_distance(&two, &wide),
            Err(MetricError::Shape { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, rng_seed: proptest::test_runner::RngSeed::Fixed(3), ..ProptestConfig::default() })]

        #[test]
        fn the_distance_is_symmetric_and_not_negative(x in set(9, 4), y in set(7, 4)) {
            let there = distance(&x, &y);
            prop_assert!(there >= 0.0);
            prop_assert!((there - distance(&y, &x)).abs() < 1e-9);
        }

        #[test]
        fn a_set_is_at_no_distance_from_itself(tall in set(9, 4), wide in set(3, 8)) {
            prop_assert!(distance(&tall, &tall) < 1e-9);
            prop_assert!(distance(&wide, &wide) < 1e-6);
        }

        #[test]
        fn covariances_and_products_of_rows_give_the_same(x in set(6, 6), y in set(8, 6), z in set(4, 6)) {
            let [x, y, z] = [x, y, z].map(|set| Gaussian::of(&set).expect("two rows"));
            for (a, b) in [(&x, &y), (&y, &x), (&x, &z), (&z, &y)] {
                prop_assert!((by_covariance(a, b) - by_products(a, b)).abs() < 1e-6);
            }
        }
    }
}
