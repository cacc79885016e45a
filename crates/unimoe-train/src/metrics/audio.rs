//! Comparing sounds with the sounds that they should be.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dac_codec::AudioClip;
use serde::Serialize;

use super::{
    EvalClip, MetricError, SpectralDistance, SpectralDistances, Summary, si_sdr, si_sdr::LEAST_PEAK,
};

/// How sounds are made comparable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AudioOptions {
    /// Rate in Hz at which they are compared; others are resampled to it. Default: 16,000, the codec's.
    pub sample_rate: u32,
    /// What is done where one is longer. Default: it is cut
    pub lengths: LengthRule,
    /// Longest sound in seconds; longer ones are an error. Default: 600
    pub max_seconds: f64,
}

/// What is done with two sounds of different length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LengthRule {
    /// The longer one is cut at its end.
    #[default]
    Cut,
    /// The shorter one is followed by silence.
    Pad,
    /// It is an error.
    Equal,
}

/// Compares pairs of sounds.
#[derive(Debug, Clone)]
pub struct AudioComparison {
    options: AudioOptions,
    spectra: SpectralDistance,
}

/// A pair of sounds that was compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AudioItem {
    /// Name of the clip.
    pub id: String,
    /// Length of the reference in seconds.
    pub reference_seconds: f64,
    /// Length of what was generated in seconds.
    pub generated_seconds: f64,
    /// [`si_sdr`] in dB.
    pub si_sdr: f64,
    /// Distances of the spectra.
    #[serde(flatten)]
    pub spectra: SpectralDistances,
}

/// A clip that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Its name.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// The comparison of a set of sounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AudioReport {
    /// How the sounds were made comparable.
    pub options: AudioOptions,
    /// [`si_sdr`] in dB.
    pub si_sdr: Summary,
    /// See [`SpectralDistances`].
    pub mel_distance: Summary,
    /// See [`SpectralDistances`].
    pub stft_distance: Summary,
    /// See [`SpectralDistances`].
    pub multi_resolution_stft_distance: Summary,
    /// Greatest difference of length within a pair, in seconds.
    pub max_length_difference: f64,
    /// Each pair.
    pub clips: Vec<AudioItem>,
    /// Clips that were left out.
    pub skipped: Vec<Skipped>,
}

impl Default for AudioOptions {
    fn default() -> Self {
        Self {
            sample_rate: 16_000,
            lengths: LengthRule::Cut,
            max_seconds: 600.0,
        }
    }
}

impl AudioComparison {
    /// Gets ready to compare sounds on `device`.
    ///
    /// # Errors
    ///
    /// [`MetricError::Setting`] for a sample rate that is not within 1 Hz to 768 kHz.
    pub fn new(options: AudioOptions, device: &Device) -> Result<Self, MetricError> {
        Ok(Self {
            spectra: SpectralDistance::new(options.sample_rate, device)?,
            options,
        })
    }

    /// The settings.
    pub fn options(&self) -> AudioOptions {
        self.options
    }

    /// Compares two files; the pair is named as the reference.
    ///
    /// # Errors
    ///
    /// [`MetricError::Audio`] for a file that can't be read or is too long, [`MetricError::Silent`] for one that
    /// never reaches half a step of 16 bits, [`MetricError::Lengths`] where equal lengths are asked for.
    pub fn files(
        &self,
        reference: &EvalClip,
        generated: &EvalClip,
    ) -> Result<AudioItem, MetricError> {
        let x = self.read(&reference.path)?;
        let y = self.read(&generated.path)?;
        self.sounds(&reference.id, x, y)
    }

    /// Compares two sounds, of any sample rates.
    ///
    /// # Errors
    ///
    /// As [`files`](Self::files), and [`MetricError::NotFinite`] for a sample that is not finite.
    pub fn sounds(
        &self,
        id: &str,
        reference: AudioClip,
        generated: AudioClip,
    ) -> Result<AudioItem, MetricError> {
        let seconds = [reference.seconds(), generated.seconds()];
        let rate = self.options.sample_rate;
        let mut x = reference.resampled(rate)?.samples;
        let mut y = generated.resampled(rate)?.samples;
        if x.len() != y.len() {
            let length = match self.options.lengths {
                LengthRule::Cut => x.len().min(y.len()),
                LengthRule::Pad => x.len().max(y.len()),
                LengthRule::Equal => {
                    return Err(MetricError::Lengths {
                        id: id.to_owned(),
                        reference: x.len(),
                        generated: y.len(),
                    });
                }
            };
            x.resize(length, 0.0);
            y.resize(length, 0.0);
        }
        let named = |error| match error {
            MetricError::Silent { what } => MetricError::Silent {
                what: format!("`{id}`, {what},"),
            },
            other => other,
        };
        Ok(AudioItem {
            id: id.to_owned(),
            reference_seconds: seconds[0],
            generated_seconds: seconds[1],
            si_sdr: si_sdr(&x, &y).map_err(named)?,
            spectra: self.spectra.between(&x, &y)?,
        })
    }

