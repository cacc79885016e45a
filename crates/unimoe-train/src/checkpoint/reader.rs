//! Reading the parts of a checkpoint.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::TensorData;
use model_files::{Shards, StoredTensor};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    CheckpointError,
    disk::{self, Stamp},
    settings,
    writer::{FORMAT, element_type, io_error},
};

/// Gives the parts of a checkpoint, whose checksums were right when it was opened.
#[derive(Debug)]
pub struct StateReader {
    folder: PathBuf,
    step: u64,
    validation: Option<f64>,
    files: Vec<Shards>,
    values: Map<String, Value>,
}

/// What `checkpoint.json` says.
#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    pub(super) step: u64,
    pub(super) validation: Option<f64>,
    files: BTreeMap<String, Stamp>,
}

/// What `state.json` says.
#[derive(Debug, Deserialize)]
struct State {
    settings: Value,
    values: Map<String, Value>,
}

impl StateReader {
    /// Opens the checkpoint in `folder` and checks that it is whole, and of a run with `settings`.
    pub(super) fn open(folder: &Path, settings: &Value) -> Result<Self, CheckpointError> {
        let summary = Summary::read(folder)?;
        let mut files = Vec::new();
        for (name, stamp) in &summary.files {
            let path = folder.join(name);
            let io = || io_error(&path);
            let found = fs::metadata(&path).map_err(io())?.len();
            if found != stamp.bytes {
                return Err(CheckpointError::Length {
                    expected: stamp.bytes,
                    found,
                    path,
                });
            }
            let found = disk::checksum(&path).map_err(io())?;
            if found != stamp.crc32 {
                return Err(CheckpointError::Checksum {
                    expected: stamp.crc32,
                    found,
                    path,
                });
            }
            if name.ends_with(".safetensors") {
                files.push(Shards::open(&path)?);
            }
        }
        let state: State = read_json(&folder.join("state.json"))?;
        if let Some((setting, found, expected)) = settings::difference(&state.settings, settings) {
            return Err(CheckpointError::Settings {
                folder: folder.to_path_buf(),
                setting,
                expected,
                found,
            });
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            step: summary.step,
            validation: summary.validation,
            files,
            values: state.values,
        })
    }

    /// The checkpoint's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Steps done before it was written.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Loss of the validation that it was written after, if any.
    pub fn validation(&self) -> Option<f64> {
        self.validation
    }

    /// The shape of the tensor called `name`, without reading it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] where there is none.
    pub fn shape(&self, name: &str) -> Result<&[usize], CheckpointError> {
        self.find(name).map(|(_, stored)| stored.shape.as_slice())
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where there is none or it can't be read.
    pub fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError> {
        let (file, stored) = self.find(name)?;
        let dtype = element_type(stored.dtype).ok_or_else(|| CheckpointError::Type {
            name: name.to_string(),
            found: format!("{:?}", stored.dtype),
        })?;
        let bytes = file.read(stored)?;
        let shape = stored.shape.as_slice();
        Ok(TensorData::from_bytes_vec(bytes, shape, dtype))
    }

    /// The value called `name`.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where there is none or it is no `T`.
    pub fn value<T: DeserializeOwned>(&self, name: &str) -> Result<T, CheckpointError> {
        let value = self.values.get(name).ok_or_else(|| self.missing(name))?;
        T::deserialize(value).map_err(|source| CheckpointError::Value {
            name: name.to_string(),
            source,
        })
    }

    fn find(&self, name: &str) -> Result<(&Shards, &StoredTensor), CheckpointError> {
        let mut found = self.files.iter().filter_map(|file| {
            let stored = file.tensors().get(name)?;
            Some((file, stored))
        });
        found.next().ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> CheckpointError {
        CheckpointError::Missing {
            folder: self.folder.clone(),
            name: name.to_string(),
        }
    }
}

impl Summary {
    /// What the checkpoint in `folder` says of itself.
    pub(super) fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join("checkpoint.json");
        let value: Value = read_json(&path)?;
        // First of all: a newer one may have other fields.
        match value["format"].as_u64() {
            Some(found) if found > FORMAT => Err(CheckpointError::Version {
                folder: folder.to_path_buf(),
                found,
                known: FORMAT,
            }),
            _ => Self::deserialize(value).map_err(|source| CheckpointError::Json { path, source }),
        }
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    let text = model_files::read_text(path).map_err(io_error(path))?;
    serde_json::from_str(&text).map_err(|source| CheckpointError::Json {
        path: path.to_path_buf(),
        source,
    })
}
