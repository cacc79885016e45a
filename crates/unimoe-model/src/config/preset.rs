//! Sizes of models that are known by name.

use vision_encoder::VisionEncoderConfig;

use super::{CodecConfig, MoeConfig, TextConfig, UniMoeConfig, VisionConfig};
use crate::tokenizer::{BYTE_LEVEL_PLACEHOLDER, BYTE_LEVEL_VOCAB_SIZE};

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
            vision: Some(VisionConfig::beside(
                151_665,
                VisionEncoderConfig::unimoe_audio(),
            )),
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
            vision: Some(VisionConfig::beside(
                BYTE_LEVEL_PLACEHOLDER,
                VisionEncoderConfig::tiny(d_model),
            )),
        }
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
