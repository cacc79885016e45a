//! How large a model gets, from the numbers of its configuration alone.
//!
//! Building even a lazy model takes memory for each of its tensors, so that a damaged file must be found
//! out before.

use std::path::Path;

use super::UniMoeConfig;
use crate::error::ConfigError;

/// Most tensors that a model may have: 60 layers of 256 experts have 47,000.
const MAX_TENSORS: u128 = 1 << 17;

/// Most parameters that a model may have, four million million.
const MAX_PARAMETERS: u128 = 1 << 42;

impl UniMoeConfig {
    /// Refuses what no machine holds.
    pub(super) fn check_size(&self, path: &Path) -> Result<(), ConfigError> {
        for (what, found, limit) in [
            ("tensors", self.tensors(), MAX_TENSORS),
            ("parameters", self.parameters(), MAX_PARAMETERS),
        ] {
            if found > limit {
                return Err(ConfigError::TooLarge {
                    path: path.to_path_buf(),
                    what,
                    limit,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Number of tensors.
    fn tensors(&self) -> u128 {
        let experts = 3 * (self.moe.n_routed as u128 + self.moe.n_shared as u128);
        // Four projections and three biases of the attention, two norms, the gate.
        let layer = 10 + experts;
        // Text embedding and head, codec head, last norm.
        let text = self.text.n_layers as u128 * layer + self.codec.n_channels as u128 + 4;
        let vision = self.vision.as_ref();
        // Patch embedding and merger, and in each block two norms and five projections with bias.
        text + vision.map_or(0, |vision| 6 + 12 * vision.encoder.n_blocks as u128)
    }

    /// Number of parameters. Sizes are at most 2^24, so that no product of four
    /// of them passes 128 bits.
    pub(crate) fn parameters(&self) -> u128 {
        let (text, moe, codec) = (&self.text, &self.moe, &self.codec);
        let wide = |size: usize| size as u128;
        let d_model = wide(text.d_model);
        let (queries, keys) = (
            wide(text.n_heads) * wide(text.d_head),
            wide(text.n_kv_heads) * wide(text.d_head),
        );
        let attention = 2 * d_model * (queries + keys) + queries + 2 * keys;
        let experts =
            wide(moe.n_routed) * wide(moe.d_routed) + wide(moe.n_shared) * wide(moe.d_shared);
        let gate = d_model * wide(self.moe_layer().gate_columns());
        let layer = attention + 3 * d_model * experts + gate + 2 * d_model;
        let codes = wide(codec.n_channels) * wide(codec.vocab_size);
        let vision = self.vision.as_ref();
        let vision = vision.map_or(0, |vision| vision.encoder.n_parameters());
        wide(text.n_layers) * layer
            + 2 * d_model * (wide(text.vocab_size) + codes)
            + d_model
            + vision
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use serde_json::json;

    use super::*;

    #[test]
    fn counted_sizes_are_those_of_the_module() {
        for config in [UniMoeConfig::tiny(), UniMoeConfig::small()] {
            let model = config.init(&Device::flex());
            let names = crate::weights::ReleasedNames(&config);
            let listed = model_files::parameters(model, &names).expect("named parameters");
            let elements = listed.iter().map(|p| p.shape.iter().product::<usize>());
            assert_eq!(config.tensors(), listed.len() as u128);
            assert_eq!(config.parameters(), elements.sum::<usize>() as u128);
        }
    }

    #[test]
    fn models_beyond_any_memory_are_errors_before_they_are_built() {
        let largest = json!(1 << 24);
        for fields in [
            &["/text_config/num_hidden_layers", "/num_hidden_layers"][..],
            &["/codec_channels"],
            &["/text_config/vocab_size", "/codec_vocab_size"],
            &["/text_config/num_attention_heads", "/num_attention_heads"],
            &["/text_config/mlp_dynamic_expert_num"],
            &["/text_config/dynamic_intermediate_size"],
        ] {
            let mut value = UniMoeConfig::tiny().to_released();
            for field in fields {
                *value.pointer_mut(field).expect("a field") = largest.clone();
            }
            // Wide enough that each of the sizes above is too much.
            *value.pointer_mut("/hidden_size").expect("a field") = json!(1 << 20);
            value["text_config"]["hidden_size"] = json!(1 << 20);
            let path = Path::new("config.json");
            let config = UniMoeConfig::from_released(&value, path).expect("whole numbers");
            let error = config.validate(path).expect_err("must fail").to_string();
            assert!(error.contains("at most"), "{fields:?}: {error}");
        }
    }
}
