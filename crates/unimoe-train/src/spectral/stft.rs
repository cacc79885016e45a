//! The short-time Fourier transform as a matrix product, so that it differentiates on every backend and takes any
//! length of window, not powers of two alone.
//!
//! Axes: `B` batch, `L` samples, `N` frames, `F` frequency bins.

use burn::{
    config::Config,
    tensor::{Device, Tensor, TensorData, ops::PadMode},
};

use super::error::{SpectralError, within};

/// Longest window: its matrix takes 256 MiB.
pub(crate) const MAX_N_FFT: usize = 8192;
/// Keeps the power of a silent bin away from zero, where the root has no gradient.
const MIN_POWER: f32 = 1e-20;

/// Configuration to create an [`Stft`].
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub struct StftConfig {
    /// Length of the window and of the transform, in samples.
    pub n_fft: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
}

/// `X[f, n] = sum over k of w[k] x[n hop + k - n_fft / 2] exp(-2 pi i f k / n_fft)`, `0 <= f <= n_fft / 2`.
///
/// `w` is the periodic Hann window `sin(pi k / n_fft)^2`. Frames are centred: the signal is mirrored at its ends,
/// the end samples themselves not repeated, and zeros follow a signal too short to be mirrored. Nothing is scaled:
/// a sine of amplitude `a` in the middle of a bin has magnitude `a n_fft / 4`.
#[derive(Debug, Clone)]
pub struct Stft {
    /// The windowed cosines, then the windowed negative sines, `[n_fft rounded up to whole hops, 2 F]`.
    basis: Tensor<2>,
    config: StftConfig,
}

/// A complex spectrum.
#[derive(Debug, Clone)]
pub struct Spectrum {
    /// Real part, `[B, F, N]`.
    pub re: Tensor<3>,
    /// Imaginary part, `[B, F, N]`.
    pub im: Tensor<3>,
}

impl StftConfig {
    /// A window of `n_fft` samples that moves on by a quarter of its length.
    pub fn quarter(n_fft: usize) -> Self {
        Self::new(n_fft, (n_fft / 4).max(1))
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`SpectralError`] for a window outside 2 to 8192 samples or a hop outside 1 to `n_fft`.
    pub fn validate(&self) -> Result<(), SpectralError> {
        within("n_fft", self.n_fft, 2, MAX_N_FFT)?;
        within("hop", self.hop, 1, self.n_fft)
    }

    /// Number of frequency bins `F`.
    pub fn n_bins(&self) -> usize {
        self.n_fft / 2 + 1
    }

    /// Number of frames `N` of a signal of `length` samples.
    pub fn n_frames(&self, length: usize) -> usize {
        let length = length.max(self.n_fft / 2 + 1);
        (length + self.n_fft / 2 * 2 - self.n_fft) / self.hop + 1
    }

    /// Initializes an [`Stft`].
    ///
    /// # Errors
    ///
    /// As [`StftConfig::validate`].
    pub fn init(&self, device: &Device) -> Result<Stft, SpectralError> {
        self.validate()?;
        let (n, bins) = (self.n_fft, self.n_bins());
        // One turn, looked up by `f k mod n`, so that large products lose no digits.
        let turn: Vec<(f64, f64)> = (0..n)
            .map(|k| (std::f64::consts::TAU * k as f64 / n as f64).sin_cos())
            .collect();
        let rows = n.next_multiple_of(self.hop);
        let mut values = vec![0f32; rows * 2 * bins];
        for (k, row) in values.chunks_exact_mut(2 * bins).take(n).enumerate() {
            let window = (std::f64::consts::PI * k as f64 / n as f64).sin().powi(2);
            let (cosines, sines) = row.split_at_mut(bins);
            for (f, (re, im)) in cosines.iter_mut().zip(sines).enumerate() {
                let (sin, cos) = turn[f * k % n];
                *re = (window * cos) as f32;
                *im = (-window * sin) as f32;
            }
        }
        let data = TensorData::new(values, [rows, 2 * bins]);
        Ok(Stft {
            basis: Tensor::from_data(data, device),
            config: *self,
        })
    }
}

impl Stft {
    /// The settings.
    pub fn config(&self) -> &StftConfig {
        &self.config
    }

    /// The complex spectrum.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`, on the device that the transform was made for
    /// - output: [`Spectrum`] of `[B, F, N]`, `N` as [`StftConfig::n_frames`] says
    pub fn forward(&self, audio: Tensor<2>) -> Spectrum {
        let bins = self.config.n_bins();
        let parts = self.project(audio).swap_dims(1, 2);
        Spectrum {
            re: parts.clone().narrow(1, 0, bins),
            im: parts.narrow(1, bins, bins),
        }
    }

