//! The vision side of a model: its encoder, and the tokens that stand for images and videos.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vision_encoder::VisionEncoderConfig;

use super::{CodecConfig, TextConfig, released::Fields};
use crate::error::ConfigError;

/// The vision encoder and its place in a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisionConfig {
    /// The encoder; its output is as wide as the model.
    pub encoder: VisionEncoderConfig,
    /// Text id that stands for a part of an image.
    pub image_token: u32,
    /// Text id that stands for a part of a video.
    pub video_token: u32,
    /// Text id before an image or a video.
    pub start_token: u32,
    /// Text id behind an image or a video.
    pub end_token: u32,
    /// Whether the seconds from one step of a video to the next are truncated to a whole number, as the
    /// published code does. Not part of the released file: it is read as `true`.
    pub whole_seconds: bool,
}

impl VisionConfig {
    /// The encoder beside the added tokens of Qwen2.5, which stand in fixed distances before the codec
    /// `placeholder`.
    pub(super) fn beside(placeholder: u32, encoder: VisionEncoderConfig) -> Self {
        Self {
            encoder,
            image_token: placeholder - 10,
            video_token: placeholder - 9,
            start_token: placeholder - 13,
            end_token: placeholder - 12,
            whole_seconds: true,
        }
    }

    /// Reads `vision_config` and the tokens; `None` where a model has no vision side.
    pub(super) fn from_released(
        top: &Fields<'_>,
        path: &Path,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(vision) = top.optional("vision_config") else {
            return Ok(None);
        };
        let encoder = VisionEncoderConfig::from_released(vision, path).map_err(|source| {
            ConfigError::Vision {
                path: path.to_path_buf(),
                source: source.into(),
            }
        })?;
        Ok(Some(Self {
            encoder,
            image_token: top.id("image_token_id")?,
            video_token: top.id("video_token_id")?,
            start_token: top.id("vision_start_token_id")?,
            end_token: top.id("vision_end_token_id")?,
            whole_seconds: true,
        }))
    }

    /// Adds the released fields to those of the whole model.
    pub(super) fn write_released(&self, top: &mut Map<String, Value>) {
        top.insert("vision_config".into(), self.encoder.to_released());
        for (name, id) in self.tokens() {
            top.insert(name.into(), json!(id));
        }
    }

    /// What contradicts the rest of the model: both sides.
    pub(super) fn contradiction(
        &self,
        text: &TextConfig,
        codec: &CodecConfig,
    ) -> Option<(String, String)> {
        if self.encoder.d_out != text.d_model {
            return Some((
                format!("vision_config.out_hidden_size = {}", self.encoder.d_out),
                format!("text_config.hidden_size = {}", text.d_model),
            ));
        }
        let mut taken = vec![("codec_placeholder_value", codec.placeholder)];
        for (field, id) in self.tokens() {
            let own = format!("{field} = {id}");
            if id as usize >= text.vocab_size {
                return Some((own, format!("text_config.vocab_size = {}", text.vocab_size)));
            }
            if let Some((other, _)) = taken.iter().find(|(_, other)| *other == id) {
                return Some((own, format!("{other} = {id}")));
            }
            taken.push((field, id));
        }
        None
    }

    /// The tokens with their released names.
    fn tokens(&self) -> [(&'static str, u32); 4] {
        [
            ("image_token_id", self.image_token),
            ("video_token_id", self.video_token),
            ("vision_start_token_id", self.start_token),
            ("vision_end_token_id", self.end_token),
        ]
    }
}
