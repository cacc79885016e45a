//! The vision part of a published `config.json`: read as it is, and written.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{AttentionScope, VisionEncoderConfig};
use crate::error::VisionError;

/// Name of the vision part in the `config.json` of a whole model.
const PART: &str = "vision_config";

/// Largest whole number that is taken for a size.
const MAX_NUMBER: f64 = (1u64 << 32) as f64;

impl VisionEncoderConfig {
    /// Reads the published schema: the vision part, or a whole `config.json` that holds one. Unknown fields are
    /// ignored; `path` stands in the errors.
    ///
    /// # Errors
    ///
    /// A [`VisionError`] where a field is missing, is of the wrong kind, contradicts another or asks for
    /// what is not implemented, and as [`validate`](Self::validate).
    pub fn from_released(value: &Value, path: &Path) -> Result<Self, VisionError> {
        let part = value.get(PART).unwrap_or(value);
        let fields = part.as_object().ok_or_else(|| VisionError::FieldWrong {
            path: path.to_path_buf(),
            field: PART.to_string(),
            expected: "an object".to_string(),
            found: excerpt(part),
        })?;
        let fields = Fields { fields, path };
        // What would make another encoder of the same shapes must not be passed over.
        fields.only("hidden_act", &json!("silu"))?;
        let config = Self {
            d_model: fields.size(&["hidden_size"])?,
            n_blocks: fields.size(&["depth"])?,
            n_heads: fields.size(&["num_heads"])?,
            d_ff: fields.size(&["intermediate_size"])?,
            d_out: fields.size(&["out_hidden_size"])?,
            in_channels: fields.size(&["in_channels", "in_chans"])?,
            patch_size: fields.size(&["patch_size", "spatial_patch_size"])?,
            temporal_patch_size: fields.size(&["temporal_patch_size"])?,
            merge_size: fields.size(&["spatial_merge_size"])?,
            window_size: fields.size(&["window_size"])?,
            full_attention_blocks: fields.sizes("fullatt_block_indexes")?,
            tokens_per_second: fields.size(&["tokens_per_second"])?,
            norm_epsilon: fields.epsilon()?,
            attention: fields.scope()?,
        };
        config.validate()?;
        Ok(config)
    }

    /// The vision part in the published schema, under both names where the family has two. A setting that the schema
    /// doesn't have is written only where it isn't the default.
    pub fn to_released(&self) -> Value {
        let mut value = json!({
            "model_type": "qwen2_5_vl",
            "hidden_act": "silu",
            "hidden_size": self.d_model,
            "depth": self.n_blocks,
            "num_heads": self.n_heads,
            "intermediate_size": self.d_ff,
            "out_hidden_size": self.d_out,
            "in_channels": self.in_channels,
            "in_chans": self.in_channels,
            "patch_size": self.patch_size,
            "spatial_patch_size": self.patch_size,
            "temporal_patch_size": self.temporal_patch_size,
            "spatial_merge_size": self.merge_size,
            "window_size": self.window_size,
            "fullatt_block_indexes": self.full_attention_blocks,
            "tokens_per_second": self.tokens_per_second,
        });
        if self.norm_epsilon != Fields::EPSILON {
            value["rms_norm_eps"] = json!(self.norm_epsilon);
        }
        if self.attention == AttentionScope::Unmasked {
            value["attention_scope"] = json!("unmasked");
        }
        value
    }
}

/// The fields of the vision part, with the file for the errors.
struct Fields<'a> {
    fields: &'a Map<String, Value>,
    path: &'a Path,
}

