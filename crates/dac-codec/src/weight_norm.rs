//! Weight normalisation, which the official checkpoints store and this crate folds away.

/// `w = g * v / |v|`, with the norm over all dimensions but the first.
///
/// Salimans and Kingma (arXiv:1602.07868), eq. 2. The first dimension is the output channel of a
/// convolution and the input channel of a transposed one. Rows of zeros give NaN, as in the
/// reference; the loader rejects them.
///
/// # Panics
///
/// Panics if `v` does not consist of `g.len()` equal rows.
pub fn fold(g: &[f32], v: &[f32]) -> Vec<f32> {
    if g.is_empty() {
        assert!(v.is_empty(), "weight norm without gains has no directions");
        return Vec::new();
    }
    assert!(
        v.len().is_multiple_of(g.len()),
        "{} directions can't be split into {} rows",
        v.len(),
        g.len()
    );
    let row = v.len() / g.len();
    let mut weight = Vec::with_capacity(v.len());
    for (gain, direction) in g.iter().zip(v.chunks_exact(row.max(1))) {
        // f64, because a row may sum tens of thousands of squares.
        let norm = direction
            .iter()
            .map(|&value| f64::from(value).powi(2))
            .sum::<f64>()
            .sqrt();
        let scale = f64::from(*gain) / norm;
        weight.extend(
            direction
                .iter()
                .map(|&value| (f64::from(value) * scale) as f32),
        );
    }
    weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_gets_its_gain_as_norm() {
        // |(3, 4)| = 5, |(0, -2)| = 2
        let weight = fold(&[10.0, 0.5], &[3.0, 4.0, 0.0, -2.0]);
        assert_eq!(weight, [6.0, 8.0, 0.0, -0.5]);
    }

    #[test]
    fn a_row_of_zeros_is_not_hidden() {
        assert!(fold(&[1.0], &[0.0, 0.0])[0].is_nan());
    }
}
