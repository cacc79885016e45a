//! The clips of speech: which speaker says what, after which reference recording.

use std::path::Path;

use rand::RngExt;
use rayon::prelude::*;

use super::{
    Counts, Domain, Split, Ticker,
    clip::{Clip, Content, Form},
};
use crate::{
    error::SynthError,
    random,
    sound::{SAMPLE_RATE, write_wav},
    speech::{Speak, Speaker},
    text::{Language, Texts, text_key},
};

/// Draws of another clip before a reference recording is taken after all.
const ATTEMPTS: usize = 20;
/// Seconds that a text may last; one outside gives its place to another.
const SPOKEN: std::ops::RangeInclusive<f64> = 0.15..=3.3;
/// The share of the training set beside the common sentences that single words take at most.
const WORDS: f64 = 0.5;
/// The share of what is left then that lists of words take: what comes next in them is known from the text alone.
const LISTS: f64 = 0.5;
/// The share of the training clips whose reference is another clip, not one of the reference recordings.
const AFTER_OTHERS: f64 = 0.75;
/// Seconds that a clip that others refer to lasts at most.
const REFERENCE: f64 = 2.2;

/// The sentences of a language.
pub(super) struct Plan {
    language: Language,
    seed: u64,
    /// By [`Split::ALL`]. A sentence's speaker is its place's remainder: all speakers in turn.
    texts: [Vec<(Form, String)>; 2],
    /// Where another sentence comes from.
    spare: Texts,
}

/// Recordings that sentences refer to, of both languages.
pub(super) fn references() -> usize {
    let texts = |l: Language| l.references().len() + l.test_references().len();
    Language::ALL.into_iter().map(texts).sum::<usize>() * Speaker::ALL.len()
}

impl Plan {
    /// Takes the test set of the texts first, then the training set from what is left. The training set begins with the common
    /// sentences and then the words of the vocabulary, each said by every speaker: from a word alone it is learnt soonest how it
    /// sounds. Lists of words follow, sentences are the rest.
    pub fn draw(
        language: Language,
        mut spare: Texts,
        seed: u64,
        counts: Counts,
    ) -> Result<Self, SynthError> {
        let by_all = |form: Form| move |text: String| Speaker::ALL.map(|_| (form, text.clone()));
        let common = language.common().iter().map(|text| text.to_string());
        let common = common.flat_map(by_all(Form::Sentence));
        let mut train: Vec<(Form, String)> = common.take(counts[1]).collect();
        let speakers = Speaker::ALL.len();
        let words = ((counts[1] - train.len()) as f64 * WORDS) as usize / speakers * speakers;
        train.extend(language.words().flat_map(by_all(Form::Word)).take(words));
        let sentence = |text| (Form::Sentence, text);
        let test: Vec<_> = spare.by_ref().take(counts[0]).map(sentence).collect();
        let lists = ((counts[1] - train.len()) as f64 * LISTS) as usize;
        let lists = spare.lists(seed, lists).into_iter();
        train.extend(lists.map(|text| (Form::List, text)));
        let left = counts[1] - train.len();
        train.extend(spare.by_ref().take(left).map(sentence));
        let texts = [test, train];
        match texts
            .iter()
            .zip(counts)
            .all(|(texts, count)| texts.len() == count)
        {
            true => Ok(Self {
                language,
                seed,
                texts,
                spare,
            }),
            false => Err(exhausted(language, counts.iter().sum())),
        }
    }

    /// Says everything below `at`; the clips by [`Split::ALL`].
    pub fn make(
        mut self,
        at: &Path,
        voice: &dyn Speak,
        ticker: &Ticker,
    ) -> Result<[Vec<Clip>; 2], SynthError> {
        let mut made: [Vec<Clip>; 2] = Default::default();
        for (index, split) in Split::ALL.into_iter().enumerate() {
            self.make_references(split, at, voice, ticker)?;
            made[index] = self.make_split(index, split, at, voice, ticker)?;
        }
        Ok(made)
    }

    fn make_references(
        &self,
        split: Split,
        at: &Path,
        voice: &dyn Speak,
        ticker: &Ticker,
    ) -> Result<(), SynthError> {
        let texts = reference_texts(self.language, split);
        (0..texts.len() * Speaker::ALL.len())
            .into_par_iter()
            .try_for_each(|i| {
                let (text, speaker) =
                    (i / Speaker::ALL.len(), Speaker::ALL[i % Speaker::ALL.len()]);
                let sound = voice.speak(texts[text], speaker, self.language)?;
                write_wav(
                    &at.join(reference_file(self.language, split, speaker, text)),
                    &sound,
                )?;
                ticker.tick()
            })
    }

