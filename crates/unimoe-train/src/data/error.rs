//! What can be wrong with data.

use std::{collections::BTreeMap, error::Error, fmt, io, path::PathBuf};

use dac_codec::DacError;
use thiserror::Error as ThisError;

/// Defects that a message lists; the others are counted.
const LISTED: usize = 4;

/// Why data could not be used.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Lines of manifests are unusable.
    #[error(transparent)]
    Defects(#[from] Defects),
    /// A manifest without a usable line.
    #[error("{}: no record in it, at least one expected", path.display())]
    EmptyManifest {
        /// The file.
        path: PathBuf,
    },
    /// A domain without a usable record.
    #[error("domain `{domain}` has no usable record, at least one expected; there are: {found}")]
    EmptyDomain {
        /// The domain.
        domain: String,
        /// The domains that have some.
        found: String,
    },
    /// A domain lost all of its clips to filters and duplicates.
    #[error("domain `{domain}` lost all of its {clips} clips: {reasons}")]
    Emptied {
        /// The domain.
        domain: String,
        /// Clips that it had.
        clips: usize,
        /// How many were lost to what.
        reasons: String,
    },
    /// A domain with fewer records than are to be drawn.
    #[error("domain `{domain}` has {found} records, {expected} are to be drawn")]
    TooFew {
        /// The domain.
        domain: String,
        /// Records that are wanted.
        expected: usize,
        /// Records that are there.
        found: usize,
    },
    /// A setting is out of range or contradicts another.
    #[error("{setting} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: String,
    },
    /// The codec could not encode a clip, or its weights are unusable.
    #[error("the codec fails on {what}")]
    Codec {
        /// The sound, or the codec itself.
        what: String,
        /// What it says.
        source: Box<DacError>,
    },
    /// A clip could not be made into what is trained on.
    #[error("clip `{id}`")]
    Item {
        /// The clip.
        id: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The code that loads an item failed.
    #[error("loading item {index} panicked: {message}")]
    Panicked {
        /// The item.
        index: usize,
        /// Its last words.
        message: String,
    },
    /// The caller stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, ThisError)]
#[non_exhaustive]
pub enum Fault {
    /// The line is no JSON object.
    #[error("not a JSON object: {message}")]
    Json {
        /// What the parser found.
        message: String,
    },
    /// The line is no UTF-8 text.
    #[error("not UTF-8 text")]
    Encoding,
    /// The line is longer than any record.
    #[error("longer than {limit} bytes")]
    LineTooLong {
        /// Most bytes of a line.
        limit: usize,
    },
    /// A field is not there.
    #[error("`{field}` is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A field holds something else.
    #[error("`{field}` is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it may hold.
        expected: &'static str,
        /// What it holds, shortened.
        found: String,
    },
    /// Two records have one id.
    #[error("the id `{id}` is taken by {}, line {line}", manifest.display())]
    DuplicateId {
        /// The id.
        id: String,
        /// The manifest of the other record.
        manifest: PathBuf,
        /// The line of the other record, from 1.
        line: usize,
    },
    /// A file that a field names can't be opened.
    #[error("`{field}`: {}: {reason}", path.display())]
    File {
        /// The field.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        reason: String,
    },
    /// A file that a field names has no byte.
    #[error("`{field}`: {}: the file is empty", path.display())]
    EmptyFile {
        /// The field.
        field: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A sound can't be read.
    #[error("`{field}`: {reason}")]
    Audio {
        /// The field.
        field: &'static str,
        /// What is wrong with it, with the file's name.
        reason: String,
    },
    /// A video can't be read.
    #[error("`video`: {reason}")]
    Video {
        /// What is wrong with it, with the file's name.
        reason: String,
    },
    /// A text takes more positions than the model has.
    #[error("its prompt and its sound take {found} positions, the model has {limit}")]
    TooLong {
        /// Positions of the model.
        limit: usize,
        /// Positions of the prompt and the sound.
        found: usize,
    },
    /// A text that can't be put in a prompt.
    #[error("its text can't be a prompt: {reason}")]
    Text {
        /// Why not.
        reason: String,
    },
}

impl Fault {
    /// A short name, to count faults by.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Json { .. } => "bad_json",
            Self::Encoding => "not_utf8",
            Self::LineTooLong { .. } => "line_too_long",
            Self::Missing { .. } => "missing_field",
            Self::Field { .. } => "bad_field",
            Self::DuplicateId { .. } => "duplicate_id",
            Self::File { .. } => "missing_file",
            Self::EmptyFile { .. } => "empty_file",
            Self::Audio { .. } => "unreadable_audio",
            Self::Video { .. } => "unreadable_video",
            Self::TooLong { .. } => "too_long",
            Self::Text { .. } => "unusable_text",
        }
    }
}

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Defect {
    /// The manifest.
    pub manifest: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// What is wrong with it.
    pub fault: Fault,
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (manifest, line) = (self.manifest.display(), self.line);
        match &self.id {
            Some(id) => write!(formatter, "{manifest}, line {line}, `{id}`: {}", self.fault),
            None => write!(formatter, "{manifest}, line {line}: {}", self.fault),
        }
    }
}

/// Everything that is wrong with some manifests, in the order of their lines.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Defects(pub Vec<Defect>);

impl Defects {
    /// How often each fault occurs, by its [reason](Fault::reason).
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts = BTreeMap::new();
        for defect in &self.0 {
            *counts.entry(defect.fault.reason()).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Defects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(formatter, "1 defect in the data")?,
            count => write!(formatter, "{count} defects in the data")?,
        }
        for (index, defect) in self.0.iter().take(LISTED).enumerate() {
            let before = if index == 0 { ": " } else { "; " };
            write!(formatter, "{before}{}", Short(&defect.to_string()))?;
        }
        match self.0.len().saturating_sub(LISTED) {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl Error for Defects {}

/// A text of at most 160 characters: the rest is left out.
pub(crate) struct Short<'a>(pub(crate) &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(160) {
            None => formatter.write_str(self.0),
            Some((end, _)) => write!(formatter, "{}...", &self.0[..end]),
        }
    }
}

impl DataError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn setting(
        setting: &'static str,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) -> Self {
        Self::Setting {
            setting,
            expected: expected.into(),
            found: found.to_string(),
        }
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_defects_are_listed_in_part_and_counted_whole() {
        let defect = |line| Defect {
            manifest: "a.jsonl".into(),
            line,
            id: None,
            fault: Fault::Missing { field: "text" },
        };
        let mut defects = Defects((1..=9).map(defect).collect());
        defects.0[8].fault = Fault::Encoding;
        let text = defects.to_string();
        assert!(text.starts_with("9 defects in the data: a.jsonl, line 1: `text` is missing; "));
        assert!(text.ends_with("; and 5 more"), "{text}");
        let counts = defects.counts();
        assert_eq!((counts["missing_field"], counts["not_utf8"]), (8, 1));
    }

    #[test]
    fn long_texts_are_shortened_between_characters() {
        let long = "ü".repeat(1000);
        assert_eq!(Short(&long).to_string().chars().count(), 163);
    }
}
