//! The prompts of speech, music and music for a video, each with the unconditional twin that guidance needs.
//!
//! The wording is the published one (UniMoE-Audio, arXiv:2510.13344). Control tokens and texts are kept
//! apart until they are ids, so that a user's text can't pass for structure. Carries no codes and no
//! pictures: a voice or a video takes its placeholders here, its codes or rows go to the model beside the
//! ids.

use std::fmt;

use vision_encoder::VisionKind;

use crate::{
    error::{PromptError, TokenizerError},
    tokenizer::{TokenBatch, Tokenizer},
};

const PLACEHOLDER: &str = "<|AUDIO_PLACEHOLDER|>";
/// Stands for a part of an image.
pub(crate) const IMAGE: &str = "<|image_pad|>";
/// Stands for a part of a video.
pub(crate) const VIDEO: &str = "<|video_pad|>";
const SPEECH_TEXT: &str = "text to speak";
const VOICE_TEXT: &str = "text of the voice";
const CAPTION: &str = "music caption";
/// What the music twin asks for instead of the caption.
const LOW_QUALITY: &str = "Low quality.";

/// What is asked of the model, with its unconditional twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    unconditional: PromptText,
    conditional: PromptText,
    n_placeholders: usize,
}

/// One row's text, in parts. Its [`Display`](fmt::Display) form is the whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptText {
    /// Images and videos.
    vision: Vec<Part>,
    /// What is asked for.
    content: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A token that gives the prompt its structure, `count` times.
    Control { token: &'static str, count: usize },
    /// A text; `what` it is for errors.
    Text { what: &'static str, text: String },
}

/// Prompts as token ids. Rows alternate between unconditional and conditional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptBatch {
    /// Ids of both rows of each of `B` prompts, `[2 * B, S]`.
    pub tokens: TokenBatch,
    /// Placeholders in each of the two rows of each prompt, `[B]`.
    pub placeholders: Vec<usize>,
}

impl Prompt {
    /// Asks for music.
    ///
    /// # Errors
    ///
    /// [`PromptError::Empty`] where the caption is blank.
    ///
    /// # Example
    ///
    /// ```
    /// use unimoe_model::Prompt;
    ///
    /// let prompt = Prompt::music("A calm piano")?;
    /// let text = prompt.conditional().to_string();
    /// assert!(text.contains("<|MUSIC_START|>A calm piano<|MUSIC_END|>"));
    /// # Ok::<(), unimoe_model::PromptError>(())
    /// ```
    pub fn music(caption: &str) -> Result<Self, PromptError> {
        check(CAPTION, caption)?;
        let row = |caption: &str| {
            PromptText::new(vec![
                control("<|MUSIC_START|>"),
                text(CAPTION, caption),
                control("<|MUSIC_END|>"),
            ])
        };
        Ok(Self {
            unconditional: row(LOW_QUALITY),
            conditional: row(caption),
            n_placeholders: 0,
        })
    }

    /// Asks for speech in a given voice: `voice_text` is what the voice says in its recording, which
    /// takes `n_placeholders` positions (the rows of
    /// [`DelayPattern::delay_reference`](crate::DelayPattern::delay_reference)).
    ///
    /// # Errors
    ///
    /// A [`PromptError`] where a text is blank or there is no placeholder.
    pub fn speech(
        speech: &str,
        voice_text: &str,
        n_placeholders: usize,
    ) -> Result<Self, PromptError> {
        check(SPEECH_TEXT, speech)?;
        check(VOICE_TEXT, voice_text)?;
        if n_placeholders == 0 {
            return Err(PromptError::NoFrames);
        }
        let row = |speech: &str| {
            PromptText::new(vec![
                control("<|SPEECH_PROMPT_START|>"),
                text(VOICE_TEXT, voice_text),
                control("<|SPEECH_PROMPT_END|>"),
                control("<|VOICE_PROMPT_START|>"),
                Part::Control {
                    token: PLACEHOLDER,
                    count: n_placeholders,
                },
                control("<|VOICE_PROMPT_END|>"),
                control("<|SPEECH_START|>"),
                text(SPEECH_TEXT, speech),
                control("<|SPEECH_END|>"),
            ])
        };
        Ok(Self {
            unconditional: row(""),
            conditional: row(speech),
            n_placeholders,
        })
    }

    /// The same with an image or a video of `n_tokens` tokens in front of the request, behind those that
    /// are there. Both rows get it: guidance leads away from the words, not from what is seen.
    ///
    /// # Errors
    ///
    /// [`PromptError::NoVisionTokens`] where there is no token.
    ///
    /// ```
    /// use unimoe_model::{Prompt, VisionKind};
    ///
    /// let prompt = Prompt::music("Upbeat")?.with_vision(VisionKind::Video, 2)?;
    /// let text = prompt.conditional().to_string();
    /// assert!(text.contains("<|video_pad|><|video_pad|><|vision_end|><|MUSIC_START|>Upbeat"));
    /// # Ok::<(), unimoe_model::PromptError>(())
    /// ```
    pub fn with_vision(mut self, kind: VisionKind, n_tokens: usize) -> Result<Self, PromptError> {
        if n_tokens == 0 {
            return Err(PromptError::NoVisionTokens);
        }
        let token = match kind {
            VisionKind::Image => IMAGE,
            VisionKind::Video => VIDEO,
        };
        for row in [&mut self.unconditional, &mut self.conditional] {
            row.vision.extend([
                control("<|vision_start|>"),
                Part::Control {
                    token,
                    count: n_tokens,
                },
                control("<|vision_end|>"),
            ]);
        }
        Ok(self)
    }

