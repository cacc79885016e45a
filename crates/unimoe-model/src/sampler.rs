//! Choosing a code: temperature, top-k, top-p, then a draw.
//!
//! In this order, as the published code has it: logits are divided by the temperature; the end of
//! sequence is forbidden unless it is the likeliest; the `top_k` likeliest stay; of these, likeliest
//! first, those stay before which no more than `top_p` of the probability lies; softmax; draw.
//! Axes: `K` channels, `V` codes. Works on the host; guidance is in [`crate::ClassifierFreeGuidance`].

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::SamplingError;

/// How to choose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingConfig {
    /// Above 1 more even, below 1 more peaked; 0 is [`greedy`](Self::greedy).
    pub temperature: f64,
    /// Probability to keep, in `(0, 1]`; 1 keeps all.
    pub top_p: f64,
    /// Codes to keep; `None` keeps all.
    pub top_k: Option<usize>,
    /// Always the likeliest code, the lowest of equals.
    pub greedy: bool,
}

/// Chooses one request's codes. Owned by the caller, one per request.
///
/// Each call of [`sample`](Self::sample) takes exactly one number from a generator of this request's
/// own, whatever the logits and settings are. The draws therefore depend on the seed and on how many
/// calls came before, and on nothing else in the batch.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SamplingConfig,
    rng: ChaCha8Rng,
    kept: Vec<Candidate>,
}

/// A code that may be chosen. `weight` is its logit, then its part of the softmax's sum.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    code: u32,
    weight: f64,
}

impl Default for SamplingConfig {
    /// The published pipeline's: temperature 1, the likeliest 45, no top-p.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: Some(45),
            greedy: false,
        }
    }
}

impl SamplingConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// [`SamplingError::Setting`] for the first one out of range.
    pub fn validate(&self) -> Result<(), SamplingError> {
        let wrong = |setting, expected, found| SamplingError::Setting {
            setting,
            expected,
            found,
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            let expected = "a finite number that is not negative";
            return Err(wrong("the temperature", expected, self.temperature));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(wrong("top-p", "above 0 and at most 1", self.top_p));
        }
        if self.top_k == Some(0) {
            return Err(wrong("top-k", "at least 1", 0.0));
        }
        Ok(())
    }
}

impl Sampler {
    /// A sampler whose draws follow from `seed`.
    ///
    /// # Errors
    ///
    /// [`SamplingError::Setting`] where a setting is out of range.
    ///
    /// # Example
    ///
    /// ```
    /// use unimoe_model::{Sampler, SamplingConfig};
    ///
    /// let config = SamplingConfig { top_k: Some(2), ..SamplingConfig::default() };
    /// let probabilities = Sampler::new(config, 7)?.distribution(&[0.0, 0.0, -1.0], None)?;
    /// assert_eq!(probabilities, [0.5, 0.5, 0.0]);
    /// # Ok::<(), unimoe_model::SamplingError>(())
    /// ```
    pub fn new(config: SamplingConfig, seed: u64) -> Result<Self, SamplingError> {
        config.validate()?;
        Ok(Self {
            config,
            rng: ChaCha8Rng::seed_from_u64(seed),
            kept: Vec::new(),
        })
    }

    /// Chooses a code. `eos` is the end of sequence where its rule holds.
    ///
    /// # Shapes
    ///
    /// - logits: `[V]`, minus infinity where a code is forbidden
    ///
    /// # Errors
    ///
    /// A [`SamplingError`] where a logit is NaN or plus infinity, or every code is forbidden.
    pub fn sample(&mut self, logits: &[f32], eos: Option<u32>) -> Result<u32, SamplingError> {
        self.sample_channel(0, logits, eos)
    }

