//! A clip as the model learns it: its prompt, and the delayed codes that are to follow.
//!
//! The prompt is the one that generation begins with. Behind it come the codes as generation feeds them: a row of
//! BOS, then the delayed frames, in each channel EOS after its last code. With the delays `[0, 1]`, BOS `S`, end `E`,
//! padding `P` and two frames `a`, `b` (labels in brackets; position `s` predicts the label of `s + 1`):
//!
//! ```text
//! prompt ...  S    a    b    E     P
//!             S    S    a    b     E
//!                 [a]  [b]  [E]   [.]     channel 0
//!                 [.]  [a]  [b]   [E]     channel 1: its first code is BOS, which is given, not predicted
//! ```
//!
//! Axes: `S` positions, `R` rows of a voice, `T'` rows of the target, `K` codec channels.

use std::{ops::Range, sync::Arc};

use thiserror::Error;
use unimoe_model::{
    CodeGrid, CodesError, DelayPattern, Prompt, PromptError, Tokenizer, UniMoeConfig, VisionInput,
    VisionSpan,
};

/// What the text of a voice stands between.
const VOICE_TEXT: [&str; 2] = ["<|SPEECH_PROMPT_START|>", "<|SPEECH_PROMPT_END|>"];
/// What a text to speak stands between.
const SPEECH_TEXT: [&str; 2] = ["<|SPEECH_START|>", "<|SPEECH_END|>"];

/// One clip as the model learns it.
#[derive(Debug, Clone)]
pub struct Example {
    /// Name of the clip, for errors.
    pub id: Arc<str>,
    /// What it counts as in reports, such as `music`.
    pub domain: Arc<str>,
    /// Ids of the prompt, with a placeholder for each row of the voice.
    pub prompt: Vec<u32>,
    /// Ids of the prompt that guidance leads away from.
    pub unconditional: Vec<u32>,
    /// Delayed codes of the voice, `[R, K]`.
    pub reference: Vec<u32>,
    /// Delayed codes to learn, a row of BOS first, `[T', K]`.
    pub target: Vec<u32>,
    /// The images and videos of the prompt.
    pub vision: Vec<Arc<VisionInput>>,
    /// Where texts stand that are spoken in it: that of the voice, that of the target.
    pub spoken: Vec<SpokenText>,
}

/// A text of a prompt, and where it is spoken.
#[derive(Debug, Clone, PartialEq)]
pub struct SpokenText {
    /// The positions of its tokens.
    pub tokens: Range<usize>,
    /// Which share of the text's bytes stands before the end of each token; 1 for the last.
    pub ends: Vec<f32>,
    /// The positions that predict the first channel's frames of it, one for each frame.
    pub frames: Range<usize>,
}

/// Why a clip can't be learnt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExampleError {
    /// Its text.
    #[error("clip `{id}`: {source}")]
    Prompt {
        /// The clip.
        id: String,
        /// What is wrong.
        source: Box<PromptError>,
    },
    /// Its codes.
    #[error("clip `{id}`: {source}")]
    Codes {
        /// The clip.
        id: String,
        /// What is wrong.
        source: Box<CodesError>,
    },
    /// A code that the model doesn't have.
    #[error("clip `{id}`: code {code} where the model has {limit} codes")]
    Code {
        /// The clip.
        id: String,
        /// The code.
        code: u32,
        /// Number of the model's real codes.
        limit: u32,
    },
    /// It has no sound.
    #[error("clip `{id}`: it has no frame of codes")]
    Empty {
        /// The clip.
        id: String,
    },
    /// It speaks without a voice.
    #[error("clip `{id}`: speech needs a reference recording and its text")]
    NoReference {
        /// The clip.
        id: String,
    },
    /// It shows nothing, or shows it to a model that doesn't see.
    #[error("clip `{id}`: {reason}")]
    Vision {
        /// The clip.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// It takes more positions than the model has.
    #[error("clip `{id}`: it takes {found} positions, the model has {limit}")]
    TooLong {
        /// The clip.
        id: String,
        /// Positions of its prompt and its sound.
        found: usize,
        /// Positions of the model.
        limit: usize,
    },
}

