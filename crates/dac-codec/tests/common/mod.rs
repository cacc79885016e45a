//! What several test files use.
#![allow(dead_code, clippy::unwrap_used)]

use dac_codec::DacConfig;

/// A codec of three codebooks that computes in no time.
pub fn small(encoder_rates: &[usize], decoder_rates: &[usize]) -> DacConfig {
    DacConfig::new()
        .with_encoder_dim(4)
        .with_encoder_rates(encoder_rates.into())
        .with_latent_dim(16)
        .with_decoder_dim(32)
        .with_decoder_rates(decoder_rates.into())
        .with_n_codebooks(3)
        .with_codebook_size(32)
        .with_codebook_dim(4)
}

/// Reproducible noise within -1 to 1.
pub fn noise(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..count)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}