    /// The row that guidance moves away from.
    pub fn unconditional(&self) -> &PromptText {
        &self.unconditional
    }

    /// The row that says what is wanted.
    pub fn conditional(&self) -> &PromptText {
        &self.conditional
    }

    /// Positions of each row that take codes.
    pub fn n_placeholders(&self) -> usize {
        self.n_placeholders
    }
}

impl PromptText {
    fn new(content: Vec<Part>) -> Self {
        Self {
            vision: Vec::new(),
            content,
        }
    }

    /// The system part and the turns of the dialogue around what is seen and asked for.
    fn parts(&self) -> Vec<Part> {
        let fixed = |words| text("prompt", words);
        let mut parts = vec![
            control("<|im_start|>"),
            fixed("system\nYou are a helpful assistant."),
            control("<|im_end|>"),
            fixed("\n"),
            control("<|im_start|>"),
            fixed("user\n"),
        ];
        parts.extend(self.vision.iter().chain(&self.content).cloned());
        parts.extend([
            control("<|im_end|>"),
            fixed("\n"),
            control("<|im_start|>"),
            fixed("assistant\n"),
            control("<|AUDIO_START|>"),
        ]);
        parts
    }

    /// Token ids of the row.
    ///
    /// # Errors
    ///
    /// [`PromptError::ControlToken`] where a text holds a special token of this tokenizer, and
    /// [`TokenizerError::NoToken`] where the tokenizer lacks one that the prompt needs.
    pub fn encode(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>, PromptError> {
        let mut ids = Vec::new();
        for part in self.parts() {
            match part {
                Part::Control { token, count } => {
                    let id = tokenizer
                        .token_id(token)
                        .ok_or_else(|| TokenizerError::NoToken {
                            token: token.to_string(),
                        })?;
                    ids.extend(std::iter::repeat_n(id, count));
                }
                Part::Text { what, text } => {
                    let encoded = tokenizer.encode(&text)?;
                    let mut special = encoded.iter().filter_map(|&id| tokenizer.special_token(id));
                    if let Some(token) = special.next() {
                        return Err(PromptError::ControlToken {
                            what,
                            token: token.to_string(),
                        });
                    }
                    ids.extend(encoded);
                }
            }
        }
        Ok(ids)
    }
}

impl fmt::Display for PromptText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.parts() {
            match part {
                Part::Control { token, count } => {
                    for _ in 0..count {
                        formatter.write_str(token)?;
                    }
                }
                Part::Text { text, .. } => formatter.write_str(&text)?,
            }
        }
        Ok(())
    }
}

impl PromptBatch {
    /// Turns prompts into ids, left-padded to the longest row.
    ///
    /// # Shapes
    ///
    /// - prompts: `B`
    /// - output: ids `[2 * B, S]`
    ///
    /// # Errors
    ///
    /// [`PromptError::NoPrompts`] where there is none, and as of [`PromptText::encode`].
    pub fn encode(prompts: &[Prompt], tokenizer: &Tokenizer) -> Result<Self, PromptError> {
        if prompts.is_empty() {
            return Err(PromptError::NoPrompts);
        }
        let rows = prompts
            .iter()
            .flat_map(|prompt| [&prompt.unconditional, &prompt.conditional])
            .map(|row| row.encode(tokenizer))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            tokens: TokenBatch::left_padded(&rows, tokenizer.pad_id()),
            placeholders: prompts.iter().map(Prompt::n_placeholders).collect(),
        })
    }
}

fn control(token: &'static str) -> Part {
    Part::Control { token, count: 1 }
}

fn text(what: &'static str, text: &str) -> Part {
    Part::Text {
        what,
        text: text.to_string(),
    }
}

