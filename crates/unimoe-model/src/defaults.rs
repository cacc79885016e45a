//! `generation.json`: the settings that suit a model, where a user leaves them open.
//!
//! ```json
//! {
//!   "sentences": true,
//!   "speech": {"min_seconds": 0.3, "max_seconds": 6, "temperature": 0.7, "guidance_scale": 2},
//!   "music": {"min_seconds": 5, "max_seconds": 5, "top_k": 60},
//!   "video_music": {"top_p": 0.9, "eos_factor": 0.8}
//! }
//! ```
//!
//! The file, each task and each setting may be absent: the published value stands for it, and for music of a video that of
//! music. `sentences` says that the model has seen whole sentences only, see [`GenerationDefaults::written`]; `"trained": false`
//! that its weights are random.

use std::borrow::Cow;

use model_files::{ModelPath, read_text};
use serde::{Deserialize, Serialize};

use crate::{error::CompanionError, learnt_words::is_chinese, request::RequestOptions};

/// Name of the file in a model folder.
pub(crate) const GENERATION_FILE: &str = "generation.json";

/// Settings for each task, where a user leaves them open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerationDefaults {
    /// For speech.
    pub speech: RequestOptions,
    /// For music from a caption.
    pub music: RequestOptions,
    /// For music of a video.
    pub video_music: RequestOptions,
    /// Whether the model learnt from whole sentences only. Default: false
    pub sentences: bool,
    /// Whether the model learnt anything: one of random weights makes noise. Default: true
    pub trained: bool,
}

/// The file's content.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Stored {
    sentences: bool,
    trained: Option<bool>,
    speech: Settings,
    music: Settings,
    video_music: Settings,
}

/// What the file says of a task.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    min_seconds: Option<f64>,
    max_seconds: Option<f64>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    guidance_scale: Option<f32>,
    eos_factor: Option<f32>,
}

impl Default for GenerationDefaults {
    /// The published settings.
    fn default() -> Self {
        Self {
            speech: RequestOptions::speech(),
            music: RequestOptions::music(),
            video_music: RequestOptions::music(),
            sentences: false,
            trained: true,
        }
    }
}

impl GenerationDefaults {
    /// Reads the file of a model folder; the published settings where there is none.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    ///
    /// ```
    /// use unimoe_model::{GenerationDefaults, RequestOptions};
    ///
    /// let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("generation.json"), r#"{"speech": {"max_seconds": 6}}"#)?;
    /// let defaults = GenerationDefaults::find(folder.path())?;
    /// assert_eq!(defaults.speech.max_seconds, 6.0);
    /// assert_eq!(defaults.music, RequestOptions::music());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn find(folder: impl Into<ModelPath>) -> Result<Self, CompanionError> {
        let file = folder.into().join(GENERATION_FILE);
        match file.exists() {
            true => Self::load(file),
            false => Ok(Self::default()),
        }
    }

    /// Reads a file of this form, wherever it is.
    ///
    /// # Errors
    ///
    /// A [`CompanionError`] that names the file and what is wrong with it: unreadable, a setting of another name or kind,
    /// or out of range.
    pub fn load(file: impl Into<ModelPath>) -> Result<Self, CompanionError> {
        let file = file.into();
        let path = || file.path().to_path_buf();
        let text = read_text(&file).map_err(|source| CompanionError::Io {
            path: path(),
            source,
        })?;
        let stored: Stored =
            serde_json::from_str(&text).map_err(|source| CompanionError::Json {
                path: path(),
                source,
            })?;
        let published = Self::default();
        let music = stored.music.over(published.music);
        let defaults = Self {
            speech: stored.speech.over(published.speech),
            music,
            video_music: stored.video_music.over(music),
            sentences: stored.sentences,
            trained: stored.trained.unwrap_or(published.trained),
        };
        for (task, options) in [
            ("speech", defaults.speech),
            ("music", defaults.music),
            ("video_music", defaults.video_music),
        ] {
            // Any frame rate serves: only the numbers are checked.
            let checked = options.in_frames(1.0).and_then(|_| {
                options.sampling.validate()?;
                Ok(())
            });
            if let Err(error) = checked {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                return Err(CompanionError::Setting {
                    path: path(),
                    task,
                    reason: cause.unwrap_or_else(|| error.to_string()),
                });
            }
        }
        Ok(defaults)
    }

    /// A text as the model would have read it: with `sentences`, a capital at its beginning and a full stop at its end where
    /// they are missing, else as it is.
    ///
    /// ```
    /// use unimoe_model::GenerationDefaults;
    ///
    /// let defaults = GenerationDefaults { sentences: true, ..GenerationDefaults::default() };
    /// assert_eq!(defaults.written("hello world"), "Hello world.");
    /// assert_eq!(defaults.written("你好"), "你好。");
    /// assert_eq!(defaults.written("Really?"), "Really?");
    /// assert_eq!(GenerationDefaults::default().written("hello"), "hello");
    /// ```
    pub fn written<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let trimmed = text.trim();
        let mut characters = trimmed.chars();
        let (Some(first), true) = (characters.next(), self.sentences) else {
            return Cow::Borrowed(text);
        };
        let rest = characters.as_str();
        let mut written: String = first.to_uppercase().collect();
        written.push_str(rest);
        if trimmed.ends_with(char::is_alphanumeric) {
            written.push(if is_chinese(trimmed) { '。' } else { '.' });
        }
        Cow::Owned(written)
    }

    /// The file's content.
    pub(crate) fn to_json(self) -> serde_json::Value {
        let settings = |options: RequestOptions| Settings {
            min_seconds: Some(options.min_seconds),
            max_seconds: Some(options.max_seconds),
            temperature: Some(options.sampling.temperature),
            top_k: options.sampling.top_k,
            top_p: Some(options.sampling.top_p),
            guidance_scale: Some(options.guidance_scale),
            eos_factor: Some(options.eos_factor),
        };
        serde_json::json!({
            "sentences": self.sentences,
            "trained": self.trained,
            "speech": settings(self.speech),
            "music": settings(self.music),
            "video_music": settings(self.video_music),
        })
    }
}