impl<'a> Fields<'a> {
    /// The norms' epsilon where the file has none, as the published ones.
    const EPSILON: f64 = 1e-6;

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &str, found: &Value) -> VisionError {
        VisionError::FieldWrong {
            path: self.path.to_path_buf(),
            field: format!("{PART}.{name}"),
            expected: expected.to_string(),
            found: excerpt(found),
        }
    }

    fn missing(&self, name: &str) -> VisionError {
        VisionError::FieldMissing {
            path: self.path.to_path_buf(),
            field: format!("{PART}.{name}"),
        }
    }

    /// Refuses a field that is there with another value than the only one that is implemented.
    fn only(&self, name: &str, value: &Value) -> Result<(), VisionError> {
        match self.get(name) {
            Some(found) if found != value => Err(self.wrong(name, &value.to_string(), found)),
            _ => Ok(()),
        }
    }

    /// A whole number under any of its names; all that are there must agree.
    fn size(&self, names: &[&str]) -> Result<usize, VisionError> {
        let mut chosen: Option<(&str, usize)> = None;
        for name in names {
            let Some(value) = self.get(name) else {
                continue;
            };
            let size = size_of(value).ok_or_else(|| self.wrong(name, "a whole number", value))?;
            match chosen {
                Some((first, other)) if other != size => {
                    return Err(VisionError::Contradiction {
                        path: self.path.to_path_buf(),
                        first: format!("{PART}.{first} = {other}"),
                        second: format!("{PART}.{name} = {size}"),
                    });
                }
                _ => chosen = Some((name, size)),
            }
        }
        chosen
            .map(|(_, size)| size)
            .ok_or_else(|| self.missing(&names.join(" or ")))
    }

    fn sizes(&self, name: &str) -> Result<Vec<usize>, VisionError> {
        let value = self.get(name).ok_or_else(|| self.missing(name))?;
        let list = value
            .as_array()
            .and_then(|list| list.iter().map(size_of).collect::<Option<Vec<usize>>>());
        list.ok_or_else(|| self.wrong(name, "a list of whole numbers", value))
    }

    fn epsilon(&self) -> Result<f64, VisionError> {
        let name = "rms_norm_eps";
        self.get(name).map_or(Ok(Self::EPSILON), |value| {
            value
                .as_f64()
                .ok_or_else(|| self.wrong(name, "a number", value))
        })
    }

    fn scope(&self) -> Result<AttentionScope, VisionError> {
        let name = "attention_scope";
        self.get(name)
            .map_or(Ok(AttentionScope::Windowed), |value| match value.as_str() {
                Some("windowed") => Ok(AttentionScope::Windowed),
                Some("unmasked") => Ok(AttentionScope::Unmasked),
                _ => Err(self.wrong(name, "\"windowed\" or \"unmasked\"", value)),
            })
    }
}

/// A whole number within bounds; other writers spell some of them as `2.0`.
fn size_of(value: &Value) -> Option<usize> {
    let number = value.as_f64()?;
    ((0.0..=MAX_NUMBER).contains(&number) && number.fract() == 0.0)
        .then_some(number as u64)
        .and_then(|number| usize::try_from(number).ok())
}

/// The beginning of a value, for an error message.
fn excerpt(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Result<VisionEncoderConfig, VisionError> {
        VisionEncoderConfig::from_released(value, Path::new("config.json"))
    }

    #[test]
    fn what_is_written_reads_back_alone_and_inside_a_whole_file() {
        for config in [
            VisionEncoderConfig::unimoe_audio(),
            VisionEncoderConfig::tiny(8)
                .with_attention(AttentionScope::Unmasked)
                .with_norm_epsilon(1e-5),
        ] {
            let part = config.to_released();
            assert_eq!(read(&part).expect("valid"), config);
            let whole = json!({"hidden_size": 9, "vision_config": part});
            assert_eq!(read(&whole).expect("valid"), config);
        }
    }

    #[test]
    fn either_name_of_a_setting_will_do_but_two_must_agree() {
        let mut part = VisionEncoderConfig::tiny(8).to_released();
        part["in_chans"] = Value::Null;
        part["patch_size"] = json!(14.0);
        assert_eq!(read(&part).expect("valid"), VisionEncoderConfig::tiny(8));
        part["in_chans"] = json!(4);
        let error = read(&part).expect_err("a contradiction").to_string();
        assert!(error.contains("in_channels = 3") && error.contains("in_chans = 4"));
    }

    #[test]
    fn absent_and_strange_settings_are_named() {
        let good = VisionEncoderConfig::tiny(8).to_released();
        for (key, value, expected) in [
            ("depth", Value::Null, "vision_config.depth is missing"),
            ("depth", json!(-4), "a whole number"),
            ("depth", json!("4"), "a whole number"),
            ("depth", json!(1e300), "a whole number"),
            ("hidden_act", json!("gelu"), "hidden_act is \"gelu\""),
            ("fullatt_block_indexes", json!([1, -1]), "a list of whole"),
            ("fullatt_block_indexes", json!([9]), "blocks below 4"),
            ("window_size", json!(0), "window_size is 0"),
            ("rms_norm_eps", json!("small"), "a number"),
            ("attention_scope", json!("all"), "windowed"),
        ] {
            let mut part = good.clone();
            part[key] = value;
            let error = read(&part).expect_err(key).to_string();
            assert!(error.contains(expected), "{key}: {error}");
        }
        let error = read(&json!({"vision_config": [1]})).expect_err("no object");
        assert!(error.to_string().contains("an object"), "{error}");
        assert!(read(&json!(3)).is_err());
    }
}
