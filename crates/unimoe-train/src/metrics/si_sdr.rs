//! Scale-invariant signal-to-distortion ratio.

use super::MetricError;

/// Greatest ratio in dB, also downwards: beyond it lies the rounding of f32 samples.
const MOST_DECIBELS: f64 = 150.0;
/// Least peak of a sound: half a step of 16 bits.
pub(super) const LEAST_PEAK: f32 = 1.0 / 65_536.0;

/// SI-SDR in dB: `10 log10(|a s|^2 / |a s - e|^2)` with `a = <e, s> / |s|^2`, of a reference `s` and an estimate `e`
/// freed of their means (Le Roux et al., arXiv:1811.02508, eq. 2 and 4). Limited to -150 to 150 dB, so that equal
/// sounds have a finite value.
///
/// It compares sample by sample: it tells how well a codec or an enhancer keeps a waveform, and nothing of a sound
/// that was made anew.
///
/// # Errors
///
/// [`MetricError::Shape`] for different lengths, [`MetricError::TooFew`] for no samples,
/// [`MetricError::NotFinite`] for a sample that is not finite, [`MetricError::Silent`] where one of them is silent.
pub fn si_sdr(reference: &[f32], estimate: &[f32]) -> Result<f64, MetricError> {
    if reference.len() != estimate.len() {
        return Err(MetricError::Shape {
            what: "number of samples of the estimate".into(),
            expected: reference.len(),
            found: estimate.len(),
        });
    }
    let s = centred("the reference", reference)?;
    let e = centred("the estimate", estimate)?;
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let scale = dot(&e, &s) / dot(&s, &s);
    let target = scale * scale * dot(&s, &s);
    let noise = s.iter().zip(&e).map(|(s, e)| (scale * s - e).powi(2));
    let ratio = 10.0 * (target / noise.sum::<f64>()).log10();
    Ok(ratio.clamp(-MOST_DECIBELS, MOST_DECIBELS))
}

/// The samples less their mean; a sound that is constant is silent too.
fn centred(what: &str, samples: &[f32]) -> Result<Vec<f64>, MetricError> {
    if samples.is_empty() {
        return Err(MetricError::TooFew {
            what: format!("samples of {what}"),
            expected: 1,
            found: 0,
        });
    }
    if let Some(index) = samples.iter().position(|sample| !sample.is_finite()) {
        return Err(MetricError::NotFinite {
            what: format!("sample {index} of {what}"),
            found: samples[index].into(),
        });
    }
    let mean = samples.iter().copied().map(f64::from).sum::<f64>() / samples.len() as f64;
    let centred: Vec<f64> = samples.iter().map(|&v| f64::from(v) - mean).collect();
    if centred.iter().all(|v| v.abs() < f64::from(LEAST_PEAK)) {
        return Err(MetricError::Silent { what: what.into() });
    }
    Ok(centred)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn samples() -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1.0f32..1.0, 40)
    }

    #[test]
    fn noise_of_a_tenth_at_right_angles_is_twenty_decibels() {
        let reference: Vec<f32> = (0..400)
            .map(|i| (i as f32 * 0.1 * std::f32::consts::PI).sin())
            .collect();
        let estimate: Vec<f32> = (0..400)
            .map(|i| {
                let angle = i as f32 * 0.1 * std::f32::consts::PI;
                angle.sin() + 0.1 * angle.cos()
            })
            .collect();
        let found = si_sdr(&reference, &estimate).expect("sounds");
        assert!((found - 20.0).abs() < 1e-4, "{found}");
    }

    #[test]
    fn equal_and_unrelated_sounds_have_finite_ratios() {
        assert_eq!(si_sdr(&[0.5, -0.5], &[0.5, -0.5]).expect("sounds"), 150.0);
        let found = si_sdr(&[0.5, -0.5, 0.0, 0.0], &[0.0, 0.0, 0.5, -0.5]).expect("sounds");
        assert_eq!(found, -150.0);
    }

    #[test]
    fn silence_and_broken_samples_are_refused() {
        let sound = [0.5, -0.5];
        for silent in [[0.0, 0.0], [0.3, 0.3], [1e-6, -1e-6]] {
            assert!(matches!(
                si_sdr(&silent, &sound),
                Err(MetricError::Silent { .. })
            ));
            assert!(matches!(
                si_sdr(&sound, &silent),
                Err(MetricError::Silent { .. })
            ));
        }
        assert!(matches!(si_sdr(&[], &[]), Err(MetricError::TooFew { .. })));
        assert!(matches!(
            si_sdr(&sound, &[0.5]),
            Err(MetricError::Shape { .. })
        ));
        assert!(matches!(
            si_sdr(&sound, &[0.5, f32::NAN]),
            Err(MetricError::NotFinite { .. })
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]

        #[test]
        fn neither_scale_nor_a_constant_changes_it(s in samples(), e in samples(), scale in 0.1f32..8.0, offset in -0.5f32..0.5) {
            let moved: Vec<f32> = e.iter().map(|v| v * scale + offset).collect();
            let (plain, moved) = (si_sdr(&s, &e).expect("sounds"), si_sdr(&s, &moved).expect("sounds"));
            // Below -40 dB what is left of the reference is as small as the rounding of f32.
            prop_assert!(plain < -40.0 || (plain - moved).abs() < 1e-2, "{} {}", plain, moved);
        }
    }
}
