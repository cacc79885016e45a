//! Sizes and settings of a vision encoder, and the family's published ones.

mod released;

use burn::config::Config;
use model_files::ModelPath;

use crate::error::VisionError;

/// Largest width, count or side that a configuration may ask for.
const MAX_SIZE: usize = 1 << 20;

/// Most blocks.
const MAX_BLOCKS: usize = 1 << 12;

/// Most parameters that an encoder may have: about a hundred times the published ones.
const MAX_PARAMETERS: u128 = 1 << 36;

/// Which patches a patch sees.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum AttentionScope {
    /// Those of its window, and in the full-attention blocks those of its frame, as Qwen2.5-VL defines it.
    Windowed,
    /// All patches of all inputs of the call, in every block: what UniMoE-Audio's published code does. An
    /// input's embedding then depends on its neighbours, and the cost grows with the square of all patches.
    Unmasked,
}

/// Configuration to create a [`VisionEncoder`](crate::VisionEncoder).
#[derive(Config, Debug, PartialEq)]
pub struct VisionEncoderConfig {
    /// Width `D` of the blocks.
    pub d_model: usize,
    /// Number of blocks.
    pub n_blocks: usize,
    /// Attention heads `H`; the head width `D / H` is a multiple of 4.
    pub n_heads: usize,
    /// Inner width `F` of the feed-forward layers.
    pub d_ff: usize,
    /// Width of the embeddings that come out.
    pub d_out: usize,
    /// Channels of a picture. Default: 3
    #[config(default = 3)]
    pub in_channels: usize,
    /// Side of a patch, in pixels. Default: 14
    #[config(default = 14)]
    pub patch_size: usize,
    /// Frames of a patch. Default: 2
    #[config(default = 2)]
    pub temporal_patch_size: usize,
    /// Side of the square of patches that become one token. Default: 2
    #[config(default = 2)]
    pub merge_size: usize,
    /// Side of an attention window, in pixels. Default: 112
    #[config(default = 112)]
    pub window_size: usize,
    /// The blocks in which a patch sees its whole frame. Default: 7, 15, 23, 31
    #[config(default = "vec![7, 15, 23, 31]")]
    pub full_attention_blocks: Vec<usize>,
    /// Steps of the language model's temporal positions per second of video; the encoder itself doesn't use
    /// it. Default: 2
    #[config(default = 2)]
    pub tokens_per_second: usize,
    /// Added to the mean square by the norms. Default: 1e-6
    #[config(default = 1e-6)]
    pub norm_epsilon: f64,
    /// Which patches a patch sees. Default: `Windowed`
    #[config(default = "AttentionScope::Windowed")]
    pub attention: AttentionScope,
}

impl VisionEncoderConfig {
    /// The encoder of Qwen2.5-VL 3B.
    pub fn qwen2_5_vl_3b() -> Self {
        Self::new(1280, 32, 16, 3420, 2048)
    }

    /// The encoder of Qwen2.5-VL 7B.
    pub fn qwen2_5_vl_7b() -> Self {
        Self::new(1280, 32, 16, 3420, 3584)
    }

    /// The encoder of UniMoE-Audio (arXiv:2510.13344): that of Qwen2.5-VL 3B.
    pub fn unimoe_audio() -> Self {
        Self::qwen2_5_vl_3b()
    }

    /// A small encoder for tests and experiments: four blocks of width 32, the published patches and windows.
    pub fn tiny(d_out: usize) -> Self {
        Self::new(32, 4, 2, 48, d_out).with_full_attention_blocks(vec![1, 3])
    }

