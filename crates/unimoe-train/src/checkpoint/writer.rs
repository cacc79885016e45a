//! Writing the parts of a checkpoint.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use burn::tensor::{DType, TensorData};
use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    CheckpointError,
    disk::{self, Create, Output, Stamp},
};

/// Newest format of checkpoints.
pub(super) const FORMAT: u64 = 1;
/// Room for the header of a file of tensors, which is written last: what is unused is spaces.
const HEADER: usize = 1 << 17;
/// A file of tensors takes no further tensor beyond this size.
const FILE_BYTES: u64 = 4 << 30;

/// Takes the parts of a checkpoint. A tensor is on its way to the disk as soon as it is given.
pub struct StateWriter {
    folder: PathBuf,
    create: Create,
    tensors: Option<TensorFile>,
    names: BTreeSet<String>,
    values: Map<String, Value>,
    files: BTreeMap<String, Stamp>,
}

/// A file of tensors that is being written: data first, then the header before it.
struct TensorFile {
    name: String,
    path: PathBuf,
    file: BufWriter<Box<dyn Output>>,
    infos: Vec<(String, TensorInfo)>,
    /// Bytes of data so far.
    length: usize,
    /// Most bytes that the header can have so far.
    header: usize,
    checksum: crc32fast::Hasher,
}

impl StateWriter {
    /// Writes to `folder`, which must be there and empty.
    pub(super) fn new(folder: &Path, create: Create) -> Self {
        Self {
            folder: folder.to_path_buf(),
            create,
            tensors: None,
            names: BTreeSet::new(),
            values: Map::new(),
            files: BTreeMap::new(),
        }
    }

    /// Adds a tensor of floats or integers.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] where it can't be written, [`CheckpointError::Twice`] where there is one of its name,
    /// [`CheckpointError::Type`] for other elements.
    pub fn tensor(&mut self, name: &str, data: TensorData) -> Result<(), CheckpointError> {
        let dtype = stored_type(data.dtype()).ok_or_else(|| CheckpointError::Type {
            name: name.to_string(),
            found: format!("{:?}", data.dtype()),
        })?;
        self.take_name(name)?;
        let shape = data.shape().to_vec();
        // A name in JSON can be six times as long; the other fields have at most 20 digits per number.
        let entry = 6 * name.len() + 24 * shape.len() + 120;
        let full = self
            .tensors
            .as_ref()
            .is_some_and(|open| open.header + entry > HEADER || open.length as u64 >= FILE_BYTES);
        if full {
            self.finish_tensors()?;
        }
        let open = match &mut self.tensors {
            Some(open) => open,
            None => {
                let name = format!("tensors-{:05}.safetensors", self.files.len() + 1);
                let open = TensorFile::create(self.create, &self.folder, name)?;
                self.tensors.insert(open)
            }
        };
        let bytes = data.as_bytes();
        let info = TensorInfo {
            dtype,
            shape,
            data_offsets: (open.length, open.length + bytes.len()),
        };
        open.infos.push((name.to_string(), info));
        open.header += entry;
        open.length += bytes.len();
        open.checksum.update(bytes);
        let io = io_error(&open.path);
        open.file.write_all(bytes).map_err(io)
    }

    /// Adds a value.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Value`] where it is no JSON, [`CheckpointError::Twice`] where there is one of its name.
    pub fn value<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), CheckpointError> {
        let value = serde_json::to_value(value).map_err(|source| CheckpointError::Value {
            name: name.to_string(),
            source,
        })?;
        self.take_name(name)?;
        self.values.insert(name.to_string(), value);
        Ok(())
    }

    /// Writes what is left and waits for the disk.
    pub(super) fn finish(
        mut self,
        step: u64,
        validation: Option<f64>,
        settings: &Value,
    ) -> Result<(), CheckpointError> {
        self.finish_tensors()?;
        let state = json!({"settings": settings, "values": self.values});
        let stamp = self.write_json("state.json", &state)?;
        self.files.insert("state.json".into(), stamp);
        let summary = json!({
            "format": FORMAT,
            "step": step,
            "validation": validation,
            "files": self.files,
        });
        self.write_json("checkpoint.json", &summary)?;
        disk::sync_folder(&self.folder).map_err(io_error(&self.folder))
    }

    fn take_name(&mut self, name: &str) -> Result<(), CheckpointError> {
        if self.names.insert(name.to_string()) {
            return Ok(());
        }
        Err(CheckpointError::Twice {
            name: name.to_string(),
        })
    }

    fn write_json(&self, name: &str, value: &Value) -> Result<Stamp, CheckpointError> {
        let path = self.folder.join(name);
        let mut text =
            serde_json::to_vec_pretty(value).map_err(|source| CheckpointError::Json {
                path: path.clone(),
                source,
            })?;
        text.push(b'\n');
        disk::write(self.create, &path, &text).map_err(io_error(&path))
    }

    fn finish_tensors(&mut self) -> Result<(), CheckpointError> {
        if let Some(open) = self.tensors.take() {
            let (name, path) = (open.name.clone(), open.path.clone());
            let stamp = open.finish().map_err(io_error(&path))?;
            self.files.insert(name, stamp);
        }
        Ok(())
    }
}

impl TensorFile {
    fn create(create: Create, folder: &Path, name: String) -> Result<Self, CheckpointError> {
        let path = folder.join(&name);
        let start = || -> io::Result<_> {
            let mut file = BufWriter::with_capacity(1 << 20, create(&path)?);
            file.write_all(&[b' '; 8 + HEADER])?;
            Ok(file)
        };
        let file = start().map_err(io_error(&path))?;
        Ok(Self {
            name,
            path,
            file,
            infos: Vec::new(),
            length: 0,
            header: 0,
            checksum: crc32fast::Hasher::new(),
        })
    }

    fn finish(mut self) -> io::Result<Stamp> {
        let metadata = Metadata::new(None, self.infos).map_err(io::Error::other)?;
        let mut header = (HEADER as u64).to_le_bytes().to_vec();
        serde_json::to_writer(&mut header, &metadata)?;
        if header.len() > 8 + HEADER {
            return Err(io::Error::other("names too long for the header"));
        }
        header.resize(8 + HEADER, b' ');
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        self.file.flush()?;
        self.file.get_ref().sync()?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header);
        checksum.combine(&self.checksum);
        Ok(Stamp {
            bytes: (header.len() + self.length) as u64,
            crc32: checksum.finalize(),
        })
    }
}

/// How a tensor's elements are called in a file; `None` for what is not kept.
fn stored_type(dtype: DType) -> Option<Dtype> {
    Some(match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U8 => Dtype::U8,
        _ => return None,
    })
}

/// [`stored_type`] the other way round.
pub(super) fn element_type(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::I64 => DType::I64,
        Dtype::I32 => DType::I32,
        Dtype::U64 => DType::U64,
        Dtype::U32 => DType::U32,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Io { path, source }
}
