//! Configuration of a UniMoE-Audio model and its released form, `config.json`.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use moe_router::{Capacity, DropPolicy, DynamicCapacityMoeConfig, ExpertCount, Gating, Weighting};

use crate::{
    attention::GroupedQueryAttentionConfig,
    decoder::DecoderConfig,
    error::ConfigError,
    tokenizer::{BYTE_LEVEL_PLACEHOLDER, BYTE_LEVEL_VOCAB_SIZE},
};

/// Everything that fixes the structure of a model.
///
/// Read from a released folder by [`UniMoeConfig::load`]; presets are constructors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UniMoeConfig {
    /// The transformer.
    pub text: TextConfig,
    /// The mixture of experts in each of its layers.
    pub moe: MoeConfig,
    /// The codec's side of the model.
    pub codec: CodecConfig,
}

/// Sizes of the transformer (Qwen2.5 style).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TextConfig {
    /// Model width `D`.
    pub d_model: usize,
    /// Decoder layers.
    pub n_layers: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads; divides `n_heads`.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub d_head: usize,
    /// Rows of the text embedding.
    pub vocab_size: usize,
    /// Longest sequence, prompt and generated positions together.
    pub max_positions: usize,
    /// Epsilon of the RMS norms.
    pub norm_epsilon: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Frequencies that follow time, height and width; they add up to half of `d_head`.
    pub rope_sections: [usize; 3],
}

/// Sizes and routing of the Dynamic-Capacity MoE layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MoeConfig {
    /// Routed experts.
    pub n_routed: usize,
    /// Null experts.
    pub n_null: usize,
    /// Shared experts.
    pub n_shared: usize,
    /// Inner width of a routed expert.
    pub d_routed: usize,
    /// Inner width of a shared expert.
    pub d_shared: usize,
    /// Mass that Top-P routing gathers, in `(0, 1]`; 0 for Top-K routing.
    pub top_p: f64,
    /// Experts per token where `top_p` is 0.
    pub top_k: usize,
    /// Half the relative band in which the sparse mixer counts logits as near ties.
    pub mixer_jitter: f64,
    /// Relative noise on the gate's input in training.
    pub input_jitter: f64,
    /// Whether training uses the sparse mixer's random picks and its own gradient.
    pub differentiable: bool,
    /// Whether tokens beyond an expert's capacity are dropped.
    pub token_drop: Option<TokenDrop>,
}

/// Capacity limit of an expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenDrop {
    /// Keep the first tokens of an expert instead of the most probable ones.
    pub by_position: bool,
    /// Capacity relative to an even share of the tokens.
    pub factor: f64,
    /// Least capacity.
    pub minimum: usize,
}

/// The codec's side: channels, special codes and the delay pattern.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CodecConfig {
    /// Channels `K`: codebooks of the codec.
    pub n_channels: usize,
    /// Codes `V` with the special ones.
    pub vocab_size: usize,
    /// End of sequence; also the number of real codes, which are those below it.
    pub eos: u32,
    /// Padding.
    pub pad: u32,
    /// Beginning of sequence.
    pub bos: u32,
    /// Delay of each channel in steps.
    pub delay_pattern: Vec<usize>,
    /// Text id at the positions that take codes.
    pub placeholder: u32,
}

/// Largest size accepted anywhere, so that a damaged file can't ask for absurd memory.
const MAX_SIZE: usize = 1 << 24;

impl UniMoeConfig {
    /// The published UniMoE-Audio-preview: 7.1 B parameters.
    pub fn released() -> Self {
        Self {
            text: TextConfig {
                d_model: 2048,
                n_layers: 36,
                n_heads: 16,
                n_kv_heads: 2,
                d_head: 128,
                vocab_size: 151_676,
                max_positions: 128_000,
                norm_epsilon: 1e-6,
                rope_theta: 1e6,
                rope_sections: [16, 24, 24],
            },
            moe: MoeConfig {
                d_routed: 2752,
                d_shared: 1376,
                ..MoeConfig::published(1)
            },
            codec: CodecConfig::released(151_665),
        }
    }

    /// About 90 M parameters: trains on a workstation.
    pub fn small() -> Self {
        Self::sized(512, 8, 8, 64, [8, 12, 12], 688)
    }

