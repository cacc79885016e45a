//! Whether the right sentence is spoken, without knowing its words: which real clip a spoken one is most like.
//!
//! Each clip is compared with the real clips of all sentences of its speaker by the dynamic time warping of their mel
//! cepstra (coefficients 1 to 12, without their mean). It counts for any language, and knows nothing of it.

use serde::{Deserialize, Serialize};

use super::sounds::Versions;
use crate::metrics::{
    MetricError, Summary,
    analysis::{CepstralAnalysis, trimmed, warped_distance},
};

/// Coefficients with the first one, which plays no part.
const COEFFICIENTS: usize = 13;

/// What is said in a clip, as far as it can be compared.
#[derive(Debug, Clone, PartialEq)]
pub struct SpokenContent {
    /// Normalised cepstra; empty for silence.
    pub frames: Vec<Vec<f64>>,
    /// Length without the silence around it, in seconds.
    pub seconds: f64,
}

/// Listens to what is said.
#[derive(Debug, Clone)]
pub struct ContentAnalysis(CepstralAnalysis);

/// Shares of clips that are most like the real clip of their own sentence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentFigures {
    /// Number of clips.
    pub clips: usize,
    /// Sentences among which the right one is looked for, in the mean.
    pub candidates: f64,
    /// Share that a blind guess reaches.
    pub chance: f64,
    /// Share of the codec's round trips.
    pub round_trip: f64,
    /// Share of the generated clips.
    pub generated: f64,
    /// Length of the generated clip by that of the real one, silence around both left out.
    pub duration_ratio: Summary,
}

/// Collects clips with their speakers.
#[derive(Debug, Clone, Default)]
pub struct ContentRanks {
    clips: Vec<(String, Versions<SpokenContent>)>,
}

impl ContentAnalysis {
    /// Gets ready.
    ///
    /// # Errors
    ///
    /// [`MetricError::Setting`] where the bands are not possible, which for its settings they are.
    pub fn new() -> Result<Self, MetricError> {
        Ok(Self(
            CepstralAnalysis::new(COEFFICIENTS).map_err(super::setting)?,
        ))
    }

    /// What is said in a clip, samples at the rate of the analysis.
    pub fn content(&self, samples: &[f32]) -> SpokenContent {
        let samples = trimmed(samples);
        let frames = match samples {
            [] => Vec::new(),
            samples => self.0.cepstra(samples).normalized(),
        };
        SpokenContent {
            frames,
            seconds: samples.len() as f64 / f64::from(crate::metrics::analysis::ANALYSIS_RATE),
        }
    }
}

impl ContentRanks {
    /// Adds a clip of a speaker.
    pub fn add(&mut self, speaker: &str, content: Versions<SpokenContent>) {
        self.clips.push((speaker.to_owned(), content));
    }

    /// Whether the own sentence is the nearest, for the round trip and for the generated version of each clip.
    pub fn right(&self) -> Vec<[bool; 2]> {
        let nearest = |own: usize, frames: &[Vec<f64>]| {
            let (speaker, _) = &self.clips[own];
            let candidates = self
                .clips
                .iter()
                .enumerate()
                .filter(|(_, clip)| clip.0 == *speaker);
            let distances = candidates
                .map(|(place, clip)| (place, warped_distance(frames, &clip.1.real.frames)));
            let best = distances.min_by(|a, b| a.1.total_cmp(&b.1));
            best.is_some_and(|(place, distance)| place == own && distance.is_finite())
        };
        (self.clips.iter().enumerate())
            .map(|(own, (_, content))| {
                [&content.round_trip, &content.generated]
                    .map(|version| nearest(own, &version.frames))
            })
            .collect()
    }

    /// The shares; `None` without clips.
    pub fn figures(&self) -> Option<ContentFigures> {
        let count = self.clips.len();
        let right = self.right();
        let share = |version: usize| {
            let right = right.iter().filter(|right| right[version]).count();
            right as f64 / count.max(1) as f64
        };
        let candidates: Vec<f64> = (self.clips.iter())
            .map(|(speaker, _)| self.clips.iter().filter(|clip| clip.0 == *speaker).count() as f64)
            .collect();
        let ratios: Vec<f64> = (self.clips.iter())
            .map(|(_, content)| content.generated.seconds / content.real.seconds.max(1e-3))
            .collect();
        Some(ContentFigures {
            clips: count,
            candidates: candidates.iter().sum::<f64>() / count.max(1) as f64,
            chance: candidates.iter().map(|count| 1.0 / count).sum::<f64>() / count.max(1) as f64,
            round_trip: share(0),
            generated: share(1),
            duration_ratio: Summary::of(&ratios)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tones after each other.
    fn melody(hz: [f64; 3], seconds: f64) -> Vec<f32> {
        let length = (16_000.0 * seconds) as usize;
        let tone = |n: usize, hz: f64| (n as f64 * hz / 16_000.0).fract() as f32 - 0.5;
        (0..length)
            .map(|n| tone(n, hz[n * 3 / length]) * 0.5)
            .collect()
    }

    #[test]
    fn a_stretched_sentence_is_most_like_its_own() {
        let analysis = ContentAnalysis::new().expect("bands");
        let content = |hz, seconds| analysis.content(&melody(hz, seconds));
        let sentences = [
            [300.0, 900.0, 2500.0],
            [2500.0, 300.0, 900.0],
            [900.0, 2500.0, 300.0],
        ];
        let mut ranks = ContentRanks::default();
        for (number, hz) in sentences.into_iter().enumerate() {
            let versions = Versions {
                real: content(hz, 0.6),
                round_trip: content(hz, 0.6),
                // The last one says what the first one should.
                generated: content(if number == 2 { sentences[0] } else { hz }, 0.75),
            };
            ranks.add("somebody", versions);
        }
        assert_eq!(ranks.right(), [[true, true], [true, true], [true, false]]);
        let figures = ranks.figures().expect("clips");
        assert_eq!((figures.clips, figures.candidates), (3, 3.0));
        assert!((figures.chance - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((figures.round_trip, figures.generated), (1.0, 2.0 / 3.0));
        assert!((figures.duration_ratio.mean - 1.25).abs() < 0.02);
    }

    #[test]
    fn silence_is_like_nothing() {
        let analysis = ContentAnalysis::new().expect("bands");
        let silent = analysis.content(&[0.0; 4000]);
        assert_eq!((silent.frames.len(), silent.seconds), (0, 0.0));
        let real = analysis.content(&melody([300.0; 3], 0.3));
        let mut ranks = ContentRanks::default();
        ranks.add(
            "a",
            Versions {
                real: real.clone(),
                round_trip: real,
                generated: silent,
            },
        );
        assert_eq!(ranks.right(), [[true, false]]);
        assert_eq!(ContentRanks::default().figures(), None);
    }
}
