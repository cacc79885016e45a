//! Whose voice a clip has: by its pitch, and by an embedding of its timbre.
//!
//! The embedding is the mean and the standard deviation of the mel cepstral coefficients 1 to 20 over the voiced frames,
//! 40 numbers, each made comparable by its mean and spread over the reference clips. Bands that lie more than 50 dB below the loudest of a
//! clip are not heard: what is there belongs to whatever coded the clip.

use serde::{Deserialize, Serialize};

use super::{confusion::Confusion, sounds::Versions};
use crate::metrics::{
    MetricError,
    analysis::{CepstralAnalysis, PitchTracker, timbre, trimmed},
};

/// Coefficients with the first one, which is the loudness and plays no part.
const COEFFICIENTS: usize = 21;
/// Decibels below the loudest band of a clip that a voice is heard within.
const RANGE: f64 = 50.0;

/// What a clip tells of its voice.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiceTraits {
    /// Median of the fundamental frequency over the voiced frames, in Hz.
    pub pitch: f64,
    /// Mean and spread of the cepstral coefficients.
    pub embedding: Vec<f64>,
}

/// Listens to voices.
#[derive(Debug, Clone)]
pub struct VoiceAnalysis {
    tracker: PitchTracker,
    cepstra: CepstralAnalysis,
}

/// The voices of some speakers, from their reference clips.
#[derive(Debug, Clone)]
pub struct VoiceBook {
    speakers: Vec<String>,
    /// Median over the reference clips of each, in Hz.
    pitches: Vec<f64>,
    /// Mean over the reference clips of each, made comparable.
    embeddings: Vec<Vec<f64>>,
    mean: Vec<f64>,
    scale: Vec<f64>,
}

/// Whose reference voice is nearest to each clip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceFigures {
    /// By the distance of the pitches on a logarithmic scale.
    pub pitch: Versions<Confusion>,
    /// By the Euclidean distance of the embeddings.
    pub embedding: Versions<Confusion>,
}

impl VoiceAnalysis {
    /// Gets ready.
    ///
    /// # Errors
    ///
    /// [`MetricError::Setting`] where the bands are not possible, which for its settings they are.
    pub fn new() -> Result<Self, MetricError> {
        Ok(Self {
            tracker: PitchTracker::default(),
            cepstra: CepstralAnalysis::new(COEFFICIENTS)
                .map_err(super::setting)?
                .within(RANGE),
        })
    }

    /// The traits of a clip, samples at the rate of the analysis; `None` where nothing is voiced.
    pub fn traits(&self, samples: &[f32]) -> Option<VoiceTraits> {
        let samples = trimmed(samples);
        let pitch = self.tracker.track(samples);
        let cepstra = self.cepstra.cepstra(samples);
        let voiced = |place: usize| pitch.frames.get(place).is_some_and(Option::is_some);
        let timbre = timbre(&cepstra, voiced)?;
        Some(VoiceTraits {
            pitch: pitch.median()?,
            embedding: [timbre.mean, timbre.spread].concat(),
        })
    }
}

impl VoiceBook {
    /// From the traits of reference clips, with the speaker of each.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for fewer than two speakers.
    pub fn new(references: &[(String, VoiceTraits)]) -> Result<Self, MetricError> {
        let mut speakers: Vec<String> = references.iter().map(|(name, _)| name.clone()).collect();
        speakers.sort();
        speakers.dedup();
        if speakers.len() < 2 {
            return Err(MetricError::TooFew {
                what: "speakers with a reference clip".into(),
                expected: 2,
                found: speakers.len(),
            });
        }
        let count = references.len() as f64;
        let width = references
            .first()
            .map_or(0, |(_, traits)| traits.embedding.len());
        let over = |value: &dyn Fn(&[f64], usize) -> f64| -> Vec<f64> {
            let at = |c| {
                references
                    .iter()
                    .map(|(_, traits)| value(&traits.embedding, c))
                    .sum::<f64>()
            };
            (0..width).map(|c| at(c) / count).collect()
        };
        let mean = over(&|row, c| row[c]);
        let squares = over(&|row, c| (row[c] - mean[c]).powi(2));
        let scale: Vec<f64> = (squares.iter())
            .map(|&square| {
                if square > 0.0 {
                    square.sqrt().recip()
                } else {
                    0.0
                }
            })
            .collect();
        let mut book = Self {
            pitches: Vec::new(),
            embeddings: Vec::new(),
            speakers,
            mean,
            scale,
        };
        for name in &book.speakers {
            let own: Vec<&VoiceTraits> = (references.iter())
                .filter(|(speaker, _)| speaker == name)
                .map(|(_, traits)| traits)
                .collect();
            let mut pitches: Vec<f64> = own.iter().map(|traits| traits.pitch).collect();
            pitches.sort_by(f64::total_cmp);
            book.pitches.push(pitches[pitches.len() / 2]);
            let rows: Vec<Vec<f64>> = own
                .iter()
                .map(|own| book.comparable(&own.embedding))
                .collect();
            let centre = |c| rows.iter().map(|row| row[c]).sum::<f64>() / rows.len() as f64;
            book.embeddings.push((0..width).map(centre).collect());
        }
        Ok(book)
    }

