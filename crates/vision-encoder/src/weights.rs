//! The names of the encoder's parameters in published checkpoints, and loading them by those names.
//!
//! On disk a linear weight is `[out, in]`; here it is `[in, out]`. The patch embedding is a convolution's kernel there,
//! `[D, C, frames, side, side]` or with channels and frames in one, and one linear layer here; which of the two a file
//! has is seen from its shape.

use std::{collections::BTreeSet, path::Path};

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{DType, Device, Tensor},
};
use safetensors::Dtype;

use crate::{
    config::VisionEncoderConfig,
    convert::Layout,
    encoder::{LoadOptions, VisionEncoder},
    error::WeightsError,
    shards::{Shards, StoredTensor},
};

/// Name here and name on disk; a star stands for an index, which carries over.
const NAMES: &[(&str, &str)] = &[
    (PATCH_EMBED, "patch_embed.proj.weight"),
    ("blocks.*.attention_norm.gamma", "blocks.*.norm1.weight"),
    ("blocks.*.attention.qkv.weight", "blocks.*.attn.qkv.weight"),
    ("blocks.*.attention.qkv.bias", "blocks.*.attn.qkv.bias"),
    (
        "blocks.*.attention.output.weight",
        "blocks.*.attn.proj.weight",
    ),
    ("blocks.*.attention.output.bias", "blocks.*.attn.proj.bias"),
    ("blocks.*.mlp_norm.gamma", "blocks.*.norm2.weight"),
    (
        "blocks.*.mlp.gate_proj.weight",
        "blocks.*.mlp.gate_proj.weight",
    ),
    ("blocks.*.mlp.gate_proj.bias", "blocks.*.mlp.gate_proj.bias"),
    ("blocks.*.mlp.up_proj.weight", "blocks.*.mlp.up_proj.weight"),
    ("blocks.*.mlp.up_proj.bias", "blocks.*.mlp.up_proj.bias"),
    (
        "blocks.*.mlp.down_proj.weight",
        "blocks.*.mlp.down_proj.weight",
    ),
    ("blocks.*.mlp.down_proj.bias", "blocks.*.mlp.down_proj.bias"),
    ("merger.norm.gamma", "merger.ln_q.weight"),
    ("merger.hidden.weight", "merger.mlp.0.weight"),
    ("merger.hidden.bias", "merger.mlp.0.bias"),
    ("merger.output.weight", "merger.mlp.2.weight"),
    ("merger.output.bias", "merger.mlp.2.bias"),
];

/// The parameter that is a convolution's kernel on disk.
const PATCH_EMBED: &str = "patch_embed.projection.weight";

/// What may stand in front of the names on disk: of the encoder alone, and of two generations of whole models.
const PREFIXES: [&str; 3] = ["visual.", "model.visual.", ""];

/// A table that some files hold and that is computed here.
const COMPUTED: &str = "rotary_pos_emb.inv_freq";

/// The published checkpoint's name of the parameter of [`VisionEncoder`] at `path`, without the `visual.` that stands
/// in front of it in the checkpoint of a whole model.
///
/// ```
/// let name = vision_encoder::released_name("blocks.3.attention.qkv.bias");
/// assert_eq!(name.as_deref(), Some("blocks.3.attn.qkv.bias"));
/// ```
pub fn released_name(path: &str) -> Option<String> {
    NAMES.iter().find_map(|(ours, theirs)| {
        // The table has one star at most.
        match ours.split_once('*') {
            None => (path == *ours).then(|| theirs.to_string()),
            Some((head, tail)) => {
                let index = path.strip_prefix(head)?.strip_suffix(tail)?;
                index
                    .bytes()
                    .all(|byte| byte.is_ascii_digit())
                    .then(|| theirs.replace('*', index))
            }
        }
    })
}

/// Loads the parameters of `encoder` from a folder or file.
pub(crate) fn load(
    encoder: VisionEncoder,
    path: &Path,
    options: LoadOptions,
    device: &Device,
) -> Result<VisionEncoder, WeightsError> {
    if !matches!(options.dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(WeightsError::Type {
            found: format!("{:?}", options.dtype),
        });
    }
    let shards = Shards::open(path)?;
    let mut loader = Loader {
        config: encoder.config().clone(),
        prefix: find_prefix(&shards),
        shards: &shards,
        dtype: options.dtype,
        device,
        path: Vec::new(),
        linear: Vec::new(),
        seen: BTreeSet::new(),
        error: None,
    };
    let encoder = encoder.map(&mut loader);
    match loader.error {
        Some(error) => return Err(error),
        None if options.strict => loader.refuse_extra()?,
        None => {}
    }
    Ok(encoder)
}