    fn read(&self, path: &Path) -> Result<AudioClip, MetricError> {
        let clip = AudioClip::read(path, self.options.max_seconds)?;
        if clip.samples.iter().all(|sample| sample.abs() < LEAST_PEAK) {
            return Err(MetricError::Silent {
                what: PathBuf::from(path).display().to_string(),
            });
        }
        Ok(clip)
    }
}

impl AudioReport {
    /// Sums up the pairs.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] where there is none.
    pub fn new(
        options: AudioOptions,
        clips: Vec<AudioItem>,
        skipped: Vec<Skipped>,
    ) -> Result<Self, MetricError> {
        let summary = |value: fn(&AudioItem) -> f64| {
            let values: Vec<f64> = clips.iter().map(value).collect();
            Summary::of(&values).ok_or_else(|| MetricError::TooFew {
                what: "pairs of sounds that can be compared".into(),
                expected: 1,
                found: 0,
            })
        };
        let differences = clips
            .iter()
            .map(|clip| (clip.reference_seconds - clip.generated_seconds).abs());
        Ok(Self {
            options,
            si_sdr: summary(|clip| clip.si_sdr)?,
            mel_distance: summary(|clip| clip.spectra.mel_distance)?,
            stft_distance: summary(|clip| clip.spectra.stft_distance)?,
            multi_resolution_stft_distance: summary(|clip| {
                clip.spectra.multi_resolution_stft_distance
            })?,
            max_length_difference: differences.fold(0.0, f64::max),
            clips,
            skipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(sample_rate: u32, count: usize) -> AudioClip {
        let step = std::f32::consts::TAU * 440.0 / sample_rate as f32;
        AudioClip {
            samples: (0..count).map(|i| 0.5 * (i as f32 * step).sin()).collect(),
            sample_rate,
        }
    }

    fn comparison(lengths: LengthRule) -> AudioComparison {
        let options = AudioOptions {
            lengths,
            ..AudioOptions::default()
        };
        AudioComparison::new(options, &Device::flex()).expect("settings")
    }

    #[test]
    fn a_sound_at_another_rate_is_nearly_itself() {
        let compare = comparison(LengthRule::Equal);
        let same = compare.sounds("a", tone(16_000, 16_000), tone(16_000, 16_000));
        let same = same.expect("sounds");
        assert_eq!((same.si_sdr, same.spectra.mel_distance), (150.0, 0.0));
        let other = compare.sounds("a", tone(16_000, 16_000), tone(48_000, 48_000));
        let other = other.expect("sounds");
        // The ends of the tone are cut off, which a filter smears.
        assert!(other.si_sdr > 25.0, "{}", other.si_sdr);
        assert_eq!(other.generated_seconds, 1.0);
    }

    #[test]
    fn lengths_follow_the_rule() {
        let (long, short) = (tone(16_000, 4_000), tone(16_000, 3_000));
        let compare = |rule| comparison(rule).sounds("a", long.clone(), short.clone());
        assert_eq!(compare(LengthRule::Cut).expect("sounds").si_sdr, 150.0);
        // A quarter of the reference is missing: 3 parts signal, 1 part noise.
        let padded = compare(LengthRule::Pad).expect("sounds").si_sdr;
        assert!((padded - 10.0 * 3.0f64.log10()).abs() < 0.1, "{padded}");
        let error = compare(LengthRule::Equal).expect_err("lengths").to_string();
        assert_eq!(
            error,
            "`a`: 3000 samples were generated for 4000, expected as many"
        );
    }

    #[test]
    fn silence_names_its_clip() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("quiet.wav");
        let mut clip = tone(16_000, 1_000);
        clip.samples.fill(0.0);
        clip.write_wav(&path).expect("written");
        let quiet = EvalClip::file(&path);
        let compare = comparison(LengthRule::Cut);
        let error = compare
            .files(&quiet, &quiet)
            .expect_err("silent")
            .to_string();
        assert!(error.contains("quiet.wav is silent"), "{error}");

        let constant = AudioClip {
            samples: vec![0.25; 1_000],
            sample_rate: 16_000,
        };
        let error = compare
            .sounds("c", tone(16_000, 1_000), constant)
            .expect_err("silent");
        assert!(
            error
                .to_string()
                .starts_with("`c`, the estimate, is silent"),
            "{error}"
        );
    }

    #[test]
    fn a_report_sums_up_what_could_be_compared() {
        let compare = comparison(LengthRule::Cut);
        let items = [4_000, 3_000].map(|count| {
            compare
                .sounds("a", tone(16_000, 4_000), tone(16_000, count))
                .expect("sounds")
        });
        let report =
            AudioReport::new(compare.options(), items.to_vec(), Vec::new()).expect("pairs");
        assert_eq!((report.si_sdr.count, report.si_sdr.mean), (2, 150.0));
        assert_eq!(report.max_length_difference, 0.0625);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["options"]["lengths"], "cut");
        assert!(json["clips"][1]["mel_distance"].is_number());
        let error = AudioReport::new(compare.options(), Vec::new(), Vec::new());
        assert!(matches!(error, Err(MetricError::TooFew { .. })));
    }
}