    /// About 2 M parameters: for tests, generates in real time on any machine.
    pub fn tiny() -> Self {
        Self::sized(64, 2, 4, 16, [2, 3, 3], 48)
    }

    /// A model of the released structure with the byte-level vocabulary of
    /// [`Tokenizer::byte_level`](crate::Tokenizer::byte_level).
    fn sized(
        d_model: usize,
        n_layers: usize,
        n_heads: usize,
        d_head: usize,
        rope_sections: [usize; 3],
        d_routed: usize,
    ) -> Self {
        Self {
            text: TextConfig {
                d_model,
                n_layers,
                n_heads,
                n_kv_heads: 2,
                d_head,
                vocab_size: BYTE_LEVEL_VOCAB_SIZE,
                max_positions: 32_768,
                norm_epsilon: 1e-6,
                rope_theta: 1e6,
                rope_sections,
            },
            moe: MoeConfig::published(d_routed),
            codec: CodecConfig::released(BYTE_LEVEL_PLACEHOLDER),
        }
    }

    /// Reads `config.json` of a model folder in the released schema.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the file and the field that is missing, of the wrong kind, out of
    /// range or in contradiction with another. Unknown fields are ignored.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let value: Value = serde_json::from_str(&text).map_err(|source| ConfigError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        let config = Self::from_released(&value, path)?;
        config.validate(path)?;
        Ok(config)
    }

    fn from_released(value: &Value, path: &Path) -> Result<Self, ConfigError> {
        let top = Fields::new(value, path, "")?;
        let text = Fields::new(top.get("text_config")?, path, "text_config.")?;
        // The released file repeats these; a difference means that one of them was edited alone.
        for name in [
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
        ] {
            if let Some(outer) = top.fields.get(name) {
                let inner = text.get(name)?;
                if inner != outer {
                    return Err(ConfigError::Contradiction {
                        path: path.to_path_buf(),
                        first: format!("text_config.{name} = {inner}"),
                        second: format!("{name} = {outer}"),
                    });
                }
            }
        }
        let (d_model, n_heads) = (text.size("hidden_size")?, text.size("num_attention_heads")?);
        let d_head = match text.fields.get("head_dim") {
            Some(Value::Null) | None => d_model.checked_div(n_heads).unwrap_or(0),
            Some(_) => text.size("head_dim")?,
        };
        let rope = Fields::new(text.get("rope_scaling")?, path, "text_config.rope_scaling.")?;
        let sections = rope.sizes("mrope_section")?;
        let rope_sections = <[usize; 3]>::try_from(sections)
            .map_err(|found| rope.wrong("mrope_section", "three whole numbers", json!(found)))?;
        let token_drop = if text.flag("token_drop", false)? {
            Some(TokenDrop {
                by_position: match text.get("drop_policy")?.as_str() {
                    Some("position") => true,
                    Some("probs") => false,
                    _ => {
                        let found = text.get("drop_policy")?.clone();
                        return Err(text.wrong("drop_policy", "\"probs\" or \"position\"", found));
                    }
                },
                factor: text.number("capacity_factor")?,
                minimum: text.size("min_capacity")?,
            })
        } else {
            None
        };
        Ok(Self {
            text: TextConfig {
                d_model,
                n_layers: text.size("num_hidden_layers")?,
                n_heads,
                n_kv_heads: text.size("num_key_value_heads")?,
                d_head,
                vocab_size: text.size("vocab_size")?,
                max_positions: text.size("max_position_embeddings")?,
                norm_epsilon: text.number("rms_norm_eps")?,
                rope_theta: text.number("rope_theta")?,
                rope_sections,
            },
            moe: MoeConfig {
                n_routed: text.size("mlp_dynamic_expert_num")?,
                n_null: text.size("mlp_dynamic_null_expert_num")?,
                n_shared: text.size("mlp_fixed_expert_num")?,
                d_routed: text.size("dynamic_intermediate_size")?,
                d_shared: text.size("shared_intermediate_size")?,
                top_p: text.number("mlp_dynamic_top_p")?,
                top_k: text.size("mlp_dynamic_top_k")?,
                mixer_jitter: text.number("router_jitter_noise")?,
                input_jitter: text.number("input_jitter_noise")?,
                differentiable: !text.flag("ignore_differentiable_router", true)?,
                token_drop,
            },
            codec: CodecConfig {
                n_channels: top.size("codec_channels")?,
                vocab_size: top.size("codec_vocab_size")?,
                eos: top.id("codec_eos_value")?,
                pad: top.id("codec_pad_value")?,
                bos: top.id("codec_bos_value")?,
                delay_pattern: top.sizes("codec_delay_pattern")?,
                placeholder: top.id("codec_placeholder_value")?,
            },
        })
    }

    /// Checks that the numbers make a model.
    fn validate(&self, path: &Path) -> Result<(), ConfigError> {
        let (text, codec) = (&self.text, &self.codec);
        let check = |holds: bool, first: String, second: String| {
            if holds {
                return Ok(());
            }
            Err(ConfigError::Contradiction {
                path: path.to_path_buf(),
                first,
                second,
            })
        };
        for (field, size) in [
            ("text_config.hidden_size", text.d_model),
            ("text_config.num_hidden_layers", text.n_layers),
            ("text_config.num_attention_heads", text.n_heads),
            ("text_config.num_key_value_heads", text.n_kv_heads),
            ("text_config.head_dim", text.d_head),
            ("text_config.vocab_size", text.vocab_size),
            ("text_config.max_position_embeddings", text.max_positions),
            ("codec_channels", codec.n_channels),
            ("codec_vocab_size", codec.vocab_size),
        ] {
            check(
                size > 0,
                format!("{field} = 0"),
                "it must be positive".into(),
            )?;
        }
        check(
            text.n_heads.is_multiple_of(text.n_kv_heads),
            format!("num_attention_heads = {}", text.n_heads),
            format!("num_key_value_heads = {}", text.n_kv_heads),
        )?;
        check(
            text.d_head.is_multiple_of(2)
                && text.rope_sections.iter().sum::<usize>() == text.d_head / 2,
            format!("mrope_section = {:?}", text.rope_sections),
            format!("half the head width of {}", text.d_head),
        )?;
        check(
            text.norm_epsilon > 0.0 && text.rope_theta > 0.0,
            format!("rms_norm_eps = {}", text.norm_epsilon),
            format!("rope_theta = {}: both must be positive", text.rope_theta),
        )?;
        let experts = self.moe_layer();
        experts.validate().map_err(|source| ConfigError::Moe {
            path: path.to_path_buf(),
            source,
        })?;
        check(
            codec.delay_pattern.len() == codec.n_channels,
            format!("codec_channels = {}", codec.n_channels),
            format!(
                "codec_delay_pattern has {} entries",
                codec.delay_pattern.len()
            ),
        )?;
        let special = [codec.eos, codec.pad, codec.bos];
        check(
            special
                .iter()
                .all(|&id| (id as usize) < codec.vocab_size && id >= codec.eos)
                && codec.eos > 0
                && codec.eos != codec.pad
                && codec.eos != codec.bos
                && codec.pad != codec.bos,
            format!("codec_vocab_size = {}", codec.vocab_size),
            format!(
                "codec end, padding and beginning = {special:?}, which must differ and follow the codes"
            ),
        )?;
        check(
            (codec.placeholder as usize) < text.vocab_size,
            format!("codec_placeholder_value = {}", codec.placeholder),
            format!("text_config.vocab_size = {}", text.vocab_size),
        )
    }

    /// One mixture of experts, with the released routing and weighting.
    fn moe_layer(&self) -> DynamicCapacityMoeConfig {
        let moe = &self.moe;
        let count = if moe.top_p > 0.0 {
            ExpertCount::TopP { p: moe.top_p }
        } else {
            ExpertCount::TopK { k: moe.top_k }
        };
        let capacity = moe.token_drop.as_ref().map(|drop| Capacity {
            factor: drop.factor,
            minimum: drop.minimum,
            policy: if drop.by_position {
                DropPolicy::Position
            } else {
                DropPolicy::Probs
            },
        });
        DynamicCapacityMoeConfig::new(self.text.d_model, moe.n_routed, moe.d_routed)
            .with_n_null(moe.n_null)
            .with_n_shared(moe.n_shared)
            .with_d_shared(moe.d_shared)
            .with_gating(Gating::SparseMixer {
                count,
                jitter_eps: moe.mixer_jitter,
                differentiable: moe.differentiable,
            })
            .with_weighting(Weighting::Released)
            .with_capacity(capacity)
            .with_input_jitter(moe.input_jitter)
    }

    /// The decoder of this model.
    pub fn decoder(&self) -> DecoderConfig {
        let text = &self.text;
        let attention = GroupedQueryAttentionConfig::new(
            text.d_model,
            text.n_heads,
            text.n_kv_heads,
            text.d_head,
        );
        DecoderConfig::new(text.n_layers, attention, self.moe_layer())
            .with_norm_epsilon(text.norm_epsilon)
    }

    /// The configuration in the released schema.
    pub fn to_released(&self) -> Value {
        let (text, moe, codec) = (&self.text, &self.moe, &self.codec);
        let rope =
            json!({"mrope_section": text.rope_sections, "rope_type": "default", "type": "default"});
        let drop = moe.token_drop.clone().unwrap_or(TokenDrop {
            by_position: false,
            factor: 6.0,
            minimum: 8,
        });
        json!({
            "architectures": ["UniAudioRVQQwen2_5VLMoEForConditionalGeneration"],
            "model_type": "uni_audio_rvq_qwen2_5vl_moe",
            "codec_channels": codec.n_channels,
            "codec_vocab_size": codec.vocab_size,
            "codec_eos_value": codec.eos,
            "codec_pad_value": codec.pad,
            "codec_bos_value": codec.bos,
            "codec_delay_pattern": codec.delay_pattern,
            "codec_placeholder_value": codec.placeholder,
            "hidden_size": text.d_model,
            "num_hidden_layers": text.n_layers,
            "num_attention_heads": text.n_heads,
            "num_key_value_heads": text.n_kv_heads,
            "text_config": {
                "model_type": "qwen2_5_vl_moe_text",
                "hidden_act": "silu",
                "hidden_size": text.d_model,
                "num_hidden_layers": text.n_layers,
                "num_attention_heads": text.n_heads,
                "num_key_value_heads": text.n_kv_heads,
                "head_dim": text.d_head,
                "vocab_size": text.vocab_size,
                "max_position_embeddings": text.max_positions,
                "rms_norm_eps": text.norm_epsilon,
                "rope_theta": text.rope_theta,
                "rope_scaling": rope,
                "mlp_dynamic_expert_num": moe.n_routed,
                "mlp_dynamic_null_expert_num": moe.n_null,
                "mlp_fixed_expert_num": moe.n_shared,
                "dynamic_intermediate_size": moe.d_routed,
                "shared_intermediate_size": moe.d_shared,
                "mlp_dynamic_top_p": moe.top_p,
                "mlp_dynamic_top_k": moe.top_k,
                "router_jitter_noise": moe.mixer_jitter,
                "input_jitter_noise": moe.input_jitter,
                "ignore_differentiable_router": !moe.differentiable,
                "token_drop": moe.token_drop.is_some(),
                "drop_policy": if drop.by_position { "position" } else { "probs" },
                "capacity_factor": drop.factor,
                "min_capacity": drop.minimum,
            },
        })
    }
}

