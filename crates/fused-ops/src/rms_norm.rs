//! Root mean square norm.
//!
//! `Y = X / sqrt(mean(X^2) + eps) * gamma` (Zhang and Sennrich, arXiv:1910.07467).

use burn::{nn::RmsNorm, tensor::Tensor};

/// Applies `norm` over the last axis of width `D`.
///
/// # Shapes
///
/// - x, output: `[..., D]`
///
/// # Panics
///
/// Panics if the norm has another width.
pub fn rms_norm<const N: usize>(x: Tensor<N>, norm: &RmsNorm) -> Tensor<N> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::rms_norm(&x, norm) {
        return y;
    }
    norm.forward(x)
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{nn::RmsNorm, tensor::Tensor};
    use burn_flex::FlexTensor;
    use rayon::prelude::*;

    use crate::{
        arithmetic::{dot, sum},
        graph::{Fused, Operand, apply, own, values, zeros},
        rows::{each_row, rows_together, vectorised},
    };

    pub(super) fn rms_norm<const N: usize>(x: &Tensor<N>, norm: &RmsNorm) -> Option<Tensor<N>> {
        let gamma = norm.gamma.val();
        let width = gamma.dims()[0];
        if width == 0 || x.dims().last() != Some(&width) {
            return None;
        }
        let operands = [Operand::of(x)?, Operand::of(&gamma)?];
        let epsilon = norm.epsilon as f32;
        Some(apply(Norm { epsilon }, operands))
    }

    #[derive(Debug, Clone)]
    struct Norm {
        epsilon: f32,
    }

    impl Norm {
        /// `1 / sqrt(mean(x^2) + eps)`.
        #[inline(always)]
        fn scale(&self, x: &[f32]) -> f32 {
            1.0 / (sum(x, |x| x * x) / x.len() as f32 + self.epsilon).sqrt()
        }

        /// `dX = r (dY gamma - U mean(dY gamma U))` and `dgamma += dY U`, with `U = r X`, over some rows; the gradient of
        /// `X` replaces that of `Y`.
        #[inline(always)]
        fn backward_rows(&self, x: &[f32], gamma: &[f32], gradient: &mut [f32]) -> Vec<f32> {
            let width = gamma.len();
            let mut for_gamma = vec![0.0; width];
            for (x, gradient) in x.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
                let scale = self.scale(x);
                let terms = gradient
                    .iter_mut()
                    .zip(&mut for_gamma)
                    .zip(x.iter().zip(gamma));
                for ((gradient, for_gamma), (x, gamma)) in terms {
                    *for_gamma += *gradient * x * scale;
                    *gradient *= gamma;
                }
                let mean = dot(gradient, x) * scale * scale / width as f32;
                for (gradient, x) in gradient.iter_mut().zip(x) {
                    *gradient = scale * (*gradient - x * mean);
                }
            }
            for_gamma
        }
    }

    impl Fused<2> for Norm {
        type Saved = [FlexTensor; 2];

        fn forward(&self, operands: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
            let [x, gamma] = operands.each_ref().map(values);
            let width = gamma.len();
            let mut out = zeros(operands[0].layout().shape());
            each_row(out.storage_mut(), width, width, |row, out| {
                let x = &x[row * width..][..width];
                let scale = self.scale(x);
                for ((out, x), gamma) in out.iter_mut().zip(x).zip(gamma) {
                    *out = x * scale * gamma;
                }
            });
            (out, operands)
        }

        fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; 2] {
            let [x, gamma] = saved.each_ref().map(values);
            let width = gamma.len();
            let part = rows_together(width) * width;
            let mut for_x = own(gradient);
            // Parts of a fixed size, added in order: the same sums for any number of threads.
            let parts: Vec<Vec<f32>> = for_x
                .storage_mut::<f32>()
                .par_chunks_mut(part)
                .zip(x.par_chunks(part))
                .map(|(gradient, x)| vectorised(|| self.backward_rows(x, gamma, gradient)))
                .collect();
            let mut for_gamma = zeros(saved[1].layout().shape());
            let total = for_gamma.storage_mut::<f32>();
            for part in parts {
                for (total, part) in total.iter_mut().zip(part) {
                    *total += part;
                }
            }
            [for_x, for_gamma]
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::RmsNormConfig;

    use super::*;
    use crate::testing::{assert_same_with_gradients, devices, random};

    #[test]
    fn the_norm_and_its_gradients_equal_the_portable_ones() {
        for device in devices() {
            for shape in [[1, 1, 3], [2, 7, 37], [3, 200, 80]] {
                let norm = |gamma: Tensor<3>| {
                    let mut norm = RmsNormConfig::new(shape[2]).init(&gamma.device());
                    let id = norm.gamma.id;
                    norm.gamma = burn::module::Param::initialized(id, gamma.reshape([shape[2]]));
                    norm
                };
                assert_same_with_gradients(
                    [random(shape, 1) * 3.0, random([1, 1, shape[2]], 2)],
                    &device,
                    |[x, gamma]| rms_norm(x, &norm(gamma)),
                    |[x, gamma]| norm(gamma).forward(x),
                );
            }
        }
    }
}
