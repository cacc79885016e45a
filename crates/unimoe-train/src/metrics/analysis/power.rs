//! Power spectra of a sound.
//!
//! `L` samples, `N` frames, `F` frequency bins.

use realfft::RealFftPlanner;

use super::ANALYSIS_RATE;

/// `|X[n, f]|^2` under a periodic Hann window, `[N, F]`; frame `n` is centred on sample `n hop`, with silence around the
/// sound.
#[derive(Debug, Clone)]
pub struct PowerSpectrogram {
    values: Vec<f64>,
    bins: usize,
    window: usize,
    hop: usize,
}

impl PowerSpectrogram {
    /// Transforms `samples`, `[L]`, into `L / hop + 1` frames of `window / 2 + 1` bins.
    ///
    /// # Panics
    ///
    /// Panics where `window` or `hop` is 0.
    pub fn new(samples: &[f32], window: usize, hop: usize) -> Self {
        assert!(window > 0 && hop > 0, "window and hop must be positive");
        let transform = RealFftPlanner::<f64>::new().plan_fft_forward(window);
        let (mut time, mut bins) = (transform.make_input_vec(), transform.make_output_vec());
        let taper: Vec<f64> = (0..window)
            .map(|k| {
                (std::f64::consts::PI * k as f64 / window as f64)
                    .sin()
                    .powi(2)
            })
            .collect();
        let frames = samples.len() / hop + 1;
        let mut values = Vec::with_capacity(frames * bins.len());
        for frame in 0..frames {
            for (k, (value, taper)) in time.iter_mut().zip(&taper).enumerate() {
                let place = (frame * hop + k).checked_sub(window / 2);
                let sample = place.and_then(|place| samples.get(place));
                *value = taper * f64::from(sample.copied().unwrap_or(0.0));
            }
            // Fails only for buffers of another length than its own.
            if transform.process(&mut time, &mut bins).is_ok() {
                values.extend(bins.iter().map(|bin| bin.norm_sqr()));
            }
        }
        Self {
            bins: bins.len(),
            values,
            window,
            hop,
        }
    }

    /// The frames, each of `F` bins.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.bins)
    }

    /// The middle of a bin in Hz.
    pub fn hz(&self, bin: usize) -> f64 {
        bin as f64 * f64::from(ANALYSIS_RATE) / self.window as f64
    }

    /// Seconds from one frame to the next.
    pub fn step(&self) -> f64 {
        self.hop as f64 / f64::from(ANALYSIS_RATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_in_the_middle_of_a_bin_has_a_sixteenth_of_the_window_squared() {
        // 1 kHz is bin 32 of 512; |X| = a n / 4 under a Hann window.
        let sine = |n: usize| (n as f64 / 16.0 * std::f64::consts::TAU).sin() as f32;
        let samples: Vec<f32> = (0..4096).map(sine).collect();
        let spectrogram = PowerSpectrogram::new(&samples, 512, 160);
        let frame = spectrogram.frames().nth(10).expect("a frame");
        assert_eq!((frame.len(), spectrogram.hz(32)), (257, 1000.0));
        assert!(
            (frame[32] / 128f64.powi(2) - 1.0).abs() < 1e-6,
            "{}",
            frame[32]
        );
        assert!(frame[64] < 1e-6 * frame[32]);
    }

    #[test]
    fn nothing_is_one_silent_frame() {
        let spectrogram = PowerSpectrogram::new(&[], 512, 160);
        assert_eq!(spectrogram.frames().len(), 1);
        assert!(spectrogram.frames().flatten().all(|&power| power == 0.0));
    }
}
