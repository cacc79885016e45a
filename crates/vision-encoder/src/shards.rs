//! The safetensors files of an encoder, one tensor at a time.
//!
//! Reads with plain file reads, not by mapping: the memory in use is one tensor, whatever the size of the files. Every
//! size is checked against the file before anything is reserved.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde_json::Value;

use crate::{error::WeightsError, files::read_text};

/// Largest header accepted, as the safetensors format says.
const MAX_HEADER: u64 = 100_000_000;

/// Name of the index of a sharded model.
const INDEX_FILE: &str = "model.safetensors.index.json";

/// Name of the weights of a model in one file.
const SINGLE_FILE: &str = "model.safetensors";

/// All tensors of some files by name.
#[derive(Debug)]
pub(crate) struct Shards {
    root: PathBuf,
    paths: Vec<PathBuf>,
    tensors: BTreeMap<String, StoredTensor>,
}

/// Where and how a tensor is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    shard: usize,
    offset: u64,
    length: usize,
}

impl Shards {
    /// Opens a safetensors file; or of a folder the shards that its index names, or its only file where there is no
    /// index.
    pub(crate) fn open(path: &Path) -> Result<Self, WeightsError> {
        let mut shards = Self {
            root: path.to_path_buf(),
            paths: Vec::new(),
            tensors: BTreeMap::new(),
        };
        if !path.is_dir() {
            shards.add(path.to_path_buf())?;
            return Ok(shards);
        }
        let index_path = path.join(INDEX_FILE);
        if !index_path.exists() {
            let single = path.join(SINGLE_FILE);
            if !single.exists() {
                return Err(WeightsError::NoWeights {
                    folder: path.to_path_buf(),
                });
            }
            shards.add(single)?;
            return Ok(shards);
        }

        let index = read_index(&index_path)?;
        let mut files: Vec<&String> = index.values().collect();
        files.sort();
        files.dedup();
        for file in files {
            shards.add(path.join(file))?;
        }
        for (tensor, file) in &index {
            if !shards.tensors.contains_key(tensor) {
                return Err(WeightsError::TensorMissing {
                    path: path.join(file),
                    tensor: tensor.clone(),
                });
            }
        }
        Ok(shards)
    }

    /// The file or folder that was opened.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// All tensors by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// The file that holds `tensor`.
    pub(crate) fn path_of(&self, tensor: &StoredTensor) -> &Path {
        &self.paths[tensor.shard]
    }

    /// Reads a tensor's bytes.
    pub(crate) fn read(&self, tensor: &StoredTensor) -> Result<Vec<u8>, WeightsError> {
        let path = self.path_of(tensor);
        let mut bytes = vec![0; tensor.length];
        File::open(path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(tensor.offset))?;
                file.read_exact(&mut bytes)
            })
            .map_err(|source| WeightsError::Io {
                path: path.to_path_buf(),
                source,
            })?;
        Ok(bytes)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), WeightsError> {
        let (data_start, metadata) = read_header(&path)?;
        let shard = self.paths.len();
        for (name, info) in metadata.tensors() {
            let TensorInfo {
                dtype,
                shape,
                data_offsets: (start, end),
            } = info;
            let stored = StoredTensor {
                dtype: *dtype,
                shape: shape.clone(),
                shard,
                offset: data_start + *start as u64,
                length: end - start,
            };
            match self.tensors.entry(name) {
                Entry::Vacant(slot) => {
                    slot.insert(stored);
                }
                Entry::Occupied(first) => {
                    return Err(WeightsError::TensorTwice {
                        tensor: first.key().clone(),
                        first: self.paths[first.get().shard].clone(),
                        second: path,
                    });
                }
            }
        }
        self.paths.push(path);
        Ok(())
    }
}

/// The index's map from tensor to file.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let text = read_text(path).map_err(|source| WeightsError::Io {
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

/// Reads the header of a safetensors file and checks it against the file's length.
fn read_header(path: &Path) -> Result<(u64, Metadata), WeightsError> {
    let io = |source| WeightsError::Io {
        path: path.to_path_buf(),
        source,
    };
    // Opening a pipe would wait for its writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        let reason = "not a regular file";
        return Err(io(io::Error::new(ErrorKind::InvalidData, reason)));
    }
    let mut file = File::open(path).map_err(io)?;
    let file_length = file.metadata().map_err(io)?.len();
    if file_length < 8 {
        return Err(WeightsError::Length {
            path: path.to_path_buf(),
            expected: 8,
            found: file_length,
        });
    }
    let mut prefix = [0; 8];
    file.read_exact(&mut prefix).map_err(io)?;
    let header_length = u64::from_le_bytes(prefix);
    let limit = MAX_HEADER.min(file_length - 8);
    if header_length > limit {
        return Err(WeightsError::HeaderLength {
            path: path.to_path_buf(),
            found: header_length,
            limit,
        });
    }
    let mut header = vec![0; header_length as usize];
    file.read_exact(&mut header).map_err(io)?;
    // Reading the metadata checks that the tensors' sizes agree with their places and fill the data.
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
    Ok((data_start, metadata))
}
