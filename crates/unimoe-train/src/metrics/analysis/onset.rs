//! Where notes begin, and how regularly.

use super::CepstralAnalysis;

/// Beats that are told apart: periods from 0.2 s to 2.4 s in steps of a sixteenth of an octave.
const SHORTEST: f64 = 0.2;
const LONGEST: f64 = 2.4;
const PER_OCTAVE: f64 = 16.0;

/// How much louder the spectrum becomes, every 10 ms.
#[derive(Debug, Clone, PartialEq)]
pub struct OnsetStrength {
    /// Mean rise of the logarithmic mel bands since the frame before.
    pub frames: Vec<f64>,
}

/// The strength of onsets, from the logarithmic mel bands that `analysis` sees in `samples`.
pub fn onset_strength(analysis: &CepstralAnalysis, samples: &[f32]) -> OnsetStrength {
    let bands = analysis.log_mel(samples);
    let rise = |pair: &[Vec<f64>]| {
        let rises = pair[1]
            .iter()
            .zip(&pair[0])
            .map(|(now, before)| (now - before).max(0.0));
        rises.sum::<f64>() / pair[0].len() as f64
    };
    OnsetStrength {
        frames: bands.windows(2).map(rise).collect(),
    }
}

impl OnsetStrength {
    /// The autocorrelation of the onsets, by that of lag 0, as its greatest value within each of 57 ranges of periods from
    /// 0.2 s to 2.4 s, a sixteenth of an octave wide; all 0 without an onset.
    pub fn periodicity(&self) -> Vec<f64> {
        let count = self.frames.len();
        let mean = self.frames.iter().sum::<f64>() / count.max(1) as f64;
        let centred: Vec<f64> = self.frames.iter().map(|value| value - mean).collect();
        let at = |lag: usize| {
            let pairs = centred.iter().zip(centred.iter().skip(lag));
            // The mean over what overlaps: long lags count as much as short ones.
            pairs.map(|(a, b)| a * b).sum::<f64>() / count.saturating_sub(lag).max(1) as f64
        };
        let power = at(0);
        let ranges = ((LONGEST / SHORTEST).log2() * PER_OCTAVE).floor() as usize;
        let best = |range: usize| {
            let edge =
                |step: usize| SHORTEST * (step as f64 / PER_OCTAVE).exp2() / CepstralAnalysis::STEP;
            let (from, to) = (
                edge(range).floor() as usize,
                edge(range + 1).ceil() as usize,
            );
            if power <= 0.0 || to >= count {
                return 0.0;
            }
            (from..=to).map(at).fold(f64::NEG_INFINITY, f64::max) / power
        };
        (0..ranges).map(best).collect()
    }

    /// The periods in seconds at which the ranges of [`periodicity`](Self::periodicity) begin.
    pub fn periods() -> Vec<f64> {
        let ranges = ((LONGEST / SHORTEST).log2() * PER_OCTAVE).floor() as usize;
        let begin = |range: usize| SHORTEST * (range as f64 / PER_OCTAVE).exp2();
        (0..ranges).map(begin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::analysis::ANALYSIS_RATE;

    #[test]
    fn clicks_repeat_at_their_period_and_its_multiples() {
        let analysis = CepstralAnalysis::new(13).expect("bands");
        // 120 beats per minute: 0.5 s.
        let mut samples = vec![0f32; 5 * ANALYSIS_RATE as usize];
        for beat in samples.chunks_mut(ANALYSIS_RATE as usize / 2) {
            for (n, sample) in beat.iter_mut().take(400).enumerate() {
                *sample = (n as f32 * 0.9).sin() * (-(n as f32) / 100.0).exp();
            }
        }
        let periodicity = onset_strength(&analysis, &samples).periodicity();
        let periods = OnsetStrength::periods();
        assert_eq!((periodicity.len(), periods.len()), (57, 57));
        let at = |seconds: f64| {
            let range = periods.iter().rposition(|&begin| begin <= seconds + 1e-9);
            periodicity[range.expect("within the periods")]
        };
        assert!(at(0.5) > 0.9 && at(1.0) > 0.9, "{} {}", at(0.5), at(1.0));
        assert!(at(0.7) < 0.1 && at(0.4) < 0.1, "{} {}", at(0.7), at(0.4));
    }

    #[test]
    fn silence_and_short_sounds_have_no_period() {
        let analysis = CepstralAnalysis::new(13).expect("bands");
        for samples in [vec![0.0; 40_000], vec![0.5; 100], Vec::new()] {
            let periodicity = onset_strength(&analysis, &samples).periodicity();
            assert!(periodicity.iter().all(|&value| value == 0.0));
        }
    }
}