/// What a clip asks for.
#[derive(Debug, Clone, Copy)]
pub enum Content<'a> {
    /// Speech in a voice.
    Speech {
        /// What is spoken.
        text: &'a str,
        /// What the voice says in its recording.
        voice_text: &'a str,
        /// Codes of that recording, `[T, K]`.
        voice: &'a CodeGrid,
    },
    /// Music for a caption, and for what is seen where `vision` is not empty.
    Music {
        /// The caption.
        caption: &'a str,
        /// Images and videos.
        vision: &'a [Arc<VisionInput>],
    },
}

/// What a clip asks for, as far as its length goes; what is seen is not counted.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Speech in a voice.
    Speech {
        /// What is spoken.
        text: &'a str,
        /// What the voice says in its recording.
        voice_text: &'a str,
        /// Frames of that recording.
        voice_frames: usize,
    },
    /// Music.
    Music {
        /// The caption.
        caption: &'a str,
    },
}

/// Makes examples for one model.
#[derive(Debug, Clone)]
pub struct ExampleBuilder {
    tokenizer: Arc<Tokenizer>,
    config: Arc<UniMoeConfig>,
    delay: DelayPattern,
}

impl Example {
    /// Positions `S` that it takes.
    pub fn positions(&self, channels: usize) -> usize {
        self.prompt.len() + self.target.len() / channels.max(1)
    }
}

impl ExampleBuilder {
    /// Makes examples for models of `config` that read with `tokenizer`.
    ///
    /// # Errors
    ///
    /// A [`CodesError`] where the delays of the configuration make no pattern.
    pub fn new(tokenizer: Arc<Tokenizer>, config: Arc<UniMoeConfig>) -> Result<Self, CodesError> {
        let delay = DelayPattern::new(config.codec.delay_pattern.clone())?;
        Ok(Self {
            tokenizer,
            config,
            delay,
        })
    }

    /// The model that the examples are for.
    pub fn config(&self) -> &Arc<UniMoeConfig> {
        &self.config
    }

    /// Id that fills a batch's shorter rows.
    pub fn pad_id(&self) -> u32 {
        self.tokenizer.pad_id()
    }

    /// Positions that a clip of `frames` frames takes, pictures not counted.
    ///
    /// # Errors
    ///
    /// An [`ExampleError`] that names the clip by `id`, also where there are more than the model has.
    pub fn positions(
        &self,
        id: &str,
        request: Request<'_>,
        frames: usize,
    ) -> Result<usize, ExampleError> {
        let id_of = || id.to_string();
        let rows = |frames: usize| frames.saturating_add(self.delay.max() + 1);
        let limit = self.config.text.max_positions;
        let too_long = |found| ExampleError::TooLong {
            id: id_of(),
            found,
            limit,
        };
        let prompt = match request {
            Request::Speech {
                text,
                voice_text,
                voice_frames,
            } => {
                let voice = rows(voice_frames);
                if voice > limit {
                    return Err(too_long(voice));
                }
                Prompt::speech(text, voice_text, voice)
            }
            Request::Music { caption } => Prompt::music(caption),
        };
        let encoded = prompt.and_then(|prompt| prompt.conditional().encode(&self.tokenizer));
        let ids = encoded.map_err(|source| ExampleError::Prompt {
            id: id_of(),
            source: Box::new(source),
        })?;
        let found = ids.len().saturating_add(rows(frames));
        match found > limit {
            true => Err(too_long(found)),
            false => Ok(found),
        }
    }

