//! Speech by espeak-ng, a program of its own that is started for each sentence.

use std::{
    collections::BTreeMap,
    io::{Cursor, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::SynthError,
    pitch_lock,
    resample::resample,
    sound::{self, SAMPLE_RATE},
    text::Language,
};

/// Silence that is left at both ends, in seconds.
const MARGIN: f64 = 0.03;
/// RMS of a speaker's first reference phrases in dBFS.
const LEVEL: f64 = -21.0;
/// Reference phrases that a speaker's level is taken from.
const LEVEL_PHRASES: usize = 4;
/// What tells espeak-ng to keep the pitch where it is.
const MONOTONE: &str = "\u{1}0R";
/// Sample rates in Hz that are believed.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// A voice of the made speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// A man's voice, 100 Hz.
    Dan,
    /// A lighter man's voice, 150 Hz.
    Carl,
    /// A woman's voice, 200 Hz.
    Bella,
    /// A high voice, 250 Hz.
    Anna,
}

impl Speaker {
    /// All of them, by pitch.
    pub const ALL: [Self; 4] = [Self::Dan, Self::Carl, Self::Bella, Self::Anna];

    /// The name in manifests and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dan => "dan",
            Self::Carl => "carl",
            Self::Bella => "bella",
            Self::Anna => "anna",
        }
    }

    /// The pitch of the voice in Hz.
    pub fn hertz(self) -> f64 {
        match self {
            Self::Dan => 100.0,
            Self::Carl => 150.0,
            Self::Bella => 200.0,
            Self::Anna => 250.0,
        }
    }

    /// espeak-ng's variant, and its pitch (0 to 99), such that it speaks at about [`Self::hertz`].
    fn variant(self, language: Language) -> (&'static str, &'static str) {
        let (variant, english, mandarin) = match self {
            Self::Dan => ("m3", "59", "53"),
            Self::Carl => ("Diogo", "92", "90"),
            Self::Bella => ("f2", "64", "67"),
            Self::Anna => ("f5", "76", "77"),
        };
        match language {
            Language::English => (variant, english),
            Language::Mandarin => (variant, mandarin),
        }
    }
}

/// Says sentences at [`SAMPLE_RATE`].
pub(crate) trait Speak: Sync {
    /// Says a sentence.
    fn speak(
        &self,
        text: &str,
        speaker: Speaker,
        language: Language,
    ) -> Result<Vec<f32>, SynthError>;
}

/// espeak-ng.
#[derive(Debug, Clone)]
pub struct SpeechSynthesizer {
    program: PathBuf,
    /// The factor that brings each voice to its level: the same for all that it says.
    gains: BTreeMap<(Speaker, Language), f32>,
}

impl SpeechSynthesizer {
    /// Uses the given espeak-ng, a path or a name that is looked up in PATH, and tries each voice on a few phrases.
    ///
    /// # Errors
    ///
    /// [`SynthError::NoSpeaker`] where the program is absent, [`SynthError::Speaker`] where it lacks a voice.
    pub fn open(program: impl Into<PathBuf>) -> Result<Self, SynthError> {
        let mut synthesizer = Self {
            program: program.into(),
            gains: BTreeMap::new(),
        };
        for language in Language::ALL {
            for speaker in Speaker::ALL {
                let mut phrases = Vec::new();
                for text in &language.references()[..LEVEL_PHRASES] {
                    phrases.extend(synthesizer.say(text, speaker, language)?);
                }
                let gain = sound::gain_to(&phrases, LEVEL);
                synthesizer.gains.insert((speaker, language), gain);
            }
        }
        Ok(synthesizer)
    }

    /// Says a sentence: at [`SAMPLE_RATE`], 30 ms of silence around it. A voice has the same level in everything that it says, -21
    /// dBFS (RMS) on average. Its pitch is a whole number of periods in each 20 ms: in English always [`Speaker::hertz`], in Mandarin
    /// the tones are steps of 50 Hz.
    ///
    /// # Errors
    ///
    /// [`SynthError::NoSpeaker`] where the program cannot be run, [`SynthError::Speaker`] where it fails or makes no sound.
    pub fn speak(
        &self,
        text: &str,
        speaker: Speaker,
        language: Language,
    ) -> Result<Vec<f32>, SynthError> {
        let mut samples = self.say(text, speaker, language)?;
        let gain = self.gains.get(&(speaker, language)).copied();
        sound::amplify(&mut samples, gain.unwrap_or(1.0));
        Ok(samples)
    }

    /// A sentence as loud as the program says it.
    fn say(
        &self,
        text: &str,
        speaker: Speaker,
        language: Language,
    ) -> Result<Vec<f32>, SynthError> {
        let (variant, pitch) = speaker.variant(language);
        // Words per minute; the program's word of Mandarin is short, this makes about four syllables a second.
        // English has some 60 ms of silence between words.
        let (base, speed, gap, prefix) = match language {
            Language::English => ("en-us", "170", "2", MONOTONE),
            Language::Mandarin => ("cmn", "235", "0", ""),
        };
        let voice = format!("{base}+{variant}");
        let manner = ["-v", &voice, "-p", pitch, "-s", speed, "-g", gap];
        let (samples, rate) = self.run(&format!("{prefix}{text}"), &voice, &manner)?;
        let samples = resample(&samples, rate, SAMPLE_RATE);
        let samples = sound::trim(&samples, SAMPLE_RATE, MARGIN);
        if samples.is_empty() {
            return Err(self.failed(&voice, text, "it made silence"));
        }
        Ok(pitch_lock::lock(samples, speaker.hertz()))
    }

    fn run(&self, text: &str, voice: &str, manner: &[&str]) -> Result<(Vec<f32>, u32), SynthError> {
        let absent = |source| SynthError::NoSpeaker {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .args(manner)
            // UTF-8 from standard input, where no text can be taken for an option; WAV to standard output.
            .args(["-b", "1", "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(absent)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends early closes the pipe; its own words say more than the pipe's.
            let _ = stdin.write_all(text.as_bytes());
        }
        let output = child.wait_with_output().map_err(absent)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(200).collect();
            return Err(self.failed(voice, text, &format!("{}; {said}", output.status)));
        }
        let mut reader = hound::WavReader::new(Cursor::new(output.stdout)).map_err(|error| {
            self.failed(voice, text, &format!("its sound is no WAV file: {error}"))
        })?;
        let spec = reader.spec();
        if spec.channels != 1 || spec.bits_per_sample != 16 || !RATES.contains(&spec.sample_rate) {
            return Err(self.failed(
                voice,
                text,
                &format!("its sound is not mono of 16 bits: {spec:?}"),
            ));
        }
        // The length in the header of a pipe is a guess: the samples end where the bytes end.
        let samples = reader.samples::<i16>().map_while(Result::ok);
        Ok((
            samples.map(|s| f32::from(s) / 32768.0).collect(),
            spec.sample_rate,
        ))
    }

    fn failed(&self, voice: &str, text: &str, found: &str) -> SynthError {
        SynthError::Speaker {
            program: self.program.clone(),
            voice: voice.to_string(),
            text: text.to_string(),
            found: found.to_string(),
        }
    }
}

impl Speak for SpeechSynthesizer {
    fn speak(
        &self,
        text: &str,
        speaker: Speaker,
        language: Language,
    ) -> Result<Vec<f32>, SynthError> {
        SpeechSynthesizer::speak(self, text, speaker, language)
    }
}
