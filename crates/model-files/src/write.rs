//! Modules and other values into sharded safetensors, the way back from [`load`](crate::load).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Tensor},
};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde_json::{Value, json};

use crate::{
    convert::Layout,
    error::WeightsError,
    load::{Naming, StoredParameter, parameters},
    shards::INDEX_FILE,
};

/// Writes the float parameters of `module` in `dtype` to `folder`, which must be there: files
/// `model-00001-of-00003.safetensors`, ... of at most `shard_bytes` of data each (more for a parameter that is
/// larger) and their index. [`load`](crate::load) with the same `naming` reads them.
///
/// The memory in use is one parameter. A failure leaves files behind: write to a temporary folder and rename it.
///
/// # Errors
///
/// A [`WeightsError`] where a file can't be written, a parameter has no name or that of another, or a value is not
/// finite in `dtype`.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{DType, Device}};
/// use model_files::{Naming, Shards, load, write};
///
/// struct Names;
///
/// impl Naming for Names {
///     fn name(&self, path: &str) -> Option<String> {
///         Some(format!("layer.{path}"))
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let device = Device::flex();
/// let layer = LinearConfig::new(2, 3).init(&device);
/// let written = write(&layer, &Names, DType::F32, folder.path(), 1 << 30)?;
/// assert_eq!(written[0].shape, [3, 2]);
/// let again = LinearConfig::new(2, 3).init(&device);
/// let again = load(again, &Names, &Shards::open(folder.path())?, DType::F32, &device)?.module;
/// assert_eq!(again.weight.val().into_data(), layer.weight.val().into_data());
/// # Ok(())
/// # }
/// ```
pub fn write<M: Module>(
    module: &M,
    naming: &dyn Naming,
    dtype: DType,
    folder: &Path,
    shard_bytes: usize,
) -> Result<Vec<StoredParameter>, WeightsError> {
    let stored = stored_type(dtype).ok_or_else(|| WeightsError::Type {
        found: format!("{dtype:?}"),
    })?;
    let parameters = parameters(module.clone(), naming)?;
    let mut walk = Walk {
        linear: Vec::new(),
        writer: ShardWriter::new(folder, parameters.clone(), stored, shard_bytes)?,
        dtype,
        error: None,
    };
    module.visit(&mut walk);
    match walk.error {
        Some(error) => Err(error),
        None => walk.writer.finish().map(|()| parameters),
    }
}

/// Writes tensors of known names and shapes to shards, one after the other.
#[derive(Debug)]
pub struct ShardWriter {
    folder: PathBuf,
    dtype: Dtype,
    /// What is to come, by shard; the last one comes first.
    shards: Vec<Vec<StoredParameter>>,
    count: usize,
    open: Option<Shard>,
    map: serde_json::Map<String, Value>,
    total: u64,
}

/// A shard that is being written.
#[derive(Debug)]
struct Shard {
    path: PathBuf,
    file: BufWriter<File>,
    /// What is to come; the next one is last.
    rest: Vec<StoredParameter>,
}

impl ShardWriter {
    /// Plans the shards of `parameters`, all in `dtype`: each has at most `shard_bytes` of data, or a single
    /// parameter.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NameTwice`] where two parameters have one name.
    pub fn new(
        folder: &Path,
        parameters: Vec<StoredParameter>,
        dtype: Dtype,
        shard_bytes: usize,
    ) -> Result<Self, WeightsError> {
        let mut names = BTreeSet::new();
        if let Some(twice) = parameters.iter().find(|p| !names.insert(&p.name)) {
            return Err(WeightsError::NameTwice {
                tensor: twice.name.clone(),
            });
        }
        let mut shards = divide(parameters, dtype, shard_bytes);
        shards.reverse();
        Ok(Self {
            folder: folder.to_path_buf(),
            dtype,
            count: shards.len(),
            shards,
            open: None,
            map: serde_json::Map::new(),
            total: 0,
        })
    }

