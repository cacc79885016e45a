//! What a model folder may hold beside model, tokenizer and codec: defaults, voices, words.

use model_files::ModelPath;

use crate::{
    defaults::GenerationDefaults, error::CompanionError, learnt_words::LearntWords, voices::Voices,
};

/// What a model folder says of how to use it; all of it may be absent.
///
/// Read by [`Pipeline::load`](crate::Pipeline::load), and by itself without loading a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Companions {
    /// Settings that a user leaves open: `generation.json`.
    pub defaults: GenerationDefaults,
    /// Reference voices: `voices/`.
    pub voices: Voices,
    /// Words that the model has learnt: `learnt_words.json`.
    pub words: LearntWords,
}

impl Companions {
    /// Reads what is there of a model folder.
    ///
    /// # Errors
    ///
    /// A [`CompanionError`] that names the file and what is wrong with it.
    pub fn find(folder: impl Into<ModelPath>) -> Result<Self, CompanionError> {
        let folder = folder.into();
        Ok(Self {
            defaults: GenerationDefaults::find(&folder)?,
            voices: Voices::find(&folder)?,
            words: LearntWords::find(&folder)?,
        })
    }
}
