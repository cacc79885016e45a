//! Rotary positions of attention heads.
//!
//! `rotate(x) = x * cos + (-x2, x1) * sin` with `x = (x1, x2)` cut in the middle (Su et al., arXiv:2104.09864).
//!
//! Axes: `B` rows, `S` positions, `N` heads, `h` head width.

use burn::tensor::Tensor;

/// Cuts a projection into heads, rotates each by its position's angles and multiplies it by `factor`.
///
/// # Shapes
///
/// - x: `[B, S, N * h]`
/// - cos, sin: `[B, 1, S, h]`, the second half of `h` equal to the first
/// - output: `[B, N, S, h]`
pub fn rotate_heads(
    x: Tensor<3>,
    cos: &Tensor<4>,
    sin: &Tensor<4>,
    n_heads: usize,
    factor: f64,
) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if let Some(y) = flex::rotate_heads(&x, [cos, sin], n_heads, factor) {
        return y;
    }
    portable(x, cos, sin, n_heads, factor)
}

fn portable(
    x: Tensor<3>,
    cos: &Tensor<4>,
    sin: &Tensor<4>,
    n_heads: usize,
    factor: f64,
) -> Tensor<4> {
    let [batch, length, width] = x.dims();
    let (d_head, half) = (width / n_heads, width / n_heads / 2);
    let x = x.reshape([batch, length, n_heads, d_head]).swap_dims(1, 2);
    let (x1, x2) = (
        x.clone().narrow(3, 0, half),
        x.clone().narrow(3, half, half),
    );
    let turned = Tensor::cat(vec![x2.neg(), x1], 3);
    let rotated = x * cos.clone() + turned * sin.clone();
    if factor == 1.0 {
        rotated
    } else {
        rotated * factor
    }
}

#[cfg(feature = "flex")]
mod flex {
    use burn::tensor::{Shape, Tensor};
    use burn_flex::FlexTensor;

    use crate::{
        graph::{Fused, Operand, apply, constant, values, zeros},
        rows::each_row,
    };

    pub(super) fn rotate_heads(
        x: &Tensor<3>,
        table: [&Tensor<4>; 2],
        n_heads: usize,
        factor: f64,
    ) -> Option<Tensor<4>> {
        let [batch, length, width] = x.dims();
        let d_head = width.checked_div(n_heads)?;
        let fits = table
            .iter()
            .all(|part| part.dims() == [batch, 1, length, d_head]);
        if !fits || d_head < 2 || d_head % 2 == 1 || batch * length == 0 {
            return None;
        }
        let rotation = Rotation {
            sizes: [batch, length, n_heads, d_head],
            factor: factor as f32,
            cos: constant(table[0])?,
            sin: constant(table[1])?,
        };
        Some(apply(rotation, [Operand::of(x)?]))
    }

    #[derive(Debug, Clone)]
    struct Rotation {
        /// `[B, S, N, h]`
        sizes: [usize; 4],
        factor: f32,
        cos: FlexTensor,
        sin: FlexTensor,
    }

    impl Fused<1> for Rotation {
        type Saved = ();

        fn forward(&self, [x]: [FlexTensor; 1]) -> (FlexTensor, ()) {
            let [batch, length, n_heads, d_head] = self.sizes;
            let mut out = zeros(&Shape::from([batch, n_heads, length, d_head]));
            let (source, half) = (values(&x), d_head / 2);
            let (cosines, sines) = (values(&self.cos), values(&self.sin));
            each_row(out.storage_mut(), d_head, d_head, |row, out| {
                let (position, head) = (row % length, row / length % n_heads);
                let token = row / length / n_heads * length + position;
                let x = &source[(token * n_heads + head) * d_head..][..d_head];
                let (cos, sin) = (&cosines[token * d_head..], &sines[token * d_head..]);
                turn(x, &cos[..half], &sin[..half], [self.factor; 2], out);
            });
            (out, ())
        }

        /// Turns back by the same angles.
        fn backward(&self, _: (), gradient: FlexTensor) -> [FlexTensor; 1] {
            let [batch, length, n_heads, d_head] = self.sizes;
            let mut out = zeros(&Shape::from([batch, length, n_heads * d_head]));
            let (source, half) = (values(&gradient), d_head / 2);
            let (cosines, sines) = (values(&self.cos), values(&self.sin));
            each_row(out.storage_mut(), d_head, d_head, |row, out| {
                let (token, head) = (row / n_heads, row % n_heads);
                let (batch, position) = (token / length, token % length);
                let place = (batch * n_heads + head) * length + position;
                let (cos, sin) = (&cosines[token * d_head..], &sines[token * d_head..]);
                let factors = [self.factor, -self.factor];
                turn(
                    &source[place * d_head..][..d_head],
                    &cos[..half],
                    &sin[..half],
                    factors,
                    out,
                );
            });
            [out]
        }
    }

    /// Rotates one head, with a factor on the cosines and one on the sines.
    #[inline(always)]
    fn turn(x: &[f32], cos: &[f32], sin: &[f32], factors: [f32; 2], out: &mut [f32]) {
        let half = cos.len();
        let (low, high) = x.split_at(half);
        let (out_low, out_high) = out.split_at_mut(half);
        for i in 0..half {
            let (cos, sin) = (cos[i] * factors[0], sin[i] * factors[1]);
            out_low[i] = low[i] * cos - high[i] * sin;
            out_high[i] = high[i] * cos + low[i] * sin;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;
    use crate::testing::{assert_same_with_gradients, devices, random};

    #[test]
    fn heads_and_their_gradients_equal_the_portable_ones() {
        for device in devices() {
            for [batch, length, heads, d_head] in [[1, 1, 1, 2], [2, 5, 3, 6], [2, 70, 4, 64]] {
                let table = |angle: fn(Tensor<4>) -> Tensor<4>| {
                    let half = angle(random([batch, 1, length, d_head / 2], 7));
                    Tensor::cat(vec![half.clone(), half], 3).to_device(&device)
                };
                let (cos, sin) = (table(Tensor::cos), table(Tensor::sin));
                assert_same_with_gradients(
                    [random([batch, length, heads * d_head], 1)],
                    &device,
                    |[x]| rotate_heads(x, &cos, &sin, heads, 0.3),
                    |[x]| portable(x, &cos, &sin, heads, 0.3),
                );
            }
        }
    }

    #[test]
    fn a_quarter_turn_swaps_the_halves_of_each_head() {
        let device = Device::flex();
        let cos = Tensor::<4>::zeros([1, 1, 1, 4], &device);
        let sin = Tensor::<4>::ones([1, 1, 1, 4], &device);
        let x = Tensor::<3>::from_data([[[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]]], &device);
        let expected = TensorData::from([[[[-3.0f32, -4.0, 1.0, 2.0]], [[-7.0, -8.0, 5.0, 6.0]]]]);
        for y in [
            rotate_heads(x.clone(), &cos, &sin, 2, 1.0),
            portable(x, &cos, &sin, 2, 1.0),
        ] {
            y.into_data()
                .assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-6));
        }
    }
}