    /// Chooses a frame, channel by channel.
    ///
    /// # Shapes
    ///
    /// - logits: `[K, V]`, minus infinity where a code is forbidden
    /// - codes (replaced): `[K]`
    ///
    /// # Errors
    ///
    /// A [`SamplingError`] as of [`sample`](Self::sample), or where the logits don't form `K` rows.
    pub fn sample_frame(
        &mut self,
        logits: &[f32],
        n_channels: usize,
        eos: Option<u32>,
        codes: &mut Vec<u32>,
    ) -> Result<(), SamplingError> {
        if n_channels == 0 || logits.is_empty() || !logits.len().is_multiple_of(n_channels) {
            return Err(SamplingError::Rows {
                rows: n_channels,
                found: logits.len(),
            });
        }
        codes.clear();
        let rows = logits.chunks_exact(logits.len() / n_channels);
        for (channel, row) in rows.enumerate() {
            codes.push(self.sample_channel(channel, row, eos)?);
        }
        Ok(())
    }

    /// The probability of each code to be chosen. Takes nothing from the generator.
    ///
    /// # Shapes
    ///
    /// - logits: `[V]`, minus infinity where a code is forbidden
    /// - output: `[V]`, exactly 0 where a code can't be chosen
    ///
    /// # Errors
    ///
    /// As of [`sample`](Self::sample).
    pub fn distribution(
        &mut self,
        logits: &[f32],
        eos: Option<u32>,
    ) -> Result<Vec<f32>, SamplingError> {
        let total = self.choose_from(0, logits, eos)?;
        let mut probabilities = vec![0.0; logits.len()];
        for candidate in &self.kept {
            probabilities[candidate.code as usize] = (candidate.weight / total) as f32;
        }
        Ok(probabilities)
    }

    fn sample_channel(
        &mut self,
        channel: usize,
        logits: &[f32],
        eos: Option<u32>,
    ) -> Result<u32, SamplingError> {
        let total = self.choose_from(channel, logits, eos)?;
        // 53 bits: every multiple of 2^-53 in [0, 1).
        let mut left = (self.rng.next_u64() >> 11) as f64 * (-53_f64).exp2() * total;
        for candidate in &self.kept {
            left -= candidate.weight;
            if left < 0.0 {
                return Ok(candidate.code);
            }
        }
        // Rounding may leave a remainder; it belongs to the last one with any weight.
        let last = self.kept.iter().rfind(|candidate| candidate.weight > 0.0);
        last.map(|candidate| candidate.code)
            .ok_or(SamplingError::NoCandidate)
    }

    /// Fills `kept` with the codes to draw from, likeliest first, and returns the sum of their weights.
    fn choose_from(
        &mut self,
        channel: usize,
        logits: &[f32],
        eos: Option<u32>,
    ) -> Result<f64, SamplingError> {
        let best = likeliest(channel, logits)?;
        self.kept.clear();
        if self.config.greedy || self.config.temperature == 0.0 {
            self.kept.push(Candidate {
                code: best,
                weight: 1.0,
            });
            return Ok(1.0);
        }

        let forbidden = eos.filter(|&eos| eos != best);
        let peak = f64::from(logits[best as usize]);
        for (code, &logit) in (0..).zip(logits) {
            if logit > f32::NEG_INFINITY && Some(code) != forbidden {
                let weight = (f64::from(logit) - peak) / self.config.temperature;
                self.kept.push(Candidate { code, weight });
            }
        }
        let likelier =
            |a: &Candidate, b: &Candidate| b.weight.total_cmp(&a.weight).then(a.code.cmp(&b.code));
        if let Some(top_k) = self.config.top_k.filter(|&top_k| top_k < self.kept.len()) {
            self.kept.select_nth_unstable_by(top_k - 1, likelier);
            self.kept.truncate(top_k);
        }
        self.kept.sort_unstable_by(likelier);

        let mut total = 0.0;
        for candidate in &mut self.kept {
            candidate.weight = candidate.weight.exp();
            total += candidate.weight;
        }
        if self.config.top_p < 1.0 {
            let (limit, mut before, mut stay) = (self.config.top_p * total, 0.0, 0);
            for candidate in &self.kept {
                if before > limit {
                    break;
                }
                before += candidate.weight;
                stay += 1;
            }
            self.kept.truncate(stay);
            total = before;
        }
        Ok(total)
    }
}

