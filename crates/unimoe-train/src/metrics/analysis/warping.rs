//! How far two sequences are apart when time may stretch.

/// Dynamic time warping of `x`, `[N][C]`, and `y`, `[M][C]`: the least sum of Euclidean distances along a path, steps on
/// both sequences counted twice, by `N + M` (Sakoe and Chiba, IEEE Trans. ASSP 26, 1978, symmetric form without slope
/// constraint). Infinite where either is empty.
pub fn warped_distance(x: &[Vec<f64>], y: &[Vec<f64>]) -> f64 {
    if x.is_empty() || y.is_empty() {
        return f64::INFINITY;
    }
    let local = |a: &[f64], b: &[f64]| {
        let squares = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b));
        squares.sum::<f64>().sqrt()
    };
    let mut above = vec![f64::INFINITY; y.len() + 1];
    let mut row = above.clone();
    above[0] = 0.0;
    for a in x {
        row[0] = f64::INFINITY;
        for (j, b) in y.iter().enumerate() {
            let distance = local(a, b);
            row[j + 1] = (above[j] + 2.0 * distance)
                .min(above[j + 1] + distance)
                .min(row[j] + distance);
        }
        std::mem::swap(&mut above, &mut row);
    }
    above[y.len()] / (x.len() + y.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(values: &[f64]) -> Vec<Vec<f64>> {
        values.iter().map(|&value| vec![value]).collect()
    }

    #[test]
    fn stretching_costs_nothing_and_the_rest_is_counted_by_hand() {
        let x = steps(&[0.0, 1.0, 2.0]);
        assert_eq!(warped_distance(&x, &x), 0.0);
        assert_eq!(warped_distance(&x, &steps(&[0.0, 0.0, 1.0, 2.0, 2.0])), 0.0);
        // (0, 1) and (1, 1): the first step counts twice, the next once: 2 / 3.
        assert_eq!(
            warped_distance(&steps(&[0.0, 1.0]), &steps(&[1.0])),
            2.0 / 3.0
        );
        assert_eq!(warped_distance(&x, &[]), f64::INFINITY);
    }
}
