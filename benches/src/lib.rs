//! What the benchmarks share: the device, how a case is timed, and random inputs (unpublished).
//!
//! The cases have the names and shapes of `compare_torch.py`; `compare` runs both sides.

use std::time::{Duration, Instant};

use burn::{
    module::{Module, ModuleMapper, Param},
    tensor::{DType, Device, Distribution, Tensor},
};
use criterion::Criterion;
use unimoe_model::DeviceChoice;

/// Something to time.
pub trait Case {
    /// What has to happen before each run; not timed.
    fn prepare(&mut self) {}

    /// What is timed; waits for its result.
    fn run(&mut self);
}

/// Anything that needs no preparation.
impl<F: FnMut()> Case for F {
    fn run(&mut self) {
        self();
    }
}

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

/// Few samples: a case takes from milliseconds to seconds.
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args()
}

/// Times a case, which is built only if it is chosen.
///
/// By criterion; or, where `UNIMOE_COMPARE` is `NAME=RUNS`, as the other side of `compare` does: the
/// median of so many runs after one that isn't counted, as a line of JSON.
pub fn case<C: Case>(criterion: &mut Criterion, name: &str, mut build: impl FnMut() -> C) {
    let Ok(chosen) = std::env::var("UNIMOE_COMPARE") else {
        criterion.bench_function(name, |bencher| {
            let mut case = build();
            bencher.iter_custom(|runs| (0..runs).map(|_| timed(&mut case)).sum());
        });
        return;
    };
    let (wanted, runs) = chosen.split_once('=').expect("UNIMOE_COMPARE is NAME=RUNS");
    let runs: usize = runs.parse().expect("UNIMOE_COMPARE is NAME=RUNS");
    if wanted == name {
        let mut case = build();
        timed(&mut case);
        let mut times: Vec<Duration> = (0..runs.max(1)).map(|_| timed(&mut case)).collect();
        times.sort();
        let (low, high) = (times[(times.len() - 1) / 2], times[times.len() / 2]);
        let median = (low + high).as_secs_f64() / 2.0;
        println!("{{\"case\": \"{name}\", \"seconds\": {median}}}");
    }
}

fn timed(case: &mut impl Case) -> Duration {
    case.prepare();
    let start = Instant::now();
    case.run();
    start.elapsed()
}

/// Normal noise of the given standard deviation.
pub fn noise<const D: usize>(shape: [usize; D], std: f64, device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, std), device)
}

/// Waits for a result by reading it, as a caller on any device would have to.
pub fn wait<const D: usize>(output: Tensor<D>) {
    std::hint::black_box(output.into_data());
}

/// A module with its parameters in another type.
pub fn cast<M: Module>(module: M, dtype: DType) -> M {
    struct Cast(DType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.cast(self.0))
        }
    }
    module.map(&mut Cast(dtype))
}