    /// The magnitude `|X|`, at least 1e-10.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, L]`, on the device that the transform was made for
    /// - output: `[B, F, N]`, `N` as [`StftConfig::n_frames`] says
    pub fn magnitude(&self, audio: Tensor<2>) -> Tensor<3> {
        self.magnitude_rows(audio).swap_dims(1, 2)
    }

    /// [`Stft::magnitude`] as `[B, N, F]`.
    pub(crate) fn magnitude_rows(&self, audio: Tensor<2>) -> Tensor<3> {
        let bins = self.config.n_bins();
        let parts = self.project(audio).square();
        let power = parts.clone().narrow(2, 0, bins) + parts.narrow(2, bins, bins);
        power.clamp_min(MIN_POWER).sqrt()
    }

    /// Real and imaginary part as the two channels of an image, `[B, 2, N, F]`.
    pub(crate) fn image(&self, audio: Tensor<2>) -> Tensor<4> {
        let parts = self.project(audio);
        let [b, n, columns] = parts.dims();
        parts.reshape([b, n, 2, columns / 2]).swap_dims(1, 2)
    }

    /// `[B, L] -> [B, N, 2 F]`.
    fn project(&self, audio: Tensor<2>) -> Tensor<3> {
        let frames = self.frames(audio);
        let [b, n, width] = frames.dims();
        let [_, columns] = self.basis.dims();
        frames
            .reshape([b * n, width])
            .matmul(self.basis.clone())
            .reshape([b, n, columns])
    }

    /// The overlapping frames, `[B, N, n_fft rounded up to whole hops]`.
    ///
    /// Each frame is a row of whole hops: frame `n` holds the pieces `n, n + 1, ...` of `hop` samples, so that a few
    /// slices make all frames and the gradient is a few sums, however many frames there are.
    fn frames(&self, audio: Tensor<2>) -> Tensor<3> {
        let StftConfig { n_fft, hop } = self.config;
        let [b, length] = audio.dims();
        let n = self.config.n_frames(length);
        let half = n_fft / 2;
        let audio = zeros_after(audio, (half + 1).saturating_sub(length));
        let mirrored = audio.pad([(0, 0), (half, half)], PadMode::Reflect);

        let pieces_per_frame = n_fft.div_ceil(hop);
        let pieces = n + pieces_per_frame - 1;
        let [_, found] = mirrored.dims();
        let whole = zeros_after(mirrored, (pieces * hop).saturating_sub(found))
            .narrow(1, 0, pieces * hop)
            .reshape([b, pieces, hop]);
        let shifted = (0..pieces_per_frame)
            .map(|first| whole.clone().narrow(1, first, n))
            .collect();
        Tensor::cat(shifted, 2)
    }
}

