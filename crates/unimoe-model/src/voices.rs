//! `voices/`: reference voices that a model folder brings along.
//!
//! `voices/voices.json` lists them, the one that speaks where none is named first; each has its codes in a
//! [`CodeFile`] beside the list:
//!
//! ```json
//! [
//!   {"name": "amy", "description": "a woman", "text": "good morning", "codes": "amy-en.codes"},
//!   {"name": "amy", "description": "a woman", "text": "早上好", "codes": "amy-zh.codes"}
//! ]
//! ```
//!
//! A voice may have two recordings, one of them in Chinese script: a text is spoken after the one whose script it has.

use dac_codec::{CodeFile, DacConfig};
use model_files::{ModelPath, read_text};
use serde::{Deserialize, Serialize};

use crate::{
    delay::CodeGrid,
    error::CompanionError,
    learnt_words::is_chinese,
    request::{RequestOptions, SpeechRequest, Voice},
};

/// The folder of the voices in a model folder.
pub(crate) const VOICES_FOLDER: &str = "voices";
/// The list in it.
pub(crate) const VOICES_FILE: &str = "voices.json";
/// Longest name of a voice, in bytes.
const MAX_NAME: usize = 64;

/// The reference voices of a model folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Voices(Vec<NamedVoice>);

/// A recording of a reference voice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVoice {
    /// What it is called.
    pub name: String,
    /// What it is like; may be empty.
    pub description: String,
    /// What it says.
    pub text: String,
    /// Its codes.
    pub codes: CodeFile,
}

/// A line of the list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub text: String,
    pub codes: String,
}

impl NamedVoice {
    /// A request to speak `text` with this voice.
    pub fn speak(&self, text: &str, options: RequestOptions) -> SpeechRequest {
        SpeechRequest {
            text: text.to_string(),
            voice: Voice::Codes(self.grid()),
            voice_text: self.text.clone(),
            options,
        }
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        self.codes.samples as f64 / f64::from(self.codes.sample_rate)
    }

    fn grid(&self) -> CodeGrid {
        let codes = self.codes.codes.iter().map(|&code| u32::from(code));
        // A file of codes has whole frames only.
        CodeGrid::from_rows(self.codes.n_codebooks as usize, codes.collect())
    }
}

impl Voices {
    /// Reads the voices of a model folder; none where it has no list.
    ///
    /// # Errors
    ///
    /// A [`CompanionError`] that names the list and what is wrong with it, or a file of codes that can't be read.
    pub fn find(folder: impl Into<ModelPath>) -> Result<Self, CompanionError> {
        let place = folder.into().join(VOICES_FOLDER);
        let file = place.join(VOICES_FILE);
        if !file.exists() {
            return Ok(Self::default());
        }
        let path = || file.path().to_path_buf();
        let text = read_text(&file).map_err(|source| CompanionError::Io {
            path: path(),
            source,
        })?;
        let entries: Vec<Entry> =
            serde_json::from_str(&text).map_err(|source| CompanionError::Json {
                path: path(),
                source,
            })?;
        check(&file, &entries)?;
        let mut voices = Vec::new();
        for entry in entries {
            let codes = place.join(&entry.codes);
            let codes = CodeFile::read(&codes).map_err(|error| CompanionError::Io {
                path: codes.path().to_path_buf(),
                source: std::io::Error::other(error),
            })?;
            voices.push(NamedVoice {
                name: entry.name,
                description: entry.description,
                text: entry.text,
                codes,
            });
        }
        Ok(Self(voices))
    }

    /// The recording to speak `text` with: of the voice called `name`, or of the first one; the one in the text's script
    /// where there are two.
    pub fn get(&self, name: Option<&str>, text: &str) -> Option<&NamedVoice> {
        let name = name.or_else(|| self.0.first().map(|voice| voice.name.as_str()))?;
        let of_name = || self.0.iter().filter(|voice| voice.name == name);
        of_name()
            .find(|voice| is_chinese(&voice.text) == is_chinese(text))
            .or_else(|| of_name().next())
    }

