//! Errors of the parts that run on the host: tokenizer, prompts, codes and sampling.

use std::{error::Error as StdError, io, path::PathBuf};

use thiserror::Error;

/// Why the tokenizer can't be read, written or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{}: at most {limit} bytes expected, {found} found", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
        /// Its size in bytes.
        found: u64,
    },
    /// A file is not JSON, or not of the right form.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A `tokenizer.json` of another kind.
    #[error("{}: {field} should be {expected}, found {found}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The field with its parents.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A token is listed twice, or with two ids.
    #[error("{}: the token {token:?} has the id {second}, before it had {first}", path.display())]
    TokenTwice {
        /// The file with the second id.
        path: PathBuf,
        /// The token.
        token: String,
        /// Its first id.
        first: u32,
        /// Its second id.
        second: u32,
    },
    /// Two tokens have the same id.
    #[error("{}: the id {id} of {second:?} belongs to {first:?}", path.display())]
    IdTwice {
        /// The file with the second token.
        path: PathBuf,
        /// The id.
        id: u32,
        /// The first token.
        first: String,
        /// The second token.
        second: String,
    },
    /// A key that should be an id is not one.
    #[error("{}: {field} should be a whole number below 2^32, found {found:?}", path.display())]
    Id {
        /// The file.
        path: PathBuf,
        /// Where the key stands.
        field: &'static str,
        /// The key.
        found: String,
    },
    /// One of the 256 byte tokens is missing, so that some text would be lost.
    #[error("{}: the token {token:?} of the byte {byte} is missing", path.display())]
    ByteMissing {
        /// The vocabulary.
        path: PathBuf,
        /// The byte.
        byte: u8,
        /// The character that stands for it.
        token: char,
    },
    /// A merge is not two tokens.
    #[error("{}: merge {place} should be two tokens, found {found:?}", path.display())]
    MergeForm {
        /// The file.
        path: PathBuf,
        /// Line of `merges.txt`, or place in `tokenizer.json`, from 1.
        place: usize,
        /// What is there.
        found: String,
    },
    /// A merge uses or makes a token that the vocabulary lacks.
    #[error("{}: merge {place}: the vocabulary has no token {token:?}", path.display())]
    MergeToken {
        /// The file.
        path: PathBuf,
        /// Line of `merges.txt`, or place in `tokenizer.json`, from 1.
        place: usize,
        /// The token.
        token: String,
    },
    /// The same merge is listed twice.
    #[error("{}: merge {place}: {left:?} {right:?} was listed before", path.display())]
    MergeTwice {
        /// The file.
        path: PathBuf,
        /// Line of `merges.txt`, or place in `tokenizer.json`, from 1.
        place: usize,
        /// The left token.
        left: String,
        /// The right token.
        right: String,
    },
    /// A token that prompts or padding need is missing.
    #[error("the tokenizer has no token {token:?}")]
    NoToken {
        /// The token.
        token: String,
    },
    /// An id to decode is not in the vocabulary.
    #[error("the tokenizer has no token with the id {id}")]
    NoId {
        /// The id.
        id: u32,
    },
    /// No room for the 256 bytes and the tokens before the placeholder.
    #[error("the placeholder's id should be from {least} to {most}, found {found}")]
    Placeholder {
        /// The lowest possible id.
        least: u32,
        /// The highest possible id.
        most: u32,
        /// The wanted id.
        found: u32,
    },
    /// The tokenizer library refuses a file or a text.
    #[error("{what}: {reason}")]
    Library {
        /// The file or the act.
        what: String,
        /// What the library says.
        reason: Box<dyn StdError + Send + Sync>,
    },
}

/// Why the texts of a request make no prompt.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A text is empty or blank.
    #[error("the {what} is empty")]
    Empty {
        /// Which text.
        what: &'static str,
    },
    /// A text holds one of the tokens that give a prompt its structure.
    #[error("the {what} contains {token:?}, which only the prompt itself may use")]
    ControlToken {
        /// Which text.
        what: &'static str,
        /// The token.
        token: String,
    },
    /// A voice without a frame.
    #[error("the voice has no frame, at least one expected")]
    NoFrames,
    /// An image or a video without a token.
    #[error("the image or video has no token, at least one expected")]
    NoVisionTokens,
    /// A batch without a prompt.
    #[error("the batch has no prompt, at least one expected")]
    NoPrompts,
    /// The tokenizer lacks a token or fails.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// Why codes and delays don't fit each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodesError {
    /// A pattern or a grid without a channel.
    #[error("no channel, at least one expected")]
    NoChannels,
    /// A delay beyond reason.
    #[error("the delay of channel {channel} is {found} steps, at most {limit} expected")]
    DelayTooLong {
        /// The channel.
        channel: usize,
        /// The longest possible one.
        limit: usize,
        /// Its delay.
        found: usize,
    },
    /// The number of codes is not a whole number of frames.
    #[error("{found} codes don't form whole frames of {channels} channels")]
    Ragged {
        /// Channels of a frame.
        channels: usize,
        /// Number of codes.
        found: usize,
    },
    /// Codes of another number of channels than the pattern.
    #[error("{expected} channels expected, {found} found")]
    Channels {
        /// Channels of the pattern.
        expected: usize,
        /// Channels of the codes.
        found: usize,
    },
    /// Fewer delayed rows than the wanted frames need.
    #[error("{frames} frames need {expected} delayed rows, {found} found")]
    TooFewRows {
        /// Wanted frames.
        frames: usize,
        /// Rows that they need.
        expected: usize,
        /// Rows that there are.
        found: usize,
    },
}

/// Why no code can be chosen.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A setting is out of range.
    #[error("{setting} should be {expected}, found {found}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its range.
        expected: &'static str,
        /// Its value.
        found: f64,
    },
    /// The logits don't form equal rows.
    #[error("{found} logits don't form {rows} equal rows of at least one")]
    Rows {
        /// Rows that they should form.
        rows: usize,
        /// Number of logits.
        found: usize,
    },
    /// The end of sequence is not a code.
    #[error("the end of sequence is the code {eos}, which is not below {vocabulary}")]
    Eos {
        /// The code.
        eos: u32,
        /// Size of the codec vocabulary.
        vocabulary: usize,
    },
    /// The model gave a logit that is not finite.
    #[error("the logit of code {code}, channel {channel} should be finite, found {found}")]
    NotFinite {
        /// The channel.
        channel: usize,
        /// The code.
        code: usize,
        /// The logit.
        found: f32,
    },
    /// Every code is forbidden.
    #[error("every code is forbidden, at least one should be left")]
    NoCandidate,
}
