//! One clip of a manifest.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a clip is an example of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Speech of a text, in the voice of a reference where there is one.
    Speech,
    /// Music of a caption.
    Music,
    /// Music of a video and a caption.
    VideoMusic,
}

/// A recording of the voice that speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The sound file.
    pub audio: PathBuf,
    /// What is said in it.
    pub text: String,
}

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The manifest.
    pub manifest: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

/// One clip: a line of a manifest.
///
/// ```json
/// {"id": "en-1", "task": "speech", "text": "Hello.", "audio": "a.wav", "language": "en",
///  "reference_audio": "b.wav", "reference_text": "Good day."}
/// {"id": "m-1", "task": "music", "caption": "A calm piano.", "audio": "m.flac", "score": 4.2}
/// {"id": "v-1", "task": "video_music", "caption": "Upbeat.", "audio": "v.mp3", "video": "v.mp4"}
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name, which no other record has.
    pub id: String,
    /// What it is an example of.
    pub task: Task,
    /// What it is balanced and reported by. Default: `speech-<language>` for speech of a known language, else the
    /// task's name
    pub domain: String,
    /// What is said, or the caption.
    pub text: String,
    /// The sound file.
    pub audio: PathBuf,
    /// The voice that speaks; `reference_audio` and `reference_text` in the manifest.
    pub reference: Option<Reference>,
    /// The video that the music belongs to: a file, or a folder of pictures.
    pub video: Option<PathBuf>,
    /// Language of the text.
    pub language: Option<String>,
    /// Length of the sound in seconds, where it is known.
    pub duration: Option<f64>,
    /// How good the clip is, in the researcher's own measure.
    pub score: Option<f64>,
    /// All other columns.
    pub extra: Map<String, Value>,
    /// Where it stands.
    pub origin: Origin,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 3] = [Self::Speech, Self::Music, Self::VideoMusic];

    /// Its name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Speech => "speech",
            Self::Music => "music",
            Self::VideoMusic => "video_music",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Record {
    /// The number in a column: `score`, `duration`, or any other.
    pub fn column(&self, name: &str) -> Option<f64> {
        match name {
            "score" => self.score,
            "duration" => self.duration,
            other => self.extra.get(other)?.as_f64(),
        }
    }

    /// The record as a line of a manifest in `folder`. Files in the folder are named relative to it, others whole.
    pub fn to_json(&self, folder: &Path) -> Value {
        let mut line = Map::new();
        line.insert("id".into(), json!(self.id));
        line.insert("task".into(), json!(self.task));
        line.insert("domain".into(), json!(self.domain));
        let text = match self.task {
            Task::Speech => "text",
            Task::Music | Task::VideoMusic => "caption",
        };
        line.insert(text.into(), json!(self.text));
        line.insert("audio".into(), json!(named_from(folder, &self.audio)));
        if let Some(reference) = &self.reference {
            let audio = named_from(folder, &reference.audio);
            line.insert("reference_audio".into(), json!(audio));
            line.insert("reference_text".into(), json!(reference.text));
        }
        if let Some(video) = &self.video {
            line.insert("video".into(), json!(named_from(folder, video)));
        }
        let optional = [
            ("language", self.language.as_ref().map(|value| json!(value))),
            ("duration", self.duration.map(|value| json!(value))),
            ("score", self.score.map(|value| json!(value))),
        ];
        for (name, value) in optional {
            line.extend(value.map(|value| (name.to_string(), value)));
        }
        for (name, value) in &self.extra {
            line.entry(name.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(line)
    }
}

/// `path` as it is written in a manifest that lies in `folder`.
fn named_from(folder: &Path, path: &Path) -> String {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let (folder, path) = (whole(folder), whole(path));
    let path = path.strip_prefix(&folder).unwrap_or(&path);
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_in_the_folder_are_named_from_it_and_others_whole() {
        let folder = Path::new("/data/set");
        assert_eq!(
            named_from(folder, Path::new("/data/set/a/b.wav")),
            "a/b.wav"
        );
        assert_eq!(named_from(folder, Path::new("/data/b.wav")), "/data/b.wav");
    }
}
