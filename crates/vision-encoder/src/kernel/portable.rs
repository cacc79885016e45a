//! The operations in Burn's tensor API, for every backend and for gradients.

use burn::{
    nn::RmsNorm,
    tensor::{DType, Tensor, activation::silu},
};

use super::Heads;
use crate::rope::RopeTable;

pub(super) fn rms_norm(x: Tensor<2>, norm: &RmsNorm) -> Tensor<2> {
    norm.forward(x)
}

pub(super) fn split_heads(qkv: Tensor<2>, rope: &RopeTable, n_heads: usize) -> Heads {
    let [patches, wide] = qkv.dims();
    let (d_model, d_head) = (wide / 3, wide / 3 / n_heads);
    let part = |part: usize| {
        let part = qkv.clone().narrow(1, part * d_model, d_model);
        part.reshape([patches, n_heads, d_head])
    };
    Heads {
        q: rotate(part(0), rope) * (d_head as f64).powf(-0.5),
        k: rotate(part(1), rope),
        v: part(2),
    }
}

/// Rotates the heads of each patch, in float32 whatever the type of `x`.
fn rotate(x: Tensor<3>, rope: &RopeTable) -> Tensor<3> {
    let dtype = x.dtype();
    let half = x.dims()[2] / 2;
    let x = x.cast(DType::F32);
    let (low, high) = (x.clone().narrow(2, 0, half), x.narrow(2, half, half));
    let (cos, sin) = (
        rope.cos.clone().unsqueeze_dim::<3>(1),
        rope.sin.clone().unsqueeze_dim::<3>(1),
    );
    let turned = Tensor::cat(
        vec![
            low.clone() * cos.clone() - high.clone() * sin.clone(),
            high * cos + low * sin,
        ],
        2,
    );
    turned.cast(dtype)
}

pub(super) fn swiglu(gate: Tensor<2>, up: Tensor<2>) -> Tensor<2> {
    silu(gate) * up
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    #[test]
    fn a_quarter_turn_swaps_the_halves() {
        let device = Device::flex();
        let quarter = std::f32::consts::FRAC_PI_2;
        let rope = RopeTable {
            cos: Tensor::full([1, 2], quarter.cos(), &device),
            sin: Tensor::full([1, 2], quarter.sin(), &device),
        };
        let x = Tensor::<3>::from_data([[[1.0f32, 2.0, 3.0, 4.0]]], &device);
        rotate(x, &rope).into_data().assert_approx_eq::<f32>(
            &TensorData::from([[[-3.0f32, -4.0, 1.0, 2.0]]]),
            Tolerance::absolute(1e-6),
        );
    }
}
