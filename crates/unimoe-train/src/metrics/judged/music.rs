//! Music: are the instrument, the tempo and the mode of its caption heard in it?
//!
//! One classifier for each attribute, fitted on real clips of a training manifest: the instrument from statistics of the
//! timbre, the tempo from the periodicity of onsets, the mode from the notes above the bass. None of them is told more than
//! the sound.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dac_codec::AudioClip;
use serde::{Deserialize, Serialize};

use super::{
    classifier::NearestCentroid,
    confusion::Confusion,
    generation::GenerationFacts,
    lacks,
    sounds::{JudgedClip, Versions},
};
use crate::{
    data::{Record, Task},
    metrics::{
        Features, MetricError,
        analysis::{ANALYSIS_RATE, CepstralAnalysis, bass_chroma, onset_strength, timbre},
    },
};

/// Coefficients of the timbre, with the loudness.
const COEFFICIENTS: usize = 20;
/// What a note's share is raised to before its logarithm.
const LEAST_SHARE: f64 = 1e-3;
/// What is recovered from the sound: fields of the manifest.
const ATTRIBUTES: [&str; 3] = ["instrument", "tempo_class", "mode"];

/// What the classifiers hear of a clip, in the order of [`ATTRIBUTES`]; `None` where nothing sounds.
type Heard = Option<[Vec<f64>; 3]>;

/// Finds the attributes of music in its sound.
#[derive(Debug, Clone)]
pub struct MusicClassifiers {
    analysis: CepstralAnalysis,
    attributes: Vec<Attribute>,
    fitted: usize,
}

#[derive(Debug, Clone)]
struct Attribute {
    classes: Vec<String>,
    classifier: NearestCentroid,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MusicReport {
    /// The figures of all clips together.
    pub figures: MusicFigures,
    /// Each clip.
    pub clips: Vec<MusicItem>,
}

/// The figures of all clips together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MusicFigures {
    /// How the clips of each task were generated.
    pub generation: BTreeMap<String, GenerationFacts>,
    /// Clips that the classifiers were fitted on.
    pub fitted: usize,
    /// For each task, `music` and `video_music`.
    pub tasks: BTreeMap<String, TaskFigures>,
}

/// The figures of a task: for each attribute, which class was taken for which. The right tempo class of a video's music is
/// the one that goes with the video's cuts, which its caption doesn't tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFigures {
    /// Number of clips.
    pub clips: usize,
    /// Confusion tables by attribute.
    pub attributes: BTreeMap<String, Versions<Confusion>>,
}

/// What was found in a clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MusicItem {
    /// Its name.
    pub id: String,
    /// Its caption.
    pub caption: String,
    /// For each attribute what is right.
    pub right: BTreeMap<String, String>,
    /// For each attribute what was found in each version; `None` where nothing sounds.
    pub found: BTreeMap<String, Versions<Option<String>>>,
}

