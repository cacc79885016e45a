//! The names of the encoder's parameters in published checkpoints, and loading them by those names.
//!
//! On disk a linear weight is `[out, in]`; here it is `[in, out]`. The patch embedding is a convolution's kernel there,
//! `[D, C, frames, side, side]` or with channels and frames in one, and one linear layer here; which of the two a file
//! has is seen from its shape.

use std::collections::BTreeSet;

use burn::tensor::Device;
use model_files::{ModelPath, Naming, Shards, StoredParameter, WeightsError};

use crate::{
    config::VisionEncoderConfig,
    encoder::{LoadOptions, VisionEncoder},
    error::VisionError,
};

/// Name here and name on disk; a star stands for an index, which carries over.
const NAMES: &[(&str, &str)] = &[
    ("patch_embed.projection.weight", PATCH_KERNEL),
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
const PATCH_KERNEL: &str = "patch_embed.proj.weight";

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

/// The names in some files.
struct Names<'a> {
    config: &'a VisionEncoderConfig,
    prefix: &'static str,
}

impl Naming for Names<'_> {
    fn name(&self, path: &str) -> Option<String> {
        Some(format!("{}{}", self.prefix, released_name(path)?))
    }

    fn shapes(&self, name: &str, shape: Vec<usize>) -> Vec<Vec<usize>> {
        self.config.stored_shapes(name, shape)
    }
}

impl VisionEncoderConfig {
    /// The shapes in which a checkpoint may hold the parameter of the published `name`, with or without what
    /// stands in front of it, where `[out, in]` for a linear weight makes `shape`.
    pub fn stored_shapes(&self, name: &str, shape: Vec<usize>) -> Vec<Vec<usize>> {
        if !name.ends_with(PATCH_KERNEL) {
            return vec![shape];
        }
        let (channels, frames, side) =
            (self.in_channels, self.temporal_patch_size, self.patch_size);
        vec![
            vec![self.d_model, channels * frames, side, side],
            vec![self.d_model, channels, frames, side, side],
        ]
    }
}

impl VisionEncoder {
    /// Loads an encoder from a model folder: `config.json` and safetensors, in one file or sharded. The folder may be
    /// that of a whole multimodal model, of which only the vision part is read.
    ///
    /// # Errors
    ///
    /// A [`VisionError`] that names the file, the setting or tensor, what was expected and what was found.
    pub fn load(
        folder: impl Into<ModelPath>,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Self, VisionError> {
        let folder = folder.into();
        let config = VisionEncoderConfig::load(folder.join("config.json"))?;
        Self::load_weights(&config, folder, options, device)
    }

    /// Loads the weights of an encoder of known configuration from a model folder or a safetensors file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_weights(
        config: &VisionEncoderConfig,
        path: impl Into<ModelPath>,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Self, VisionError> {
        config.validate()?;
        Ok(load(config.init(device), path.into(), options, device)?)
    }
}

/// Loads the parameters of `encoder` from a folder or file.
fn load(
    encoder: VisionEncoder,
    path: ModelPath,
    options: LoadOptions,
    device: &Device,
) -> Result<VisionEncoder, WeightsError> {
    let shards = Shards::open(path)?;
    let config = encoder.config().clone();
    let names = Names {
        config: &config,
        prefix: find_prefix(&shards),
    };
    let loaded = model_files::load(encoder, &names, &shards, options.dtype, device)?;
    if options.strict {
        refuse_extra(&shards, names.prefix, &loaded.parameters)?;
    }
    Ok(loaded.module)
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

/// Refuses a tensor of the encoder's part of the files that was not read: without a prefix all belong to it.
fn refuse_extra(
    shards: &Shards,
    prefix: &str,
    read: &[StoredParameter],
) -> Result<(), WeightsError> {
    let read: BTreeSet<&str> = read.iter().map(|read| read.name.as_str()).collect();
    let extra = shards.tensors().iter().find(|(name, _)| {
        let own = name.strip_prefix(prefix);
        own.is_some_and(|own| own != COMPUTED) && !read.contains(name.as_str())
    });
    match extra {
        None => Ok(()),
        Some((name, stored)) => Err(WeightsError::TensorExtra {
            path: shards.path_of(stored).to_path_buf(),
            tensor: name.clone(),
        }),
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