    /// Makes an example of what a clip asks for and the codes of its sound, `[T, K]`.
    ///
    /// # Errors
    ///
    /// An [`ExampleError`] that names the clip by `id`.
    pub fn build(
        &self,
        id: &str,
        domain: &str,
        content: Content<'_>,
        sound: &CodeGrid,
    ) -> Result<Example, ExampleError> {
        let id_of = || id.to_string();
        let codes = |source| ExampleError::Codes {
            id: id_of(),
            source: Box::new(source),
        };
        let prompt_error = |source| ExampleError::Prompt {
            id: id_of(),
            source: Box::new(source),
        };
        if sound.n_frames() == 0 {
            return Err(ExampleError::Empty { id: id_of() });
        }
        self.check_codes(id, sound)?;
        let special = self.config.codec.special();
        let (prompt, reference, vision, voice_frames) = match content {
            Content::Speech {
                text,
                voice_text,
                voice,
            } => {
                self.check_codes(id, voice)?;
                let rows = self.delay.delay_reference(voice, special).map_err(codes)?;
                let prompt =
                    Prompt::speech(text, voice_text, rows.n_frames()).map_err(prompt_error)?;
                (prompt, rows.into_codes(), Vec::new(), voice.n_frames())
            }
            Content::Music { caption, vision } => {
                let prompt = Prompt::music(caption).map_err(prompt_error)?;
                let prompt = self.show(id, prompt, vision)?;
                (prompt, Vec::new(), vision.to_vec(), 0)
            }
        };
        let target = self.delay.delay_reference(sound, special).map_err(codes)?;
        let encode = |text: &unimoe_model::PromptText| text.encode(&self.tokenizer);
        let mut example = Example {
            id: id.into(),
            domain: domain.into(),
            prompt: encode(prompt.conditional()).map_err(prompt_error)?,
            unconditional: encode(prompt.unconditional()).map_err(prompt_error)?,
            reference,
            target: target.into_codes(),
            vision,
            spoken: Vec::new(),
        };
        if voice_frames > 0 {
            example.spoken = self.spoken(&example.prompt, voice_frames, sound.n_frames());
        }
        let (found, limit) = (
            example.positions(self.config.codec.n_channels),
            self.config.text.max_positions,
        );
        match found > limit {
            true => Err(ExampleError::TooLong {
                id: id_of(),
                found,
                limit,
            }),
            false => Ok(example),
        }
    }

