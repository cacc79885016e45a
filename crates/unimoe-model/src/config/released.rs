//! The released form of a configuration, `config.json`: read as it is, and written.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{CodecConfig, MoeConfig, TextConfig, TokenDrop, UniMoeConfig, VisionConfig};
use crate::error::ConfigError;

/// Largest size accepted anywhere, so that a damaged file can't ask for absurd memory.
const MAX_SIZE: usize = 1 << 24;

impl UniMoeConfig {
    /// Reads the released schema; unknown fields are ignored.
    pub(super) fn from_released(value: &Value, path: &Path) -> Result<Self, ConfigError> {
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
        // What would make another model of the same shapes must not be passed over.
        text.only("hidden_act", &json!("silu"), "\"silu\"")?;
        text.only("use_sliding_window", &json!(false), "false")?;
        rope.only("rope_type", &json!("default"), "\"default\"")?;
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
        let n_shared = text.size("mlp_fixed_expert_num")?;
        let top_p = text.number("mlp_dynamic_top_p")?;
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
                n_shared,
                d_routed: text.size("dynamic_intermediate_size")?,
                d_shared: text.size_if("shared_intermediate_size", n_shared > 0)?,
                top_p,
                top_k: text.size_if("mlp_dynamic_top_k", top_p == 0.0)?,
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
            vision: VisionConfig::from_released(&top, path)?,
        })
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
        let mut released = json!({
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
        });
        if let (Some(vision), Some(top)) = (&self.vision, released.as_object_mut()) {
            vision.write_released(top);
        }
        released
    }
}

/// The fields of one JSON object, with where it stands for the errors.
pub(super) struct Fields<'a> {
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

    /// A field that may be absent or null.
    pub(super) fn optional(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
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

    /// Refuses a field that is there with another value than the only one that is implemented.
    fn only(&self, name: &str, value: &Value, expected: &'static str) -> Result<(), ConfigError> {
        match self.fields.get(name) {
            Some(found) if found != value => Err(self.wrong(name, expected, found.clone())),
            _ => Ok(()),
        }
    }

    fn size(&self, name: &str) -> Result<usize, ConfigError> {
        let value = self.get(name)?;
        size_of(value)
            .ok_or_else(|| self.wrong(name, "a whole number from 0 to 16777216", value.clone()))
    }

    /// A size that is used where `needed`; 0 where it is neither used nor there.
    fn size_if(&self, name: &str, needed: bool) -> Result<usize, ConfigError> {
        match self.fields.get(name) {
            None | Some(Value::Null) if !needed => Ok(0),
            _ => self.size(name),
        }
    }

    fn sizes(&self, name: &str) -> Result<Vec<usize>, ConfigError> {
        let value = self.get(name)?;
        let list = value
            .as_array()
            .and_then(|list| list.iter().map(size_of).collect::<Option<Vec<usize>>>());
        list.ok_or_else(|| self.wrong(name, "a list of whole numbers", value.clone()))
    }

    pub(super) fn id(&self, name: &str) -> Result<u32, ConfigError> {
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
