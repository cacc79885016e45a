//! Loading a model's parameters: names on disk, conversion, and the walk over the module.
//!
//! The table [`NAMES`] is the only place that knows the released checkpoint's names.

use burn::{
    module::{Module, ModuleMapper, Param, ParamId},
    tensor::{DType, Device, Tensor, TensorData},
};
use half::{bf16, f16};
use safetensors::Dtype;

use crate::{
    convert::Layout,
    error::WeightsError,
    random::RandomWeights,
    shards::{Shards, StoredTensor},
};

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
    ("text_head.weight", "lm_head.weight"),
];

/// Beginning of the text part's names in memory, accepted on disk too.
const TEXT_ALIAS: (&str, &str) = ("model.", "language_model.");

/// The vision encoder's place in the module, and the beginning of its names in the released folder; the
/// rest of them is the encoder's own affair.
const VISION: (&str, &str) = ("vision.", "visual.");

/// The patch embedding, stored with as many dimensions as its writer thought best.
pub(crate) const PATCH_EMBEDDING: &str = "visual.patch_embed.proj.weight";

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

/// Where parameters come from.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// The files of a model folder.
    Files(&'a Shards),
    /// Random numbers from a seed.
    Random(RandomWeights),
}

/// One parameter as a checkpoint holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReleasedParameter {
    /// Released name.
    pub name: String,
    /// Shape on disk: linear weights are `[out, in]`.
    pub shape: Vec<usize>,
}

/// Loads the parameters of `module` from `source` to `device` in `dtype`.
///
/// With `strict`, a tensor in the files that the module has no place for is an error.
pub(crate) fn load<M: Module>(
    module: M,
    source: &Source<'_>,
    dtype: DType,
    device: &Device,
    strict: bool,
) -> Result<M, WeightsError> {
    let mut loader = Walk {
        path: Vec::new(),
        linear: Vec::new(),
        action: Action::Load {
            source,
            dtype,
            device,
        },
        seen: Vec::new(),
        error: None,
    };
    let module = module.map(&mut loader);
    if let Some(error) = loader.error {
        return Err(error);
    }
    if let (true, Source::Files(shards)) = (strict, source) {
        refuse_extra(shards, &loader.seen)?;
    }
    Ok(module)
}

/// The parameters of `module` as a checkpoint holds them, without initialising any.
pub(crate) fn released_parameters<M: Module>(module: M) -> Vec<ReleasedParameter> {
    let mut walk = Walk {
        path: Vec::new(),
        linear: Vec::new(),
        action: Action::List,
        seen: Vec::new(),
        error: None,
    };
    module.map(&mut walk);
    walk.seen
}