    /// All recordings in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &NamedVoice> {
        self.0.iter()
    }

    /// The names in order, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for voice in &self.0 {
            if !names.contains(&voice.name.as_str()) {
                names.push(&voice.name);
            }
        }
        names
    }

    /// Checks that all codes are those of a codec.
    ///
    /// # Errors
    ///
    /// [`CompanionError::Codes`] for the first that is not.
    pub(crate) fn check(&self, codec: &DacConfig) -> Result<(), CompanionError> {
        for voice in &self.0 {
            let codes = &voice.codes;
            for (what, expected, found) in [
                ("the sample rate", codec.sample_rate, codes.sample_rate),
                ("the hop length", codec.hop_length(), codes.hop_length),
                (
                    "the number of codebooks",
                    codec.n_codebooks,
                    codes.n_codebooks,
                ),
                (
                    "the codebook size",
                    codec.codebook_size,
                    codes.codebook_size,
                ),
            ] {
                if expected != found as usize {
                    return Err(CompanionError::Codes {
                        name: voice.name.clone(),
                        what,
                        expected,
                        found: found as usize,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Checks what a list says of its voices.
pub(crate) fn check(file: &ModelPath, entries: &[Entry]) -> Result<(), CompanionError> {
    let path = file.path();
    for (index, entry) in entries.iter().enumerate() {
        let wrong = |field, expected, found: &str| CompanionError::Voice {
            path: path.to_path_buf(),
            place: index + 1,
            field,
            expected,
            found: found.to_string(),
        };
        let plain = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        if entry.name.is_empty() || entry.name.len() > MAX_NAME || !entry.name.chars().all(plain) {
            let expected = "letters, digits, - and _, 64 bytes at most";
            return Err(wrong("the name", expected, &entry.name));
        }
        if entry.text.trim().is_empty() {
            return Err(wrong("the text", "what the voice says", &entry.text));
        }
        // A plain name only: the list must not reach outside its folder.
        let stem = entry.codes.strip_suffix(".codes");
        if !stem.is_some_and(|stem| !stem.is_empty() && stem.chars().all(plain)) {
            let expected = "the name of a .codes file beside the list";
            return Err(wrong("the file", expected, &entry.codes));
        }
        let same = entries[..index].iter().find(|first| {
            first.name == entry.name && is_chinese(&first.text) == is_chinese(&entry.text)
        });
        if let Some(first) = same {
            return Err(CompanionError::VoiceTwice {
                path: path.to_path_buf(),
                name: entry.name.clone(),
                first: first.text.clone(),
                second: entry.text.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn codes() -> CodeFile {
        CodeFile {
            sample_rate: 16_000,
            hop_length: 320,
            n_codebooks: 2,
            codebook_size: 256,
            samples: 900,
            codes: vec![1, 2, 3, 4, 5, 255],
        }
    }

    fn find(list: &str) -> Result<Voices, CompanionError> {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join(VOICES_FOLDER);
        fs::create_dir(&place).expect("a folder");
        fs::write(place.join(VOICES_FILE), list).expect("a file");
        codes().write(place.join("a.codes")).expect("a file");
        fs::write(place.join("bad.codes"), "DACCODES").expect("a file");
        Voices::find(folder.path())
    }

    #[test]
    fn a_text_is_spoken_after_the_recording_in_its_script() {
        let voices = find(
            r#"[{"name": "amy", "text": "hello", "codes": "a.codes"},
                {"name": "amy", "text": "你好", "codes": "a.codes"},
                {"name": "bob", "text": "你好", "codes": "a.codes", "description": "low"}]"#,
        )
        .expect("valid");
        assert_eq!(voices.names(), ["amy", "bob"]);
        let said = |name, text| voices.get(name, text).map(|voice| voice.text.as_str());
        assert_eq!(said(None, "good morning"), Some("hello"));
        assert_eq!(said(None, "早"), Some("你好"));
        assert_eq!(said(Some("bob"), "good morning"), Some("你好"));
        assert_eq!(said(Some("eve"), "good morning"), None);
        assert!(Voices::default().get(None, "hello").is_none());

        let request = voices.get(Some("bob"), "x").expect("bob");
        let request = request.speak("x", RequestOptions::speech());
        let Voice::Codes(grid) = request.voice else {
            panic!("not codes");
        };
        assert_eq!((grid.n_frames(), grid.frame(2)), (3, Some(&[5, 255][..])));
    }

    #[test]
    fn lists_that_are_damaged_are_named() {
        for (list, named) in [
            ("{}", "voices.json"),
            (r#"[{"name": "a", "text": "x"}]"#, "codes"),
            (
                r#"[{"name": "a/b", "text": "x", "codes": "a.codes"}]"#,
                "the name of voice 1",
            ),
            (
                r#"[{"name": "", "text": "x", "codes": "a.codes"}]"#,
                "the name of voice 1",
            ),
            (
                r#"[{"name": "a", "text": " ", "codes": "a.codes"}]"#,
                "the text",
            ),
            (
                r#"[{"name": "a", "text": "x", "codes": "../a.codes"}]"#,
                "the file",
            ),
            (
                r#"[{"name": "a", "text": "x", "codes": ".codes"}]"#,
                "the file",
            ),
            (
                r#"[{"name": "a", "text": "x", "codes": "none.codes"}]"#,
                "none.codes",
            ),
            (
                r#"[{"name": "a", "text": "x", "codes": "bad.codes"}]"#,
                "bad.codes",
            ),
            (
                r#"[{"name": "a", "text": "x", "codes": "a.codes"}, {"name": "a", "text": "y", "codes": "a.codes"}]"#,
                "two recordings",
            ),
        ] {
            let error = find(list).expect_err(list).to_string();
            assert!(error.contains(named), "{list}: {error}");
        }
    }

    #[test]
    fn codes_of_another_codec_are_refused() {
        let list = r#"[{"name": "a", "text": "x", "codes": "a.codes"}]"#;
        let voices = find(list).expect("valid");
        let config = DacConfig::dac_16khz()
            .with_n_codebooks(2)
            .with_codebook_size(256);
        voices.check(&config).expect("the same codec");
        for other in [
            config.clone().with_n_codebooks(3),
            config.clone().with_codebook_size(1024),
            config.with_sample_rate(24_000),
        ] {
            let error = voices.check(&other).expect_err("another codec");
            assert!(matches!(error, CompanionError::Codes { .. }), "{error}");
        }
    }
}
