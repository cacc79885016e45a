//! Cross entropy of classes.
//!
//! `L_r = log sum_v e^{x_rv} - x_{r t_r}`.
//!
//! Axes: `R` rows, `V` classes.

use burn::tensor::{Bool, DType, Int, Tensor, TensorData, activation::log_softmax};

/// The cross entropy of each row, in f32 whatever the dtype of the logits; 0 for a row without a target.
///
/// # Shapes
///
/// - logits: `[R, V]`
/// - targets: `R` classes
/// - output: `[R]`
///
/// # Panics
///
/// Panics if there aren't `R` targets, or one isn't below `V`.
pub fn cross_entropy(logits: Tensor<2>, targets: &[Option<u32>]) -> Tensor<1> {
    let [rows, classes] = logits.dims();
    assert_eq!(targets.len(), rows, "one target for each row");
    if let Some(target) = targets.iter().flatten().find(|&&t| t as usize >= classes) {
        panic!("target {target} is not below {classes}");
    }
    #[cfg(feature = "flex")]
    if let Some(losses) = flex::cross_entropy(&logits, targets) {
        return losses;
    }
    portable(logits, targets)
}

fn portable(logits: Tensor<2>, targets: &[Option<u32>]) -> Tensor<1> {
    let (rows, device) = (targets.len(), logits.device());
    let none: Vec<bool> = targets.iter().map(Option::is_none).collect();
    let none = Tensor::<1, Bool>::from_data(TensorData::new(none, [rows]), &device);
    let classes: Vec<i32> = (targets.iter())
        .map(|target| target.map_or(0, |target| target as i32))
        .collect();
    let classes = Tensor::<2, Int>::from_data(TensorData::new(classes, [rows, 1]), &device);
    let losses = log_softmax(logits.cast(DType::F32), 1).gather(1, classes);
    losses.reshape([rows]).neg().mask_fill(none, 0.0)
}

#[cfg(feature = "flex")]
mod flex {
    use std::sync::Arc;

    use burn::tensor::{Shape, Tensor};
    use burn_flex::FlexTensor;

    use crate::{
        arithmetic::{exp, largest, sum},
        graph::{Fused, Operand, apply, own, values, zeros},
        rows::each_row,
    };

    pub(super) fn cross_entropy(logits: &Tensor<2>, targets: &[Option<u32>]) -> Option<Tensor<1>> {
        let operand = Operand::of(logits)?;
        let operation = CrossEntropy {
            classes: logits.dims()[1],
            targets: targets.into(),
        };
        Some(apply(operation, [operand]))
    }

    #[derive(Debug, Clone)]
    struct CrossEntropy {
        classes: usize,
        targets: Arc<[Option<u32>]>,
    }

    impl Fused<1> for CrossEntropy {
        /// The logits, and the logarithm of each row's sum of exponentials.
        type Saved = (FlexTensor, FlexTensor);

        fn forward(&self, [logits]: [FlexTensor; 1]) -> (FlexTensor, Self::Saved) {
            let x = values(&logits);
            let shape = Shape::from([self.targets.len()]);
            let mut log_sums = zeros(&shape);
            each_row(log_sums.storage_mut(), 1, self.classes, |row, out| {
                if self.targets[row].is_some() {
                    let x = &x[row * self.classes..][..self.classes];
                    let largest = largest(x);
                    out[0] = largest + sum(x, |x| exp(x - largest)).ln();
                }
            });
            let mut losses = zeros(&shape);
            let rows = losses
                .storage_mut::<f32>()
                .iter_mut()
                .zip(values(&log_sums));
            for (row, (loss, log_sum)) in rows.enumerate() {
                if let Some(target) = self.targets[row] {
                    *loss = log_sum - x[row * self.classes + target as usize];
                }
            }
            (losses, (logits, log_sums))
        }

        /// `dX = dL (softmax(x) - 1[t])`
        fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; 1] {
            let (logits, log_sums) = saved;
            let (gradient, log_sums) = (values(&gradient), values(&log_sums));
            let mut out = own(logits);
            each_row(out.storage_mut(), self.classes, self.classes, |row, out| {
                let Some(target) = self.targets[row] else {
                    return out.fill(0.0);
                };
                let factor = gradient[row];
                let log_sum = log_sums[row];
                for x in out.iter_mut() {
                    *x = factor * exp(*x - log_sum);
                }
                out[target as usize] -= factor;
            });
            [out]
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::testing::{assert_same_with_gradients, devices, random};

    #[test]
    fn losses_and_their_gradients_equal_the_portable_ones_even_far_out() {
        for device in devices() {
            for [rows, classes] in [[1, 1], [5, 3], [90, 1027]] {
                let target = |row| (row % 3 != 1).then_some((row * 7 % classes) as u32);
                let targets: Vec<Option<u32>> = (0..rows).map(target).collect();
                assert_same_with_gradients(
                    [random([rows, classes], 1) * 30.0],
                    &device,
                    |[x]| cross_entropy(x, &targets).unsqueeze::<2>(),
                    |[x]| portable(x, &targets).unsqueeze::<2>(),
                );
            }
        }
    }

    #[test]
    fn a_row_without_a_target_may_hold_anything() {
        let logits = Tensor::<2>::from_data([[f32::NAN, 1.0], [2.0, 2.0]], &Device::flex());
        for losses in [
            cross_entropy(logits.clone(), &[None, Some(1)]),
            portable(logits, &[None, Some(1)]),
        ] {
            let losses = losses.into_data().try_into_vec::<f32>().expect("f32");
            assert_eq!(losses[0], 0.0);
            assert!((losses[1] - 2f32.ln()).abs() < 1e-6);
        }
    }

    #[test]
    fn half_precision_gives_a_loss_in_f32() {
        let logits = Tensor::<2>::zeros([1, 4], (&Device::flex(), DType::F16));
        let loss = cross_entropy(logits, &[Some(3)]);
        assert_eq!(loss.dtype(), DType::F32);
        assert!((loss.into_scalar::<f32>() - 4f32.ln()).abs() < 1e-6);
    }
}
