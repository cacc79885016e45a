//! Multimodal rotary embedding: rotates queries and keys by positions in time, height and width.
//!
//! Qwen2-VL's M-RoPE as UniMoE-Audio uses it: the `h / 2` frequencies of a head are divided into sections
//! that take their angle from the temporal, the height or the width position. For text and audio the
//! three are equal and it is the ordinary rotary embedding.
//!
//! `theta_j = base^(-2 j / h)`, `angle = p(section of j) * theta_j`,
//! `rotate(x) = x * cos + (-x2, x1) * sin` with `x = (x1, x2)` cut in the middle.
//!
//! Axes: `B` batch, `S` positions, `N` heads, `h` head width.

use burn::{
    config::Config,
    tensor::{DType, Device, Tensor, TensorData},
};
use fused_ops::rotate_heads;

/// Configuration to create a [`MultimodalRope`].
#[derive(Config, Debug)]
pub struct MultimodalRopeConfig {
    /// Head width `h`.
    pub d_head: usize,
    /// How many of the `h / 2` frequencies follow the temporal, height and width position.
    pub sections: [usize; 3],
    /// Base of the frequencies. Default: 1e6
    #[config(default = 1e6)]
    pub theta: f64,
}

/// Computes rotary tables from positions; has no parameters.
#[derive(Debug, Clone)]
pub struct MultimodalRope {
    /// `(section, theta_j)` for each of the `h / 2` frequencies.
    frequencies: Vec<(usize, f32)>,
}

/// Positions of `B x S` tokens in time, height and width, on the host.
///
/// Does not carry a mask: padding positions hold any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// Number of rows `B`.
    pub batch: usize,
    /// Positions per row `S`.
    pub length: usize,
    /// Temporal, height and width positions, each `[B, S]` in row-major order.
    pub axes: [Vec<i64>; 3],
}

/// Cosines and sines of the angles of `B x S` tokens.
#[derive(Debug, Clone)]
pub struct RopeTable {
    /// `[B, 1, S, h]`
    cos: Tensor<4>,
    /// `[B, 1, S, h]`
    sin: Tensor<4>,
}

impl MultimodalRopeConfig {
    /// Initializes a [`MultimodalRope`].
    ///
    /// # Panics
    ///
    /// Panics if the head width is odd or zero, or the sections don't add up to half of it.
    pub fn init(&self) -> MultimodalRope {
        let (d_head, half) = (self.d_head, self.d_head / 2);
        let total: usize = self.sections.iter().sum();
        assert!(
            d_head > 0 && d_head.is_multiple_of(2),
            "the head width must be even and positive, got {d_head}"
        );
        assert_eq!(
            total, half,
            "the rotary sections {:?} must add up to half the head width {d_head}",
            self.sections
        );
        let sections = (0..3).flat_map(|axis| std::iter::repeat_n(axis, self.sections[axis]));
        let frequencies = sections
            .enumerate()
            .map(|(j, axis)| {
                // Through f32 as the reference does: the angle is a product of f32 numbers.
                let exponent = (2 * j) as f32 / d_head as f32;
                (axis, (1.0 / self.theta.powf(f64::from(exponent))) as f32)
            })
            .collect();
        MultimodalRope { frequencies }
    }
}

impl Positions {
    /// Text positions: in each row the number of real tokens before this one, on all three axes.
    ///
    /// `real` is `true` where a token is not padding, `[B, S]` in row-major order. Padding gets
    /// position 0.
    pub fn text(real: &[bool], batch: usize) -> Self {
        let length = real.len().checked_div(batch).unwrap_or(0);
        let mut axis = Vec::with_capacity(real.len());
        for row in real.chunks(length.max(1)) {
            let mut next = 0;
            for &is_real in row {
                axis.push(if is_real { next } else { 0 });
                next += i64::from(is_real);
            }
        }
        Self {
            batch,
            length,
            axes: [axis.clone(), axis.clone(), axis],
        }
    }

    /// These positions behind `first` earlier ones of each row; none where `first` is empty.
    #[must_use]
    pub fn after(mut self, first: &[i64]) -> Self {
        for axis in &mut self.axes {
            for (row, first) in axis.chunks_mut(self.length.max(1)).zip(first) {
                row.iter_mut()
                    .for_each(|position| *position = position.saturating_add(*first));
            }
        }
        self
    }