impl MusicClassifiers {
    /// Fits the classifiers on real clips with their records.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for no clips or a class with fewer than two, [`MetricError::Attribute`] for a record without
    /// one of the attributes, [`MetricError::Silent`] for a clip in which nothing sounds.
    pub fn fit<'a>(
        clips: impl IntoIterator<Item = (&'a Record, &'a AudioClip)>,
    ) -> Result<Self, MetricError> {
        let analysis = CepstralAnalysis::new(COEFFICIENTS).map_err(super::setting)?;
        let mut names: [Vec<String>; 3] = Default::default();
        let mut rows: [Vec<Vec<f64>>; 3] = Default::default();
        for (record, clip) in clips {
            let heard = hear(&analysis, clip)?.ok_or_else(|| MetricError::Silent {
                what: format!("`{}`", record.id),
            })?;
            for (((field, names), rows), heard) in ATTRIBUTES
                .into_iter()
                .zip(&mut names)
                .zip(&mut rows)
                .zip(heard)
            {
                names.push(attribute(record, field)?.to_owned());
                rows.push(heard);
            }
        }
        let fitted = names[0].len();
        let attributes = names.iter().zip(&rows).map(|(names, rows)| {
            let classes: BTreeSet<&String> = names.iter().collect();
            let classes: Vec<String> = classes.into_iter().cloned().collect();
            let labels: Vec<usize> = (names.iter())
                .filter_map(|name| classes.iter().position(|class| class == name))
                .collect();
            let rows = Features::from_rows(rows.iter().map(Vec::as_slice))?;
            let classifier = NearestCentroid::fit(&rows, &labels, classes.len());
            let classifier = classifier.map_err(|error| named(error, &classes))?;
            Ok(Attribute {
                classes,
                classifier,
            })
        });
        Ok(Self {
            attributes: attributes.collect::<Result<_, MetricError>>()?,
            analysis,
            fitted,
        })
    }

    /// Looks whether records can be judged, before anything is generated from them.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn check(&self, records: &[Arc<Record>]) -> Result<(), MetricError> {
        if records.is_empty() {
            return Err(no_records());
        }
        for record in records {
            for (field, own) in ATTRIBUTES.into_iter().zip(&self.attributes) {
                own.class(record, field)?;
            }
        }
        Ok(())
    }

    /// Judges clips. Ends early where `stop` becomes true.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for no clips, [`MetricError::Attribute`] for a record without one of the attributes, or with
    /// a class that no clip had that the classifiers were fitted on.
    pub fn run(
        &self,
        clips: &[JudgedClip],
        generation: BTreeMap<String, GenerationFacts>,
        stop: &AtomicBool,
    ) -> Result<MusicReport, MetricError> {
        if clips.is_empty() {
            return Err(no_records());
        }
        let mut tasks: BTreeMap<String, TaskFigures> = BTreeMap::new();
        let mut items = Vec::new();
        for JudgedClip { record, sounds } in clips {
            if stop.load(Ordering::Relaxed) {
                return Err(MetricError::Stopped);
            }
            let heard = sounds.try_map(|sound| hear(&self.analysis, &sound.clip))?;
            let task = tasks.entry(record.task.name().to_owned()).or_default();
            task.clips += 1;
            let (mut right_names, mut found_names) = (BTreeMap::new(), BTreeMap::new());
            for (number, (field, own)) in ATTRIBUTES.into_iter().zip(&self.attributes).enumerate() {
                let right = own.class(record, field)?;
                let found = heard.map(|heard| {
                    heard
                        .as_ref()
                        .map(|heard| own.classifier.classify(&heard[number]))
                });
                let empty = || Confusion::new(&own.classes);
                let tables = task
                    .attributes
                    .entry(field.to_owned())
                    .or_insert_with(|| Versions {
                        real: empty(),
                        round_trip: empty(),
                        generated: empty(),
                    });
                tables.real.count(right, found.real);
                tables.round_trip.count(right, found.round_trip);
                tables.generated.count(right, found.generated);
                right_names.insert(field.to_owned(), own.classes[right].clone());
                let class = |found: &Option<usize>| found.map(|found| own.classes[found].clone());
                found_names.insert(field.to_owned(), found.map(class));
            }
            items.push(MusicItem {
                id: record.id.clone(),
                caption: record.text.clone(),
                right: right_names,
                found: found_names,
            });
        }
        Ok(MusicReport {
            figures: MusicFigures {
                generation,
                fitted: self.fitted,
                tasks,
            },
            clips: items,
        })
    }

    /// Whether a record is of a task that they judge.
    pub fn judges(record: &Record) -> bool {
        matches!(record.task, Task::Music | Task::VideoMusic)
    }
}

impl Attribute {
    /// The class of a record.
    fn class(&self, record: &Record, field: &'static str) -> Result<usize, MetricError> {
        let name = attribute(record, field)?;
        let class = self.classes.iter().position(|class| class == name);
        class.ok_or_else(|| {
            lacks(
                record,
                field,
                "one that a clip has which the classifiers are fitted on",
            )
        })
    }
}

fn no_records() -> MetricError {
    MetricError::TooFew {
        what: "records of music".into(),
        expected: 1,
        found: 0,
    }
}

