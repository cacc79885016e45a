//! Other sample rates, by a Hann-windowed sinc.
//!
//! `y[n] = sum_k x[k] h(n M / L - k)`, `h(t) = c sinc(c t) (1 + cos(pi t / T)) / 2` for `|t| < T`: the rates' ratio is `L / M`, `c` the
//! edge of the pass band as a share of the input's Nyquist frequency. The kernel is written out here because the bytes of the
//! data set depend on it: a library's next version may round otherwise.

use std::f64::consts::PI;

/// Zero crossings of the kernel on each side.
const ZERO_CROSSINGS: f64 = 32.0;
/// The edge of the pass band as a share of the lower Nyquist frequency.
const PASS_BAND: f64 = 0.94;

/// Resamples; the result has `floor(n * to / from)` samples and no delay. Both rates are positive.
pub(crate) fn resample(x: &[f32], from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return x.to_vec();
    }
    let divisor = gcd(from, to);
    let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
    let cutoff = PASS_BAND * f64::min(1.0, f64::from(to) / f64::from(from));
    let half = (ZERO_CROSSINGS / cutoff).ceil() as usize;
    let taps = 2 * half + 2;
    let phases: Vec<Vec<f32>> = (0..up)
        .map(|phase| {
            let at = phase as f64 / up as f64 + half as f64;
            (0..taps)
                .map(|k| kernel(at - k as f64, cutoff, half as f64))
                .collect()
        })
        .collect();

    // With zeros around the signal every output sees all taps.
    let mut padded = vec![0.0; half];
    padded.extend_from_slice(x);
    padded.resize(padded.len() + taps, 0.0);
    (0..x.len() * up / down)
        .map(|n| {
            let (first, phase) = (n * down / up, n * down % up);
            let window = &padded[first..first + taps];
            window.iter().zip(&phases[phase]).map(|(x, w)| w * x).sum()
        })
        .collect()
}

fn kernel(t: f64, cutoff: f64, half: f64) -> f32 {
    if t.abs() >= half {
        return 0.0;
    }
    let window = 0.5 + 0.5 * (PI * t / half).cos();
    let x = PI * cutoff * t;
    let sinc = if x.abs() < 1e-9 { 1.0 } else { x.sin() / x };
    (cutoff * sinc * window) as f32
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frequency: f64, rate: u32, n: usize) -> Vec<f32> {
        let angle = |i: usize| 2.0 * PI * frequency * i as f64 / f64::from(rate);
        (0..n).map(|i| angle(i).sin() as f32).collect()
    }

    #[test]
    fn a_tone_in_the_pass_band_stays_and_one_above_the_new_band_goes() {
        for (from, to) in [(22_050, 16_000), (48_000, 16_000), (8_000, 16_000)] {
            let n = from as usize / 2;
            let low = resample(&tone(1000.0, from, n), from, to);
            assert_eq!(low.len(), to as usize / 2);
            let wanted = tone(1000.0, to, low.len());
            let middle = 200..low.len() - 200;
            for i in middle.clone() {
                assert!(
                    (low[i] - wanted[i]).abs() < 2e-3,
                    "{from} to {to}: sample {i}"
                );
            }
            if from > to {
                let high = resample(&tone(9000.0, from, n), from, to);
                let loudest = high[middle].iter().fold(0.0f32, |m, v| m.max(v.abs()));
                assert!(loudest < 2e-3, "{from} to {to}: {loudest}");
            }
        }
    }

    #[test]
    fn the_same_rate_changes_nothing_and_nothing_stays_nothing() {
        assert_eq!(resample(&[0.5, -0.25], 16_000, 16_000), [0.5, -0.25]);
        assert!(resample(&[], 22_050, 16_000).is_empty());
    }
}