impl MoeConfig {
    /// The released routing with routed experts `d_routed` wide and shared experts half of that.
    fn published(d_routed: usize) -> Self {
        Self {
            n_routed: 8,
            n_null: 1,
            n_shared: 2,
            d_routed,
            d_shared: d_routed / 2,
            top_p: 0.7,
            top_k: 2,
            mixer_jitter: 0.01,
            input_jitter: 0.01,
            differentiable: false,
            token_drop: None,
        }
    }
}

impl CodecConfig {
    /// The released codec side: 12 channels of 1024 codes.
    fn released(placeholder: u32) -> Self {
        Self {
            n_channels: 12,
            vocab_size: 1027,
            eos: 1024,
            pad: 1025,
            bos: 1026,
            delay_pattern: [0].into_iter().chain(8..=18).collect(),
            placeholder,
        }
    }
}

/// The fields of one JSON object, with where it stands for the errors.
struct Fields<'a> {
    fields: &'a Map<String, Value>,
    path: &'a Path,
    prefix: &'static str,
}

impl<'a> Fields<'a> {
    fn new(value: &'a Value, path: &'a Path, prefix: &'static str) -> Result<Self, ConfigError> {
        let fields = value.as_object().ok_or_else(|| ConfigError::WrongKind {
            path: path.to_path_buf(),
            field: prefix.trim_end_matches('.').to_string(),
            expected: "an object",
            found: excerpt(value),
        })?;
        Ok(Self {
            fields,
            path,
            prefix,
        })
    }