    /// Reads the vision part of a `config.json`, or the whole file where that is given.
    ///
    /// # Errors
    ///
    /// A [`VisionError`] that names the file and the setting, what was expected of it and what was found.
    pub fn load(path: impl Into<ModelPath>) -> Result<Self, VisionError> {
        let file = path.into();
        let path = file.path();
        let text = model_files::read_text(&file).map_err(|source| VisionError::Io {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        let json = serde_json::from_str(&text).map_err(|source| VisionError::Json {
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_released(&json, path)
    }

    /// Values of a patch: channels, frames, rows and columns of pixels.
    pub fn patch_values(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Width of a head.
    pub fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }

    /// Side of an attention window in merged tokens.
    pub fn window_tokens(&self) -> usize {
        self.window_size / self.merge_size / self.patch_size
    }

    /// Number of parameters.
    pub fn n_parameters(&self) -> u128 {
        let wide = |size: usize| size as u128;
        let (d, ff) = (wide(self.d_model), wide(self.d_ff));
        let attention = 4 * d * d + 4 * d;
        let mlp = 3 * d * ff + 2 * ff + d;
        let merged = wide(self.merge_size).pow(2) * d;
        let merger = d + merged * merged + merged + (merged + 1) * wide(self.d_out);
        let patch = wide(self.in_channels)
            * wide(self.temporal_patch_size)
            * wide(self.patch_size).pow(2)
            * d;
        patch + wide(self.n_blocks) * (attention + mlp + 2 * d) + merger
    }

    /// Checks every setting against its range and against the others.
    ///
    /// # Errors
    ///
    /// [`VisionError::Config`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), VisionError> {
        for (field, found, highest) in [
            ("d_model", self.d_model, MAX_SIZE),
            ("n_heads", self.n_heads, MAX_SIZE),
            ("d_ff", self.d_ff, MAX_SIZE),
            ("d_out", self.d_out, MAX_SIZE),
            ("in_channels", self.in_channels, 256),
            ("patch_size", self.patch_size, 1024),
            ("temporal_patch_size", self.temporal_patch_size, 256),
            ("merge_size", self.merge_size, 64),
            ("window_size", self.window_size, MAX_SIZE),
            ("n_blocks", self.n_blocks, MAX_BLOCKS),
            ("tokens_per_second", self.tokens_per_second, MAX_SIZE),
        ] {
            if !(1..=highest).contains(&found) {
                return Err(invalid(field, format!("1 to {highest}"), found));
            }
        }
        // A quarter of a head turns by the row and a quarter by the column, each with its pair.
        let heads = self.n_heads;
        if !self.d_model.is_multiple_of(heads.saturating_mul(4)) {
            let expected = format!("a multiple of 4 times the {heads} heads");
            return Err(invalid("d_model", expected, self.d_model));
        }
        let side = self.patch_size * self.merge_size;
        if self.window_size < side {
            let expected = format!("at least {side}, the side of a merged token");
            return Err(invalid("window_size", expected, self.window_size));
        }
        let beyond = |block: &&usize| **block >= self.n_blocks;
        if let Some(block) = self.full_attention_blocks.iter().find(beyond) {
            let expected = format!("blocks below {}", self.n_blocks);
            return Err(invalid("full_attention_blocks", expected, block));
        }
        if !(self.norm_epsilon.is_finite() && self.norm_epsilon > 0.0) {
            let expected = "a positive number".to_string();
            return Err(invalid("norm_epsilon", expected, self.norm_epsilon));
        }
        let parameters = self.n_parameters();
        if parameters > MAX_PARAMETERS {
            let expected = format!("at most {MAX_PARAMETERS}");
            return Err(invalid("the number of parameters", expected, parameters));
        }
        Ok(())
    }
}

fn invalid(field: &'static str, expected: String, found: impl ToString) -> VisionError {
    VisionError::Config {
        field,
        expected,
        found: found.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use burn::{module::Module, tensor::Device};

    use super::*;

    #[test]
    fn presets_pass_their_own_checks_and_count_their_parameters() {
        for config in [
            VisionEncoderConfig::qwen2_5_vl_3b(),
            VisionEncoderConfig::qwen2_5_vl_7b(),
            VisionEncoderConfig::unimoe_audio(),
            VisionEncoderConfig::tiny(24),
        ] {
            config.validate().expect("a valid preset");
            let encoder = config.init(&Device::flex());
            assert_eq!(config.n_parameters(), encoder.num_params() as u128);
        }
        // 112 pixels are 8 patches or 4 tokens.
        assert_eq!(VisionEncoderConfig::unimoe_audio().window_tokens(), 4);
    }

    #[test]
    fn settings_that_make_no_encoder_are_named() {
        let tiny = || VisionEncoderConfig::tiny(24);
        let heads = |d_model, n_heads| VisionEncoderConfig {
            d_model,
            n_heads,
            ..tiny()
        };
        let blocks = |n_blocks, d_model| VisionEncoderConfig {
            n_blocks,
            d_model,
            ..tiny()
        };
        for (config, named) in [
            (heads(0, 2), "d_model"),
            (heads(36, 2), "d_model"),
            (heads(32, 3), "d_model"),
            (heads(32, 0), "n_heads"),
            (heads(32, usize::MAX), "n_heads"),
            // Heads of 2: nothing is left to turn by the column.
            (heads(32, 16), "d_model"),
            (tiny().with_window_size(27), "window_size"),
            (
                tiny().with_full_attention_blocks(vec![1, 4]),
                "full_attention_blocks",
            ),
            (tiny().with_norm_epsilon(f64::NAN), "norm_epsilon"),
            (blocks(1 << 40, 32), "n_blocks"),
            (tiny().with_patch_size(usize::MAX), "patch_size"),
            (blocks(4096, 1 << 20), "the number of parameters"),
        ] {
            let error = config.validate().expect_err(named);
            assert!(
                matches!(error, VisionError::Config { field, .. } if field == named),
                "{named}: {error}"
            );
        }
    }
}
