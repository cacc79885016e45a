//! Products of tokens and weights that stay as they lie in memory: `Y = X W + b`.
//!
//! Weights of 16 or 8 bits are what a product of few rows waits for. Where they are converted whole before each product, they cost
//! more than in 32 bits; here they are converted a few rows at a time, in the cache, on the way to the sums.
//!
//! Axes: `M` rows of the input, `K` its width, `N` width of the output.

use burn::{
    nn::Linear,
    tensor::{DType, Tensor, module},
};

/// `input W + bias`.
///
/// On the CPU, outside graphs, weights in bfloat16, float16 or whole 8-bit numbers with scales are read as they are; sums are in float32.
/// Everywhere else this is Burn's product.
///
/// # Shapes
///
/// - input: `[..., K]`
/// - weight: `[K, N]`
/// - bias: `[N]`
/// - output: `[..., N]`, in the input's type; weights and bias may be of another
pub fn linear<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if let Some(output) = flex::linear(&input, &weight, bias.as_ref()) {
        return output;
    }
    portable(input, weight, bias)
}

/// [`linear`] with the weights of a layer, which lie row by row.
///
/// # Shapes
///
/// - input: `[..., K]`
/// - output: `[..., N]`
///
/// # Panics
///
/// Panics if the layer isn't as wide as the input.
pub fn project<const D: usize>(layer: &Linear, input: Tensor<D>) -> Tensor<D> {
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    linear(input, layer.weight.val(), bias)
}

fn portable<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let dtype = input.dtype();
    let weight = match weight.dtype() {
        DType::QFloat(_) => weight,
        _ => as_type(weight, dtype),
    };
    module::linear(input, weight, bias.map(|bias| as_type(bias, dtype)))
}

/// Casts only where there is something to cast, so that autodiff records nothing.
fn as_type<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype {
        tensor
    } else {
        tensor.cast(dtype)
    }
}

#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod prefetch;
#[cfg(feature = "flex")]
mod product;
#[cfg(feature = "flex")]
mod stored;

#[cfg(test)]
mod tests {
    use burn::tensor::quantization::{QuantScheme, QuantValue, ScaleDtype};

    use super::*;
    use crate::testing::random;

    /// The output's own rounding, as a part of its largest value; sums are in float32.
    fn assert_close(found: Tensor<2>, expected: Tensor<2>, tolerance: f32) {
        assert_eq!(found.dims(), expected.dims());
        let values = |tensor: Tensor<2>| {
            let data = tensor.cast(DType::F32).into_data();
            data.try_into_vec::<f32>().expect("f32")
        };
        let (found, expected) = (values(found), values(expected));
        let scale = expected.iter().fold(1e-3f32, |scale, x| scale.max(x.abs()));
        for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance * scale,
                "{found} is not {expected} at {place}"
            );
        }
    }

    /// Rows, depth and columns at, below and above the sizes of tiles, parts and panels.
    const SIZES: [[usize; 3]; 9] = [
        [1, 1, 1],
        [1, 300, 70],
        [2, 33, 129],
        [3, 32, 64],
        [7, 128, 65],
        [16, 5, 1100],
        [17, 129, 66],
        [23, 260, 200],
        [70, 64, 257],
    ];

    #[test]
    fn weights_of_16_and_32_bits_give_the_product_of_their_values() {
        for [rows, depth, columns] in SIZES {
            let (x, bias) = (random([rows, depth], 1), random([columns], 3));
            let weight = random([depth, columns], 2);
            for (dtype, rounding) in [
                (DType::F32, 1e-6),
                (DType::BF16, 1.0 / 256.0),
                (DType::F16, 1.0 / 2048.0),
            ] {
                let weight = weight.clone().cast(dtype);
                let (x, bias) = (x.clone().cast(dtype), bias.clone().cast(dtype));
                let exact = |t: Tensor<2>| t.cast(DType::F32);
                let product = exact(x.clone()).matmul(exact(weight.clone()));
                let found = linear(x.clone(), weight.clone(), None);
                assert_eq!(found.dtype(), dtype);
                assert_close(found, product.clone(), rounding);
                let expected = product + bias.clone().cast(DType::F32).unsqueeze::<2>();
                assert_close(linear(x, weight, Some(bias)), expected, rounding);
            }
        }
    }

    #[test]
    fn weights_may_have_fewer_bits_than_the_input() {
        for device in crate::testing::devices() {
            let on = |tensor: Tensor<2>| Tensor::<2>::from_data(tensor.into_data(), &device);
            let (x, weight) = (on(random([3, 40], 1)), on(random([40, 9], 2)));
            let half = weight.cast(DType::BF16);
            let expected = x.clone().matmul(half.clone().cast(DType::F32));
            assert_close(linear(x, half, None), expected, 1e-6);
        }
    }

    #[test]
    fn whole_numbers_with_scales_give_the_product_of_their_values() {
        for block in [None, Some([1, 4]), Some([32, 1]), Some([16, 2])] {
            for [rows, depth, columns] in [[1, 64, 68], [5, 96, 132], [40, 160, 64]] {
                let scheme = QuantScheme::default().with_value(QuantValue::Q8S);
                let scheme = match block {
                    Some(block) => scheme.per_block(block, ScaleDtype::F32),
                    None => scheme,
                };
                let weight = random([depth, columns], 2).quantize_dynamic(&scheme);
                let x = random([rows, depth], 1);
                let expected = x.clone().matmul(weight.clone().dequantize());
                assert_close(linear(x, weight, None), expected, 1e-6);
            }
        }
    }
}
