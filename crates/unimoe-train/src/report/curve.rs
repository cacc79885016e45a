//! Long curves made fit for a plot: moving averages, and fewer points.

/// Most points of a line; a screen shows no more.
const POINTS: usize = 800;

/// Mean of each point's neighbourhood, a fortieth of the curve wide; values that are no numbers are left out.
pub(super) fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = (points.len() / 80).min(250);
    // Sums up to each point, so that each window costs the same.
    let mut sums = Vec::with_capacity(points.len() + 1);
    let (mut sum, mut number) = (0.0, 0usize);
    sums.push((sum, number));
    for &(_, y) in points {
        if y.is_finite() {
            sum += y;
            number += 1;
        }
        sums.push((sum, number));
    }
    let mean = |index: usize| {
        let (first, after) = (
            sums[index.saturating_sub(half)],
            sums[(index + half + 1).min(points.len())],
        );
        match after.1 - first.1 {
            0 => f64::NAN,
            number => (after.0 - first.0) / number as f64,
        }
    };
    points
        .iter()
        .enumerate()
        .map(|(index, &(x, _))| (x, mean(index)))
        .collect()
}

/// At most about [`POINTS`] of the points: the least and the largest of each stretch, so that no peak is lost.
pub(super) fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil(POINTS / 2);
    let mut kept = Vec::with_capacity(POINTS);
    for part in points.chunks(stretch) {
        let finite = || {
            part.iter()
                .enumerate()
                .filter(|(_, point)| point.1.is_finite())
        };
        let least = finite().min_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let largest = finite().max_by(|a, b| a.1.1.total_cmp(&b.1.1));
        match (least, largest) {
            (Some((a, low)), Some((b, high))) if a < b => kept.extend([*low, *high]),
            (Some((a, low)), Some((b, high))) if a > b => kept.extend([*high, *low]),
            (Some((_, only)), _) => kept.push(*only),
            _ => kept.push((part[0].0, f64::NAN)),
        }
    }
    kept
}

/// Mean of the last tenth of a curve's values that are numbers, at least of the last; NaN without any.
pub(super) fn tail_mean(points: &[(f64, f64)]) -> f64 {
    let finite: Vec<f64> = points
        .iter()
        .map(|point| point.1)
        .filter(|y| y.is_finite())
        .collect();
    let tail = &finite[finite.len() - finite.len().div_ceil(10)..];
    tail.iter().sum::<f64>() / tail.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(values: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        let values = values.into_iter().enumerate();
        values.map(|(index, value)| (index as f64, value)).collect()
    }

    #[test]
    fn a_straight_line_is_its_own_average_away_from_its_ends() {
        let line = numbered((0..400).map(f64::from));
        let smoothed = smooth(&line);
        assert_eq!(&smoothed[5..395], &line[5..395]);
        // The first point has five neighbours on one side only: (0 + ... + 5) / 6.
        assert_eq!(smoothed[0].1, 2.5);
        assert_eq!(smooth(&line[..3]), line[..3]);
        assert!(smooth(&[]).is_empty());
    }

    #[test]
    fn values_that_are_no_numbers_do_not_spread() {
        let mut values = vec![1.0; 200];
        values[100] = f64::NAN;
        assert!(smooth(&numbered(values)).iter().all(|point| point.1 == 1.0));
        assert!(smooth(&[(0.0, f64::NAN)])[0].1.is_nan());
    }

    #[test]
    fn thinning_keeps_peaks_and_order() {
        let mut values = vec![0.0; 100_000];
        values[41_999] = 9.0;
        values[70_001] = -9.0;
        values[5..300].fill(f64::NAN);
        let thinned = thin(&numbered(values));
        assert!(thinned.len() <= POINTS);
        assert!(thinned.contains(&(41_999.0, 9.0)) && thinned.contains(&(70_001.0, -9.0)));
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
        let few = numbered([1.0, f64::NAN]);
        assert_eq!(thin(&few).len(), 2);
    }

    #[test]
    fn the_tail_is_a_tenth() {
        let values = (0..20).map(f64::from);
        assert_eq!(tail_mean(&numbered(values)), 18.5);
        assert_eq!(tail_mean(&numbered([3.0, f64::NAN])), 3.0);
        assert!(tail_mean(&[]).is_nan());
    }
}
