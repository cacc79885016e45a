//! The pitch of a voice.
//!
//! De Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music" (JASA 111, 2002), steps 1 to
//! 5: the squared difference of a frame from itself moved by a lag, over its mean at shorter lags; the first lag where that
//! dips below a threshold; a parabola through its neighbours.

use super::ANALYSIS_RATE;

/// Samples from one frame to the next: 10 ms, as of the cepstra.
const HOP: usize = 160;
/// What the normalised difference of a voiced frame dips below.
const THRESHOLD: f64 = 0.15;
/// A frame whose RMS lies further below the loudest frame's is not voiced: 30 dB.
const QUIET: f64 = 0.0316;

/// Finds pitches within a range.
#[derive(Debug, Clone, Copy)]
pub struct PitchTracker {
    shortest: usize,
    longest: usize,
}

/// The pitch of each frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Pitch {
    /// Fundamental frequency in Hz every 10 ms, `None` where nothing is periodic.
    pub frames: Vec<Option<f64>>,
}

impl Default for PitchTracker {
    /// 60 to 400 Hz: speaking voices.
    fn default() -> Self {
        Self {
            shortest: ANALYSIS_RATE as usize / 400,
            longest: ANALYSIS_RATE as usize / 60 + 1,
        }
    }
}

impl PitchTracker {
    /// The pitch of `samples`.
    pub fn track(&self, samples: &[f32]) -> Pitch {
        let window = 2 * self.longest;
        let count = samples.len() / HOP + 1;
        let frame = |number: usize| -> Vec<f64> {
            let start = (number * HOP) as isize - (window / 2) as isize;
            let at = |k: usize| usize::try_from(start + k as isize).ok();
            let sample = |k: usize| at(k).and_then(|place| samples.get(place)).copied();
            (0..window)
                .map(|k| f64::from(sample(k).unwrap_or(0.0)))
                .collect()
        };
        let frames: Vec<Vec<f64>> = (0..count).map(frame).collect();
        let level = |frame: &[f64]| frame.iter().map(|value| value * value).sum::<f64>().sqrt();
        let loudest = frames.iter().map(|frame| level(frame)).fold(0.0, f64::max);
        let pitch = |frame: &Vec<f64>| match level(frame) {
            level if level > 0.0 && level >= loudest * QUIET => self.pitch(frame),
            _ => None,
        };
        Pitch {
            frames: frames.iter().map(pitch).collect(),
        }
    }

    /// The pitch of one frame.
    fn pitch(&self, frame: &[f64]) -> Option<f64> {
        let width = frame.len() - self.longest;
        let mut normalized = vec![1.0; self.longest + 1];
        let mut sum = 0.0;
        for lag in 1..=self.longest {
            let pairs = frame[..width].iter().zip(&frame[lag..]);
            let difference: f64 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
            sum += difference;
            if sum > 0.0 {
                normalized[lag] = difference * lag as f64 / sum;
            }
        }
        let first = (self.shortest..self.longest).find(|&lag| normalized[lag] < THRESHOLD)?;
        // Down to the bottom of the dip.
        let lag = (first..self.longest).find(|&lag| normalized[lag + 1] >= normalized[lag])?;
        let [left, middle, right] = [lag - 1, lag, lag + 1].map(|lag| normalized[lag]);
        let curve = left - 2.0 * middle + right;
        let shift = match curve > 0.0 {
            true => ((left - right) / (2.0 * curve)).clamp(-0.5, 0.5),
            false => 0.0,
        };
        Some(f64::from(ANALYSIS_RATE) / (lag as f64 + shift))
    }
}

impl Pitch {
    /// The median of the voiced frames in Hz; `None` where none is.
    pub fn median(&self) -> Option<f64> {
        let mut voiced: Vec<f64> = self.frames.iter().flatten().copied().collect();
        voiced.sort_by(f64::total_cmp);
        let upper = voiced.get(voiced.len() / 2).copied()?;
        match voiced.len() % 2 {
            0 => Some((voiced[voiced.len() / 2 - 1] + upper) / 2.0),
            _ => Some(upper),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saw_wave_has_the_pitch_it_was_made_with() {
        for hz in [70.0, 85.0, 115.0, 170.0, 240.0, 390.0] {
            let saw = |n: usize| ((n as f64 * hz / 16_000.0).fract() - 0.5) as f32;
            let samples: Vec<f32> = (0..8000).map(saw).collect();
            let found = PitchTracker::default()
                .track(&samples)
                .median()
                .expect("a pitch");
            assert!((found / hz - 1.0).abs() < 0.005, "{found} for {hz}");
        }
    }

    #[test]
    fn silence_and_noise_have_none() {
        let tracker = PitchTracker::default();
        assert_eq!(tracker.track(&[0.0; 4000]).median(), None);
        assert_eq!(tracker.track(&[]).median(), None);
        let mut state = 7u32;
        let noise: Vec<f32> = (0..8000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect();
        let voiced = tracker.track(&noise).frames.iter().flatten().count();
        assert!(voiced <= 2, "{voiced} voiced frames of 51");
    }

    #[test]
    fn the_median_of_an_even_count_is_the_mean_of_the_middle_two() {
        let frames = [Some(100.0), None, Some(400.0), Some(200.0), Some(120.0)];
        let pitch = Pitch {
            frames: frames.to_vec(),
        };
        assert_eq!(pitch.median(), Some(160.0));
    }
}
