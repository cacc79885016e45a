//! What the benchmarks share: the device, the settings and random inputs (unpublished).
//!
//! The cases have the names and shapes of `compare_torch.py`; `compare` runs both sides.

use std::time::Duration;

use burn::tensor::{Device, Distribution, Tensor};
use criterion::Criterion;
use unimoe_model::DeviceChoice;

/// The device that `UNIMOE_BENCH_DEVICE` names, else the processor.
pub fn device() -> Device {
    let name = std::env::var("UNIMOE_BENCH_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    let device = name
        .parse::<DeviceChoice>()
        .and_then(DeviceChoice::resolve)
        .unwrap_or_else(|error| panic!("UNIMOE_BENCH_DEVICE: {error}"));
    device.seed(0);
    device
}

/// Few samples: a case takes from milliseconds to seconds, and `compare` repeats it.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// Normal noise of the given standard deviation.
pub fn noise<const D: usize>(shape: [usize; D], std: f64, device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, std), device)
}

/// Waits for a result by reading it, as a caller on any device would have to.
pub fn wait<const D: usize>(output: Tensor<D>) {
    std::hint::black_box(output.into_data());
}
