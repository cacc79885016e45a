//! Rows of numbers: embeddings or class logits.

use super::MetricError;

/// One row of numbers per clip: embeddings or class logits, `[N, D]` (`N` clips, `D` width).
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    width: usize,
    values: Vec<f64>,
}

/// Rows with the names of their clips.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedFeatures {
    ids: Vec<String>,
    features: Features,
}

impl Features {
    /// Rows of `width` values, one after another.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for no row or no column, [`MetricError::Shape`] where the values don't fill whole
    /// rows, [`MetricError::NotFinite`] for a value that is not finite or beyond the range of f32.
    pub fn new(width: usize, values: Vec<f64>) -> Result<Self, MetricError> {
        for (what, found) in [
            ("width of a row", width),
            ("number of values", values.len()),
        ] {
            if found == 0 {
                return Err(MetricError::TooFew {
                    what: what.into(),
                    expected: 1,
                    found,
                });
            }
        }
        if !values.len().is_multiple_of(width) {
            return Err(MetricError::Shape {
                what: format!("values of the last row of width {width}"),
                expected: width,
                found: values.len() % width,
            });
        }
        let limit = f64::from(f32::MAX);
        let unusable = |value: &f64| !value.is_finite() || value.abs() > limit;
        if let Some(index) = values.iter().position(unusable) {
            return Err(MetricError::NotFinite {
                what: format!("row {}, column {}", index / width, index % width),
                found: values[index],
            });
        }
        Ok(Self { width, values })
    }

    /// Rows of equal length.
    ///
    /// # Errors
    ///
    /// [`MetricError::Shape`] where a row's length differs from the first one's, else as [`new`](Self::new).
    pub fn from_rows<'a>(rows: impl IntoIterator<Item = &'a [f64]>) -> Result<Self, MetricError> {
        let (mut width, mut values) = (0, Vec::new());
        for (number, row) in rows.into_iter().enumerate() {
            if number == 0 {
                width = row.len();
            }
            if row.len() != width {
                return Err(MetricError::Shape {
                    what: format!("width of row {number}"),
                    expected: width,
                    found: row.len(),
                });
            }
            values.extend_from_slice(row);
        }
        Self::new(width, values)
    }

    /// Number of rows `N`.
    pub fn count(&self) -> usize {
        self.values.len() / self.width
    }

    /// Width of a row `D`.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.width)
    }

    /// All values, row by row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The rows with these numbers.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for none.
    ///
    /// # Panics
    ///
    /// Panics where there is no such row.
    pub fn select(&self, rows: impl IntoIterator<Item = usize>) -> Result<Self, MetricError> {
        let row = |row: usize| &self.values[row * self.width..(row + 1) * self.width];
        Self::from_rows(rows.into_iter().map(row))
    }

    /// Refuses `other` where its width differs.
    pub(super) fn check_width(&self, other: &Self) -> Result<(), MetricError> {
        if other.width == self.width {
            return Ok(());
        }
        Err(MetricError::Shape {
            what: "width of the generated rows".into(),
            expected: self.width,
            found: other.width,
        })
    }

    /// Refuses `other` where it is not paired with these rows one to one.
    pub(super) fn check_paired(&self, other: &Self) -> Result<(), MetricError> {
        self.check_width(other)?;
        if other.count() == self.count() {
            return Ok(());
        }
        Err(MetricError::Shape {
            what: "number of generated rows".into(),
            expected: self.count(),
            found: other.count(),
        })
    }
}

impl NamedFeatures {
    /// The rows of these clips, one each.
    ///
    /// # Errors
    ///
    /// [`MetricError::Shape`] where there are not as many names as rows.
    pub fn new(ids: Vec<String>, features: Features) -> Result<Self, MetricError> {
        if ids.len() != features.count() {
            return Err(MetricError::Shape {
                what: "number of names of the rows".into(),
                expected: features.count(),
                found: ids.len(),
            });
        }
        Ok(Self { ids, features })
    }

    /// Names of the clips, in the order of the rows.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The rows.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The row of a clip.
    pub fn row(&self, id: &str) -> Option<&[f64]> {
        let place = self.ids.iter().position(|other| other == id)?;
        self.features.rows().nth(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_none_are_refused() {
        for (width, values, words) in [
            (0, vec![1.0], "width of a row: 0"),
            (2, vec![], "number of values: 0"),
            (2, vec![1.0; 3], "last row of width 2: 1, expected 2"),
            (2, vec![0.0, 1.0, 2.0, f64::NAN], "row 1, column 1: NaN"),
            (1, vec![f64::INFINITY], "row 0, column 0: inf"),
            (1, vec![1e39], "within the range of f32"),
        ] {
            let error = Features::new(width, values).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
        let rows: [&[f64]; 2] = [&[1.0, 2.0], &[3.0]];
        let error = Features::from_rows(rows).expect_err("ragged").to_string();
        assert_eq!(error, "width of row 1: 1, expected 2");
    }

    #[test]
    fn rows_are_selected_in_the_order_asked_for() {
        let features = Features::new(2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).expect("three rows");
        let selected = features.select([2, 0]).expect("two rows");
        assert_eq!(selected.values(), [4.0, 5.0, 0.0, 1.0]);
        assert!(matches!(
            features.select([]),
            Err(MetricError::TooFew { .. })
        ));
    }
}
