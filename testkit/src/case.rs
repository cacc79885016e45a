//! Finding and reading golden cases.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// One golden case: settings and tensors of a single run of the reference.
#[derive(Debug)]
pub struct Case {
    /// File name without its ending.
    pub name: String,
    /// The whole JSON file.
    pub json: Value,
    bytes: Vec<u8>,
}

/// The folder that holds the groups `router/`, `lm/`, ...: `UNIMOE_GOLDENS`, else
/// `tests/fixtures` below `manifest_dir` (pass `env!("CARGO_MANIFEST_DIR")`).
pub fn golden_root(manifest_dir: &str) -> PathBuf {
    match std::env::var_os("UNIMOE_GOLDENS") {
        Some(root) => PathBuf::from(root),
        None => Path::new(manifest_dir).join("tests/fixtures"),
    }
}

/// All cases of `group` whose name starts with `prefix`, by name.
///
/// # Panics
///
/// Panics where there is none, so that a wrong folder can't pass for success.
pub fn cases(manifest_dir: &str, group: &str, prefix: &str) -> Vec<Case> {
    let folder = golden_root(manifest_dir).join(group);
    let entries = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no golden cases in {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("a readable folder entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix)
                && name.ends_with(".json")
                && path.with_extension("safetensors").exists()
        })
        .collect();
    paths.sort();
    assert!(
        !paths.is_empty(),
        "no golden case named {prefix}* in {}",
        folder.display()
    );
    paths.iter().map(|path| Case::open(path)).collect()
}

impl Case {
    /// Reads `NAME.json` and the `NAME.safetensors` beside it.
    pub fn open(json_path: &Path) -> Self {
        let text = fs::read_to_string(json_path)
            .unwrap_or_else(|error| panic!("{}: {error}", json_path.display()));
        let tensors = json_path.with_extension("safetensors");
        Self {
            name: json_path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            json: serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("{}: {error}", json_path.display())),
            bytes: fs::read(&tensors)
                .unwrap_or_else(|error| panic!("{}: {error}", tensors.display())),
        }
    }

    /// The case's settings.
    pub fn config(&self) -> &Value {
        &self.json["config"]
    }

    /// A whole number among the settings, also where it is written `2.0`; `None` where it is null, absent,
    /// negative or no whole number.
    pub fn count(&self, key: &str) -> Option<usize> {
        let value = self.number(key)?;
        (value >= 0.0 && value.fract() == 0.0).then_some(value as usize)
    }

    /// A number among the settings; `None` where it is null or absent.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.config()[key].as_f64()
    }

    /// A switch among the settings; `false` where it is absent.
    pub fn flag(&self, key: &str) -> bool {
        self.config()[key].as_bool().unwrap_or(false)
    }

    fn parsed(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes)
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .parsed()
            .names()
            .into_iter()
            .map(ToString::to_string)
            .collect();
        names.sort();
        names
    }

    /// Whether the case holds a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.parsed().tensor(name).is_ok()
    }

    /// A tensor's shape.
    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.view(name).0
    }

    fn view(&self, name: &str) -> (Vec<usize>, Dtype, Vec<u8>) {
        let parsed = self.parsed();
        let view = parsed
            .tensor(name)
            .unwrap_or_else(|error| panic!("{}: {name}: {error}", self.name));
        (view.shape().to_vec(), view.dtype(), view.data().to_vec())
    }

    /// The values of a float32 tensor in row-major order.
    pub fn floats(&self, name: &str) -> Vec<f32> {
        let (_, dtype, bytes) = self.view(name);
        assert_eq!(dtype, Dtype::F32, "{}: {name}", self.name);
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|chunk| f32::from_le_bytes(*chunk))
            .collect()
    }

    /// The values of an int64 tensor in row-major order.
    pub fn ints(&self, name: &str) -> Vec<i64> {
        let (_, dtype, bytes) = self.view(name);
        assert_eq!(dtype, Dtype::I64, "{}: {name}", self.name);
        bytes
            .as_chunks()
            .0
            .iter()
            .map(|chunk| i64::from_le_bytes(*chunk))
            .collect()
    }

    /// A float tensor on `device`.
    pub fn float<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.floats(name), self.shape(name)), device)
    }

    /// An integer tensor on `device`, in the device's own integer type.
    pub fn int<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D, Int> {
        let values: Vec<i32> = self
            .ints(name)
            .into_iter()
            .map(|value| i32::try_from(value).expect("golden integers fit i32"))
            .collect();
        Tensor::from_data(TensorData::new(values, self.shape(name)), device)
    }

    /// A 0/1 tensor as booleans on `device`: `true` where it holds 1.
    pub fn bool<const D: usize>(&self, name: &str, device: &Device) -> Tensor<D, Bool> {
        self.int::<D>(name, device).equal_scalar(1)
    }
}