fn zeros_after(signal: Tensor<2>, count: usize) -> Tensor<2> {
    if count == 0 {
        return signal;
    }
    let [b, _] = signal.dims();
    let zeros = Tensor::zeros([b, count], &signal.device());
    Tensor::cat(vec![signal, zeros], 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Repeatable numbers in -0.5 to 0.5.
    fn noise(length: usize) -> Vec<f32> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..length).map(|_| next()).collect()
    }

    fn tensor(values: &[f32], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, values.len()]), device)
    }

    fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn every_frame_is_the_windowed_transform_of_the_mirrored_signal() {
        let device = Device::flex();
        // Whole hops and not, odd windows, a signal too short to be mirrored.
        for (n_fft, hop, length) in [(16, 4, 50), (10, 4, 33), (9, 9, 40), (16, 16, 3), (8, 1, 9)] {
            let config = StftConfig::new(n_fft, hop);
            let signal = noise(length);
            let found = config
                .init(&device)
                .unwrap()
                .forward(tensor(&signal, &device));
            let n = config.n_frames(length);
            assert_eq!(found.re.dims(), [1, config.n_bins(), n]);
            let (re, im) = (floats(found.re), floats(found.im));
            let mut padded = signal.clone();
            padded.resize(length.max(n_fft / 2 + 1), 0.0);
            let last = padded.len() as i64 - 1;
            for frame in 0..n {
                for f in 0..config.n_bins() {
                    let (mut a, mut b) = (0f64, 0f64);
                    for k in 0..n_fft {
                        let at = ((frame * hop + k) as i64 - n_fft as i64 / 2).abs();
                        let x = f64::from(padded[(last - (last - at).abs()) as usize]);
                        let w = (std::f64::consts::PI * k as f64 / n_fft as f64)
                            .sin()
                            .powi(2);
                        let turn = std::f64::consts::TAU * (f * k) as f64 / n_fft as f64;
                        a += w * x * turn.cos();
                        b -= w * x * turn.sin();
                    }
                    let place = f * n + frame;
                    assert!(
                        (f64::from(re[place]) - a).abs() < 1e-5,
                        "{n_fft} {hop} {place}"
                    );
                    assert!(
                        (f64::from(im[place]) - b).abs() < 1e-5,
                        "{n_fft} {hop} {place}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_sine_stands_in_its_bin() {
        let device = Device::flex();
        let n = 64;
        let sine: Vec<f32> = (0..640)
            .map(|k| 0.5 * (std::f32::consts::TAU * 5.0 * k as f32 / 64.0).sin())
            .collect();
        let stft = StftConfig::quarter(n).init(&device).unwrap();
        let magnitudes = floats(stft.magnitude(tensor(&sine, &device)).narrow(2, 20, 1));
        // Sum of the window 32, half the amplitude in each of two bins: 0.25 * 32. The window's own spectrum
        // puts half of that into each neighbour and nothing further away.
        let expected = [(3, 0.0), (4, 4.0), (5, 8.0), (6, 4.0), (7, 0.0)];
        for (bin, height) in expected {
            assert!(
                (magnitudes[bin] - height).abs() < 1e-4,
                "{bin}: {}",
                magnitudes[bin]
            );
        }
    }

    #[test]
    fn the_power_of_the_bins_is_that_of_the_windowed_samples() {
        let device = Device::flex();
        let signal = noise(200);
        let stft = StftConfig::new(32, 8).init(&device).unwrap();
        let power = floats(
            stft.magnitude(tensor(&signal, &device))
                .square()
                .narrow(2, 6, 1),
        );
        // Parseval; all bins but the first and the last stand for two.
        let bins: f32 = power.iter().sum::<f32>() * 2.0 - power[0] - power[16];
        let windowed = (0..32).map(|k| {
            let w = (std::f32::consts::PI * k as f32 / 32.0).sin().powi(2);
            (w * signal[6 * 8 - 16 + k]).powi(2)
        });
        assert!((bins / 32.0 - windowed.sum::<f32>()).abs() < 1e-5);
    }

    #[test]
    fn the_gradient_equals_finite_differences() {
        let device = Device::flex().autodiff();
        let signal = noise(40);
        let stft = StftConfig::new(12, 5).init(&device).unwrap();
        let weights = noise(7 * StftConfig::new(12, 5).n_frames(40));
        let weigh = |x: Tensor<2>| {
            let n = StftConfig::new(12, 5).n_frames(40);
            let weights =
                Tensor::<3>::from_data(TensorData::new(weights.clone(), [1, 7, n]), &device);
            (stft.magnitude(x) * weights).sum()
        };
        let x = tensor(&signal, &device).require_grad();
        let gradient = floats(x.grad(&weigh(x.clone()).backward()).unwrap());
        for at in [0, 1, 4, 17, 30, 38, 39] {
            let moved = |step: f32| {
                let mut signal = signal.clone();
                signal[at] += step;
                weigh(tensor(&signal, &device)).into_scalar::<f32>()
            };
            let difference = (moved(1e-3) - moved(-1e-3)) / 2e-3;
            // The differences' own error in f32: 1e-6 over 2e-3, and the curvature.
            assert!(
                (gradient[at] - difference).abs() < 5e-3,
                "{at}: {} {difference}",
                gradient[at]
            );
        }
    }

    #[test]
    fn silence_has_a_finite_gradient() {
        let device = Device::flex().autodiff();
        let x = Tensor::<2>::zeros([2, 100], &device).require_grad();
        let stft = StftConfig::quarter(16).init(&device).unwrap();
        let gradient = x.grad(&stft.magnitude(x.clone()).sum().backward()).unwrap();
        assert!(floats(gradient).iter().all(|&g| g == 0.0));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (n_fft, hop, field) in [
            (0, 1, "n_fft"),
            (usize::MAX, 1, "n_fft"),
            (16, 0, "hop"),
            (16, 17, "hop"),
        ] {
            assert_eq!(
                StftConfig::new(n_fft, hop).validate().unwrap_err().field,
                field
            );
        }
    }
}