    /// The position of each row's next token: one behind the largest of its real tokens, 0 where it has none.
    ///
    /// `real` is `true` where a token is not padding, `[B, S]` in row-major order.
    pub fn next(&self, real: &[bool]) -> Vec<i64> {
        let mut next = vec![0; self.batch];
        for axis in &self.axes {
            for (place, (position, _)) in (axis.iter().zip(real))
                .enumerate()
                .filter(|(_, (_, real))| **real)
            {
                let next = &mut next[place / self.length];
                *next = position.saturating_add(1).max(*next);
            }
        }
        next
    }

    /// One position per row, the same on all three axes.
    pub fn step(positions: &[i64]) -> Self {
        Self {
            batch: positions.len(),
            length: 1,
            axes: std::array::from_fn(|_| positions.to_vec()),
        }
    }
}

impl MultimodalRope {
    /// The table for `positions`.
    ///
    /// # Shapes
    ///
    /// - output: [`RopeTable`] over `[B, 1, S, h]`, in f32
    ///
    /// # Panics
    ///
    /// Panics if an axis of `positions` holds fewer than `B * S` numbers.
    pub fn table(&self, positions: &Positions, device: &Device) -> RopeTable {
        let half = self.frequencies.len();
        let tokens = positions.batch * positions.length;
        let mut cos = Vec::with_capacity(tokens * half * 2);
        let mut sin = Vec::with_capacity(tokens * half * 2);
        for token in 0..tokens {
            // Both halves of the head turn by the same angles.
            for _ in 0..2 {
                for &(axis, theta) in &self.frequencies {
                    let angle = positions.axes[axis][token] as f32 * theta;
                    cos.push(angle.cos());
                    sin.push(angle.sin());
                }
            }
        }
        let shape = [positions.batch, 1, positions.length, 2 * half];
        let upload =
            |values| Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
        RopeTable {
            cos: upload(cos),
            sin: upload(sin),
        }
    }
}

impl RopeTable {
    /// The table in another float type.
    #[must_use]
    pub fn cast(self, dtype: DType) -> Self {
        Self {
            cos: self.cos.cast(dtype),
            sin: self.sin.cast(dtype),
        }
    }

    /// Cuts a projection into heads, rotates them by their tokens' angles and multiplies them by `factor`.
    ///
    /// # Shapes
    ///
    /// - x: `[B, S, N * h]`
    /// - output: `[B, N, S, h]`
    pub fn rotate_heads(&self, x: Tensor<3>, n_heads: usize, factor: f64) -> Tensor<4> {
        rotate_heads(x, &self.cos, &self.sin, n_heads, factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_positions_count_real_tokens() {
        let real = [false, false, true, true, true, true, true, true];
        let positions = Positions::text(&real, 2);
        assert_eq!(positions.axes[0], [0, 0, 0, 1, 0, 1, 2, 3]);
        assert_eq!(positions.axes[1], positions.axes[2]);
    }

    #[test]
    fn a_quarter_turn_swaps_the_halves() {
        // theta_0 = 1, so position 1 turns by 1 rad: (1, 0) -> (cos 1, sin 1).
        let device = Device::flex();
        let rope = MultimodalRopeConfig::new(2, [1, 0, 0]).init();
        let table = rope.table(&Positions::step(&[1]), &device);
        let x = Tensor::<3>::from_data([[[1.0f32, 0.0]]], &device);
        let y = table
            .rotate_heads(x, 1, 1.0)
            .into_data()
            .try_into_vec::<f32>()
            .expect("f32");
        assert!((y[0] - 1f32.cos()).abs() < 1e-6 && (y[1] - 1f32.sin()).abs() < 1e-6);
    }

    #[test]
    fn equal_positions_on_all_axes_do_not_depend_on_the_sections() {
        let device = Device::flex();
        let positions = Positions::step(&[5, 9]);
        let one = MultimodalRopeConfig::new(8, [4, 0, 0]).init();
        let three = MultimodalRopeConfig::new(8, [1, 1, 2]).init();
        let (a, b) = (
            one.table(&positions, &device),
            three.table(&positions, &device),
        );
        a.cos.into_data().assert_eq(&b.cos.into_data(), true);
    }
}