impl Settings {
    fn over(&self, mut options: RequestOptions) -> RequestOptions {
        let take = |value: &mut f64, stored: Option<f64>| *value = stored.unwrap_or(*value);
        take(&mut options.min_seconds, self.min_seconds);
        take(&mut options.max_seconds, self.max_seconds);
        take(&mut options.sampling.temperature, self.temperature);
        take(&mut options.sampling.top_p, self.top_p);
        options.sampling.top_k = self.top_k.or(options.sampling.top_k);
        options.guidance_scale = self.guidance_scale.unwrap_or(options.guidance_scale);
        options.eos_factor = self.eos_factor.unwrap_or(options.eos_factor);
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<GenerationDefaults, CompanionError> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(GENERATION_FILE), text).expect("a file");
        GenerationDefaults::find(folder.path())
    }

    #[test]
    fn what_the_file_leaves_open_is_published_and_a_video_follows_music() {
        assert_eq!(read("{}").expect("all open"), GenerationDefaults::default());
        let read =
            read(r#"{"music": {"top_k": 9, "guidance_scale": 3}, "video_music": {"top_k": 8}}"#)
                .expect("valid");
        assert_eq!(read.speech, RequestOptions::speech());
        assert_eq!(read.music.sampling.top_k, Some(9));
        let video = read.video_music;
        assert_eq!((video.sampling.top_k, video.guidance_scale), (Some(8), 3.0));
        assert_eq!(video.min_seconds, 8.0);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut defaults = GenerationDefaults::default();
        defaults.speech.max_seconds = 5.5;
        defaults.trained = false;
        defaults.video_music.eos_factor = 0.25;
        defaults.sentences = true;
        let again = read(&defaults.to_json().to_string()).expect("valid");
        assert_eq!(again, defaults);
    }

    #[test]
    fn settings_that_are_unknown_or_out_of_range_are_named() {
        for (text, named) in [
            (r#"{"speach": {}}"#, "speach"),
            (r#"{"speech": {"seconds": 3}}"#, "seconds"),
            (r#"{"speech": {"top_p": 2}}"#, "top-p"),
            (r#"{"music": {"top_k": 0}}"#, "top-k"),
            (r#"{"music": {"top_k": -1}}"#, "-1"),
            (r#"{"music": {"temperature": -1}}"#, "temperature"),
            (r#"{"music": {"max_seconds": 2}}"#, "2 s"),
            (r#"{"video_music": {"max_seconds": -1}}"#, "video_music"),
            (r#"{"speech": {"guidance_scale": -1}}"#, "speech"),
            (r#"{"sentences": 1}"#, "generation.json"),
            ("3", "generation.json"),
            ("{", "generation.json"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
