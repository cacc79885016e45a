//! The model that a command runs: the user's folder, or the one that the program carries.

use std::path::Path;

use unimoe_model::{Companions, ModelPath, UniMoeConfig};

use crate::error::CliError;

/// A model folder.
pub struct Chosen {
    /// Where its files are.
    pub folder: ModelPath,
    /// What errors call it.
    pub name: String,
}

impl Chosen {
    /// The folder that the user named, else the built-in one.
    pub fn new(folder: Option<&Path>) -> Self {
        match folder {
            Some(folder) => Self {
                folder: ModelPath::from(folder),
                name: format!("the model {}", folder.display()),
            },
            None => Self {
                folder: embedded_model::folder(),
                name: "the built-in model".into(),
            },
        }
    }

    /// Its sizes.
    ///
    /// # Errors
    ///
    /// [`CliError::Input`] that names the file and what is wrong with it.
    pub fn config(&self) -> Result<UniMoeConfig, CliError> {
        UniMoeConfig::load(self.folder.join("config.json")).map_err(CliError::input(&self.name))
    }

    /// Its settings, voices and words.
    ///
    /// # Errors
    ///
    /// [`CliError::Input`] where there is no such folder, or as [`config`](Self::config).
    pub fn companions(&self) -> Result<Companions, CliError> {
        if !self.folder.join("config.json").exists() {
            self.config()?;
        }
        Companions::find(&self.folder).map_err(CliError::input(&self.name))
    }
}
