//! What can be heard of a clip without listening: length, loudness, silence, clipping.

use dac_codec::AudioClip;
use ebur128::{EbuR128, Mode};
use serde::{Deserialize, Serialize};

/// Level of digital silence, in dB: what stands for minus infinity.
pub const FLOOR_DB: f64 = -120.0;
/// A sample of this size is at full scale.
const FULL_SCALE: f32 = 0.999;
/// Length of a frame whose level is taken, in seconds.
const FRAME_SECONDS: f64 = 0.02;
/// A frame below this level is silent, in dB of full scale.
const SILENT_DB: f64 = -60.0;
/// A frame so far below the loud ones is silent, in dB.
const BELOW_LOUD_DB: f64 = 40.0;
/// Share of the frames that are at most as loud as the loud ones.
const LOUD_SHARE: f64 = 0.95;
/// Sample rates that the meter's filters are made for, in Hz.
const METER_RATES: std::ops::RangeInclusive<u32> = 4_000..=384_000;
/// Least rate with a loudness: resampling from less costs too much.
const LEAST_RATE: u32 = 1_000;
/// The rate of sounds at any other, when they are metered.
const METER_RATE: u32 = 48_000;
/// Length of the blocks whose loudness is taken, in seconds (EBU R 128).
const BLOCK_SECONDS: f64 = 0.4;

/// Measures of a sound, its channels mixed to their mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudioMeasures {
    /// Length in seconds.
    pub seconds: f64,
    /// Integrated loudness in LUFS (ITU-R BS.1770-4, EBU R 128), -120 for silence. A sound of less than 0.4 s, the
    /// length of a block, is repeated to fill one. -120 at rates below 1 kHz, too.
    pub loudness: f64,
    /// Largest sample in dB of full scale, -120 for silence.
    pub peak_db: f64,
    /// Share of frames of 20 ms that are silent: below -60 dB of full scale, or 40 dB below the loud ones (which 95 % of
    /// the frames don't exceed).
    pub silence: f64,
    /// Share of samples at full scale (0.999 and more).
    pub clipping: f64,
}

impl AudioMeasures {
    /// Measures a sound that is not empty.
    pub fn of(clip: &AudioClip) -> Self {
        let count = clip.samples.len().max(1) as f64;
        let clipped = clip
            .samples
            .iter()
            .filter(|sample| sample.abs() >= FULL_SCALE);
        let peak = clip
            .samples
            .iter()
            .fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        Self {
            seconds: clip.seconds(),
            loudness: loudness(clip),
            peak_db: decibels(f64::from(peak).powi(2)),
            silence: silence(clip),
            clipping: clipped.count() as f64 / count,
        }
    }
}

/// A power in dB, at least [`FLOOR_DB`].
fn decibels(power: f64) -> f64 {
    (10.0 * power.log10()).max(FLOOR_DB)
}

fn silence(clip: &AudioClip) -> f64 {
    let frame = (f64::from(clip.sample_rate) * FRAME_SECONDS)
        .round()
        .max(1.0) as usize;
    let level = |samples: &[f32]| {
        let sum: f64 = samples
            .iter()
            .map(|&sample| f64::from(sample).powi(2))
            .sum();
        decibels(sum / samples.len() as f64)
    };
    let levels: Vec<f64> = clip.samples.chunks(frame).map(level).collect();
    let mut sorted = levels.clone();
    sorted.sort_by(f64::total_cmp);
    let loud = ((sorted.len() as f64 * LOUD_SHARE) as usize).min(sorted.len().saturating_sub(1));
    let Some(loud) = sorted.get(loud) else {
        return 1.0;
    };
    let limit = SILENT_DB.max(loud - BELOW_LOUD_DB);
    levels.iter().filter(|&&level| level < limit).count() as f64 / levels.len() as f64
}

