//! Speech: is it understood, is it the right voice, is it the right sentence?

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
    content::{ContentAnalysis, ContentFigures, ContentRanks},
    generation::GenerationFacts,
    lacks,
    language::spoken_words,
    recognizer::{PocketSphinx, PocketSphinxOptions},
    sounds::{JudgedClip, KeptSound, Versions},
    voice::{VoiceAnalysis, VoiceBook, VoiceFigures, VoiceTraits},
};
use crate::{
    data::Record,
    metrics::{
        ErrorRate, MetricError, TextNormalization, analysis::ANALYSIS_RATE, word_error_rate,
    },
};

/// Longest reference clip in seconds.
const MAX_SECONDS: f64 = 120.0;
/// What records of English speech have as `language`, or begin it with before a hyphen.
const ENGLISH: &str = "en";

/// Judges speech.
#[derive(Debug, Clone, Default)]
pub struct SpeechEvaluation {
    /// How English is recognised; `None` leaves the error rates out.
    pub recognizer: Option<PocketSphinxOptions>,
    /// English texts that tell the recogniser how words follow each other, and that its vocabulary is taken from together
    /// with the clips' own texts. None of them should be a text of the clips.
    pub texts: Vec<String>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeechReport {
    /// The figures of all clips together.
    pub figures: SpeechFigures,
    /// Each clip.
    pub clips: Vec<SpeechItem>,
}

/// The figures of all clips together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpeechFigures {
    /// How the clips were generated: of the task `speech`.
    pub generation: BTreeMap<String, GenerationFacts>,
    /// How English was understood; `None` where there is none, or it was left out.
    pub recognition: Option<RecognitionFigures>,
    /// Voices, for each language.
    pub voices: BTreeMap<String, VoiceFigures>,
    /// Sentences, for each language.
    pub content: BTreeMap<String, ContentFigures>,
}

/// How English was understood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecognitionFigures {
    /// The recogniser's settings.
    pub recognizer: PocketSphinxOptions,
    /// Words that it knows.
    pub vocabulary: usize,
    /// Words of the texts that it doesn't know.
    pub missing: Vec<String>,
    /// Texts that told it how words follow each other.
    pub texts: usize,
    /// Number of sentences.
    pub sentences: usize,
    /// Word error rates: the edits of all sentences by their words.
    pub wer: Versions<ErrorRate>,
    /// The same for each speaker.
    pub speakers: BTreeMap<String, Versions<ErrorRate>>,
}

/// What was found in a clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpeechItem {
    /// Its name.
    pub id: String,
    /// Its speaker.
    pub speaker: String,
    /// Its language.
    pub language: String,
    /// What should be said.
    pub text: String,
    /// What was heard, for English.
    pub heard: Option<Versions<String>>,
    /// Word error rates, for English.
    pub wer: Option<Versions<ErrorRate>>,
    /// Median pitch in Hz; `None` where nothing is voiced.
    pub pitch: Versions<Option<f64>>,
    /// Whether the generated clip is most like the real one of its sentence.
    pub right_sentence: bool,
}