    fn make_split(
        &mut self,
        index: usize,
        split: Split,
        at: &Path,
        voice: &dyn Speak,
        ticker: &Ticker,
    ) -> Result<Vec<Clip>, SynthError> {
        let count = self.texts[index].len();
        let mut clips: Vec<Option<Clip>> = vec![None; count];
        let mut open: Vec<usize> = (0..count).collect();
        while !open.is_empty() {
            let one = |place: &usize| {
                self.clip(split, *place, &self.texts[index][*place], at, voice, ticker)
            };
            let said: Vec<Option<Clip>> = open.par_iter().map(one).collect::<Result<_, _>>()?;
            let mut left = Vec::new();
            for (place, clip) in open.into_iter().zip(said) {
                if clip.is_none() {
                    let another = self
                        .spare
                        .next()
                        .ok_or_else(|| exhausted(self.language, count + 1))?;
                    self.texts[index][place] = (Form::Sentence, another);
                    left.push(place);
                }
                clips[place] = clip;
            }
            open = left;
        }
        let mut clips: Vec<Clip> = clips.into_iter().flatten().collect();
        if split == Split::Train {
            self.refer_to_others(&mut clips);
        }
        Ok(clips)
    }

    /// Gives most clips another one of their speaker as reference, so that there are as many voices to follow as there are clips.
    fn refer_to_others(&self, clips: &mut [Clip]) {
        let spoken: Vec<(String, f64, String)> = (clips.iter())
            .map(|clip| (clip.audio.clone(), clip.duration, clip.text().to_string()))
            .collect();
        let name = format!("reference-clip-{}", self.language.code());
        for (place, clip) in clips.iter_mut().enumerate() {
            let mut rng = random::stream(self.seed, &name, place);
            if !rng.random_bool(AFTER_OTHERS) {
                continue;
            }
            let speakers = Speaker::ALL.len();
            let own = place % speakers;
            let last = (spoken.len() - 1 - own) / speakers;
            let drawn = (0..ATTEMPTS).map(|_| &spoken[rng.random_range(0..=last) * speakers + own]);
            let fits = |(_, seconds, text): &&(String, f64, String)| {
                *seconds <= REFERENCE && text_key(text) != text_key(&spoken[place].2)
            };
            if let Some((audio, _, text)) = drawn.into_iter().find(fits) {
                clip.refer_to(audio, text);
            }
        }
    }

    /// Says a sentence; `None` where it is too short or too long.
    fn clip(
        &self,
        split: Split,
        place: usize,
        (form, text): &(Form, String),
        at: &Path,
        voice: &dyn Speak,
        ticker: &Ticker,
    ) -> Result<Option<Clip>, SynthError> {
        let speaker = Speaker::ALL[place % Speaker::ALL.len()];
        let sound = voice.speak(text, speaker, self.language)?;
        let seconds = sound.len() as f64 / f64::from(SAMPLE_RATE);
        if !SPOKEN.contains(&seconds) {
            return Ok(None);
        }
        let code = self.language.code();
        let id = format!("{code}-{}-{place:05}", split.name());
        let audio = format!("speech/{id}.wav");
        write_wav(&at.join(&audio), &sound)?;
        ticker.tick()?;

        let references = reference_texts(self.language, split);
        let mut rng = random::stream(
            self.seed,
            &format!("reference-{code}-{}", split.name()),
            place,
        );
        let reference = rng.random_range(0..references.len());
        Ok(Some(Clip {
            id,
            task: "speech",
            domain: domain(self.language).name(),
            audio,
            duration: (seconds * 1000.0).round() / 1000.0,
            content: Content::Speech {
                language: self.language,
                speaker,
                form: *form,
                text: text.clone(),
                reference_audio: reference_file(self.language, split, speaker, reference),
                reference_text: references[reference].to_string(),
            },
        }))
    }
}

fn domain(language: Language) -> Domain {
    match language {
        Language::English => Domain::SpeechEn,
        Language::Mandarin => Domain::SpeechZh,
    }
}

fn reference_texts(language: Language, split: Split) -> &'static [&'static str] {
    match split {
        Split::Test => language.test_references(),
        Split::Train => language.references(),
    }
}

fn reference_file(language: Language, split: Split, speaker: Speaker, index: usize) -> String {
    format!(
        "speech/ref-{}-{}-{}-{index:02}.wav",
        language.code(),
        split.name(),
        speaker.name()
    )
}

fn exhausted(language: Language, wanted: usize) -> SynthError {
    SynthError::Exhausted {
        language: language.code(),
        wanted,
    }
}
