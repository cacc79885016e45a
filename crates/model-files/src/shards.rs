//! The safetensors files of a model folder, one tensor at a time.
//!
//! Reads with plain file reads, not by mapping: the memory in use is one tensor, whatever the size of
//! the files, which may lie in the program's own memory too. Every size is checked against the file before anything is reserved.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io::{Read, Seek, SeekFrom},
    path::Path,
    sync::Mutex,
};

use safetensors::{Dtype, tensor::Metadata};
use serde_json::Value;

use crate::{
    error::WeightsError,
    model_path::{ModelFile, ModelPath},
    text::read_text,
};

/// Largest header accepted, as the safetensors format says.
const MAX_HEADER: u64 = 100_000_000;

/// Name of the index of a sharded model.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Name of the weights of a model in one file.
const SINGLE_FILE: &str = "model.safetensors";

/// All tensors of a model folder, or of one file, by name.
#[derive(Debug)]
pub struct Shards {
    root: ModelPath,
    files: Vec<Shard>,
    tensors: BTreeMap<String, StoredTensor>,
}

#[derive(Debug)]
struct Shard {
    path: ModelPath,
    file: Mutex<ModelFile>,
}

/// Where and how a tensor is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTensor {
    /// Element type in the file.
    pub dtype: Dtype,
    /// Shape in the file.
    pub shape: Vec<usize>,
    shard: usize,
    offset: u64,
    length: usize,
}

impl StoredTensor {
    /// Bytes in the file.
    pub fn bytes(&self) -> usize {
        self.length
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Shards {
    /// Opens a safetensors file; or of a folder the shards that its index names, or its only file where there
    /// is no index.
    ///
    /// # Errors
    ///
    /// A [`WeightsError`] where neither is there, the index or a header can't be understood, a shard or a
    /// tensor of the index is missing, or a file is shorter or longer than its header says.
    pub fn open(path: impl Into<ModelPath>) -> Result<Self, WeightsError> {
        let folder = path.into();
        let mut shards = Self {
            root: folder.clone(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        if folder.exists() && !folder.is_dir() {
            shards.add(folder)?;
            return Ok(shards);
        }
        let index_path = folder.join(INDEX_FILE);
        if !index_path.exists() {
            let single = folder.join(SINGLE_FILE);
            if !single.is_file() {
                return Err(WeightsError::NoWeights {
                    folder: folder.path().to_path_buf(),
                });
            }
            shards.add(single)?;
            return Ok(shards);
        }

        let index = read_index(&index_path)?;
        let mut names: Vec<&String> = index.values().collect();
        names.sort();
        names.dedup();
        for name in names {
            let path = folder.join(name);
            if !path.is_file() {
                let tensor = index.iter().find(|(_, file)| *file == name);
                return Err(WeightsError::ShardMissing {
                    path: path.path().to_path_buf(),
                    tensor: tensor.map(|(tensor, _)| tensor.clone()).unwrap_or_default(),
                });
            }
            shards.add(path)?;
        }
        for (tensor, file) in &index {
            if !shards.tensors.contains_key(tensor) {
                return Err(WeightsError::TensorMissing {
                    path: folder.path().join(file),
                    tensor: tensor.clone(),
                });
            }
        }
        Ok(shards)
    }

    /// The folder or file that was opened.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// The file that holds `tensor`.
    pub fn path_of(&self, tensor: &StoredTensor) -> &Path {
        self.files[tensor.shard].path.path()
    }

    /// Reads a tensor's bytes.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Io`] where the file can't be read.
    pub fn read(&self, tensor: &StoredTensor) -> Result<Vec<u8>, WeightsError> {
        let shard = &self.files[tensor.shard];
        let mut bytes = vec![0; tensor.length];
        let mut file = shard
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.seek(SeekFrom::Start(tensor.offset))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| WeightsError::Io {
                path: shard.path.path().to_path_buf(),
                source,
            })?;
        Ok(bytes)
    }

    fn add(&mut self, path: ModelPath) -> Result<(), WeightsError> {
        let (file, data_start, metadata) = read_header(&path)?;
        let shard = self.files.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let stored = StoredTensor {
                dtype: info.dtype,
                shape: info.shape.clone(),
                shard,
                offset: data_start + start as u64,
                length: end - start,
            };
            match self.tensors.entry(name) {
                Entry::Vacant(slot) => {
                    slot.insert(stored);
                }
                Entry::Occupied(first) => {
                    return Err(WeightsError::TensorTwice {
                        tensor: first.key().clone(),
                        first: self.files[first.get().shard].path.path().to_path_buf(),
                        second: path.path().to_path_buf(),
                    });
                }
            }
        }
        self.files.push(Shard {
            path,
            file: Mutex::new(file),
        });
        Ok(())
    }
}

/// The index's map from tensor to file.
fn read_index(index: &ModelPath) -> Result<BTreeMap<String, String>, WeightsError> {
    let path = index.path();
    let text = read_text(index).map_err(|source| WeightsError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let index: Value = serde_json::from_str(&text).map_err(|source| WeightsError::IndexJson {
        path: path.to_path_buf(),
        source,
    })?;
    let wrong = |entry: &str, expected| WeightsError::IndexEntry {
        path: path.to_path_buf(),
        entry: entry.to_string(),
        expected,
    };
    let map = index["weight_map"]
        .as_object()
        .ok_or_else(|| wrong("weight_map", "an object from tensor to file"))?;
    map.iter()
        .map(|(tensor, file)| {
            // A plain name only: an index must not reach outside its folder.
            let plain = file
                .as_str()
                .filter(|name| Path::new(name).file_name() == Some(name.as_ref()));
            plain
                .map(|name| (tensor.clone(), name.to_string()))
                .ok_or_else(|| wrong(tensor, "the name of a file in the same folder"))
        })
        .collect()
}

/// Opens a safetensors file and checks its header against the file's length.
fn read_header(place: &ModelPath) -> Result<(ModelFile, u64, Metadata), WeightsError> {
    let path = place.path();
    let io = |source| WeightsError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = place.open().map_err(io)?;
    let file_length = file.length();
    let mut prefix = [0; 8];
    if file_length < 8 {
        return Err(WeightsError::Length {
            path: path.to_path_buf(),
            expected: 8,
            found: file_length,
        });
    }
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER || header_length > file_length - 8 {
        return Err(WeightsError::HeaderLength {
            path: path.to_path_buf(),
            found: header_length,
            limit: MAX_HEADER.min(file_length - 8),
        });
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|source| WeightsError::Header {
            path: path.to_path_buf(),
            source,
        })?;
    let data_start = 8 + header_length;
    let expected = data_start.saturating_add(metadata.data_len() as u64);
    if expected != file_length {
        return Err(WeightsError::Length {
            path: path.to_path_buf(),
            expected,
            found: file_length,
        });
    }
    Ok((file, data_start, metadata))
}