impl SpeechEvaluation {
    /// Looks whether records can be judged, before anything is generated from them: their attributes, their reference clips,
    /// and the recogniser, which is started once.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn check(&self, records: &[Arc<Record>], stop: &AtomicBool) -> Result<(), MetricError> {
        if records.is_empty() {
            return Err(no_records());
        }
        let mut languages: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
        for record in records {
            speaker(record)?;
            languages.entry(language(record)?).or_default().push(record);
        }
        let voice = VoiceAnalysis::new()?;
        for records in languages.values() {
            voice_book(&voice, records.iter().copied())?;
        }
        let english = languages.iter().filter(|(name, _)| is_english(name));
        let texts: Vec<&str> = english
            .flat_map(|(_, records)| records.iter().map(|record| &*record.text))
            .collect();
        if let (Some(options), false) = (&self.recognizer, texts.is_empty()) {
            let click = AudioClip {
                samples: vec![0.1; ANALYSIS_RATE as usize / 5],
                sample_rate: ANALYSIS_RATE,
            };
            self.recognizer_of(options, texts.into_iter())?
                .transcribe(&[click], stop)?;
        }
        Ok(())
    }

    /// A recogniser of what is said in `own` and in the texts.
    fn recognizer_of<'a>(
        &self,
        options: &PocketSphinxOptions,
        own: impl Iterator<Item = &'a str>,
    ) -> Result<PocketSphinx, MetricError> {
        let texts = self.texts.iter().map(String::as_str);
        let own: BTreeSet<String> = own.flat_map(spoken_words).collect();
        let vocabulary = texts.clone().flat_map(spoken_words).chain(own).collect();
        PocketSphinx::new(options.clone(), &vocabulary, texts)
    }

    /// Judges clips. Ends early where `stop` becomes true.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for no clips or fewer than two speakers in a language, [`MetricError::Attribute`] for a record
    /// without `speaker`, `language` or reference clip, [`MetricError::Silent`] for a reference clip without a voice, and what
    /// [`PocketSphinx`] says.
    pub fn run(
        &self,
        clips: &[JudgedClip],
        generation: BTreeMap<String, GenerationFacts>,
        stop: &AtomicBool,
    ) -> Result<SpeechReport, MetricError> {
        if clips.is_empty() {
            return Err(no_records());
        }
        let mut items = (clips.iter())
            .map(|clip| {
                Ok(SpeechItem {
                    id: clip.record.id.clone(),
                    speaker: speaker(&clip.record)?.to_owned(),
                    language: language(&clip.record)?.to_owned(),
                    text: clip.record.text.clone(),
                    heard: None,
                    wer: None,
                    pitch: Versions::default(),
                    right_sentence: false,
                })
            })
            .collect::<Result<Vec<_>, MetricError>>()?;
        let mut figures = SpeechFigures {
            generation,
            recognition: None,
            voices: BTreeMap::new(),
            content: BTreeMap::new(),
        };
        let languages: BTreeSet<String> = items.iter().map(|item| item.language.clone()).collect();
        for name in languages {
            let places: Vec<usize> = (0..items.len())
                .filter(|&place| items[place].language == name)
                .collect();
            let (voices, content) = listen(clips, &mut items, &places, stop)?;
            figures.voices.insert(name.clone(), voices);
            figures
                .content
                .extend(content.map(|content| (name, content)));
        }
        if let Some(options) = &self.recognizer {
            figures.recognition = self.understand(options, clips, &mut items, stop)?;
        }
        Ok(SpeechReport {
            figures,
            clips: items,
        })
    }

    /// What is heard in the English clips.
    fn understand(
        &self,
        options: &PocketSphinxOptions,
        clips: &[JudgedClip],
        items: &mut [SpeechItem],
        stop: &AtomicBool,
    ) -> Result<Option<RecognitionFigures>, MetricError> {
        let english = |item: &SpeechItem| is_english(&item.language);
        let places: Vec<usize> = (0..items.len())
            .filter(|&place| english(&items[place]))
            .collect();
        if places.is_empty() {
            return Ok(None);
        }
        let own = places.iter().map(|&place| items[place].text.as_str());
        let recognizer = self.recognizer_of(options, own)?;
        let all = |of: fn(&JudgedClip) -> &KeptSound| -> Vec<AudioClip> {
            places
                .iter()
                .map(|&place| of(&clips[place]).clip.clone())
                .collect()
        };
        let heard = Versions {
            real: all(|clip| &clip.sounds.real),
            round_trip: all(|clip| &clip.sounds.round_trip),
            generated: all(|clip| &clip.sounds.generated),
        }
        .try_map(|sounds| recognizer.transcribe(sounds, stop))?;
        for (number, &place) in places.iter().enumerate() {
            let heard = heard.map(|heard| heard[number].clone());
            let wanted = spoken_words(&items[place].text).join(" ");
            let rate = |heard: &String| word_error_rate(&wanted, heard, TextNormalization::none());
            items[place].wer = Some(heard.try_map(rate)?);
            items[place].heard = Some(heard);
        }
        let pooled = |of: &dyn Fn(&SpeechItem) -> bool| {
            let rates: Vec<&Versions<ErrorRate>> = (items.iter())
                .filter(|item| of(item))
                .filter_map(|item| item.wer.as_ref())
                .collect();
            Versions {
                real: ErrorRate::pooled(rates.iter().map(|rates| &rates.real)),
                round_trip: ErrorRate::pooled(rates.iter().map(|rates| &rates.round_trip)),
                generated: ErrorRate::pooled(rates.iter().map(|rates| &rates.generated)),
            }
        };
        let speakers: BTreeSet<String> = places
            .iter()
            .map(|&place| items[place].speaker.clone())
            .collect();
        let speakers = speakers.into_iter().map(|name| {
            let rates = pooled(&|item: &SpeechItem| item.speaker == name);
            (name, rates)
        });
        Ok(Some(RecognitionFigures {
            recognizer: options.clone(),
            vocabulary: recognizer.words(),
            missing: recognizer.missing().to_vec(),
            texts: self.texts.len(),
            sentences: places.len(),
            wer: pooled(&|_: &SpeechItem| true),
            speakers: speakers.collect(),
        }))
    }
}

