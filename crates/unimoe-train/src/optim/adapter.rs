//! Low-rank adapters: `W' = W + alpha / rank * A B`.
//!
//! Axes: `I` rows and `O` columns of the adapted matrix, `R` rank. Burn has adapters too
//! (`burn::module::Lora`); they multiply again wherever a weight is read, draw `A` from Burn's generator, and
//! don't reach code that reads the stored weight. These are multiplied once per forward, in float32.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{LoraConfig, OptimError, walk::flat};

/// An adapter: where its factors are among the variables.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adapter {
    /// Number of the variable `A`, `[I, R]`; `B`, `[R, O]`, follows.
    pub(super) first: usize,
    pub(super) scale: f64,
}

/// The starting values of the factors for a matrix of `shape` at `path`, the `index`-th of the model.
pub(super) fn factors(
    config: &LoraConfig,
    path: &str,
    shape: &[usize],
    index: usize,
    device: &Device,
) -> Result<[(Vec<usize>, Tensor<1>); 2], OptimError> {
    let (rows, columns) = (shape[0], shape[1]);
    let limit = rows.min(columns);
    if config.rank > limit {
        return Err(OptimError::Rank {
            parameter: path.to_string(),
            shape: shape.to_vec(),
            limit,
            found: config.rank,
        });
    }
    // Drawn here, each from its own stream, so that they are the same on all devices.
    let mut generator = ChaCha8Rng::seed_from_u64(config.seed);
    generator.set_stream(index as u64);
    let bound = 1.0 / (rows as f32).sqrt();
    let values: Vec<f32> = (0..rows * config.rank)
        .map(|_| bound * uniform(&mut generator))
        .collect();
    let a = TensorData::new(values, [rows * config.rank]);
    let b = TensorData::zeros::<f32, _>([config.rank * columns]);
    Ok([
        (vec![rows, config.rank], Tensor::from_data(a, device)),
        (vec![config.rank, columns], Tensor::from_data(b, device)),
    ])
}

/// Uniform in `[-1, 1)`, a multiple of 2^-23.
fn uniform(generator: &mut impl Rng) -> f32 {
    let bits = (generator.next_u32() >> 8) as f32;
    bits / (1 << 23) as f32 - 1.0
}

/// `W + scale * A B`, flat and float32.
///
/// # Shapes
///
/// - base: `[I * O]`
/// - a: `[I, R]`
/// - b: `[R, O]`
/// - output: `[I * O]`
pub(super) fn apply(base: Tensor<1>, a: Tensor<2>, b: Tensor<2>, scale: f64) -> Tensor<1> {
    base + flat(a.matmul(b)).mul_scalar(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_numbers_fill_their_range() {
        let mut generator = ChaCha8Rng::seed_from_u64(1);
        let values: Vec<f32> = (0..10_000).map(|_| uniform(&mut generator)).collect();
        let mean = values.iter().sum::<f32>() / 1e4;
        let square = values.iter().map(|v| v * v).sum::<f32>() / 1e4;
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        assert!(mean.abs() < 0.02 && (square - 1.0 / 3.0).abs() < 0.02);
    }
}
