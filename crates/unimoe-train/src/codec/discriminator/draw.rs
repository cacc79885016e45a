//! First weights, drawn on the host: Burn's generator is shared by the whole process and differs between devices.

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{Device, Tensor, TensorData},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

struct Draw<'a> {
    rng: ChaCha8Rng,
    device: &'a Device,
}

/// Draws weights uniformly within `1 / sqrt(fan in)`; biases are zero.
pub(super) fn weights<M: Module>(module: M, seed: u64, device: &Device) -> M {
    let rng = ChaCha8Rng::seed_from_u64(seed);
    module.map(&mut Draw { rng, device })
}

impl ModuleMapper for Draw<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape: Vec<usize> = param.lazy_shape().to_vec();
        let count = shape.iter().product();
        let values: Vec<f32> = if D == 1 {
            vec![0.0; count]
        } else {
            let fan_in: usize = shape[1..].iter().product();
            let bound = 1.0 / (fan_in as f32).sqrt();
            (0..count)
                .map(|_| (self.rng.random::<f32>() * 2.0 - 1.0) * bound)
                .collect()
        };
        Param::from_data(TensorData::new(values, shape), self.device)
    }
}