/// Voices and sentences of the clips at `places`, which have one language.
fn listen(
    clips: &[JudgedClip],
    items: &mut [SpeechItem],
    places: &[usize],
    stop: &AtomicBool,
) -> Result<(VoiceFigures, Option<ContentFigures>), MetricError> {
    let (voice, content) = (VoiceAnalysis::new()?, ContentAnalysis::new()?);
    let book = voice_book(&voice, places.iter().map(|&place| &*clips[place].record))?;
    let mut voices = VoiceFigures::new(&book);
    let mut ranks = ContentRanks::default();
    for &place in places {
        if stop.load(Ordering::Relaxed) {
            return Err(MetricError::Stopped);
        }
        let samples = (clips[place].sounds)
            .try_map(|sound| sound.clip.resampled(ANALYSIS_RATE).map(|clip| clip.samples))?;
        let traits = samples.map(|samples| voice.traits(samples));
        let item = &mut items[place];
        voices.count(&book, &item.speaker, &traits);
        item.pitch =
            traits.map(|traits: &Option<VoiceTraits>| traits.as_ref().map(|traits| traits.pitch));
        ranks.add(
            &item.speaker,
            samples.map(|samples| content.content(samples)),
        );
    }
    for (&place, [_, generated]) in places.iter().zip(ranks.right()) {
        items[place].right_sentence = generated;
    }
    Ok((voices, ranks.figures()))
}

/// The voices of the speakers of some records, from the reference clips that these name.
fn voice_book<'a>(
    analysis: &VoiceAnalysis,
    records: impl Iterator<Item = &'a Record>,
) -> Result<VoiceBook, MetricError> {
    let mut seen = BTreeSet::new();
    let mut references = Vec::new();
    for record in records {
        let reference = (record.reference.as_ref())
            .ok_or_else(|| lacks(record, "reference_audio", "a clip of its voice"))?;
        if !seen.insert(&reference.audio) {
            continue;
        }
        let clip = AudioClip::read(&reference.audio, MAX_SECONDS)?.resampled(ANALYSIS_RATE)?;
        let traits = analysis
            .traits(&clip.samples)
            .ok_or_else(|| MetricError::Silent {
                what: format!("the voice in {}", reference.audio.display()),
            })?;
        references.push((speaker(record)?.to_owned(), traits));
    }
    VoiceBook::new(&references)
}

fn no_records() -> MetricError {
    MetricError::TooFew {
        what: "records of speech".into(),
        expected: 1,
        found: 0,
    }
}

fn is_english(language: &str) -> bool {
    language.split('-').next() == Some(ENGLISH)
}

fn speaker(record: &Record) -> Result<&str, MetricError> {
    let speaker = record.extra.get("speaker").and_then(|name| name.as_str());
    speaker.ok_or_else(|| lacks(record, "speaker", "the name of who speaks, as text"))
}

