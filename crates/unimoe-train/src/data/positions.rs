//! How many positions of a model a clip takes, before anything is computed.

use unimoe_model::{Prompt, PromptError, Tokenizer, UniMoeConfig};
use vision_encoder::{Grid, VisionKind};

use super::{
    error::Fault,
    record::{Record, Task},
};

/// What a model can take.
#[derive(Debug, Clone)]
pub struct ModelLimits {
    tokenizer: Tokenizer,
    config: UniMoeConfig,
    frame_rate: f64,
}

/// Lengths of what belongs to a record.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RecordLengths {
    /// Of the sound, in seconds.
    pub seconds: f64,
    /// Of the reference voice, in seconds.
    pub reference_seconds: f64,
    /// Of the video, in patches.
    pub grid: Option<(VisionKind, Grid)>,
}

impl ModelLimits {
    /// Limits of a model whose codec has `frame_rate` frames per second.
    pub fn new(tokenizer: Tokenizer, config: UniMoeConfig, frame_rate: f64) -> Self {
        Self {
            tokenizer,
            config,
            frame_rate,
        }
    }

    /// Positions that a record takes, prompt and sound together. Speech without a voice counts without one.
    ///
    /// # Errors
    ///
    /// [`Fault::Text`] where its text can't be put in a prompt, [`Fault::TooLong`] where it takes more positions than the
    /// model has.
    pub fn positions(&self, record: &Record, lengths: &RecordLengths) -> Result<usize, Fault> {
        let delay = self
            .config
            .codec
            .delay_pattern
            .iter()
            .max()
            .copied()
            .unwrap_or(0);
        // A cast saturates: no length overflows.
        let rows =
            |seconds: f64| ((seconds * self.frame_rate).ceil() as usize).saturating_add(delay + 1);
        let limit = self.config.text.max_positions;
        let voice = match &record.reference {
            Some(_) => rows(lengths.reference_seconds),
            None => 1,
        };
        let seen = self.seen(lengths);
        let sound = rows(lengths.seconds);
        let long = |found| Err(Fault::TooLong { limit, found });
        // Placeholders are written out, so they are counted before.
        let without_text = voice.saturating_add(sound).saturating_add(seen);
        if without_text > limit {
            return long(without_text);
        }
        let ids = self.prompt(record, voice, lengths.grid.map(|(kind, _)| (kind, seen)));
        let ids = ids.map_err(|error| Fault::Text {
            reason: super::error::chain(&error),
        })?;
        match ids.saturating_add(sound) {
            found if found > limit => long(found),
            found => Ok(found),
        }
    }

    fn prompt(
        &self,
        record: &Record,
        voice: usize,
        seen: Option<(VisionKind, usize)>,
    ) -> Result<usize, PromptError> {
        let prompt = match record.task {
            Task::Speech => {
                let text = record
                    .reference
                    .as_ref()
                    .map(|reference| reference.text.as_str());
                Prompt::speech(&record.text, text.unwrap_or(&record.text), voice)?
            }
            Task::Music | Task::VideoMusic => Prompt::music(&record.text)?,
        };
        let prompt = match seen {
            Some((kind, tokens)) if tokens > 0 => prompt.with_vision(kind, tokens)?,
            _ => prompt,
        };
        Ok(prompt.conditional().encode(&self.tokenizer)?.len())
    }

    /// Tokens of the video.
    fn seen(&self, lengths: &RecordLengths) -> usize {
        let merge = self
            .config
            .vision
            .as_ref()
            .map_or(2, |vision| vision.encoder.merge_size);
        let tokens = lengths.grid.map(|(_, grid)| grid.tokens(merge));
        tokens.map_or(0, |tokens| tokens.unwrap_or(usize::MAX))
    }
}
