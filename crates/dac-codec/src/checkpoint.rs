//! Reading tensors out of PyTorch and safetensors files that nobody vouches for.
//!
//! PyTorch files go through `pytorch-reader`, which interprets the few pickle instructions that describe tensors
//! and never calls what a pickle names. Sizes are compared with the file's own before anything is allocated.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    ops::Range,
    path::{Path, PathBuf},
};

use burn_store::pytorch_reader::{self, PickleValue, PytorchReader};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};

use crate::{atomic, config::DacConfig, error::DacError};

/// Weights in the Hugging Face layout.
const WEIGHTS: &str = "model.safetensors";
/// Configuration in the Hugging Face layout.
const CONFIG: &str = "config.json";
/// Longest `config.json` that is read, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// An opened checkpoint whose tensors are taken one by one.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: PathBuf,
    file_bytes: u64,
    tensors: HashMap<String, Stored>,
    /// The safetensors file; empty for PyTorch's.
    bytes: Vec<u8>,
}

/// Where a tensor lies.
#[derive(Debug)]
enum Stored {
    Pytorch(pytorch_reader::Tensor),
    Safetensors {
        dtype: Dtype,
        shape: Vec<usize>,
        range: Range<usize>,
    },
}

impl Checkpoint {
    /// Opens a folder in the Hugging Face layout or a file of either kind, told apart by its first bytes.
    pub(crate) fn open(path: &Path) -> Result<Self, DacError> {
        let path = if path.is_dir() {
            path.join(WEIGHTS)
        } else {
            path.to_path_buf()
        };
        let (mut file, length) = atomic::open(&path).map_err(DacError::io("read", &path))?;
        let mut start = [0; 9];
        let zip = match file.read_exact(&mut start) {
            Ok(()) => start.starts_with(b"PK"),
            Err(_) => {
                return Err(damaged(&path, format!("only {length} bytes").into()));
            }
        };
        // A safetensors file opens with 8 bytes of length and a JSON object.
        if !zip && start[8] == b'{' {
            Self::safetensors(path)
        } else {
            Self::pytorch(path, length)
        }
    }

    fn safetensors(path: PathBuf) -> Result<Self, DacError> {
        let bytes = fs::read(&path).map_err(DacError::io("read", &path))?;
        let parsed =
            SafeTensors::deserialize(&bytes).map_err(|error| damaged(&path, error.into()))?;
        let tensors = parsed
            .iter()
            .map(|(name, view)| {
                let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
                let stored = Stored::Safetensors {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    range: start..start + view.data().len(),
                };
                (name.to_string(), stored)
            })
            .collect();
        Ok(Self {
            file_bytes: bytes.len() as u64,
            path,
            tensors,
            bytes,
        })
    }

    fn pytorch(path: PathBuf, file_bytes: u64) -> Result<Self, DacError> {
        let reader = PytorchReader::with_top_level_key(&path, "state_dict")
            .map_err(|error| damaged(&path, error.into()))?;
        let tensors = reader
            .into_tensors()
            .into_iter()
            .map(|(name, tensor)| (name, Stored::Pytorch(tensor)))
            .collect();
        Ok(Self {
            path,
            file_bytes,
            tensors,
            bytes: Vec::new(),
        })
    }

