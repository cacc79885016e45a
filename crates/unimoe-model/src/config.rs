//! Configuration of a UniMoE-Audio model.

mod preset;
mod released;
mod size;
mod vision;

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use model_files::{ModelPath, read_text};
use moe_router::{Capacity, DropPolicy, DynamicCapacityMoeConfig, ExpertCount, Gating, Weighting};

use crate::{
    attention::GroupedQueryAttentionConfig,
    decoder::DecoderConfig,
    error::ConfigError,
    tokenizer::{BYTE_LEVEL_PLACEHOLDER, BYTE_LEVEL_VOCAB_SIZE, Vocabulary},
};

pub use vision::VisionConfig;

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
    /// The vision side; `None` where the model sees nothing.
    pub vision: Option<VisionConfig>,
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

impl UniMoeConfig {
    /// The dense model of the same sizes: in each layer one block, `d_ff` wide, that every token visits. It is what a
    /// specialist starts as (UniMoE-Audio, section 4.2), and a mixture of one expert: its gate has no choice.
    pub fn into_dense(mut self, d_ff: usize) -> Self {
        let moe = &mut self.moe;
        (moe.n_routed, moe.n_null, moe.n_shared) = (1, 0, 0);
        (moe.d_routed, moe.d_shared) = (d_ff, 0);
        moe.token_drop = None;
        self
    }

    /// The same sizes for a vocabulary of its own: the text embedding's rows and the ids of the added tokens follow from
    /// it, as [`Tokenizer::write`](crate::Tokenizer::write) numbers them.
    pub fn with_vocabulary(mut self, vocabulary: &Vocabulary) -> Self {
        let merges = vocabulary.n_merges();
        self.text.vocab_size = BYTE_LEVEL_VOCAB_SIZE + merges;
        self.codec.placeholder = BYTE_LEVEL_PLACEHOLDER.saturating_add(merges as u32);
        self.vision = self.vision.map(|vision| VisionConfig {
            whole_seconds: vision.whole_seconds,
            ..VisionConfig::beside(self.codec.placeholder, vision.encoder)
        });
        self
    }

    /// Whether the model is dense: one routed expert in each layer, and no other.
    pub fn is_dense(&self) -> bool {
        let moe = &self.moe;
        (moe.n_routed, moe.n_null, moe.n_shared) == (1, 0, 0)
    }

    /// Reads `config.json` of a model folder in the released schema.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] that names the file and the field that is missing, of the wrong kind, out of
    /// range or in contradiction with another. Unknown fields are ignored.
    pub fn load(path: impl Into<ModelPath>) -> Result<Self, ConfigError> {
        let file = path.into();
        let path = file.path();
        let text = read_text(&file).map_err(|source| ConfigError::Io {
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
        self.check_size(path)?;
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
        )?;
        let vision = self.vision.as_ref();
        match vision.and_then(|vision| vision.contradiction(text, codec)) {
            Some((first, second)) => check(false, first, second),
            None => Ok(()),
        }
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
            UniMoeConfig::tiny().into_dense(96),
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
    fn a_setting_that_nothing_uses_may_be_absent() {
        let mut value = UniMoeConfig::tiny().to_released();
        let text = value["text_config"].as_object_mut().expect("an object");
        text.insert("mlp_fixed_expert_num".into(), json!(0));
        text.insert("shared_intermediate_size".into(), Value::Null);
        text.remove("mlp_dynamic_top_k");
        let config = parse(&value).expect("no shared expert, Top-P");
        assert_eq!((config.moe.n_shared, config.moe.d_shared), (0, 0));
        value["text_config"]["mlp_dynamic_top_p"] = json!(0.0);
        let error = parse(&value).expect_err("Top-K needs its k").to_string();
        assert!(error.contains("mlp_dynamic_top_k"), "{error}");
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
    fn what_would_be_another_model_is_refused() {
        for (pointer, wrong) in [
            ("/text_config/hidden_act", json!("gelu")),
            ("/text_config/rope_scaling/rope_type", json!("yarn")),
        ] {
            let mut value = UniMoeConfig::tiny().to_released();
            *value.pointer_mut(pointer).expect("a field") = wrong;
            let error = parse(&value).expect_err(pointer).to_string();
            assert!(error.contains("found"), "{error}");
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
