//! Checkpoints: whole or not at all.

use std::collections::BTreeMap;

use burn::tensor::TensorData;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use thiserror::Error;

/// Why a checkpoint could not be written or taken up.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It has no such entry.
    #[error("the checkpoint holds no `{name}`")]
    Missing {
        /// Name of the tensor or value.
        name: String,
    },
    /// An entry is not what is expected.
    #[error("`{name}` in the checkpoint: {source}")]
    Value {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Takes the parts of a checkpoint.
#[derive(Debug, Default)]
pub struct StateWriter {
    tensors: BTreeMap<String, TensorData>,
    values: BTreeMap<String, Value>,
}

/// Gives the parts of a checkpoint.
#[derive(Debug, Default)]
pub struct StateReader {
    tensors: BTreeMap<String, TensorData>,
    values: BTreeMap<String, Value>,
}

impl StateWriter {
    /// Adds a tensor.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where it can't be written.
    pub fn tensor(&mut self, name: &str, data: TensorData) -> Result<(), CheckpointError> {
        self.tensors.insert(name.to_string(), data);
        Ok(())
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where it can't be written.
    pub fn value<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), CheckpointError> {
        let value = serde_json::to_value(value).map_err(|source| CheckpointError::Value {
            name: name.to_string(),
            source,
        })?;
        self.values.insert(name.to_string(), value);
        Ok(())
    }
}

impl StateReader {
    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where there is none or it can't be read.
    pub fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError> {
        self.tensors
            .get(name)
            .cloned()
            .ok_or_else(|| CheckpointError::Missing {
                name: name.to_string(),
            })
    }

    /// The value called `name`.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where there is none or it is no `T`.
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T, CheckpointError> {
        let value = self
            .values
            .get(name)
            .ok_or_else(|| CheckpointError::Missing {
                name: name.to_string(),
            })?;
        serde_json::from_value(value.clone()).map_err(|source| CheckpointError::Value {
            name: name.to_string(),
            source,
        })
    }
}