    /// The file that holds the tensors.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the configuration: `metadata.kwargs` in PyTorch's file, `config.json` beside a safetensors file.
    pub(crate) fn config(&self) -> Result<DacConfig, DacError> {
        let pytorch = self.bytes.is_empty();
        let (path, value) = if pytorch {
            let value = PytorchReader::read_pickle_data(&self.path, Some("metadata"))
                .map(to_json)
                .map_err(|error| damaged(&self.path, error.into()))?;
            (self.path.clone(), value["kwargs"].clone())
        } else {
            let path = self.path.with_file_name(CONFIG);
            let mut text = String::new();
            atomic::open(&path)
                .and_then(|(file, _)| file.take(MAX_CONFIG_BYTES).read_to_string(&mut text))
                .map_err(DacError::io("read", &path))?;
            let value = serde_json::from_str(&text).map_err(|error| DacError::ConfigFile {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            (path, value)
        };
        let Value::Object(map) = value else {
            let expected = if pytorch {
                "a dictionary metadata.kwargs"
            } else {
                "a JSON object"
            };
            return Err(DacError::ConfigFile {
                path,
                reason: format!("expected {expected}"),
            });
        };
        DacConfig::from_json(&map).map_err(|error| DacError::ConfigFile {
            path,
            reason: error.to_string(),
        })
    }

    /// Whether a tensor of this name is there and not yet taken.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes a tensor as f32 in row-major order.
    pub(crate) fn take(&mut self, name: &str, expected: &[usize]) -> Result<Vec<f32>, DacError> {
        let path = || self.path.clone();
        let stored = self
            .tensors
            .remove(name)
            .ok_or_else(|| DacError::MissingTensor {
                path: self.path.clone(),
                tensor: name.into(),
                expected: expected.into(),
            })?;
        if stored.shape() != expected {
            return Err(DacError::TensorShape {
                path: path(),
                tensor: name.into(),
                expected: expected.into(),
                found: stored.shape().into(),
            });
        }
        let unsupported = |found: String| DacError::TensorType {
            path: path(),
            tensor: name.into(),
            found,
        };
        match stored {
            Stored::Safetensors { dtype, range, .. } => {
                let width = match dtype {
                    Dtype::F64 => Width::F64,
                    Dtype::F32 => Width::F32,
                    Dtype::F16 => Width::F16,
                    Dtype::BF16 => Width::Bf16,
                    other => return Err(unsupported(format!("{other:?}"))),
                };
                Ok(width.to_f32(&self.bytes[range]))
            }
            Stored::Pytorch(tensor) => {
                let width = match tensor.dtype() {
                    pytorch_reader::DType::F64 => Width::F64,
                    pytorch_reader::DType::F32 => Width::F32,
                    pytorch_reader::DType::F16 => Width::F16,
                    pytorch_reader::DType::BF16 => Width::Bf16,
                    other => return Err(unsupported(format!("{other:?}"))),
                };
                // An expanded view may claim far more than its storage holds.
                if tensor.byte_len() as u64 > self.file_bytes {
                    let claim = format!(
                        "tensor {name} claims {} bytes, the file has {}",
                        tensor.byte_len(),
                        self.file_bytes
                    );
                    return Err(damaged(&self.path, claim.into()));
                }
                let bytes = tensor
                    .read()
                    .map_err(|error| damaged(&self.path, error.into()))?;
                Ok(width.to_f32(&bytes))
            }
        }
    }

    /// Checks that every tensor was taken.
    pub(crate) fn finish(self) -> Result<(), DacError> {
        let Some(name) = self.tensors.keys().min() else {
            return Ok(());
        };
        Err(DacError::ExtraTensor {
            path: self.path.clone(),
            tensor: name.clone(),
            found: self.tensors[name].shape().into(),
        })
    }
}

impl Stored {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Pytorch(tensor) => tensor.shape(),
            Self::Safetensors { shape, .. } => shape,
        }
    }
}

/// The float types that checkpoints use.
#[derive(Clone, Copy)]
enum Width {
    F64,
    F32,
    F16,
    Bf16,
}

impl Width {
    fn to_f32(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F64 => (bytes.as_chunks().0.iter())
                .map(|chunk| f64::from_le_bytes(*chunk) as f32)
                .collect(),
            Self::F32 => (bytes.as_chunks().0.iter())
                .map(|chunk| f32::from_le_bytes(*chunk))
                .collect(),
            Self::F16 => (bytes.as_chunks().0.iter())
                .map(|chunk| half::f16::from_le_bytes(*chunk).to_f32())
                .collect(),
            Self::Bf16 => (bytes.as_chunks().0.iter())
                .map(|chunk| half::bf16::from_le_bytes(*chunk).to_f32())
                .collect(),
        }
    }
}

/// Writes the Hugging Face layout into `folder`.
pub(crate) fn write_safetensors(
    folder: &Path,
    config: &Value,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
) -> Result<(), DacError> {
    fs::create_dir_all(folder).map_err(DacError::io("create", folder))?;
    let tensors: Vec<_> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            (name, shape, bytes)
        })
        .collect();
    let weights = folder.join(WEIGHTS);
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| damaged(&weights, error.into()))?;
    let bytes =
        safetensors::serialize(views, None).map_err(|error| damaged(&weights, error.into()))?;
    atomic::write(&weights, |file| file.write_all(&bytes))?;
    let text = format!("{config:#}\n");
    atomic::write(&folder.join(CONFIG), |file| file.write_all(text.as_bytes()))
}

fn damaged(path: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> DacError {
    DacError::Checkpoint {
        path: path.into(),
        source,
    }
}

fn to_json(value: PickleValue) -> Value {
    match value {
        PickleValue::Bool(value) => value.into(),
        PickleValue::Int(value) => value.into(),
        PickleValue::Float(value) => value.into(),
        PickleValue::String(value) => value.into(),
        PickleValue::List(values) => values.into_iter().map(to_json).collect(),
        PickleValue::Dict(values) => values
            .into_iter()
            .map(|(key, value)| (key, to_json(value)))
            .collect::<Map<_, _>>()
            .into(),
        PickleValue::None | PickleValue::Bytes(_) | PickleValue::Unsupported(_) => Value::Null,
    }
}
