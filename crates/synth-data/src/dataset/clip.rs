//! A line of a manifest.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{attributes::Attributes, speech::Speaker, text::Language};

/// A clip as the manifest describes it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Clip {
    pub id: String,
    pub task: &'static str,
    pub domain: &'static str,
    pub audio: String,
    /// Seconds.
    pub duration: f64,
    #[serde(flatten)]
    pub content: Content,
}

/// What depends on the task.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(super) enum Content {
    Speech {
        language: Language,
        speaker: Speaker,
        form: Form,
        text: String,
        reference_audio: String,
        reference_text: String,
    },
    Music {
        caption: String,
        #[serde(flatten)]
        attributes: Attributes,
        mood: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        video: Option<String>,
    },
}

/// What a spoken text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    Sentence,
    Word,
    /// Words without a grammar.
    List,
}

impl Clip {
    /// What is said, or the caption.
    pub fn text(&self) -> &str {
        match &self.content {
            Content::Speech { text, .. } => text,
            Content::Music { caption, .. } => caption,
        }
    }

    /// Takes another clip's sound and text as reference; music has none.
    pub fn refer_to(&mut self, audio: &str, text: &str) {
        if let Content::Speech {
            reference_audio,
            reference_text,
            ..
        } = &mut self.content
        {
            *reference_audio = audio.to_string();
            *reference_text = text.to_string();
        }
    }
}

/// The manifest: an object in each line, its fields by name.
pub(super) fn lines(clips: &[Clip]) -> String {
    let line = |clip: &Clip| {
        // Sorted here: the order of the library's own map depends on a feature that any other crate may switch.
        let fields: BTreeMap<String, Value> = match serde_json::to_value(clip) {
            Ok(Value::Object(fields)) => fields.into_iter().collect(),
            // A struct of strings and finite numbers is an object.
            _ => BTreeMap::new(),
        };
        let values = fields
            .iter()
            .map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
        format!("{{{}}}\n", values.collect::<Vec<_>>().join(","))
    };
    clips.iter().map(line).collect()
}