    fn get(&self, name: &str) -> Result<&'a Value, ConfigError> {
        self.fields.get(name).ok_or_else(|| ConfigError::Missing {
            path: self.path.to_path_buf(),
            field: format!("{}{name}", self.prefix),
        })
    }

    fn wrong(&self, name: &str, expected: &'static str, found: Value) -> ConfigError {
        ConfigError::WrongKind {
            path: self.path.to_path_buf(),
            field: format!("{}{name}", self.prefix),
            expected,
            found: excerpt(&found),
        }
    }

    fn size(&self, name: &str) -> Result<usize, ConfigError> {
        let value = self.get(name)?;
        size_of(value)
            .ok_or_else(|| self.wrong(name, "a whole number from 0 to 16777216", value.clone()))
    }

    fn sizes(&self, name: &str) -> Result<Vec<usize>, ConfigError> {
        let value = self.get(name)?;
        let list = value
            .as_array()
            .and_then(|list| list.iter().map(size_of).collect::<Option<Vec<usize>>>());
        list.ok_or_else(|| self.wrong(name, "a list of whole numbers", value.clone()))
    }

    fn id(&self, name: &str) -> Result<u32, ConfigError> {
        self.size(name).map(|id| id as u32)
    }

    fn number(&self, name: &str) -> Result<f64, ConfigError> {
        let value = self.get(name)?;
        value
            .as_f64()
            .filter(|number| number.is_finite())
            .ok_or_else(|| self.wrong(name, "a number", value.clone()))
    }

    fn flag(&self, name: &str, absent: bool) -> Result<bool, ConfigError> {
        match self.fields.get(name) {
            None => Ok(absent),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.wrong(name, "true or false", value.clone())),
        }
    }
}