/// The code with the largest logit, the lowest of equals.
fn likeliest(channel: usize, logits: &[f32]) -> Result<u32, SamplingError> {
    let mut best: Option<(u32, f32)> = None;
    for (code, &logit) in (0_u32..).zip(logits) {
        if logit.is_nan() || logit == f32::INFINITY {
            return Err(SamplingError::NotFinite {
                channel,
                code: code as usize,
                found: logit,
            });
        }
        if logit > best.map_or(f32::NEG_INFINITY, |(_, logit)| logit) {
            best = Some((code, logit));
        }
    }
    best.map(|(code, _)| code).ok_or(SamplingError::NoCandidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(config: SamplingConfig) -> Sampler {
        Sampler::new(config, 3).expect("valid settings")
    }

    /// Everything may be chosen.
    const OPEN: SamplingConfig = SamplingConfig {
        temperature: 1.0,
        top_p: 1.0,
        top_k: None,
        greedy: false,
    };

    /// Logits of the probabilities 1/2, 1/4, 1/8 and 1/8.
    fn halves() -> [f32; 4] {
        [0.5, 0.25, 0.125, 0.125].map(f32::ln)
    }

    fn assert_near(actual: &[f32], expected: &[f32]) {
        assert_eq!(actual.len(), expected.len());
        for (a, e) in actual.iter().zip(expected) {
            // Zero must be exact: it means that the code can't be chosen.
            assert!(
                (a - e).abs() < 1e-6 && (*a == 0.0) == (*e == 0.0),
                "{actual:?}"
            );
        }
    }

    #[test]
    fn the_code_that_crosses_top_p_stays() {
        for (top_p, expected) in [
            (0.4, [1.0, 0.0, 0.0, 0.0]),
            (0.6, [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]),
            (0.8, [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0]),
            (1.0, [0.5, 0.25, 0.125, 0.125]),
        ] {
            let mut sampler = sampler(SamplingConfig { top_p, ..OPEN });
            let actual = sampler.distribution(&halves(), None).expect("valid logits");
            assert_near(&actual, &expected);
        }
    }

    #[test]
    fn top_k_keeps_the_lowest_of_equals() {
        let mut sampler = sampler(SamplingConfig {
            top_k: Some(3),
            ..OPEN
        });
        let actual = sampler.distribution(&halves(), None).expect("valid logits");
        assert_near(&actual, &[4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0]);
    }

    #[test]
    fn a_temperature_of_two_takes_roots() {
        let mut sampler = sampler(SamplingConfig {
            temperature: 2.0,
            ..OPEN
        });
        // The roots of 1 and 1/4 are 1 and 1/2.
        let logits = [0.0, 0.25_f32.ln()];
        let actual = sampler.distribution(&logits, None).expect("valid logits");
        assert_near(&actual, &[2.0 / 3.0, 1.0 / 3.0]);
    }

    #[test]
    fn the_end_must_be_likeliest() {
        let mut sampler = sampler(OPEN);
        let first = sampler
            .distribution(&halves(), Some(0))
            .expect("valid logits");
        assert_near(&first, &[0.5, 0.25, 0.125, 0.125]);
        let second = sampler
            .distribution(&halves(), Some(1))
            .expect("valid logits");
        assert_near(&second, &[2.0 / 3.0, 0.0, 1.0 / 6.0, 1.0 / 6.0]);
    }

    #[test]
    fn a_temperature_of_zero_is_greedy() {
        let cold = SamplingConfig {
            temperature: 0.0,
            ..OPEN
        };
        let greedy = SamplingConfig {
            greedy: true,
            ..OPEN
        };
        for config in [cold, greedy] {
            let mut sampler = sampler(config);
            assert_eq!(sampler.sample(&[1.0, 3.0, 3.0], None), Ok(1));
            assert_eq!(
                sampler.distribution(&[1.0, 3.0, 3.0], Some(2)),
                Ok(vec![0.0, 1.0, 0.0])
            );
        }
    }

    #[test]
    fn draws_follow_the_distribution() {
        let mut sampler = sampler(OPEN);
        let n_draws = 20_000;
        let mut counts = [0_u32; 4];
        for _ in 0..n_draws {
            let code = sampler.sample(&halves(), None).expect("valid logits");
            counts[code as usize] += 1;
        }
        for (count, p) in counts.into_iter().zip([0.5, 0.25, 0.125, 0.125_f64]) {
            let mean = f64::from(n_draws) * p;
            // Five standard deviations of the binomial distribution.
            let allowed = 5.0 * (mean * (1.0 - p)).sqrt();
            assert!((f64::from(count) - mean).abs() < allowed, "{counts:?}");
        }
    }

    #[test]
    fn a_draw_depends_on_the_seed_and_the_number_of_calls_only() {
        let greedy = SamplingConfig {
            greedy: true,
            ..OPEN
        };
        let mut steady = sampler(OPEN);
        let mut varied = sampler(greedy);
        let even = [0.0; 64];
        let (mut a, mut b) = (Vec::new(), Vec::new());
        for step in 0..50 {
            a.push(steady.sample(&even, None));
            // Other logits and settings in the calls between.
            varied.config = if step % 2 == 0 { OPEN } else { greedy };
            b.push(varied.sample(&even[..if step % 2 == 0 { 64 } else { 3 }], None));
        }
        let evens = |codes: Vec<_>| codes.into_iter().step_by(2).collect::<Vec<_>>();
        assert_eq!(evens(a), evens(b));
        let mut other = Sampler::new(OPEN, 4).expect("valid settings");
        let mut same = sampler(OPEN);
        let draw = |sampler: &mut Sampler| (0..20).map(|_| sampler.sample(&even, None)).collect();
        let (other, same): (Vec<_>, Vec<_>) = (draw(&mut other), draw(&mut same));
        assert_ne!(other, same);
    }

    #[test]
    fn a_frame_is_its_channels_in_order() {
        let mut whole = sampler(OPEN);
        let mut parts = whole.clone();
        let logits: Vec<f32> = (0..15).map(|i| (i * 7 % 5) as f32).collect();
        let mut codes = vec![99; 2];
        for _ in 0..20 {
            whole
                .sample_frame(&logits, 3, None, &mut codes)
                .expect("valid logits");
            for (row, &code) in logits.chunks(5).zip(&codes) {
                assert_eq!(parts.sample(row, None), Ok(code));
            }
        }
    }

    #[test]
    fn bad_logits_and_settings_are_errors() {
        let mut sampler = sampler(OPEN);
        let mut codes = Vec::new();
        for bad in [f32::NAN, f32::INFINITY] {
            let error = sampler.sample_frame(&[0.0, 0.0, 0.0, bad], 2, None, &mut codes);
            assert!(matches!(
                error,
                Err(SamplingError::NotFinite {
                    channel: 1,
                    code: 1,
                    ..
                })
            ));
        }
        assert_eq!(
            sampler.sample(&[f32::NEG_INFINITY; 3], None),
            Err(SamplingError::NoCandidate)
        );
        assert_eq!(sampler.sample(&[], None), Err(SamplingError::NoCandidate));
        for (n_logits, n_channels) in [(0, 1), (3, 2), (3, 0)] {
            assert!(matches!(
                sampler.sample_frame(&vec![0.0; n_logits], n_channels, None, &mut codes),
                Err(SamplingError::Rows { .. })
            ));
        }
        for temperature in [f64::NAN, f64::INFINITY, -1.0] {
            let config = SamplingConfig {
                temperature,
                ..OPEN
            };
            assert!(Sampler::new(config, 0).is_err());
        }
        for top_p in [f64::NAN, 0.0, -0.5, 1.1] {
            assert!(Sampler::new(SamplingConfig { top_p, ..OPEN }, 0).is_err());
        }
        let config = SamplingConfig {
            top_k: Some(0),
            ..OPEN
        };
        assert!(Sampler::new(config, 0).is_err());
    }
}