    /// The spoken texts of a prompt for speech: the voice's stands before the voice's codes, the target's behind them.
    fn spoken(&self, prompt: &[u32], voice_frames: usize, frames: usize) -> Vec<SpokenText> {
        let placeholder = self.config.codec.placeholder;
        let voice = prompt.iter().position(|&id| id == placeholder);
        let text = |[start, end]: [&str; 2], first: Option<usize>, frames: usize| {
            let place = |token: &str| {
                let id = self.tokenizer.token_id(token)?;
                prompt.iter().position(|&one| one == id)
            };
            let tokens = place(start)? + 1..place(end)?;
            let mut bytes = 0;
            let sums: Vec<usize> = (prompt.get(tokens.clone())?.iter())
                .map(|&id| {
                    // A byte of the text is a character of the token.
                    bytes += (self.tokenizer.token(id)).map_or(0, |token| token.chars().count());
                    bytes
                })
                .collect();
            let share = |&sum: &usize| sum as f32 / bytes.max(1) as f32;
            Some(SpokenText {
                tokens,
                ends: sums.iter().map(share).collect(),
                frames: first?..first? + frames,
            })
        };
        [
            text(VOICE_TEXT, voice, voice_frames),
            text(SPEECH_TEXT, Some(prompt.len()), frames),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Puts the tokens of images and videos into a prompt.
    fn show(
        &self,
        id: &str,
        mut prompt: Prompt,
        inputs: &[Arc<VisionInput>],
    ) -> Result<Prompt, ExampleError> {
        let error = |reason: String| ExampleError::Vision {
            id: id.to_string(),
            reason,
        };
        if inputs.is_empty() {
            return Ok(prompt);
        }
        let Some(vision) = &self.config.vision else {
            return Err(error("the model has no vision encoder".into()));
        };
        for input in inputs {
            let tokens = VisionSpan::from(input.as_ref())
                .tokens(vision.encoder.merge_size)
                .map_err(|source| error(source.to_string()))?;
            prompt = prompt
                .with_vision(input.kind, tokens)
                .map_err(|source| error(source.to_string()))?;
        }
        Ok(prompt)
    }

    /// Special codes are no sound.
    fn check_codes(&self, id: &str, codes: &CodeGrid) -> Result<(), ExampleError> {
        let limit = self.config.codec.eos;
        match codes.as_slice().iter().find(|&&code| code >= limit) {
            None => Ok(()),
            Some(&code) => Err(ExampleError::Code {
                id: id.to_string(),
                code,
                limit,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(delays: &[usize]) -> ExampleBuilder {
        let mut config = UniMoeConfig::tiny();
        config.codec.n_channels = delays.len();
        config.codec.delay_pattern = delays.to_vec();
        let tokenizer = Tokenizer::byte_level(config.codec.placeholder).expect("a tokenizer");
        ExampleBuilder::new(Arc::new(tokenizer), Arc::new(config)).expect("a pattern")
    }

    #[test]
    fn the_target_is_what_generation_feeds() {
        let builder = builder(&[0, 1]);
        let sound = CodeGrid::new(2, vec![5, 6, 7, 8]).expect("two frames");
        let content = Content::Music {
            caption: "a piano",
            vision: &[],
        };
        let example = builder.build("x", "music", content, &sound).expect("valid");
        let codec = &builder.config().codec;
        let (s, e, p) = (codec.bos, codec.eos, codec.pad);
        assert_eq!(example.target, [s, s, 5, s, 7, 6, e, 8]);
        assert_eq!(p, codec.pad);
        assert!(example.reference.is_empty());
        assert_ne!(example.prompt, example.unconditional);
        assert_eq!(example.positions(2), example.prompt.len() + 4);
    }

    #[test]
    fn spoken_texts_stand_before_the_voice_and_before_the_target() {
        let builder = builder(&[0, 1]);
        let grid = |codes: Vec<u32>| CodeGrid::new(2, codes).expect("whole frames");
        let (voice, sound) = (grid(vec![1; 6]), grid(vec![2; 10]));
        let content = Content::Speech {
            text: "good day",
            voice_text: "hi",
            voice: &voice,
        };
        let example = builder
            .build("x", "speech", content, &sound)
            .expect("valid");
        let [of_voice, of_target] = &example.spoken[..] else {
            panic!("two texts: {:?}", example.spoken);
        };
        let read = |text: &SpokenText| {
            let ids = &example.prompt[text.tokens.clone()];
            builder.tokenizer.decode(ids, false).expect("a text")
        };
        assert_eq!([read(of_voice), read(of_target)], ["hi", "good day"]);
        assert_eq!(of_voice.ends, [0.5, 1.0]);
        assert_eq!(of_target.ends[3..], [0.5, 0.625, 0.75, 0.875, 1.0]);
        // The row of BOS predicts the first frame.
        let placeholder = builder.config().codec.placeholder;
        let first = example.prompt.iter().position(|&id| id == placeholder);
        let first = first.expect("a voice");
        assert_eq!(of_voice.frames, first..first + 3);
        let first = example.prompt.len();
        assert_eq!(of_target.frames, first..first + 5);
    }

    #[test]
    fn what_does_not_fit_the_model_is_named() {
        let builder = builder(&[0, 1]);
        let caption = Content::Music {
            caption: "a piano",
            vision: &[],
        };
        let build = |content: Content<'_>, codes: Vec<u32>| {
            let sound = CodeGrid::new(2, codes).expect("whole frames");
            let error = builder.build("x", "music", content, &sound);
            error.expect_err("must fail").to_string()
        };
        assert!(build(caption, vec![]).contains("`x`"));
        assert!(build(caption, vec![5, 1024]).contains("code 1024"));
        let long = vec![1; 2 * 40_000];
        assert!(build(caption, long).contains("positions"));
        let voice = CodeGrid::new(2, vec![1, 2]).expect("a frame");
        let silent = Content::Speech {
            text: "  ",
            voice_text: "hello",
            voice: &voice,
        };
        assert!(build(silent, vec![1, 2]).contains("`x`"));
    }
}
