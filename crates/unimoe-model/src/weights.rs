//! The names of a model's parameters in the released checkpoint.
//!
//! The table [`NAMES`] is the only place that knows them.

use std::collections::BTreeSet;

use model_files::{Naming, Shards, StoredParameter, WeightsError};

use crate::config::UniMoeConfig;

/// The text head in the files.
pub(crate) const TEXT_HEAD: &str = "lm_head.weight";

/// Our parameter paths and the released names; `*` stands for an index.
///
/// The text part is called `model.*` on disk and `language_model.*` in memory; both are read.
const NAMES: &[(&str, &str)] = &[
    ("text_embedding.weight", "model.embed_tokens.weight"),
    ("decoder.norm.gamma", "model.norm.weight"),
    (
        "decoder.layers.*.attention_norm.gamma",
        "model.layers.*.input_layernorm.weight",
    ),
    (
        "decoder.layers.*.moe_norm.gamma",
        "model.layers.*.post_attention_layernorm.weight",
    ),
    (
        "decoder.layers.*.attention.q_proj.weight",
        "model.layers.*.self_attn.q_proj.weight",
    ),
    (
        "decoder.layers.*.attention.q_proj.bias",
        "model.layers.*.self_attn.q_proj.bias",
    ),
    (
        "decoder.layers.*.attention.k_proj.weight",
        "model.layers.*.self_attn.k_proj.weight",
    ),
    (
        "decoder.layers.*.attention.k_proj.bias",
        "model.layers.*.self_attn.k_proj.bias",
    ),
    (
        "decoder.layers.*.attention.v_proj.weight",
        "model.layers.*.self_attn.v_proj.weight",
    ),
    (
        "decoder.layers.*.attention.v_proj.bias",
        "model.layers.*.self_attn.v_proj.bias",
    ),
    (
        "decoder.layers.*.attention.o_proj.weight",
        "model.layers.*.self_attn.o_proj.weight",
    ),
    (
        "decoder.layers.*.moe.gate.weight",
        "model.layers.*.mlp.gate.weight",
    ),
    (
        "decoder.layers.*.moe.shared.*.gate_proj.weight",
        "model.layers.*.mlp.fixed_real_moe.*.gate_proj.weight",
    ),
    (
        "decoder.layers.*.moe.shared.*.up_proj.weight",
        "model.layers.*.mlp.fixed_real_moe.*.up_proj.weight",
    ),
    (
        "decoder.layers.*.moe.shared.*.down_proj.weight",
        "model.layers.*.mlp.fixed_real_moe.*.down_proj.weight",
    ),
    (
        "decoder.layers.*.moe.routed.*.gate_proj.weight",
        "model.layers.*.mlp.dynamic_real_moe.deepspeed_moe.experts.deepspeed_experts.*.gate_proj.weight",
    ),
    (
        "decoder.layers.*.moe.routed.*.up_proj.weight",
        "model.layers.*.mlp.dynamic_real_moe.deepspeed_moe.experts.deepspeed_experts.*.up_proj.weight",
    ),
    (
        "decoder.layers.*.moe.routed.*.down_proj.weight",
        "model.layers.*.mlp.dynamic_real_moe.deepspeed_moe.experts.deepspeed_experts.*.down_proj.weight",
    ),
    (
        "codec_embedding.channels.*.weight",
        "codec_embed_tokens.*.weight",
    ),
    ("codec_head.projection.weight", "codec_head.weight"),
    ("text_head.weight", TEXT_HEAD),
];

/// Beginning of the text part's names in memory, accepted on disk too.
const TEXT_ALIAS: (&str, &str) = ("model.", "language_model.");

/// The vision encoder's place in the module, and the beginning of its names in the released folder; the
/// rest of them is the encoder's own affair.
const VISION: (&str, &str) = ("vision.", "visual.");

/// The released checkpoint's name of the parameter of [`UniMoe`](crate::UniMoe) at `path`.
///
/// ```
/// let name = unimoe_model::released_name("codec_head.projection.weight");
/// assert_eq!(name.as_deref(), Some("codec_head.weight"));
/// ```
pub fn released_name(path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix(VISION.0) {
        return Some(VISION.1.to_string() + &vision_encoder::released_name(rest)?);
    }
    NAMES.iter().find_map(|(ours, theirs)| {
        let indices = match_pattern(ours, path)?;
        let mut indices = indices.into_iter();
        let parts: Vec<&str> = theirs
            .split('.')
            .map(|part| {
                if part == "*" {
                    indices.next()
                } else {
                    Some(part)
                }
            })
            .collect::<Option<_>>()?;
        Some(parts.join("."))
    })
}

/// The indices at the stars of `pattern` where `path` fits it.
fn match_pattern<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut indices = Vec::new();
    let (mut pattern, mut path) = (pattern.split('.'), path.split('.'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(indices),
            (Some("*"), Some(index)) => indices.push(index),
            (Some(expected), Some(found)) if expected == found => {}
            _ => return None,
        }
    }
}

/// The released names of a model of this configuration.
#[derive(Debug)]
pub(crate) struct ReleasedNames<'a>(pub &'a UniMoeConfig);

impl Naming for ReleasedNames<'_> {
    fn name(&self, path: &str) -> Option<String> {
        released_name(path)
    }

    fn alias(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(TEXT_ALIAS.0)?;
        Some(format!("{}{rest}", TEXT_ALIAS.1))
    }

    fn shapes(&self, name: &str, shape: Vec<usize>) -> Vec<Vec<usize>> {
        match &self.0.vision {
            Some(vision) if name.starts_with(VISION.1) => vision.encoder.stored_shapes(name, shape),
            _ => vec![shape],
        }
    }
}

/// Refuses a tensor in the files that a module whose parameters were `read` has no place for.
pub(crate) fn refuse_extra(shards: &Shards, read: &[StoredParameter]) -> Result<(), WeightsError> {
    let known: BTreeSet<&str> = read.iter().map(|read| read.name.as_str()).collect();
    let sees = known.iter().any(|name| name.starts_with(VISION.1));
    let extra = shards.tensors().iter().find(|(name, _)| {
        let canonical = canonical(name);
        // A model loaded for less leaves its text head or its vision encoder in the file.
        !known.contains(canonical.as_str())
            && (sees || !name.starts_with(VISION.1))
            && canonical != TEXT_HEAD
    });
    match extra {
        None => Ok(()),
        Some((name, tensor)) => Err(WeightsError::TensorExtra {
            path: shards.path_of(tensor).to_path_buf(),
            tensor: name.clone(),
        }),
    }
}

/// A stored name with the text part's on-disk beginning.
fn canonical(name: &str) -> String {
    match name.strip_prefix(TEXT_ALIAS.1) {
        Some(rest) => format!("{}{rest}", TEXT_ALIAS.0),
        None => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_their_indices_over() {
        assert_eq!(
            released_name("decoder.layers.3.moe.routed.7.up_proj.weight").as_deref(),
            Some(
                "model.layers.3.mlp.dynamic_real_moe.deepspeed_moe.experts.deepspeed_experts.7.up_proj.weight"
            )
        );
        assert_eq!(released_name("decoder.layers.3.moe.routed.7.bias"), None);
    }
}