fn language(record: &Record) -> Result<&str, MetricError> {
    (record.language.as_deref()).ok_or_else(|| lacks(record, "language", "such as `en` or `zh`"))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::*;
    use crate::data::{Origin, Reference, Task};

    /// A buzz with a moving resonance: the pitch is the voice's, the resonance the sentence's.
    fn say(hz: f64, formants: [f64; 3]) -> AudioClip {
        let (mut one, mut two) = (0.0, 0.0);
        let sample = |n: usize| {
            let angle = formants[n * 3 / 14_400] / 16_000.0 * std::f64::consts::TAU;
            let buzz = (n as f64 * hz / 16_000.0).fract() - 0.5;
            let value = buzz + 1.94 * angle.cos() * one - 0.9409 * two;
            (two, one) = (one, value);
            (value * 0.02) as f32
        };
        AudioClip {
            samples: (0..14_400).map(sample).collect(),
            sample_rate: 16_000,
        }
    }

    const SENTENCES: [[f64; 3]; 2] = [[500.0, 1500.0, 2500.0], [2500.0, 800.0, 1200.0]];

    fn clips(folder: &Path) -> Vec<JudgedClip> {
        let mut clips = Vec::new();
        for (speaker, hz) in [("low", 95.0), ("high", 230.0)] {
            let path = folder.join(format!("{speaker}.wav"));
            say(hz, [700.0, 700.0, 1400.0])
                .write_wav(&path)
                .expect("written");
            for (number, formants) in SENTENCES.into_iter().enumerate() {
                let sound = |hz| KeptSound {
                    path: PathBuf::new(),
                    clip: say(hz, formants),
                };
                let record = Record {
                    id: format!("{speaker}-{number}"),
                    task: Task::Speech,
                    domain: "speech-xx".into(),
                    text: "Some words.".into(),
                    audio: PathBuf::new(),
                    reference: Some(Reference {
                        audio: path.clone(),
                        text: "Hm.".into(),
                    }),
                    video: None,
                    language: Some("xx".into()),
                    duration: None,
                    score: None,
                    extra: [("speaker".to_owned(), json!(speaker))]
                        .into_iter()
                        .collect(),
                    origin: Origin {
                        manifest: Path::new("m.jsonl").into(),
                        line: 9,
                    },
                };
                clips.push(JudgedClip {
                    record: Arc::new(record),
                    sounds: Versions {
                        real: sound(hz),
                        round_trip: sound(hz * 1.01),
                        // The high voice speaks too low.
                        generated: sound(hz.min(100.0)),
                    },
                });
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
        [("speech".to_owned(), facts)].into_iter().collect()
    }

    #[test]
    fn voices_and_sentences_are_told_for_a_language_without_recogniser() {
        let folder = tempfile::tempdir().expect("a folder");
        let clips = clips(folder.path());
        let stop = AtomicBool::new(false);
        let evaluation = SpeechEvaluation {
            recognizer: Some(PocketSphinxOptions::default()),
            texts: Vec::new(),
        };
        let found = evaluation.run(&clips, facts(), &stop).expect("judged");
        // Nothing is English.
        assert_eq!(found.figures.recognition, None);
        let pitch = &found.figures.voices["xx"].pitch;
        assert_eq!(pitch.real.accuracy(), 1.0);
        assert_eq!(pitch.round_trip.accuracy(), 1.0);
        assert_eq!(pitch.generated.accuracy(), 0.5);
        let content = &found.figures.content["xx"];
        assert_eq!(
            (content.clips, content.candidates, content.chance),
            (4, 2.0, 0.5)
        );
        assert_eq!((content.round_trip, content.generated), (1.0, 1.0));
        let pitch = found.clips[3].pitch;
        let generated = pitch.generated.expect("voiced");
        assert!((generated - 100.0).abs() < 2.0, "{generated}");

        stop.store(true, Ordering::Relaxed);
        let error = evaluation.run(&clips, facts(), &stop).expect_err("stopped");
        assert!(matches!(error, MetricError::Stopped));
    }

    #[test]
    fn absent_attributes_and_silent_voices_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let clips = clips(folder.path());
        let stop = AtomicBool::new(false);
        let run = |clips: &[JudgedClip]| {
            let evaluation = SpeechEvaluation::default();
            evaluation
                .run(clips, facts(), &stop)
                .expect_err("unusable")
                .to_string()
        };
        assert!(run(&[]).contains("records of speech: 0"));
        let with = |change: fn(&mut Record)| {
            let mut clips = clips.clone();
            change(Arc::make_mut(&mut clips[0].record));
            run(&clips)
        };
        let text = with(|record| drop(record.extra.remove("speaker")));
        assert!(
            text.contains("m.jsonl, line 9") && text.contains("`speaker`"),
            "{text}"
        );
        assert!(with(|record| record.language = None).contains("`language`"));
        assert!(with(|record| record.reference = None).contains("`reference_audio`"));
        assert!(run(&clips[..2]).contains("speakers with a reference clip: 1"));
        let silent = AudioClip {
            samples: vec![0.0; 8000],
            sample_rate: 16_000,
        };
        silent
            .write_wav(folder.path().join("low.wav"))
            .expect("written");
        assert!(run(&clips).contains("low.wav is silent"));
    }
}
