//! Snake on the CPU: one pass over the memory, and one for the gradient, which keeps nothing but `x`.
//!
//! With `e = alpha + 1e-9`: `y = x + sin(alpha x)^2 / e`, so `dx = dy (1 + alpha / e sin(2 alpha x))` and
//! `dalpha = sum dy (x sin(2 alpha x) / e - sin(alpha x)^2 / e^2)` over batch and samples.

use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use fused_ops::{
    graph::{Fused, Operand, apply, own, values, zeros},
    rows::{each_row, each_row_of_two, vectorised},
};
use pulp::{Simd, WithSimd};

use super::sine::{snake_gradient_row, snake_row};

/// How much longer a value takes than one that is only copied.
const COST: usize = 4;

pub(super) fn snake(x: &Tensor<3>, alpha: &Tensor<3>) -> Option<Tensor<3>> {
    let [b, c, length] = x.dims();
    if b * c * length == 0 || alpha.dims() != [1, c, 1] {
        return None;
    }
    Some(apply(Snake, [Operand::of(x)?, Operand::of(alpha)?]))
}

#[derive(Debug, Clone)]
struct Snake;

impl Fused<2> for Snake {
    type Saved = [FlexTensor; 2];

    fn forward(&self, operands: [FlexTensor; 2]) -> (FlexTensor, Self::Saved) {
        let [x, alpha] = operands.each_ref().map(values);
        let length = operands[0].layout().shape()[2];
        let mut out = zeros(operands[0].layout().shape());
        each_row(out.storage_mut(), length, COST * length, |row, out| {
            let x = &x[row * length..][..length];
            vectorised(Row(x, out, alpha[row % alpha.len()]));
        });
        (out, operands)
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; 2] {
        let [x, alpha] = saved.each_ref().map(values);
        let length = saved[0].layout().shape()[2];
        let mut for_x = own(gradient);
        let mut sums = vec![0.0; x.len() / length];
        let outs = [for_x.storage_mut(), &mut sums];
        each_row_of_two(outs, [length, 1], COST * length, |row, gradient, sum| {
            let x = &x[row * length..][..length];
            sum[0] = vectorised(GradientRow(x, gradient, alpha[row % alpha.len()]));
        });
        let mut for_alpha = zeros(saved[1].layout().shape());
        for (channel, total) in for_alpha.storage_mut::<f32>().iter_mut().enumerate() {
            let rows = sums.iter().skip(channel).step_by(alpha.len());
            *total = rows.map(|sum| f64::from(*sum)).sum::<f64>() as f32;
        }
        [for_x, for_alpha]
    }
}

/// [`snake_row`]; unlike a closure sure to be compiled for the widest vectors.
struct Row<'a>(&'a [f32], &'a mut [f32], f32);

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        snake_row(self.0, self.1, self.2);
    }
}

/// [`snake_gradient_row`].
struct GradientRow<'a>(&'a [f32], &'a mut [f32], f32);

impl WithSimd for GradientRow<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        snake_gradient_row(self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::{super::portable, *};
    use crate::kernel::testing::{assert_close, devices, random};

    /// Value and gradients of `sum w y` for both forms.
    fn compare(x: Tensor<3>, alpha: Tensor<3>) {
        for device in devices() {
            let run = |f: fn(Tensor<3>, Tensor<3>) -> Tensor<3>| {
                let leaf = |tensor: &Tensor<3>| {
                    let tensor = Tensor::from_data(tensor.to_data(), &device);
                    if device.is_autodiff() {
                        tensor.require_grad()
                    } else {
                        tensor
                    }
                };
                let (x, alpha) = (leaf(&x), leaf(&alpha));
                let y = f(x.clone(), alpha.clone());
                let weights = Tensor::from_data(random(y.dims(), 9).into_data(), &device);
                let gradients = device.is_autodiff().then(|| {
                    let gradients = (y.clone() * weights).sum().backward();
                    [x, alpha].map(|leaf| leaf.grad(&gradients).expect("a gradient"))
                });
                (y, gradients)
            };
            let (y, found) = run(|x, alpha| snake(&x, &alpha).expect("the CPU"));
            let (expected_y, expected) = run(portable::snake);
            assert_close(y, expected_y, "value");
            for (found, expected) in found.into_iter().zip(expected) {
                let [dx, dalpha] = found;
                let [expected_dx, expected_dalpha] = expected;
                assert_close(dx, expected_dx, "gradient of x");
                assert_close(dalpha, expected_dalpha, "gradient of alpha");
            }
        }
    }

    #[test]
    fn snake_and_its_gradients_equal_the_portable_ones() {
        for shape in [[1, 1, 1], [1, 3, 15], [2, 5, 777], [3, 2, 6_000]] {
            let alpha = random([1, shape[1], 1], 2).abs() + 0.1;
            compare(random(shape, 1) * 20.0, alpha.clone());
            // Some arguments too large to be reduced here.
            compare(random(shape, 3) * 60_000.0, alpha);
        }
    }

    #[test]
    fn views_are_handled() {
        let alpha = random([1, 6, 1], 2).abs() + 0.5;
        let view = random([2, 9, 7], 1).swap_dims(1, 2).narrow(1, 1, 6);
        compare(view, alpha);
    }

    #[test]
    fn what_is_not_a_number_stays_so_and_stays_where_it_is() {
        let device = Device::flex().autodiff();
        let x = Tensor::<3>::from_data(
            TensorData::new(vec![0.5, f32::NAN, 0.5, 0.25], [1, 2, 2]),
            &device,
        )
        .require_grad();
        let alpha = Tensor::<3>::ones([1, 2, 1], &device).require_grad();
        let y = snake(&x, &alpha).expect("the CPU");
        let gradients = y.clone().sum().backward();
        let undefined = |tensor: Tensor<3>| -> Vec<bool> {
            let values = tensor.into_data().try_into_vec::<f32>().expect("f32");
            values.iter().map(|value| value.is_nan()).collect()
        };
        let of = |leaf: &Tensor<3>| undefined(leaf.grad(&gradients).expect("a gradient"));
        assert_eq!(undefined(y.inner()), [false, true, false, false]);
        assert_eq!(of(&x), [false, true, false, false]);
        assert_eq!(of(&alpha), [true, false]);
    }
}