fn loudness(clip: &AudioClip) -> f64 {
    if clip.sample_rate < LEAST_RATE {
        return FLOOR_DB;
    }
    if !METER_RATES.contains(&clip.sample_rate) {
        return clip
            .resampled(METER_RATE)
            .map_or(FLOOR_DB, |clip| loudness(&clip));
    }
    let block = (f64::from(clip.sample_rate) * BLOCK_SECONDS).ceil() as usize;
    let measure = || {
        let mut meter = EbuR128::new(1, clip.sample_rate, Mode::I).ok()?;
        if clip.samples.len() < block {
            let repeated = clip.samples.iter().cycle().take(block).copied();
            meter.add_frames_f32(&repeated.collect::<Vec<_>>()).ok()?;
        } else {
            meter.add_frames_f32(&clip.samples).ok()?;
        }
        meter.loudness_global().ok()
    };
    measure().unwrap_or(FLOOR_DB).max(FLOOR_DB)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f64, amplitude: f64, seconds: f64, rate: u32) -> AudioClip {
        let angle = |index: usize| std::f64::consts::TAU * hertz * index as f64 / f64::from(rate);
        let count = (seconds * f64::from(rate)) as usize;
        AudioClip {
            samples: (0..count)
                .map(|i| (amplitude * angle(i).sin()) as f32)
                .collect(),
            sample_rate: rate,
        }
    }

    #[test]
    fn a_tone_of_997_hz_at_full_scale_is_at_minus_3_01_lufs() {
        // BS.1770-4: a 0 dB FS sine of 997 Hz in one channel reads -3.01 LKFS.
        for (amplitude, expected) in [(1.0, -3.01), (0.1, -23.01)] {
            for seconds in [3.0, 0.2] {
                let measures = AudioMeasures::of(&tone(997.0, amplitude, seconds, 48_000));
                let difference = (measures.loudness - expected).abs();
                // Short sounds lack the filter's start.
                assert!(
                    difference < if seconds > 1.0 { 0.05 } else { 0.3 },
                    "{measures:?}"
                );
                let peak = 20.0 * amplitude.log10();
                assert!((measures.peak_db - peak).abs() < 0.01, "{measures:?}");
            }
        }
    }

    #[test]
    fn silence_and_clipping_are_shares() {
        let mut clip = tone(440.0, 0.5, 1.0, 16_000);
        clip.samples.extend(vec![0.0; 16_000 * 3]);
        let measures = AudioMeasures::of(&clip);
        assert_eq!((measures.silence, measures.clipping), (0.75, 0.0));
        // Noise 46 dB below the tone is silent beside it, and not alone.
        let noise = AudioClip {
            samples: (0..16_000)
                .map(|i| if i % 3 == 0 { 0.005 } else { -0.0025 })
                .collect(),
            sample_rate: 16_000,
        };
        assert_eq!(AudioMeasures::of(&noise).silence, 0.0);
        clip.samples.truncate(16_000);
        clip.samples.extend(&noise.samples);
        assert!(AudioMeasures::of(&clip).silence < 0.51);

        let square = AudioClip {
            samples: (0..1000).map(|i| if i < 250 { 1.0 } else { 0.1 }).collect(),
            sample_rate: 8000,
        };
        assert_eq!(AudioMeasures::of(&square).clipping, 0.25);
    }

    #[test]
    fn what_can_not_be_heard_has_numbers_all_the_same() {
        let silent = AudioClip {
            samples: vec![0.0; 8000],
            sample_rate: 8000,
        };
        let measures = AudioMeasures::of(&silent);
        assert_eq!((measures.loudness, measures.peak_db), (FLOOR_DB, FLOOR_DB));
        assert_eq!(measures.silence, 1.0);
        for rate in [1, 999, 1_000, 4_000, 4_001, 12_345, 384_000, 768_000] {
            let odd = AudioClip {
                samples: vec![0.5],
                sample_rate: rate,
            };
            let measures = AudioMeasures::of(&odd);
            assert!(
                measures.loudness.is_finite() && measures.seconds > 0.0,
                "{rate}"
            );
        }
    }
}
