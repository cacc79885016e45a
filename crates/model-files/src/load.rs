//! The walk over a module that finds its parameters' values.
//!
//! A linear weight is `[out, in]` on disk and `[in, out]` in Burn. The walk sees which parameters are linear weights
//! and turns them; all others are taken as they are.

use std::path::PathBuf;

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{DType, Device, Tensor},
};
use safetensors::Dtype;

use crate::{
    convert::Layout,
    error::WeightsError,
    shards::{Shards, StoredTensor},
};

/// How the parameters of a module are called and shaped in its checkpoint.
pub trait Naming {
    /// The name of the parameter at `path` in the module; `None` where it has none, which is an error.
    fn name(&self, path: &str) -> Option<String>;

    /// Another name under which files may hold what is called `name`. Both at once are an error.
    fn alias(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }

    /// The shapes in which files may hold what is called `name`, the usual one first, where the walk expects
    /// `shape`. All have as many elements.
    fn shapes(&self, name: &str, shape: Vec<usize>) -> Vec<Vec<usize>> {
        let _ = name;
        vec![shape]
    }
}

/// Where the values of parameters come from.
pub trait Source {
    /// The tensor called `name`, or by its `alias`, of one of `shapes`.
    ///
    /// # Errors
    ///
    /// A [`WeightsError`] where there is no such tensor, or one of another shape.
    fn tensor(
        &self,
        name: &str,
        alias: Option<&str>,
        shapes: &[Vec<usize>],
    ) -> Result<RawTensor, WeightsError>;
}

/// A tensor's bytes.
#[derive(Debug, Clone)]
pub struct RawTensor {
    /// Little-endian elements in row-major order.
    pub bytes: Vec<u8>,
    /// Their type: `F32`, `F16` or `BF16`.
    pub dtype: Dtype,
    /// The file, for errors; empty where there is none.
    pub path: PathBuf,
}

/// One parameter as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredParameter {
    /// Its name.
    pub name: String,
    /// The usual shape on disk: linear weights are `[out, in]`.
    pub shape: Vec<usize>,
}

/// A module with its parameters.
#[derive(Debug, Clone)]
pub struct Loaded<M> {
    /// The module.
    pub module: M,
    /// What was loaded, in the order of the module.
    pub parameters: Vec<StoredParameter>,
}

/// Loads the float parameters of `module` from `source` to `device` in `dtype`.
///
/// # Errors
///
/// A [`WeightsError`] that names the parameter or tensor, what was expected and what was found.
pub fn load<M: Module>(
    module: M,
    naming: &dyn Naming,
    source: &dyn Source,
    dtype: DType,
    device: &Device,
) -> Result<Loaded<M>, WeightsError> {
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(WeightsError::Type {
            found: format!("{dtype:?}"),
        });
    }
    let target = Target {
        source,
        dtype,
        device,
    };
    walk(module, naming, Some(target))
}

/// The parameters of `module` as a checkpoint holds them, without initialising any.
///
/// # Errors
///
/// [`WeightsError::NoName`] where one has no name.
pub fn parameters<M: Module>(
    module: M,
    naming: &dyn Naming,
) -> Result<Vec<StoredParameter>, WeightsError> {
    Ok(walk(module, naming, None)?.parameters)
}

fn walk<M: Module>(
    module: M,
    naming: &dyn Naming,
    target: Option<Target<'_>>,
) -> Result<Loaded<M>, WeightsError> {
    let mut walk = Walk {
        naming,
        target,
        path: Vec::new(),
        linear: Vec::new(),
        seen: Vec::new(),
        error: None,
    };
    let module = module.map(&mut walk);
    match walk.error {
        Some(error) => Err(error),
        None => Ok(Loaded {
            module,
            parameters: walk.seen,
        }),
    }
}

/// Where values come from and go to.
struct Target<'a> {
    source: &'a dyn Source,
    dtype: DType,
    device: &'a Device,
}

/// Walks a module and lists, and with a target loads, its float parameters.
struct Walk<'a> {
    naming: &'a dyn Naming,
    target: Option<Target<'a>>,
    path: Vec<String>,
    /// Whether the owner of each field on the path is a linear layer.
    linear: Vec<bool>,
    seen: Vec<StoredParameter>,
    error: Option<WeightsError>,
}

impl Walk<'_> {
    fn visit<const D: usize>(
        &mut self,
        param: &Param<Tensor<D>>,
    ) -> Result<Option<Param<Tensor<D>>>, WeightsError> {
        let path = self.path.join(".");
        let name = self.naming.name(&path);
        let name = name.ok_or(WeightsError::NoName { path })?;
        let ours = param.lazy_shape().to_vec();
        // A field is entered with the type of the module that owns it.
        let transposed = D == 2 && self.linear.last() == Some(&true);
        let mut stored = ours.clone();
        if transposed {
            stored.reverse();
        }
        let mut shapes = self.naming.shapes(&name, stored);
        let loaded = match &self.target {
            None => None,
            Some(target) => {
                let alias = self.naming.alias(&name);
                let raw = target.source.tensor(&name, alias.as_deref(), &shapes)?;
                let layout = Layout {
                    columns: transposed.then(|| ours[0]),
                    dtype: raw.dtype,
                };
                let data = layout.data(&raw.bytes, target.dtype, ours);
                let data = data.map_err(|(index, value)| WeightsError::NotFinite {
                    path: raw.path,
                    tensor: name.clone(),
                    index,
                    value,
                    dtype: format!("{:?}", target.dtype),
                })?;
                let tensor = Tensor::<D>::from_data(data, (target.device, target.dtype));
                Some(Param::initialized(ParamId::new(), tensor).set_require_grad(true))
            }
        };
        let shape = shapes.swap_remove(0);
        self.seen.push(StoredParameter { name, shape });
        Ok(loaded)
    }
}

impl ModuleMapper for Walk<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.push(name.to_string());
        self.linear.push(container_type == "Struct:Linear");
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
        self.linear.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        match self.visit(&param) {
            Ok(loaded) => loaded.unwrap_or(param),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

impl Source for Shards {
    fn tensor(
        &self,
        name: &str,
        alias: Option<&str>,
        shapes: &[Vec<usize>],
    ) -> Result<RawTensor, WeightsError> {
        let stored = self.find(name, alias)?;
        let path = self.path_of(stored).to_path_buf();
        let tensor = name.to_string();
        if !shapes.contains(&stored.shape) {
            return Err(WeightsError::TensorShape {
                path,
                tensor,
                expected: shapes.first().cloned().unwrap_or_default(),
                found: stored.shape.clone(),
            });
        }
        if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(WeightsError::TensorType {
                path,
                tensor,
                found: format!("{:?}", stored.dtype),
            });
        }
        Ok(RawTensor {
            bytes: self.read(stored)?,
            dtype: stored.dtype,
            path,
        })
    }
}

impl Shards {
    /// The stored tensor called `name`, or by its `alias`.
    fn find(&self, name: &str, alias: Option<&str>) -> Result<&StoredTensor, WeightsError> {
        let other = alias.and_then(|alias| self.tensors().get(alias));
        match (self.tensors().get(name), other) {
            (Some(first), Some(second)) => Err(WeightsError::TensorTwice {
                tensor: name.to_string(),
                first: self.path_of(first).to_path_buf(),
                second: self.path_of(second).to_path_buf(),
            }),
            (Some(tensor), None) | (None, Some(tensor)) => Ok(tensor),
            (None, None) => Err(WeightsError::TensorMissing {
                path: self.root().to_path_buf(),
                tensor: name.to_string(),
            }),
        }
    }
}
