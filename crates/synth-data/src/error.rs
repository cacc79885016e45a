//! What can go wrong while data is made.

use std::{error::Error, io, path::PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// A size that makes no data set.
    #[error(
        "the scale is {found}, expected more than 0 and at most 1 (a thousandth makes {} clips)",
        crate::Domain::PAPER_THOUSANDS
    )]
    Scale {
        /// What was asked for.
        found: f64,
    },
    /// A domain can't have so many clips.
    #[error("{}: {found} training clips, expected 1 to {}", domain.name(), crate::Domain::MOST_CLIPS)]
    Clips {
        /// The domain.
        domain: crate::Domain,
        /// What was asked for.
        found: usize,
    },
    /// The folder to write holds something.
    #[error("{} exists and is no empty folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The program that speaks is not there.
    #[error("cannot run `{}`, which speaks the sentences (Debian's package espeak-ng)", program.display())]
    NoSpeaker {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The program that speaks failed on a sentence.
    #[error("`{}` speaks no \"{text}\" with the voice {voice}: {found}", program.display())]
    Speaker {
        /// The program.
        program: PathBuf,
        /// The voice, in the program's words.
        voice: String,
        /// The sentence.
        text: String,
        /// What it said, or what is wrong with its sound.
        found: String,
    },
    /// A SoundFont with a wrong structure.
    #[error("{} is no usable SoundFont: expected {expected}, found {found}", path.display())]
    SoundFontStructure {
        /// The file.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A SoundFont that the synthesizer refuses.
    #[error("{} is no usable SoundFont", path.display())]
    SoundFont {
        /// The file.
        path: PathBuf,
        /// The synthesizer's reason.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A grammar has too few sentences for the request.
    #[error(
        "the {language} grammar has fewer than {wanted} different sentences: choose a smaller scale"
    )]
    Exhausted {
        /// The language's code.
        language: &'static str,
        /// How many were wanted.
        wanted: usize,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl SynthError {
    /// Wraps why `path` cannot be written.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}