fn refuse_extra(shards: &Shards, seen: &[ReleasedParameter]) -> Result<(), WeightsError> {
    let known: std::collections::BTreeSet<&str> = seen
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    let sees = known.iter().any(|name| name.starts_with(VISION.1));
    let extra = shards.tensors().iter().find(|(name, _)| {
        let canonical = canonical(name);
        // A model loaded for less leaves its text head or its vision encoder in the file.
        !known.contains(canonical.as_str())
            && (sees || !name.starts_with(VISION.1))
            && canonical != "lm_head.weight"
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

/// Walks a module and lists or loads its float parameters.
struct Walk<'a> {
    path: Vec<String>,
    /// Whether the owner of each field on the path is a linear layer.
    linear: Vec<bool>,
    action: Action<'a>,
    seen: Vec<ReleasedParameter>,
    error: Option<WeightsError>,
}

enum Action<'a> {
    List,
    Load {
        source: &'a Source<'a>,
        dtype: DType,
        device: &'a Device,
    },
}

impl Walk<'_> {
    fn visit<const D: usize>(
        &mut self,
        param: &Param<Tensor<D>>,
    ) -> Result<Option<Param<Tensor<D>>>, WeightsError> {
        let path = self.path.join(".");
        let name = released_name(&path).ok_or(WeightsError::NoName { path })?;
        let ours = param.lazy_shape().to_vec();
        // A field is entered with the type of the module that owns it.
        let transposed = D == 2 && self.linear.last() == Some(&true);
        let shape = if transposed {
            vec![ours[1], ours[0]]
        } else {
            ours.clone()
        };
        let loaded = match &self.action {
            Action::List => None,
            Action::Load {
                source,
                dtype,
                device,
            } => {
                let data = source.data(&name, &shape, *dtype, transposed)?;
                let tensor = Tensor::<D>::from_data(data, (*device, *dtype));
                Some(Param::initialized(ParamId::new(), tensor).set_require_grad(true))
            }
        };
        self.seen.push(ReleasedParameter { name, shape });
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

impl Source<'_> {
    /// The values of `name` in our layout.
    fn data(
        &self,
        name: &str,
        shape: &[usize],
        dtype: DType,
        transposed: bool,
    ) -> Result<TensorData, WeightsError> {
        let (bytes, stored_dtype) = match self {
            Source::Files(shards) => {
                let stored = find(shards, name)?;
                check(shards, name, stored, shape)?;
                (shards.read(stored)?, stored.dtype)
            }
            Source::Random(random) => (random.bytes(name, shape), RandomWeights::DTYPE),
        };
        let layout = Layout {
            columns: transposed.then(|| shape[1]),
            dtype: stored_dtype,
        };
        let ours = if transposed {
            vec![shape[1], shape[0]]
        } else {
            shape.to_vec()
        };
        let converted = match dtype {
            DType::F16 => layout
                .convert::<f16>(&bytes)
                .map(|v| TensorData::new(v, ours)),
            DType::BF16 => layout
                .convert::<bf16>(&bytes)
                .map(|v| TensorData::new(v, ours)),
            _ => layout
                .convert::<f32>(&bytes)
                .map(|v| TensorData::new(v, ours)),
        };
        converted.map_err(|(index, value)| WeightsError::NotFinite {
            path: match self {
                Source::Files(shards) => find(shards, name)
                    .map(|stored| shards.path_of(stored).to_path_buf())
                    .unwrap_or_default(),
                Source::Random(_) => Default::default(),
            },
            tensor: name.to_string(),
            index,
            value,
            dtype: format!("{dtype:?}"),
        })
    }
}

/// The stored tensor called `name`, under either name of the text part.
fn find<'a>(shards: &'a Shards, name: &str) -> Result<&'a StoredTensor, WeightsError> {
    let alias = name
        .strip_prefix(TEXT_ALIAS.0)
        .map(|rest| format!("{}{rest}", TEXT_ALIAS.1));
    let tensors = shards.tensors();
    match (
        tensors.get(name),
        alias.and_then(|alias| tensors.get(&alias)),
    ) {
        (Some(first), Some(second)) => Err(WeightsError::TensorTwice {
            tensor: name.to_string(),
            first: shards.path_of(first).to_path_buf(),
            second: shards.path_of(second).to_path_buf(),
        }),
        (Some(tensor), None) | (None, Some(tensor)) => Ok(tensor),
        (None, None) => Err(WeightsError::TensorMissing {
            path: shards.folder().to_path_buf(),
            tensor: name.to_string(),
        }),
    }
}

fn check(
    shards: &Shards,
    name: &str,
    stored: &StoredTensor,
    shape: &[usize],
) -> Result<(), WeightsError> {
    let flat = |stored: &[usize]| match stored {
        [first, rest @ ..] if name == PATCH_EMBEDDING => {
            // Next to a size of 0 the others may be anything.
            vec![
                *first,
                rest.iter()
                    .fold(1, |all: usize, &size| all.saturating_mul(size)),
            ]
        }
        _ => stored.to_vec(),
    };
    if flat(&stored.shape) != shape {
        return Err(WeightsError::TensorShape {
            path: shards.path_of(stored).to_path_buf(),
            tensor: name.to_string(),
            expected: shape.to_vec(),
            found: stored.shape.clone(),
        });
    }
    if !matches!(stored.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        return Err(WeightsError::TensorType {
            path: shards.path_of(stored).to_path_buf(),
            tensor: name.to_string(),
            found: format!("{:?}", stored.dtype),
        });
    }
    Ok(())
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
