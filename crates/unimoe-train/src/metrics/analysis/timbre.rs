//! How a sound is coloured, whatever is played or said with it.

use super::Cepstra;

/// A frame whose loudness lies further below the loudest one's doesn't count: 30 in the first coefficient, which is 20 dB
/// in every band.
const QUIET: f64 = 30.0;

/// Statistics of the cepstra of a sound, without the loudness.
#[derive(Debug, Clone, PartialEq)]
pub struct Timbre {
    /// Mean of each coefficient over the frames.
    pub mean: Vec<f64>,
    /// Standard deviation of each.
    pub spread: Vec<f64>,
    /// Mean absolute change of each from frame to frame, with the loudness's first.
    pub change: Vec<f64>,
}

/// The timbre of the frames that are loud and for which `counts` holds; `None` where there is no such frame.
pub fn timbre(cepstra: &Cepstra, counts: impl Fn(usize) -> bool) -> Option<Timbre> {
    let loudness = |frame: &Vec<f64>| frame.first().copied().unwrap_or(f64::NEG_INFINITY);
    let loudest = cepstra
        .frames
        .iter()
        .map(loudness)
        .fold(f64::NEG_INFINITY, f64::max);
    let kept: Vec<&[f64]> = (cepstra.frames.iter().enumerate())
        .filter(|(place, frame)| counts(*place) && loudness(frame) > loudest - QUIET)
        .map(|(_, frame)| &frame[1..])
        .collect();
    let width = kept.first()?.len();
    let average = |value: &dyn Fn(&[f64], usize) -> f64| -> Vec<f64> {
        let over = |c: usize| kept.iter().map(|frame| value(frame, c)).sum::<f64>();
        (0..width).map(|c| over(c) / kept.len() as f64).collect()
    };
    let mean = average(&|frame, c| frame[c]);
    let squares = average(&|frame, c| (frame[c] - mean[c]).powi(2));
    let pairs = cepstra.frames.windows(2);
    let count = pairs.len().max(1) as f64;
    let mut change = vec![0.0; width + 1];
    for pair in pairs {
        for (sum, (now, before)) in change.iter_mut().zip(pair[1].iter().zip(&pair[0])) {
            *sum += (now - before).abs() / count;
        }
    }
    Some(Timbre {
        mean,
        spread: squares.into_iter().map(f64::sqrt).collect(),
        change,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_by_hand_over_the_frames_that_count() {
        let cepstra = Cepstra {
            frames: vec![
                vec![50.0, 1.0],
                vec![51.0, 3.0],
                vec![10.0, 90.0],
                vec![50.0, 70.0],
            ],
        };
        let found = timbre(&cepstra, |place| place != 3).expect("two frames");
        assert_eq!((found.mean, found.spread), (vec![2.0], vec![1.0]));
        // |1| + |-41| + |40| and |2| + |87| + |-20| of 3 steps.
        for (change, expected) in found.change.iter().zip([82.0 / 3.0, 109.0 / 3.0]) {
            assert!((change - expected).abs() < 1e-12, "{change} {expected}");
        }
        assert_eq!(timbre(&cepstra, |_| false), None);
    }
}