/// What tells instrument, tempo and mode.
fn hear(analysis: &CepstralAnalysis, clip: &AudioClip) -> Result<Heard, MetricError> {
    let clip = clip.resampled(ANALYSIS_RATE)?;
    let cepstra = analysis.cepstra(&clip.samples);
    let (Some(notes), Some(timbre)) = (bass_chroma(&clip.samples), timbre(&cepstra, |_| true))
    else {
        return Ok(None);
    };
    let periods = onset_strength(analysis, &clip.samples).periodicity();
    let notes = notes.notes.map(|share| share.max(LEAST_SHARE).ln());
    Ok(Some([
        [timbre.mean, timbre.spread, timbre.change].concat(),
        periods,
        notes.to_vec(),
    ]))
}

/// The name of the class instead of its number.
fn named(error: MetricError, classes: &[String]) -> MetricError {
    match error {
        MetricError::TooFew {
            what,
            expected,
            found,
        } => {
            let class = what
                .strip_prefix("rows of class ")
                .and_then(|number| number.parse().ok());
            let name = class.and_then(|class: usize| classes.get(class));
            let what = name.map_or(what.clone(), |name| {
                format!("clips of class `{name}` to fit on")
            });
            MetricError::TooFew {
                what,
                expected,
                found,
            }
        }
        other => other,
    }
}

