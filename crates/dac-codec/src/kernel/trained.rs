//! Convolutions on the CPU that are part of a graph.

use burn::{
    nn::{
        PaddingConfig1d,
        conv::{Conv1d, ConvTranspose1d},
    },
    tensor::Tensor,
};
use burn_flex::FlexTensor;
use fused_ops::graph::{Fused, Operand, apply};

use super::{
    conv::{channel_sums, correlate, gather, scatter, sizes},
    window::Window,
};

pub(super) fn conv1d(x: &Tensor<3>, conv: &Conv1d) -> Option<Tensor<3>> {
    let PaddingConfig1d::Explicit(padding, right) = conv.padding else {
        return None;
    };
    let weight = conv.weight.val();
    let [_, channels, taps] = weight.dims();
    let window = Window {
        taps,
        stride: conv.stride,
        dilation: conv.dilation,
        padding,
    };
    let [_, c, length] = x.dims();
    if padding != right || conv.groups != 1 || c != channels || has_none(x, &weight) {
        return None;
    }
    let outputs = window.outputs(length)?;
    let bias = conv.bias.as_ref()?.val();
    let operands = [Operand::of(x)?, Operand::of(&weight)?, Operand::of(&bias)?];
    Some(apply(Gathering { window, outputs }, operands))
}

pub(super) fn conv_transpose1d(x: &Tensor<3>, conv: &ConvTranspose1d) -> Option<Tensor<3>> {
    let weight = conv.weight.val();
    let [channels, _, taps] = weight.dims();
    let window = Window {
        taps,
        stride: conv.stride,
        dilation: conv.dilation,
        padding: conv.padding,
    };
    let [_, c, length] = x.dims();
    if conv.groups != 1 || conv.stride == 0 || c != channels || has_none(x, &weight) {
        return None;
    }
    let outputs = window
        .transposed_outputs(length, conv.padding_out)
        .filter(|outputs| *outputs > 0)?;
    let bias = conv.bias.as_ref()?.val();
    let operands = [Operand::of(x)?, Operand::of(&weight)?, Operand::of(&bias)?];
    Some(apply(Scattering { window, outputs }, operands))
}

/// Whether there is nothing to compute.
fn has_none(x: &Tensor<3>, weight: &Tensor<3>) -> bool {
    x.dims().contains(&0) || weight.dims().contains(&0)
}

/// A convolution.
#[derive(Debug, Clone)]
struct Gathering {
    window: Window,
    outputs: usize,
}

/// A transposed convolution.
#[derive(Debug, Clone)]
struct Scattering {
    window: Window,
    outputs: usize,
}

impl Fused<3> for Gathering {
    /// Input and weight.
    type Saved = [FlexTensor; 2];

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let y = gather(self.window, &x, &weight, Some(&bias), self.outputs);
        (y, [x, weight])
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; 3] {
        self.backward_wanted(saved, gradient, [true; 3])
            .map(|gradient| gradient.expect("all are wanted"))
    }

    fn backward_wanted(
        &self,
        [x, weight]: Self::Saved,
        gradient: FlexTensor,
        [for_x, for_weight, for_bias]: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let [_, _, length] = sizes(&x);
        [
            for_x.then(|| scatter(self.window, &gradient, &weight, None, length)),
            for_weight.then(|| correlate(self.window, &gradient, &x)),
            for_bias.then(|| channel_sums(&gradient)),
        ]
    }
}

impl Fused<3> for Scattering {
    /// Input and weight.
    type Saved = [FlexTensor; 2];

    fn forward(&self, [x, weight, bias]: [FlexTensor; 3]) -> (FlexTensor, Self::Saved) {
        let y = scatter(self.window, &x, &weight, Some(&bias), self.outputs);
        (y, [x, weight])
    }

    fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; 3] {
        self.backward_wanted(saved, gradient, [true; 3])
            .map(|gradient| gradient.expect("all are wanted"))
    }

    fn backward_wanted(
        &self,
        [x, weight]: Self::Saved,
        gradient: FlexTensor,
        [for_x, for_weight, for_bias]: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let [_, _, length] = sizes(&x);
        [
            for_x.then(|| gather(self.window, &gradient, &weight, None, length)),
            for_weight.then(|| correlate(self.window, &x, &gradient)),
            for_bias.then(|| channel_sums(&gradient)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        nn::conv::{Conv1dConfig, ConvTranspose1dConfig},
        tensor::Device,
    };

    use super::{super::portable, *};
    use crate::kernel::testing::{assert_close, devices, random};

    /// The value and, in a graph, the gradients of input, weight and bias.
    type Found = (Tensor<3>, Option<(Tensor<3>, Tensor<3>, Tensor<1>)>);

    /// Runs `f` on leaves with the numbers of `x`, `weight` and, from a seed, a bias.
    fn run(
        device: &Device,
        [x, weight]: [&Tensor<3>; 2],
        channels_out: usize,
        f: impl Fn(Tensor<3>, Param<Tensor<3>>, Param<Tensor<1>>) -> Tensor<3>,
    ) -> Found {
        fn leaf<const D: usize>(tensor: &Tensor<D>, device: &Device) -> Tensor<D> {
            let tensor = Tensor::from_data(tensor.to_data(), device);
            if device.is_autodiff() {
                tensor.require_grad()
            } else {
                tensor
            }
        }
        let x = leaf(x, device);
        let weight = Param::from_tensor(leaf(weight, device));
        let bias = Param::from_tensor(leaf(&random([channels_out], 3), device));
        let y = f(x.clone(), weight.clone(), bias.clone());
        let gradients = device.is_autodiff().then(|| {
            let weights = Tensor::from_data(random(y.dims(), 9).into_data(), device);
            let gradients = (y.clone() * weights).sum().backward();
            (
                x.grad(&gradients).expect("of the input"),
                weight.val().grad(&gradients).expect("of the weight"),
                bias.val().grad(&gradients).expect("of the bias"),
            )
        });
        (y, gradients)
    }

    fn assert_same((y, found): Found, (expected_y, expected): Found, what: &str) {
        assert_close(y, expected_y, what);
        if let (Some(found), Some(expected)) = (found, expected) {
            assert_close(found.0, expected.0, &format!("input, {what}"));
            assert_close(found.1, expected.1, &format!("weight, {what}"));
            assert_close(found.2, expected.2, &format!("bias, {what}"));
        }
    }

    #[test]
    fn convolutions_and_their_gradients_equal_the_portable_ones() {
        // [batch, in, out, taps, stride, dilation, padding, length]
        for [b, c, c_out, taps, stride, dilation, padding, length] in [
            [1, 1, 1, 1, 1, 1, 0, 1],
            [1, 1, 4, 7, 1, 1, 3, 50],
            [2, 5, 3, 7, 1, 9, 27, 40],
            [2, 5, 3, 7, 1, 9, 27, 3],
            [1, 4, 8, 10, 5, 1, 3, 105],
            [3, 4, 8, 4, 2, 1, 1, 64],
            [3, 4, 13, 4, 2, 1, 1, 63],
            [1, 4, 8, 16, 8, 1, 4, 8],
            [2, 3, 2, 3, 2, 3, 4, 33],
            [9, 6, 5, 1, 1, 1, 0, 33],
            [2, 6, 1, 7, 1, 1, 3, 9_000],
            [1, 6, 2, 7, 1, 3, 9, 2],
            [1, 300, 3, 7, 1, 3, 9, 1_900],
        ] {
            let (x, weight) = (random([b, c, length], 1), random([c_out, c, taps], 2));
            let what = format!("{c} to {c_out} by {taps}, stride {stride}, length {length}");
            for device in devices() {
                let conv = |weight, bias| {
                    let mut conv = Conv1dConfig::new(c, c_out, taps)
                        .with_stride(stride)
                        .with_dilation(dilation)
                        .with_padding(PaddingConfig1d::Explicit(padding, padding))
                        .init(&device);
                    (conv.weight, conv.bias) = (weight, Some(bias));
                    conv
                };
                let found = run(&device, [&x, &weight], c_out, |x, weight, bias| {
                    conv1d(&x, &conv(weight, bias)).expect("the CPU")
                });
                let expected = run(&device, [&x, &weight], c_out, |x, weight, bias| {
                    portable::conv1d(x, &conv(weight, bias))
                });
                assert_same(found, expected, &what);
            }
        }
    }

    #[test]
    fn transposed_convolutions_and_their_gradients_equal_the_portable_ones() {
        // [batch, in, out, taps, stride, padding, extra, length]
        for [b, c, c_out, taps, stride, padding, extra, length] in [
            [1, 1, 1, 1, 1, 0, 0, 1],
            [1, 3, 4, 4, 2, 1, 0, 1],
            [2, 3, 4, 10, 5, 3, 0, 2],
            [2, 6, 3, 16, 8, 4, 0, 7],
            [1, 4, 2, 6, 3, 2, 1, 100],
            [2, 5, 9, 7, 1, 3, 0, 65],
            [2, 3, 4, 2, 3, 0, 0, 21],
            [2, 400, 7, 4, 2, 1, 0, 700],
        ] {
            let (x, weight) = (random([b, c, length], 1), random([c, c_out, taps], 2));
            let what = format!("{c} to {c_out} by {taps}, stride {stride}, length {length}");
            for device in devices() {
                let conv = |weight, bias| {
                    let mut conv = ConvTranspose1dConfig::new([c, c_out], taps)
                        .with_stride(stride)
                        .with_padding(padding)
                        .with_padding_out(extra)
                        .init(&device);
                    (conv.weight, conv.bias) = (weight, Some(bias));
                    conv
                };
                let found = run(&device, [&x, &weight], c_out, |x, weight, bias| {
                    conv_transpose1d(&x, &conv(weight, bias)).expect("the CPU")
                });
                let expected = run(&device, [&x, &weight], c_out, |x, weight, bias| {
                    portable::conv_transpose1d(x, &conv(weight, bias))
                });
                assert_same(found, expected, &what);
            }
        }
    }

    /// A convolution of kernel 7 from 12 to 12 channels.
    fn plain(device: &Device) -> Conv1d {
        let mut conv = Conv1dConfig::new(12, 12, 7)
            .with_padding(PaddingConfig1d::Explicit(3, 3))
            .init(device);
        let weight = Tensor::from_data(random([12, 12, 7], 2).into_data(), device);
        conv.weight = Param::from_tensor(weight);
        conv
    }

    #[test]
    fn views_are_handled() {
        let conv = plain(&Device::flex());
        let view = random([2, 50, 14], 1).swap_dims(1, 2).narrow(1, 1, 12);
        let found = conv1d(&view, &conv).expect("the CPU");
        assert_close(found, portable::conv1d(view, &conv), "a view");
    }

    #[test]
    fn an_input_outside_the_graph_leaves_the_weights_their_gradient() {
        let device = Device::flex().autodiff();
        let conv = plain(&device);
        let x = Tensor::from_data(random([2, 12, 100], 1).into_data(), &device);
        let of = |y: Tensor<3>| {
            let gradients = y.square().sum().backward();
            conv.weight.val().grad(&gradients).expect("a gradient")
        };
        let found = of(conv1d(&x, &conv).expect("the CPU"));
        assert_close(found, of(portable::conv1d(x, &conv)), "weight");
    }

    #[test]
    fn results_are_the_same_bits_on_one_thread_and_on_three() {
        let device = Device::flex().autodiff();
        let conv = plain(&device);
        let bits = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let x = Tensor::from_data(random([11, 12, 600], 1).into_data(), &device);
                let x = x.require_grad();
                let y = conv1d(&x, &conv).expect("the CPU");
                let gradients = y.clone().square().sum().backward();
                let weight = conv.weight.val().grad(&gradients).expect("a gradient");
                let bias = conv.bias.as_ref().expect("a bias").val();
                [
                    y.inner().into_data(),
                    x.grad(&gradients).expect("a gradient").into_data(),
                    weight.into_data(),
                    bias.grad(&gradients).expect("a gradient").into_data(),
                ]
            })
        };
        assert_eq!(bits(1), bits(3));
    }

    #[test]
    fn what_is_not_a_number_reaches_only_what_meets_it() {
        let device = Device::flex();
        let conv = plain(&device);
        let mut numbers = random([2, 12, 100], 1)
            .into_data()
            .try_into_vec::<f32>()
            .expect("f32");
        // Channel 11 of the first signal, the last sample: the next signal's rows lie right behind it.
        numbers[12 * 100 - 1] = f32::NAN;
        let x = Tensor::from_data(
            burn::tensor::TensorData::new(numbers, [2, 12, 100]),
            &device,
        );
        let y = conv1d(&x, &conv).expect("the CPU").into_data();
        for (at, value) in y.try_into_vec::<f32>().expect("f32").iter().enumerate() {
            let touched = at < 12 * 100 && at % 100 >= 96;
            assert_eq!(value.is_nan(), touched, "{at}");
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_left_to_others() {
        let device = Device::flex();
        let conv = plain(&device);
        assert!(conv1d(&random([1, 11, 9], 1), &conv).is_none());
        let mut wide = plain(&device);
        wide.padding = PaddingConfig1d::Explicit(0, 0);
        assert!(conv1d(&random([1, 12, 6], 1), &wide).is_none());
    }
}
