//! Random parameters from a seed, the same in memory and on disk.

use std::path::PathBuf;

use half::bf16;
use model_files::{RawTensor, Source, WeightsError};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;

/// Standard deviation of matrices, the published initializer range.
const STANDARD_DEVIATION: f32 = 0.02;

/// How the names of norms end, the vision encoder's too.
const NORMS: [&str; 4] = [
    "norm.weight",
    ".norm1.weight",
    ".norm2.weight",
    ".ln_q.weight",
];

/// Draws each parameter from its own stream, so that the order of reading doesn't matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomWeights {
    /// Seed of all streams.
    pub seed: u64,
}

impl Source for RandomWeights {
    fn tensor(
        &self,
        name: &str,
        _alias: Option<&str>,
        shapes: &[Vec<usize>],
    ) -> Result<RawTensor, WeightsError> {
        let shape = shapes.first().map(Vec::as_slice).unwrap_or_default();
        Ok(RawTensor {
            bytes: self.bytes(name, shape),
            dtype: Self::DTYPE,
            path: PathBuf::new(),
        })
    }
}

impl RandomWeights {
    /// Type of the values, the released checkpoint's.
    pub(crate) const DTYPE: Dtype = Dtype::BF16;

    /// The little-endian bytes of the parameter called `name`: ones for norms, zeros for biases, else
    /// normal numbers.
    pub(crate) fn bytes(self, name: &str, shape: &[usize]) -> Vec<u8> {
        let elements = shape.iter().product();
        if NORMS.iter().any(|norm| name.ends_with(norm)) {
            return bf16::ONE.to_le_bytes().repeat(elements);
        }
        if name.ends_with(".bias") {
            return vec![0; 2 * elements];
        }
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(stream(name));
        let mut bytes = Vec::with_capacity(2 * elements);
        while bytes.len() < 2 * elements {
            let value = bf16::from_f32(STANDARD_DEVIATION * normal(&mut generator));
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }
}

/// A standard normal number: the sum of sixteen uniform bytes, scaled (Irwin-Hall), which needs no
/// function that differs between platforms.
fn normal(generator: &mut impl Rng) -> f32 {
    const COUNT: f32 = 16.0;
    // Variance of a uniform integer of 0..=255 is (256^2 - 1) / 12.
    const VARIANCE: f32 = COUNT * 65_535.0 / 12.0;
    let words = [generator.next_u64(), generator.next_u64()];
    let sum: u32 = words
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .map(u32::from)
        .sum();
    (sum as f32 - COUNT * 127.5) / VARIANCE.sqrt()
}

/// FNV-1a, to give each name its stream.
fn stream(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_stated_spread() {
        let bytes = RandomWeights { seed: 1 }.bytes("a.weight", &[100, 100]);
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).to_f32())
            .collect();
        let mean = values.iter().sum::<f32>() / 1e4;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 1e4;
        assert!(mean.abs() < 1e-3 && (variance.sqrt() - 0.02).abs() < 1e-3);
    }

    #[test]
    fn each_name_and_seed_has_its_own_values() {
        let draw = |seed, name: &str| RandomWeights { seed }.bytes(name, &[8]);
        assert_eq!(draw(1, "a.weight"), draw(1, "a.weight"));
        assert_ne!(draw(1, "a.weight"), draw(1, "b.weight"));
        assert_ne!(draw(1, "a.weight"), draw(2, "a.weight"));
    }
}