    /// The speakers, by name.
    pub fn speakers(&self) -> &[String] {
        &self.speakers
    }

    /// The speaker whose pitch is nearest.
    pub fn nearest_pitch(&self, traits: &VoiceTraits) -> Option<usize> {
        let distance = |pitch: &f64| (pitch / traits.pitch).log2().abs();
        nearest(self.pitches.iter().map(distance))
    }

    /// The speaker whose embedding is nearest.
    pub fn nearest_embedding(&self, traits: &VoiceTraits) -> Option<usize> {
        let row = self.comparable(&traits.embedding);
        let distance = |other: &Vec<f64>| {
            let squares = row.iter().zip(other).map(|(a, b)| (a - b) * (a - b));
            squares.sum::<f64>()
        };
        nearest(self.embeddings.iter().map(distance))
    }

    fn comparable(&self, embedding: &[f64]) -> Vec<f64> {
        let values = embedding.iter().zip(&self.mean).zip(&self.scale);
        values
            .map(|((value, mean), scale)| (value - mean) * scale)
            .collect()
    }
}

impl VoiceFigures {
    /// Empty tables.
    pub fn new(book: &VoiceBook) -> Self {
        let table = || Confusion::new(book.speakers());
        let tables = || Versions {
            real: table(),
            round_trip: table(),
            generated: table(),
        };
        Self {
            pitch: tables(),
            embedding: tables(),
        }
    }

    /// Counts the three versions of a clip of `speaker`, who is in the book.
    pub fn count(
        &mut self,
        book: &VoiceBook,
        speaker: &str,
        traits: &Versions<Option<VoiceTraits>>,
    ) {
        let Some(right) = book.speakers.iter().position(|name| name == speaker) else {
            return;
        };
        let found = traits.map(|traits| {
            let traits = traits.as_ref();
            let pitch = traits.and_then(|traits| book.nearest_pitch(traits));
            (
                pitch,
                traits.and_then(|traits| book.nearest_embedding(traits)),
            )
        });
        for (tables, which) in [(&mut self.pitch, 0), (&mut self.embedding, 1)] {
            let pick = |(pitch, embedding): (Option<usize>, Option<usize>)| match which {
                0 => pitch,
                _ => embedding,
            };
            tables.real.count(right, pick(found.real));
            tables.round_trip.count(right, pick(found.round_trip));
            tables.generated.count(right, pick(found.generated));
        }
    }
}

fn nearest(distances: impl Iterator<Item = f64>) -> Option<usize> {
    let best = distances.enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buzz of `hz` through a resonance at `formant`.
    fn voice(hz: f64, formant: f64, phase: usize) -> Vec<f32> {
        let (radius, angle) = (0.97, formant / 16_000.0 * std::f64::consts::TAU);
        let (mut one, mut two) = (0.0, 0.0);
        (phase..phase + 12_000)
            .map(|n| {
                let saw = (n as f64 * hz / 16_000.0).fract() - 0.5;
                let value = saw + 2.0 * radius * angle.cos() * one - radius * radius * two;
                (two, one) = (one, value);
                (value * 0.02) as f32
            })
            .collect()
    }

    #[test]
    fn voices_are_told_apart_by_pitch_and_by_timbre() {
        let analysis = VoiceAnalysis::new().expect("bands");
        let traits = |hz, formant, phase| {
            analysis
                .traits(&voice(hz, formant, phase))
                .expect("a voice")
        };
        let references = [
            ("deep".to_owned(), traits(90.0, 600.0, 0)),
            ("deep".to_owned(), traits(94.0, 650.0, 50)),
            ("high".to_owned(), traits(220.0, 2200.0, 0)),
            ("high".to_owned(), traits(210.0, 2100.0, 90)),
        ];
        let book = VoiceBook::new(&references).expect("two speakers");
        // The pitch of one, the timbre of the other.
        let mixed = traits(100.0, 2150.0, 7);
        assert_eq!(
            (book.nearest_pitch(&mixed), book.nearest_embedding(&mixed)),
            (Some(0), Some(1))
        );

        let mut figures = VoiceFigures::new(&book);
        let versions = Versions {
            real: Some(traits(92.0, 620.0, 3)),
            round_trip: Some(mixed),
            generated: None,
        };
        figures.count(&book, "deep", &versions);
        assert_eq!(figures.pitch.real.counts[0], [1, 0, 0]);
        assert_eq!(figures.embedding.round_trip.counts[0], [0, 1, 0]);
        assert_eq!(figures.pitch.generated.counts[0], [0, 0, 1]);
    }

    #[test]
    fn silence_has_no_voice_and_one_speaker_is_no_choice() {
        let analysis = VoiceAnalysis::new().expect("bands");
        assert_eq!(analysis.traits(&[0.0; 5000]), None);
        assert_eq!(analysis.traits(&[]), None);
        let traits = VoiceTraits {
            pitch: 100.0,
            embedding: vec![1.0],
        };
        let error = VoiceBook::new(&[("a".into(), traits)]).expect_err("one speaker");
        assert!(
            matches!(error, MetricError::TooFew { found: 1, .. }),
            "{error}"
        );
    }
}