/// The beginning that the files' names have.
fn find_prefix(shards: &Shards) -> &'static str {
    let begins = |prefix: &&str| {
        let first = format!("{prefix}patch_embed.");
        let names = shards.tensors();
        names
            .range(first.clone()..)
            .next()
            .is_some_and(|(name, _)| name.starts_with(&first))
    };
    // Where there is none, the first missing tensor is named as a whole model would name it.
    PREFIXES.into_iter().find(begins).unwrap_or(PREFIXES[0])
}

/// Walks the encoder and loads its parameters.
struct Loader<'a> {
    config: VisionEncoderConfig,
    prefix: &'static str,
    shards: &'a Shards,
    dtype: DType,
    device: &'a Device,
    path: Vec<String>,
    /// Whether the owner of each field on the path is a linear layer.
    linear: Vec<bool>,
    seen: BTreeSet<String>,
    error: Option<WeightsError>,
}

impl Loader<'_> {
    fn read<const D: usize>(&mut self, ours: &[usize]) -> Result<Tensor<D>, WeightsError> {
        let path = self.path.join(".");
        let name =
            released_name(&path).ok_or_else(|| WeightsError::NoName { path: path.clone() })?;
        let name = format!("{}{name}", self.prefix);
        let stored =
            self.shards
                .tensors()
                .get(&name)
                .ok_or_else(|| WeightsError::TensorMissing {
                    path: self.shards.root().to_path_buf(),
                    tensor: name.clone(),
                })?;
        // A field is entered with the type of the module that owns it.
        let transposed = D == 2 && self.linear.last() == Some(&true);
        self.check(&name, stored, self.shapes(&path, ours, transposed))?;
        let layout = Layout {
            columns: transposed.then(|| ours[0]),
            stored: stored.dtype,
        };
        let bytes = self.shards.read(stored)?;
        let data = layout.convert(&bytes, self.dtype, ours.to_vec());
        let data = data.map_err(|(index, value)| WeightsError::NotFinite {
            path: self.shards.path_of(stored).to_path_buf(),
            tensor: name.clone(),
            index,
            value,
            dtype: format!("{:?}", self.dtype),
        })?;
        self.seen.insert(name);
        Ok(Tensor::from_data(data, (self.device, self.dtype)))
    }

    /// The shapes that the parameter at `path` may have on disk.
    fn shapes(&self, path: &str, ours: &[usize], transposed: bool) -> Vec<Vec<usize>> {
        let config = &self.config;
        let side = config.patch_size;
        let (channels, frames) = (config.in_channels, config.temporal_patch_size);
        if path == PATCH_EMBED {
            return vec![
                vec![config.d_model, channels, frames, side, side],
                vec![config.d_model, channels * frames, side, side],
            ];
        }
        let mut shape = ours.to_vec();
        if transposed {
            shape.reverse();
        }
        vec![shape]
    }

    fn check(
        &self,
        name: &str,
        stored: &StoredTensor,
        mut shapes: Vec<Vec<usize>>,
    ) -> Result<(), WeightsError> {
        let path = || self.shards.path_of(stored).to_path_buf();
        if !shapes.contains(&stored.shape) {
            return Err(WeightsError::TensorShape {
                path: path(),
                tensor: name.to_string(),
                expected: shapes.swap_remove(0),
                found: stored.shape.clone(),
            });
        }
        if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(WeightsError::TensorType {
                path: path(),
                tensor: name.to_string(),
                found: format!("{:?}", stored.dtype),
            });
        }
        Ok(())
    }

    /// Refuses a tensor of the encoder's part of the files that was not read: without a prefix all belong to it.
    fn refuse_extra(&self) -> Result<(), WeightsError> {
        let extra = self.shards.tensors().iter().find(|(name, _)| {
            let own = name.strip_prefix(self.prefix);
            own.is_some_and(|own| own != COMPUTED) && !self.seen.contains(*name)
        });
        match extra {
            None => Ok(()),
            Some((name, stored)) => Err(WeightsError::TensorExtra {
                path: self.shards.path_of(stored).to_path_buf(),
                tensor: name.clone(),
            }),
        }
    }
}

impl ModuleMapper for Loader<'_> {
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
        match self.read::<D>(&param.lazy_shape().to_vec()) {
            Ok(tensor) => Param::initialized(ParamId::new(), tensor).set_require_grad(true),
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_index_over() {
        let name = |path| released_name(path);
        assert_eq!(
            name("blocks.31.mlp.up_proj.weight").as_deref(),
            Some("blocks.31.mlp.up_proj.weight")
        );
        assert_eq!(
            name("merger.output.bias").as_deref(),
            Some("merger.mlp.2.bias")
        );
        assert_eq!(name("blocks.1.2.mlp.up_proj.weight"), None);
        assert_eq!(name("blocks.1.mlp.up_proj.gamma"), None);
        assert_eq!(name("visual.merger.output.bias"), None);
    }
}
