//! Errors of what lies beside a model: defaults, voices, vocabulary.

use std::{io, path::PathBuf};

/// Why a file beside the model can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompanionError {
    /// The file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is not JSON, or not of the form that is documented.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A default setting is out of range.
    #[error("{}: the defaults of {task}: {reason}", path.display())]
    Setting {
        /// The file.
        path: PathBuf,
        /// What they are for.
        task: &'static str,
        /// What is wrong with them.
        reason: String,
    },
    /// A field of a voice can't be used.
    #[error("{}: {field} of voice {place} should be {expected}, found {found:?}", path.display())]
    Voice {
        /// The list of voices.
        path: PathBuf,
        /// Place in the list, from 1.
        place: usize,
        /// The field.
        field: &'static str,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Two recordings of a voice speak the same kind of script.
    #[error(
        "{}: the voice {name} has two recordings, {first:?} and {second:?}, of which one is in Chinese script at most, \
         and one in another",
        path.display()
    )]
    VoiceTwice {
        /// The list of voices.
        path: PathBuf,
        /// The voice.
        name: String,
        /// What one recording says.
        first: String,
        /// What the other says.
        second: String,
    },
    /// The codes of a voice are not this codec's.
    #[error("the voice {name}: {what} of its codes is {found}, the codec has {expected}")]
    Codes {
        /// The voice.
        name: String,
        /// What differs.
        what: &'static str,
        /// The codec's number.
        expected: usize,
        /// The codes' number.
        found: usize,
    },
}
