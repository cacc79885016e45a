//! A classifier simple enough to trust: the nearest class mean.
//!
//! Fisher's linear discriminant (Annals of Eugenics 7, 1936) with equal priors. `N` rows, `D` width.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::metrics::{Features, MetricError};

/// Share of the pooled variances' mean that is added to each: keeps the covariance of few rows invertible.
const SHRINKAGE: f64 = 1e-2;

/// Takes the class whose mean is nearest by Mahalanobis' distance under the classes' pooled covariance.
#[derive(Debug, Clone)]
pub struct NearestCentroid {
    /// Of all rows, which make columns comparable.
    mean: Vec<f64>,
    scale: Vec<f64>,
    centroids: Vec<DVector<f64>>,
    covariance: Cholesky<f64, Dyn>,
}

impl NearestCentroid {
    /// Fits `classes` means to rows with the class of each.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] where a class has fewer than two rows, [`MetricError::Shape`] where labels and rows
    /// differ in number.
    pub fn fit(rows: &Features, labels: &[usize], classes: usize) -> Result<Self, MetricError> {
        if labels.len() != rows.count() {
            return Err(MetricError::Shape {
                what: "number of labels".into(),
                expected: rows.count(),
                found: labels.len(),
            });
        }
        for class in 0..classes {
            let found = labels.iter().filter(|&&label| label == class).count();
            if found < 2 {
                return Err(MetricError::TooFew {
                    what: format!("rows of class {class}"),
                    expected: 2,
                    found,
                });
            }
        }
        let (count, width) = (rows.count() as f64, rows.width());
        let mut mean = vec![0.0; width];
        let mut scale = vec![0.0; width];
        for row in rows.rows() {
            (mean.iter_mut().zip(row)).for_each(|(sum, value)| *sum += value / count);
        }
        for row in rows.rows() {
            for (sum, (value, mean)) in scale.iter_mut().zip(row.iter().zip(&mean)) {
                *sum += (value - mean).powi(2) / count;
            }
        }
        // A column that never changes tells nothing, and must not divide by 0.
        let scale: Vec<f64> = (scale.iter())
            .map(|&square| {
                if square > 0.0 {
                    square.sqrt().recip()
                } else {
                    0.0
                }
            })
            .collect();
        let standard: Vec<DVector<f64>> = rows
            .rows()
            .map(|row| standardized(row, &mean, &scale))
            .collect();
        let mut centroids = vec![DVector::zeros(width); classes];
        let mut sizes = vec![0.0; classes];
        for (row, &label) in standard.iter().zip(labels) {
            centroids[label] += row;
            sizes[label] += 1.0;
        }
        for (centroid, size) in centroids.iter_mut().zip(&sizes) {
            *centroid /= *size;
        }
        let mut covariance = DMatrix::zeros(width, width);
        for (row, &label) in standard.iter().zip(labels) {
            let centred = row - &centroids[label];
            covariance.ger(1.0 / count, &centred, &centred, 1.0);
        }
        let ridge = (covariance.trace() / width as f64).max(f64::EPSILON) * SHRINKAGE;
        for place in 0..width {
            covariance[(place, place)] += ridge;
        }
        let covariance = Cholesky::new(covariance).ok_or_else(|| MetricError::NotFinite {
            what: "the covariance of the rows".into(),
            found: f64::NAN,
        })?;
        Ok(Self {
            mean,
            scale,
            centroids,
            covariance,
        })
    }

    /// The class of a row, the first of equally near ones.
    ///
    /// # Panics
    ///
    /// Panics where the row is not as wide as those it was fitted to.
    pub fn classify(&self, row: &[f64]) -> usize {
        assert_eq!(row.len(), self.mean.len(), "width of a row");
        let row = standardized(row, &self.mean, &self.scale);
        let distances = self.centroids.iter().map(|centroid| {
            let difference = &row - centroid;
            difference.dot(&self.covariance.solve(&difference))
        });
        let nearest = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        nearest.map_or(0, |(class, _)| class)
    }
}

fn standardized(row: &[f64], mean: &[f64], scale: &[f64]) -> DVector<f64> {
    let values = row.iter().zip(mean).zip(scale);
    DVector::from_iterator(
        row.len(),
        values.map(|((value, mean), scale)| (value - mean) * scale),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_found_along_the_direction_that_tells_it_apart() {
        // The first column varies widely within both classes, the second little: (5, 0.2) is nearer to the mean of the
        // first class by Euclid, and belongs to the second.
        let rows = [
            [-6.0, 0.0],
            [6.0, 0.02],
            [4.0, -0.02],
            [-4.0, 0.0],
            [-6.0, 0.2],
            [6.0, 0.22],
            [-4.0, 0.18],
            [4.0, 0.2],
        ];
        let features = Features::from_rows(rows.iter().map(|row| &row[..])).expect("rows");
        let labels = [0, 0, 0, 0, 1, 1, 1, 1];
        let classifier = NearestCentroid::fit(&features, &labels, 2).expect("fits");
        assert_eq!(classifier.classify(&[5.0, 0.2]), 1);
        assert_eq!(classifier.classify(&[-5.0, 0.01]), 0);
        for (row, label) in rows.iter().zip(labels) {
            assert_eq!(classifier.classify(row), label);
        }
    }

    #[test]
    fn columns_without_change_do_no_harm_and_classes_need_rows() {
        let rows = Features::new(2, vec![1.0, 7.0, 1.1, 7.0, 3.0, 7.0, 3.1, 7.0]).expect("rows");
        let classifier = NearestCentroid::fit(&rows, &[0, 0, 1, 1], 2).expect("fits");
        assert_eq!(classifier.classify(&[2.9, 7.0]), 1);
        let error = NearestCentroid::fit(&rows, &[0, 0, 0, 1], 2).expect_err("one row");
        assert!(
            matches!(error, MetricError::TooFew { found: 1, .. }),
            "{error}"
        );
        NearestCentroid::fit(&rows, &[0, 0], 1).expect_err("labels are missing");
    }
}