    /// Writes the values of the next parameter: little-endian elements in row-major order of its stored shape.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Io`] where they can't be written, or are more or fewer than its shape says.
    pub fn write(&mut self, values: &[u8]) -> Result<(), WeightsError> {
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => self.next_shard()?,
        };
        let io = io_error(&shard.path);
        let next = shard.rest.pop();
        if next.is_none_or(|next| bytes(&next, self.dtype) != values.len()) {
            let reason = "other values than were announced";
            return Err(io(io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        shard.file.write_all(values).map_err(&io)?;
        self.total += values.len() as u64;
        if shard.rest.is_empty() {
            shard.file.flush().map_err(io)?;
        } else {
            self.open = Some(shard);
        }
        Ok(())
    }

    /// Writes the index.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Io`] where it can't be written, [`WeightsError::TensorMissing`] where parameters were not
    /// written.
    pub fn finish(self) -> Result<(), WeightsError> {
        let open = self.open.and_then(|mut shard| shard.rest.pop());
        let missing = open.or_else(|| self.shards.into_iter().flatten().next());
        if let Some(missing) = missing {
            return Err(WeightsError::TensorMissing {
                path: self.folder,
                tensor: missing.name,
            });
        }
        let index = json!({"metadata": {"total_size": self.total}, "weight_map": self.map});
        write_json(&self.folder.join(INDEX_FILE), &index)
    }

    /// Opens the next shard and writes its header.
    fn next_shard(&mut self) -> Result<Shard, WeightsError> {
        let parameters = self.shards.pop().unwrap_or_default();
        let number = self.count - self.shards.len();
        let name = format!("model-{number:05}-of-{:05}.safetensors", self.count);
        let path = self.folder.join(&name);
        let io = io_error(&path);
        let mut start = 0;
        let mut infos = Vec::with_capacity(parameters.len());
        for parameter in &parameters {
            let end = start + bytes(parameter, self.dtype);
            let info = TensorInfo {
                dtype: self.dtype,
                shape: parameter.shape.clone(),
                data_offsets: (start, end),
            };
            start = end;
            infos.push((parameter.name.clone(), info));
            self.map.insert(parameter.name.clone(), json!(name));
        }
        let metadata = Metadata::new(None, infos).map_err(|error| io(io::Error::other(error)))?;
        let mut header = serde_json::to_vec(&metadata).map_err(|error| io(error.into()))?;
        // The format wants the data to begin at a multiple of eight.
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = BufWriter::new(File::create(&path).map_err(&io)?);
        let length = (header.len() as u64).to_le_bytes();
        file.write_all(&length).map_err(&io)?;
        file.write_all(&header).map_err(&io)?;
        let rest = parameters.into_iter().rev().collect();
        Ok(Shard { path, file, rest })
    }
}

/// Writes JSON, indented, with a line end.
///
/// # Errors
///
/// [`WeightsError::Io`] where it can't be written.
pub fn write_json(path: &Path, value: &Value) -> Result<(), WeightsError> {
    let io = io_error(path);
    let text = serde_json::to_string_pretty(value).map_err(|error| io(error.into()))?;
    fs::write(path, text + "\n").map_err(io)
}

/// Divides parameters into shards, in order.
fn divide(
    parameters: Vec<StoredParameter>,
    dtype: Dtype,
    shard_bytes: usize,
) -> Vec<Vec<StoredParameter>> {
    let mut shards: Vec<Vec<StoredParameter>> = Vec::new();
    let mut room = 0;
    for parameter in parameters {
        let size = bytes(&parameter, dtype);
        match shards.last_mut() {
            Some(shard) if size <= room => {
                room -= size;
                shard.push(parameter);
            }
            _ => {
                room = shard_bytes.saturating_sub(size);
                shards.push(vec![parameter]);
            }
        }
    }
    shards
}

fn bytes(parameter: &StoredParameter, dtype: Dtype) -> usize {
    parameter.shape.iter().product::<usize>() * dtype.bitsize() / 8
}

fn stored_type(dtype: DType) -> Option<Dtype> {
    match dtype {
        DType::F32 => Some(Dtype::F32),
        DType::F16 => Some(Dtype::F16),
        DType::BF16 => Some(Dtype::BF16),
        _ => None,
    }
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> WeightsError + use<> {
    let path = path.to_path_buf();
    move |source| WeightsError::Io {
        path: path.clone(),
        source,
    }
}

/// Visits the float parameters in the order of [`parameters`] and writes them.
struct Walk {
    /// Whether the owner of each field on the path is a linear layer.
    linear: Vec<bool>,
    writer: ShardWriter,
    dtype: DType,
    error: Option<WeightsError>,
}

impl Walk {
    fn visit<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Result<(), WeightsError> {
        let mut data = param.val().into_data();
        if stored_type(data.dtype()).is_none() {
            data = data.convert_dtype(DType::F32);
        }
        let shape = data.shape().to_vec();
        let transposed = D == 2 && self.linear.last() == Some(&true);
        let layout = Layout {
            columns: transposed.then(|| shape[1]),
            dtype: stored_type(data.dtype()).unwrap_or(Dtype::F32),
        };
        let values = layout.data(data.as_bytes(), self.dtype, shape);
        let values = values.map_err(|(index, value)| WeightsError::NotFinite {
            path: self.writer.folder.clone(),
            tensor: self.writer.next_name(),
            index,
            value,
            dtype: format!("{:?}", self.dtype),
        })?;
        self.writer.write(values.as_bytes())
    }
}

impl ShardWriter {
    /// Name of the parameter that is written next; empty after the last.
    fn next_name(&self) -> String {
        let open = self.open.as_ref().and_then(|shard| shard.rest.last());
        let next = open.or_else(|| self.shards.last().and_then(|shard| shard.first()));
        next.map(|next| next.name.clone()).unwrap_or_default()
    }
}

impl ModuleVisitor for Walk {
    fn enter_module(&mut self, _name: &str, container_type: &str) {
        self.linear.push(container_type == "Struct:Linear");
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.linear.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.error.is_none() {
            self.error = self.visit(param).err();
        }
    }
}
