//! A codec: how far its round trips are from what they should be.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use burn::tensor::Device;
use dac_codec::AudioClip;
use serde::{Deserialize, Serialize};

use super::sounds::RoundTrips;
use crate::metrics::{
    AudioComparison, AudioItem, AudioOptions, AudioReport, MetricError, Skipped, Summary,
};

/// Longest sound in seconds.
const MAX_SECONDS: f64 = 600.0;

/// Sounds that are judged together.
#[derive(Debug, Clone, Default)]
pub struct CodecGroup {
    /// What they are called.
    pub name: String,
    /// Their names and files.
    pub clips: Vec<(String, PathBuf)>,
}

/// Judges a codec by its round trips.
#[derive(Debug)]
pub struct CodecEvaluation {
    trips: RoundTrips,
    comparison: AudioComparison,
    rate: u32,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CodecReport {
    /// The figures of each group.
    pub figures: CodecFigures,
    /// Each clip, by group.
    pub clips: BTreeMap<String, Vec<AudioItem>>,
    /// Clips that were left out: of silence there is no distance.
    pub skipped: Vec<Skipped>,
}

/// The figures of each group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecFigures {
    /// The first 12 hexadecimal digits of the codec's fingerprint.
    pub codec: String,
    /// Rate in Hz at which sounds are compared: the codec's.
    pub sample_rate: u32,
    /// Groups in their order.
    pub groups: Vec<CodecItem>,
}

/// The distances of a group's round trips.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecItem {
    /// What the group is called.
    pub name: String,
    /// Length of all its clips together in seconds.
    pub seconds: f64,
    /// See [`SpectralDistances`](crate::SpectralDistances).
    pub mel_distance: Summary,
    /// See [`SpectralDistances`](crate::SpectralDistances).
    pub stft_distance: Summary,
    /// Scale-invariant signal-to-distortion ratio in dB.
    pub si_sdr: Summary,
}

impl CodecEvaluation {
    /// With a codec's round trips, at its sample rate.
    ///
    /// # Errors
    ///
    /// [`MetricError::Setting`] for a sample rate that spectra are not computed at.
    pub fn new(trips: RoundTrips, sample_rate: u32, device: &Device) -> Result<Self, MetricError> {
        let options = AudioOptions {
            sample_rate,
            max_seconds: MAX_SECONDS,
            ..AudioOptions::default()
        };
        Ok(Self {
            comparison: AudioComparison::new(options, device)?,
            rate: sample_rate,
            trips,
        })
    }

    /// Judges groups of sounds; `progress` is told after each. Ends early where `stop` becomes true.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for no groups, or one without a sound that can be compared; [`MetricError::Audio`] for a file
    /// that can't be read or is too long; [`MetricError::Stopped`].
    pub fn run(
        &self,
        groups: &[CodecGroup],
        stop: &AtomicBool,
        progress: &mut dyn FnMut(usize),
    ) -> Result<CodecReport, MetricError> {
        if groups.is_empty() {
            return Err(MetricError::TooFew {
                what: "groups of sounds".into(),
                expected: 1,
                found: 0,
            });
        }
        let (mut figures, mut clips, mut skipped) = (Vec::new(), BTreeMap::new(), Vec::new());
        let mut done = 0;
        for group in groups {
            let mut items = Vec::new();
            for (id, path) in &group.clips {
                if stop.load(Ordering::Relaxed) {
                    return Err(MetricError::Stopped);
                }
                let clip = AudioClip::read(path, MAX_SECONDS)?;
                let trip = self.trips.of(id, &clip)?;
                match self.comparison.sounds(id, clip, trip.clip) {
                    Ok(item) => items.push(item),
                    Err(error @ MetricError::Silent { .. }) => skipped.push(Skipped {
                        id: id.clone(),
                        reason: error.to_string(),
                    }),
                    Err(error) => return Err(error),
                }
                done += 1;
                progress(done);
            }
            let report = AudioReport::new(self.comparison.options(), items, Vec::new());
            let report = report.map_err(|error| match error {
                MetricError::TooFew {
                    expected, found, ..
                } => MetricError::TooFew {
                    what: format!("sounds of the group `{}` that can be compared", group.name),
                    expected,
                    found,
                },
                other => other,
            })?;
            figures.push(CodecItem {
                name: group.name.clone(),
                seconds: report.clips.iter().map(|clip| clip.reference_seconds).sum(),
                mel_distance: report.mel_distance,
                stft_distance: report.stft_distance,
                si_sdr: report.si_sdr,
            });
            clips.insert(group.name.clone(), report.clips);
        }
        Ok(CodecReport {
            figures: CodecFigures {
                codec: self.trips.fingerprint()[..12].to_owned(),
                sample_rate: self.rate,
                groups: figures,
            },
            clips,
            skipped,
        })
    }
}