fn check(what: &'static str, text: &str) -> Result<(), PromptError> {
    if text.trim().is_empty() {
        Err(PromptError::Empty { what })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::byte_level(278).expect("an id with room")
    }

    #[test]
    fn the_speech_prompt_reads_as_published() {
        let prompt = Prompt::speech("Hello.", "Hi!", 2).expect("texts and frames");
        let voice = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n\
            <|SPEECH_PROMPT_START|>Hi!<|SPEECH_PROMPT_END|><|VOICE_PROMPT_START|>\
            <|AUDIO_PLACEHOLDER|><|AUDIO_PLACEHOLDER|><|VOICE_PROMPT_END|><|SPEECH_START|>";
        let end = "<|SPEECH_END|><|im_end|>\n<|im_start|>assistant\n<|AUDIO_START|>";
        assert_eq!(
            prompt.conditional().to_string(),
            format!("{voice}Hello.{end}")
        );
        assert_eq!(prompt.unconditional().to_string(), format!("{voice}{end}"));
        assert_eq!(prompt.n_placeholders(), 2);
    }

    #[test]
    fn what_is_seen_stands_before_the_request_in_both_rows() {
        let prompt = Prompt::music("Rain").expect("a caption");
        let prompt = (prompt.with_vision(VisionKind::Image, 1))
            .and_then(|prompt| prompt.with_vision(VisionKind::Video, 2))
            .expect("tokens");
        let seen = "user\n<|vision_start|><|image_pad|><|vision_end|>\
            <|vision_start|><|video_pad|><|video_pad|><|vision_end|><|MUSIC_START|>";
        for (row, caption) in [
            (prompt.conditional(), "Rain<|MUSIC_END|>"),
            (prompt.unconditional(), "Low quality.<|MUSIC_END|>"),
        ] {
            let text = row.to_string();
            assert!(text.contains(&format!("{seen}{caption}")), "{text}");
        }
        let prompt = Prompt::music("Rain").expect("a caption");
        let error = prompt.with_vision(VisionKind::Image, 0);
        assert!(matches!(error, Err(PromptError::NoVisionTokens)));
    }

    #[test]
    fn the_parts_encode_as_the_whole_text() {
        let prompts = [
            Prompt::music("seen")
                .and_then(|prompt| prompt.with_vision(VisionKind::Video, 4))
                .expect("a caption"),
            Prompt::speech(" Hello,  you!\n", "Ça va…\u{301}", 3).expect("texts and frames"),
            Prompt::music("a\n\n<tool_call>").expect("a caption"),
        ];
        for prompt in prompts {
            for row in [prompt.unconditional(), prompt.conditional()] {
                let whole = tokenizer().encode(&row.to_string()).expect("any text");
                assert_eq!(row.encode(&tokenizer()).expect("a clean text"), whole);
            }
        }
    }

    #[test]
    fn rows_alternate_and_are_padded_on_the_left() {
        let prompts = [
            Prompt::music("piano").expect("a caption"),
            Prompt::speech("Hello.", "Hi!", 40).expect("texts and frames"),
        ];
        let batch = PromptBatch::encode(&prompts, &tokenizer()).expect("clean texts");
        assert_eq!(batch.placeholders, [0, 40]);
        assert_eq!(batch.tokens.n_rows, 4);
        let rows = batch.tokens.ids.chunks(batch.tokens.length);
        let masks = batch.tokens.real.chunks(batch.tokens.length);
        let texts = prompts
            .iter()
            .flat_map(|prompt| [prompt.unconditional(), prompt.conditional()]);
        for ((ids, mask), text) in rows.zip(masks).zip(texts) {
            let expected = text.encode(&tokenizer()).expect("a clean text");
            let padding = ids.len() - expected.len();
            assert_eq!(ids[padding..], expected);
            assert!(ids[..padding].iter().all(|&id| id == tokenizer().pad_id()));
            assert!((0..ids.len()).all(|place| mask[place] == (place >= padding)));
        }
    }

    #[test]
    fn control_tokens_in_a_text_are_named() {
        for token in ["<|im_end|>", PLACEHOLDER, "<|image_pad|>", "<|MUSIC_END|>"] {
            let dirty = format!("a {token} b");
            for prompt in [
                Prompt::music(&dirty),
                Prompt::speech(&dirty, "Hi!", 1),
                Prompt::speech("Hello.", &dirty, 1),
            ] {
                let prompt = prompt.expect("texts and frames");
                let error = PromptBatch::encode(&[prompt], &tokenizer()).expect_err("a dirty text");
                assert!(error.to_string().contains(token), "{error}");
            }
        }
    }

    #[test]
    fn a_combining_mark_leaves_the_structure_whole() {
        // Joined to the `>` before it, U+0338 would destroy the token; see the tokenizer's own test.
        let prompt = Prompt::music("\u{338}piano").expect("a caption");
        let ids = prompt
            .conditional()
            .encode(&tokenizer())
            .expect("a clean text");
        let start = tokenizer()
            .token_id("<|MUSIC_START|>")
            .expect("a known token");
        assert!(ids.contains(&start));
    }

    #[test]
    fn what_is_empty_is_an_error() {
        for blank in ["", " \n\t", "\u{3000}"] {
            for prompt in [
                Prompt::music(blank),
                Prompt::speech(blank, "Hi!", 1),
                Prompt::speech("Hello.", blank, 1),
            ] {
                assert!(matches!(prompt, Err(PromptError::Empty { .. })));
            }
        }
        let prompt = Prompt::speech("Hello.", "Hi!", 0);
        assert!(matches!(prompt, Err(PromptError::NoFrames)));
        let batch = PromptBatch::encode(&[], &tokenizer());
        assert!(matches!(batch, Err(PromptError::NoPrompts)));
    }
}
