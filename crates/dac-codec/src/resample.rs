//! Changing the sample rate.

use rubato::{
    Fft, FixedSync, Resampler, WindowFunction, audioadapter_buffers::direct::InterleavedSlice,
};

use crate::{codec::input, error::DacError};

/// Block of the resampler in input samples; also about the length of its filter.
const BLOCK: usize = 4096;
/// Sample rates in Hz that are accepted.
const RATES: std::ops::RangeInclusive<u32> = 1..=768_000;

/// Resamples a mono signal; the result has exactly `ceil(n * to / from)` samples and no delay.
///
/// The filter is a windowed sinc of about 4,096 samples, applied by FFT. It passes more of the band's upper end
/// than torchaudio's default (6 zero crossings, Hann window), and less beyond it.
///
/// # Errors
///
/// [`DacError::Input`] for rates that are not within 1 Hz to 768 kHz.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>, DacError> {
    for rate in [from, to] {
        if !RATES.contains(&rate) {
            return Err(input(
                "the sample rate",
                &format!("{} to {} Hz", RATES.start(), RATES.end()),
                format!("{rate} Hz"),
            ));
        }
    }
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let length = (samples.len() as u128 * u128::from(to)).div_ceil(u128::from(from));
    let refused = |error: &dyn std::error::Error| {
        let range = "something to resample";
        input(
            "the audio",
            range,
            format!("refused by the resampler: {error}"),
        )
    };
    let length = usize::try_from(length).map_err(|error| refused(&error))?;
    let mut resampler = Fft::<f32>::new_custom(
        from as usize,
        to as usize,
        BLOCK,
        1,
        1,
        WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|error| refused(&error))?;
    let source =
        InterleavedSlice::new(samples, 1, samples.len()).map_err(|error| refused(&error))?;
    let mut resampled = resampler
        .process_all(&source, samples.len(), None)
        .map_err(|error| refused(&error))?
        .take_data();
    // The resampler works the length out in floating point, which may round one sample up.
    resampled.resize(length, 0.0);
    Ok(resampled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(u32, u32); 6] = [
        (8_000, 16_000),
        (44_100, 16_000),
        (48_000, 16_000),
        (22_050, 16_000),
        (16_000, 44_100),
        (24_000, 16_000),
    ];

    fn sine(rate: u32, hertz: f64, count: usize) -> Vec<f32> {
        let step = std::f64::consts::TAU * hertz / f64::from(rate);
        (0..count).map(|i| (i as f64 * step).sin() as f32).collect()
    }

    #[test]
    fn a_tone_stays_where_it_is_in_time_and_keeps_its_size() {
        for (from, to) in PAIRS {
            let resampled =
                resample(&sine(from, 997.0, from as usize), from, to).expect("valid rates");
            let ideal = sine(to, 997.0, resampled.len());
            // The first and last 0.1 s are left out: the tone is cut off there.
            let inner = to as usize / 10..resampled.len() - to as usize / 10;
            let error: f64 = inner
                .clone()
                .map(|i| f64::from(resampled[i] - ideal[i]).powi(2))
                .sum();
            let signal: f64 = inner.map(|i| f64::from(ideal[i]).powi(2)).sum();
            let decibels = 10.0 * (signal / error).log10();
            assert!(decibels > 90.0, "{from} to {to}: {decibels:.1} dB");
        }
    }

    #[test]
    fn what_the_new_rate_can_not_hold_is_removed() {
        // 10 kHz is beyond the 8 kHz that 16 kHz can carry.
        let resampled =
            resample(&sine(44_100, 10_000.0, 44_100), 44_100, 16_000).expect("valid rates");
        let inner = &resampled[1_600..14_400];
        let loudest = inner.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert!(loudest < 1e-4, "{loudest}");
    }

    #[test]
    fn lengths_are_exact() {
        for (from, to) in PAIRS {
            for count in [0, 1, 2, 5, 440, 441, 442, 4_410, 10_007] {
                let resampled = resample(&vec![0.1; count], from, to).expect("valid rates");
                let expected = (count * to as usize).div_ceil(from as usize);
                assert_eq!(resampled.len(), expected, "{count} samples, {from} to {to}");
            }
        }
    }

    #[test]
    fn impossible_rates_are_refused() {
        for (from, to) in [(0, 16_000), (16_000, 0), (u32::MAX, 16_000)] {
            assert!(matches!(
                resample(&[0.0], from, to),
                Err(DacError::Input { .. })
            ));
        }
    }
}
