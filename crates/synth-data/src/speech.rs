//! Speech by espeak-ng, a program of its own that is started for each sentence.

use std::{
    io::{Cursor, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::SynthError,
    resample::resample,
    sound::{self, SAMPLE_RATE},
    text::Language,
};

/// Silence that is left at both ends, in seconds.
const MARGIN: f64 = 0.03;
/// RMS of a sentence in dBFS.
const LEVEL: f64 = -21.0;
/// Sample rates in Hz that are believed.
const RATES: std::ops::RangeInclusive<u32> = 8_000..=192_000;

/// A voice of the made speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    /// A deep voice, about 88 Hz.
    Dan,
    /// A man's voice, about 113 Hz.
    Carl,
    /// A woman's voice, about 175 Hz.
    Bella,
    /// A high voice, about 243 Hz.
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

    /// espeak-ng's variant, and its pitch (0 to 99), such that a speaker sounds alike in both languages.
    fn variant(self, language: Language) -> (&'static str, &'static str) {
        let (variant, english, mandarin) = match self {
            Self::Dan => ("m3", "22", "40"),
            Self::Carl => ("m1", "70", "75"),
            Self::Bella => ("f4", "46", "59"),
            Self::Anna => ("f2", "72", "80"),
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
}

impl SpeechSynthesizer {
    /// Uses the given espeak-ng, a path or a name that is looked up in PATH, and tries each voice on a word.
    ///
    /// # Errors
    ///
    /// [`SynthError::NoSpeaker`] where the program is absent, [`SynthError::Speaker`] where it lacks a voice.
    pub fn open(program: impl Into<PathBuf>) -> Result<Self, SynthError> {
        let synthesizer = Self {
            program: program.into(),
        };
        for language in Language::ALL {
            for speaker in Speaker::ALL {
                synthesizer.speak(language.references()[0], speaker, language)?;
            }
        }
        Ok(synthesizer)
    }

    /// Says a sentence: at [`SAMPLE_RATE`], 30 ms of silence around it, an RMS of -21 dBFS.
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
        let (variant, pitch) = speaker.variant(language);
        // Words per minute; the program's word of Mandarin is short, this makes about four syllables a second.
        let (base, speed) = match language {
            Language::English => ("en-us", "170"),
            Language::Mandarin => ("cmn", "235"),
        };
        let voice = format!("{base}+{variant}");
        let (samples, rate) = self.run(text, &voice, pitch, speed)?;
        let samples = resample(&samples, rate, SAMPLE_RATE);
        let mut samples = sound::trim(&samples, SAMPLE_RATE, MARGIN).to_vec();
        if samples.is_empty() {
            return Err(self.failed(&voice, text, "it made silence"));
        }
        sound::normalise(&mut samples, LEVEL);
        Ok(samples)
    }

    fn run(
        &self,
        text: &str,
        voice: &str,
        pitch: &str,
        speed: &str,
    ) -> Result<(Vec<f32>, u32), SynthError> {
        let absent = |source| SynthError::NoSpeaker {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .args(["-v", voice, "-p", pitch, "-s", speed])
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