/// A whole number within bounds; the released file writes some of them as `0.0`.
fn size_of(value: &Value) -> Option<usize> {
    let number = value.as_f64()?;
    (number >= 0.0 && number <= MAX_SIZE as f64 && number.fract() == 0.0).then_some(number as usize)
}

/// The beginning of a value, for an error message.
fn excerpt(value: &Value) -> String {
    let text = value.to_string();
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &Value) -> Result<UniMoeConfig, ConfigError> {
        let path = Path::new("config.json");
        let config = UniMoeConfig::from_released(value, path)?;
        config.validate(path)?;
        Ok(config)
    }

    #[test]
    fn presets_survive_the_released_schema() {
        for config in [
            UniMoeConfig::tiny(),
            UniMoeConfig::small(),
            UniMoeConfig::released(),
        ] {
            let read = parse(&config.to_released()).expect("a preset is valid");
            assert_eq!(read, config);
        }
    }

    #[test]
    fn a_missing_field_is_named() {
        let mut value = UniMoeConfig::tiny().to_released();
        value["text_config"]
            .as_object_mut()
            .expect("an object")
            .remove("vocab_size");
        let error = parse(&value).expect_err("must fail").to_string();
        assert!(error.contains("text_config.vocab_size"), "{error}");
    }

    #[test]
    fn contradictions_name_both_sides() {
        for (pointer, wrong, expected) in [
            ("/hidden_size", json!(65), "hidden_size = 65"),
            ("/codec_channels", json!(11), "codec_delay_pattern has 12"),
            (
                "/text_config/num_key_value_heads",
                json!(3),
                "num_key_value_heads",
            ),
            ("/codec_pad_value", json!(1024), "1024"),
            ("/text_config/mlp_dynamic_top_p", json!(1.5), "experts"),
        ] {
            let mut value = UniMoeConfig::tiny().to_released();
            *value.pointer_mut(pointer).expect("a field") = wrong;
            let error = parse(&value).expect_err(pointer).to_string();
            assert!(error.contains(expected), "{pointer}: {error}");
        }
    }

    #[test]
    fn absurd_sizes_are_errors() {
        for wrong in [
            json!(-1),
            json!(1.5),
            json!(1e300),
            json!("64"),
            json!(null),
        ] {
            let mut value = UniMoeConfig::tiny().to_released();
            value["text_config"]["dynamic_intermediate_size"] = wrong.clone();
            let error = parse(&value).expect_err("must fail").to_string();
            assert!(
                error.contains("dynamic_intermediate_size"),
                "{wrong}: {error}"
            );
        }
    }
}
