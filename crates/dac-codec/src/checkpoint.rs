//! Reading tensors out of PyTorch and safetensors files that nobody vouches for.
//!
//! PyTorch files go through `pytorch-reader`, which interprets the few pickle instructions that describe tensors
//! and never calls what a pickle names. Sizes are compared with the file's own before anything is allocated.

use std::{collections::HashMap, fs, io::Read, ops::Range, path::Path};

use burn::tensor::DType;
use burn_store::pytorch_reader::{self, PickleValue, PytorchReader};
use model_files::{ModelPath, read_text};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Map, Value};

use crate::{atomic, codec::input, config::DacConfig, error::DacError};

/// Weights in the Hugging Face layout.
const WEIGHTS: &str = "model.safetensors";
/// Configuration in the Hugging Face layout.
const CONFIG: &str = "config.json";

/// An opened checkpoint whose tensors are taken one by one.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    path: ModelPath,
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
    pub(crate) fn open(path: ModelPath) -> Result<Self, DacError> {
        let path = if path.is_dir() {
            path.join(WEIGHTS)
        } else {
            path
        };
        let mut file = path.open().map_err(DacError::io("read", path.path()))?;
        let length = file.length();
        let mut start = [0; 9];
        let zip = match file.read_exact(&mut start) {
            Ok(()) => start.starts_with(b"PK"),
            Err(_) => {
                return Err(damaged(path.path(), format!("only {length} bytes").into()));
            }
        };
        // A safetensors file opens with 8 bytes of length and a JSON object.
        if !zip && start[8] == b'{' {
            Self::safetensors(path)
        } else {
            Self::pytorch(path, length)
        }
    }

    fn safetensors(path: ModelPath) -> Result<Self, DacError> {
        let bytes = path
            .read(u64::MAX)
            .map_err(DacError::io("read", path.path()))?;
        let parsed =
            SafeTensors::deserialize(&bytes).map_err(|error| damaged(path.path(), error.into()))?;
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

    fn pytorch(path: ModelPath, file_bytes: u64) -> Result<Self, DacError> {
        let disk = on_disk(&path)?;
        let reader = PytorchReader::with_top_level_key(disk, "state_dict")
            .map_err(|error| damaged(disk, error.into()))?;
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
        self.path.path()
    }

    /// Reads the configuration: `metadata.kwargs` in PyTorch's file, `config.json` beside a safetensors file.
    pub(crate) fn config(&self) -> Result<DacConfig, DacError> {
        let pytorch = self.bytes.is_empty();
        let (path, value) = if pytorch {
            let disk = on_disk(&self.path)?;
            let value = PytorchReader::read_pickle_data(disk, Some("metadata"))
                .map(to_json)
                .map_err(|error| damaged(disk, error.into()))?;
            (disk.to_path_buf(), value["kwargs"].clone())
        } else {
            let file = self.path.with_file_name(CONFIG);
            let path = file.path().to_path_buf();
            let text = read_text(file).map_err(DacError::io("read", &path))?;
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
        let path = || self.path.path().to_path_buf();
        let stored = self
            .tensors
            .remove(name)
            .ok_or_else(|| DacError::MissingTensor {
                path: path(),
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
                    return Err(damaged(self.path.path(), claim.into()));
                }
                let bytes = tensor
                    .read()
                    .map_err(|error| damaged(self.path.path(), error.into()))?;
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
            path: self.path.path().to_path_buf(),
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

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        let values = values.iter().copied();
        match self {
            Self::F64 => values
                .flat_map(|value| f64::from(value).to_le_bytes())
                .collect(),
            Self::F32 => values.flat_map(f32::to_le_bytes).collect(),
            Self::F16 => values
                .flat_map(|value| half::f16::from_f32(value).to_le_bytes())
                .collect(),
            Self::Bf16 => values
                .flat_map(|value| half::bf16::from_f32(value).to_le_bytes())
                .collect(),
        }
    }
}

/// Writes the Hugging Face layout into `folder`, the weights in `dtype`.
pub(crate) fn write_safetensors(
    folder: &Path,
    config: &Value,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
    dtype: DType,
) -> Result<(), DacError> {
    let weights = folder.join(WEIGHTS);
    let (stored, width) = match dtype {
        DType::F32 => (Dtype::F32, Width::F32),
        DType::F16 => (Dtype::F16, Width::F16),
        DType::BF16 => (Dtype::BF16, Width::Bf16),
        other => {
            let found = format!("{other:?}");
            return Err(input(
                "the type of stored weights",
                "F32, F16 or BF16",
                found,
            ));
        }
    };
    let tensors = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes = width.bytes(&values);
            // What is too large for the type has become infinite.
            let kept = width.to_f32(&bytes);
            match kept.iter().position(|value| !value.is_finite()) {
                None => Ok((name, shape, bytes)),
                Some(index) => Err(DacError::NonFiniteWeight {
                    path: weights.clone(),
                    tensor: name,
                    index,
                    found: kept[index],
                }),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    fs::create_dir_all(folder).map_err(DacError::io("create", folder))?;
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(stored, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| damaged(&weights, error.into()))?;
    let bytes =
        safetensors::serialize(views, None).map_err(|error| damaged(&weights, error.into()))?;
    atomic::write(&weights, |file| file.write_all(&bytes))?;
    let text = format!("{config:#}\n");
    atomic::write(&folder.join(CONFIG), |file| file.write_all(text.as_bytes()))
}

/// Where a file is on a disk: the reader of pickles reads from nowhere else.
fn on_disk(path: &ModelPath) -> Result<&Path, DacError> {
    let reason = "a PyTorch file is read from a disk only";
    path.on_disk()
        .ok_or_else(|| damaged(path.path(), reason.into()))
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