fn attribute<'a>(record: &'a Record, field: &'static str) -> Result<&'a str, MetricError> {
    let name = record.extra.get(field).and_then(|name| name.as_str());
    name.ok_or_else(|| lacks(record, field, "a class as text"))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::{Map, json};

    use super::{super::sounds::KeptSound, *};
    use crate::data::Origin;

    fn record(id: &str, attributes: &[(&str, &str)]) -> Record {
        let extra: Map<_, _> = attributes
            .iter()
            .map(|(name, class)| ((*name).to_owned(), json!(class)))
            .collect();
        Record {
            id: id.into(),
            task: Task::Music,
            domain: "music".into(),
            text: "A caption".into(),
            audio: PathBuf::new(),
            reference: None,
            video: None,
            language: None,
            duration: None,
            score: None,
            extra,
            origin: Origin {
                manifest: Path::new("m.jsonl").into(),
                line: 3,
            },
        }
    }

    /// Three seconds of notes of `wave` over a bass, at a tempo and with a third.
    fn play(dull: bool, seconds: f64, third: f64, shift: f64) -> AudioClip {
        let tone = |hz: f64, n: usize| {
            let phase = n as f64 * hz * shift / 16_000.0;
            match dull {
                true => (phase * std::f64::consts::TAU).sin(),
                false => phase.fract() * 2.0 - 1.0,
            }
        };
        let sample = |n: usize| {
            let since = (n as f64 / 16_000.0) % seconds;
            let chord = tone(261.63, n) + tone(261.63 * third, n) + tone(392.0, n);
            let bass = (n as f64 * 65.41 * shift / 16_000.0 * std::f64::consts::TAU).sin();
            (0.1 * chord * (-4.0 * since).exp() + 0.1 * bass) as f32
        };
        AudioClip {
            samples: (0..48_000).map(sample).collect(),
            sample_rate: 16_000,
        }
    }

    fn clips() -> Vec<(Record, AudioClip)> {
        let mut clips = Vec::new();
        for (instrument, dull) in [("flute", true), ("organ", false)] {
            for (tempo, seconds) in [("fast", 0.4), ("slow", 1.0)] {
                for (mode, third) in [("major", 1.26), ("minor", 1.189)] {
                    for (number, shift) in [0.999, 1.0, 1.001].into_iter().enumerate() {
                        let attributes = [
                            ("instrument", instrument),
                            ("tempo_class", tempo),
                            ("mode", mode),
                        ];
                        let id = format!("{instrument}-{tempo}-{mode}-{number}");
                        let clip = play(dull, seconds * (2.0 - shift), third, shift);
                        clips.push((record(&id, &attributes), clip));
                    }
                }
            }
        }
        clips
    }

    fn facts() -> BTreeMap<String, GenerationFacts> {
        let facts = GenerationFacts {
            model: "0".into(),
            seed: 0,
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            guidance: 1.0,
            eos_factor: 1.0,
            seconds: None,
            batch: 1,
        };
        [("music".to_owned(), facts)].into_iter().collect()
    }

    fn kept(clip: &AudioClip) -> KeptSound {
        KeptSound {
            path: PathBuf::new(),
            clip: clip.clone(),
        }
    }

    #[test]
    fn attributes_are_recovered_from_clips_that_were_not_fitted_on() {
        let all = clips();
        let (held, fitted): (Vec<_>, Vec<_>) = all
            .iter()
            .partition(|(record, _)| record.id.ends_with("-1"));
        let pairs = fitted.iter().map(|(record, clip)| (record, clip));
        let classifiers = MusicClassifiers::fit(pairs).expect("fits");
        let silent = AudioClip {
            samples: vec![0.0; 16_000],
            sample_rate: 16_000,
        };
        let played: Vec<JudgedClip> = held
            .iter()
            .map(|(record, clip)| JudgedClip {
                record: Arc::new(record.clone()),
                sounds: Versions {
                    real: kept(clip),
                    round_trip: kept(&held[0].1),
                    generated: kept(&silent),
                },
            })
            .collect();
        let stop = AtomicBool::new(false);
        let found = classifiers.run(&played, facts(), &stop).expect("judged");
        assert_eq!((found.figures.fitted, found.clips.len()), (16, 8));
        let music = &found.figures.tasks["music"];
        assert_eq!(music.attributes.len(), 3);
        for (name, tables) in &music.attributes {
            assert_eq!(tables.real.accuracy(), 1.0, "{name}: {:?}", tables.real);
            // All taken for the first clip's class, and nothing in silence.
            assert_eq!(tables.round_trip.accuracy(), 0.5, "{name}");
            assert_eq!(
                (tables.generated.accuracy(), tables.generated.total()),
                (0.0, 8)
            );
        }
        assert_eq!(found.clips[0].found["mode"].generated, None);
        stop.store(true, Ordering::Relaxed);
        let error = classifiers
            .run(&played, facts(), &stop)
            .expect_err("stopped");
        assert!(matches!(error, MetricError::Stopped));
    }

    #[test]
    fn what_is_missing_is_named() {
        let all = clips();
        let fit = |clips: &[(Record, AudioClip)]| {
            MusicClassifiers::fit(clips.iter().map(|(record, clip)| (record, clip)))
        };
        fit(&[]).expect_err("no clips");
        let mut lacking = all[..4].to_vec();
        lacking[1].0.extra.remove("tempo_class");
        let error = fit(&lacking).expect_err("no tempo").to_string();
        assert!(
            error.contains("m.jsonl, line 3") && error.contains("`tempo_class`"),
            "{error}"
        );
        // One clip of minor only.
        let error = fit(&all[..4]).expect_err("one clip of a class").to_string();
        assert!(error.contains("`minor`"), "{error}");
        let silent = AudioClip {
            samples: vec![0.0; 16_000],
            sample_rate: 16_000,
        };
        let error = fit(&[(all[0].0.clone(), silent)]).expect_err("silence");
        assert!(matches!(error, MetricError::Silent { .. }), "{error}");

        let classifiers = fit(&all).expect("fits");
        let stop = AtomicBool::new(false);
        classifiers.run(&[], facts(), &stop).expect_err("no clips");
        let mut other = all[0].0.clone();
        other.extra.insert("mode".into(), json!("dorian"));
        let sounds = Versions {
            real: kept(&all[0].1),
            round_trip: kept(&all[0].1),
            generated: kept(&all[0].1),
        };
        let played = JudgedClip {
            record: Arc::new(other),
            sounds,
        };
        let error = classifiers
            .run(&[played], facts(), &stop)
            .expect_err("a new class");
        assert!(error.to_string().contains("`mode`"), "{error}");
    }
}
