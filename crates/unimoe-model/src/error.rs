//! Errors of this crate: each names the thing, what was expected and what was found.

mod companion;
mod host;

use std::path::PathBuf;

use vision_encoder::VisionKind;

pub use companion::CompanionError;
pub use host::{CodesError, PromptError, SamplingError, TokenizerError};
pub use model_files::WeightsError;

/// Anything that can go wrong from a model folder to a sound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UniMoeError {
    /// The configuration makes no model.
    #[error("the configuration makes no model")]
    Config(#[from] ConfigError),
    /// The weights can't be loaded.
    #[error("the weights can't be loaded")]
    Weights(#[from] WeightsError),
    /// A batch doesn't fit the model.
    #[error("the request doesn't fit the model")]
    Input(#[from] InputError),
    /// What lies beside the model can't be used.
    #[error("what lies beside the model can't be used")]
    Companion(#[from] CompanionError),
    /// The tokenizer can't be read or used.
    #[error("the tokenizer can't be used")]
    Tokenizer(#[from] TokenizerError),
    /// The texts make no prompt.
    #[error("the texts make no prompt")]
    Prompt(#[from] PromptError),
    /// Codes and delays don't fit each other.
    #[error("the codes don't fit the delay pattern")]
    Codes(#[from] CodesError),
    /// No code can be chosen.
    #[error("no code can be chosen")]
    Sampling(#[from] SamplingError),
    /// The generation can't go on.
    #[error("the generation can't go on")]
    Generation(#[from] GenerationError),
    /// The request can't be served.
    #[error("the request can't be served")]
    Request(#[from] RequestError),
    /// The vision encoder says no.
    #[error("the pictures can't be used")]
    Vision(#[from] vision_encoder::VisionError),
    /// The codec says no.
    #[error("the codec can't be used")]
    Codec(#[from] dac_codec::DacError),
}

/// Why a `config.json` makes no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{}: not JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A field is missing.
    #[error("{}: the field {field} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The field with its parents.
        field: String,
    },
    /// A field holds something else than it should.
    #[error("{}: {field} should be {expected}, found {found}", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// The field with its parents.
        field: String,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Two fields exclude each other.
    #[error("{}: {first} contradicts {second}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// One side.
        first: String,
        /// The other side.
        second: String,
    },
    /// The sizes make more than any machine holds.
    #[error("{}: the sizes make {found} {what}, at most {limit} are accepted", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// Largest number accepted.
        limit: u128,
        /// Number that the sizes make.
        found: u128,
    },
    /// The numbers make no mixture of experts.
    #[error("{}: the experts make no layer: {source}", path.display())]
    Moe {
        /// The file.
        path: PathBuf,
        /// Which number and why.
        source: moe_router::MoeConfigError,
    },
    /// The numbers make no vision encoder.
    #[error("{}: the vision part makes no encoder: {source}", path.display())]
    Vision {
        /// The file.
        path: PathBuf,
        /// Which number and why.
        source: Box<vision_encoder::VisionError>,
    },
}

/// Why a batch doesn't fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The tokens don't form equal, non-empty rows.
    #[error("{tokens} tokens don't form {batch} equal rows of at least one token")]
    Rows {
        /// Number of rows.
        batch: usize,
        /// Number of tokens.
        tokens: usize,
    },
    /// The mask or the positions don't cover the tokens.
    #[error("the mask and the positions should cover {expected} tokens, the mask covers {found}")]
    MaskLength {
        /// Number of tokens.
        expected: usize,
        /// Length of the mask.
        found: usize,
    },
    /// The sequence is longer than the model or the cache allows.
    #[error("{found} positions are too many, at most {limit} fit")]
    TooLong {
        /// Positions asked for.
        found: usize,
        /// Positions possible.
        limit: usize,
    },
    /// A text id is not in the vocabulary.
    #[error("token {place} has the id {id}, the vocabulary has {vocabulary}")]
    Token {
        /// Place in the batch, row by row.
        place: usize,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
    /// There are not as many rows of codes as places for them.
    #[error("{expected} rows of codes expected, {found} found")]
    CodeRows {
        /// Audio positions.
        expected: usize,
        /// Rows of codes.
        found: usize,
    },
    /// A code is not in the codec vocabulary.
    #[error("the code {code} of frame {frame}, channel {channel} is not below {vocabulary}")]
    Code {
        /// Frame in the batch.
        frame: usize,
        /// Channel.
        channel: usize,
        /// The code.
        code: u32,
        /// Size of the codec vocabulary.
        vocabulary: usize,
    },
    /// There is an image or a video, and no vision encoder.
    #[error("an image or a video was given to a model without a vision encoder")]
    NoVisionEncoder,
    /// The patches of an image or a video form no tokens.
    #[error(
        "{grid:?} patches in time, height and width don't form whole squares of {merge} x {merge}"
    )]
    VisionGrid {
        /// Patches in time, height and width.
        grid: [usize; 3],
        /// Patches per side of a token.
        merge: usize,
    },
    /// The rows of an image or a video are not those of its grid, or not as wide as the model.
    #[error("an image or a video should have rows of the shape {expected:?}, found {found:?}")]
    VisionRows {
        /// Tokens of its grid, and the model's width.
        expected: [usize; 2],
        /// Shape of its rows.
        found: [usize; 2],
    },
    /// The tokens in the prompt are not as many as the rows that stand for them.
    #[error("the prompt has {tokens} {kind} tokens where {rows} rows of the vision encoder belong")]
    VisionTokens {
        /// Of what: image or video.
        kind: VisionKind,
        /// Tokens in the prompt that follow each other.
        tokens: usize,
        /// Rows of the image or video that belongs there; 0 where there is none.
        rows: usize,
    },
}

/// Why a generation can't go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationError {
    /// The least number of frames exceeds the largest.
    #[error("at least {min} frames and at most {max} contradict each other")]
    MinAboveMax {
        /// Least number of frames.
        min: usize,
        /// Largest number of frames.
        max: usize,
    },
    /// The device gave no logits in f32.
    #[error("the logits can't be read as f32")]
    Logits,
}

/// Why a request can't be served.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A length is no length.
    #[error("{setting} is {seconds} s, a finite number of seconds from 0 was expected")]
    Seconds {
        /// Which length.
        setting: &'static str,
        /// Its value in seconds.
        seconds: f64,
    },
    /// The least length exceeds the largest.
    #[error("lengths from {min} s to {max} s are impossible")]
    MinAboveMax {
        /// Least length in seconds.
        min: f64,
        /// Largest length in seconds.
        max: f64,
    },
    /// The reference voice is too long.
    #[error("the reference voice lasts {seconds:.1} s, at most {limit} s are possible")]
    VoiceTooLong {
        /// Its length in seconds.
        seconds: f64,
        /// Largest possible length in seconds.
        limit: f64,
    },
    /// The reference voice can't be heard.
    #[error("the reference voice is silent for all of its {seconds:.1} s")]
    VoiceSilent {
        /// Its length in seconds.
        seconds: f64,
    },
    /// The reference voice holds a sample that is not a finite number.
    #[error("sample {index} of the reference voice is {found}")]
    VoiceNotFinite {
        /// Place of the sample.
        index: usize,
        /// The sample.
        found: f32,
    },
    /// Music for a video was asked for without one.
    #[error("there is no video and no image, at least one expected")]
    NoPictures,
    /// Model, tokenizer and codec don't belong together.
    #[error("{what}: the model has {model}, what goes with it has {other}")]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// The model's number.
        model: usize,
        /// The tokenizer's or the codec's number.
        other: usize,
    },
    /// There is no codec beside the model.
    #[error("{}: neither dac/ nor weights_16khz.pth is there; name the codec's weights", folder.display())]
    NoCodec {
        /// The model folder.
        folder: PathBuf,
    },
    /// A model is larger than it may be.
    #[error("the model takes {found} bytes, at most {limit} are wanted")]
    ModelTooLarge {
        /// Bytes that may be.
        limit: u64,
        /// Bytes of all its files.
        found: u64,
    },
    /// The folder to write holds something.
    #[error("{}: the folder exists and is not empty", folder.display())]
    FolderInUse {
        /// The folder.
        folder: PathBuf,
    },
}
