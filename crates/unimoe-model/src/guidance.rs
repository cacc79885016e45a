//! Classifier-free guidance and the rules for the end of sequence, before a code is drawn.
//!
//! `guided = cond + scale * (cond - uncond)` (as the published code has it: a scale of 1 already
//! extrapolates, a scale of 0 is the conditional row alone). Then ids that a channel must not say are
//! forbidden, and channel 0's logit of the end is multiplied by a factor.
//! Axes: `K` channels, `V` codes.

use crate::error::SamplingError;

/// Strengthens what the condition adds to the logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassifierFreeGuidance {
    scale: f32,
    eos_factor: f32,
}

/// Which codes may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EosRule {
    /// The end of sequence; codes above it are never said.
    pub eos: u32,
    /// Whether channel 0 may say the end. The other channels never may.
    pub allowed: bool,
}

impl ClassifierFreeGuidance {
    /// Guides by `scale` and multiplies channel 0's logit of the end by `eos_factor`.
    ///
    /// The factor scales a logit, not a probability: below 1 it makes the end less likely where the
    /// logit is positive, and likelier where it is negative.
    ///
    /// # Errors
    ///
    /// [`SamplingError::Setting`] where one is negative or not finite.
    pub fn new(scale: f32, eos_factor: f32) -> Result<Self, SamplingError> {
        for (setting, value) in [
            ("the guidance scale", scale),
            ("the EOS factor", eos_factor),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(SamplingError::Setting {
                    setting,
                    expected: "a finite number that is not negative",
                    found: f64::from(value),
                });
            }
        }
        Ok(Self { scale, eos_factor })
    }

    /// Weight of the difference between the two rows.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Factor of channel 0's logit of the end.
    pub fn eos_factor(&self) -> f32 {
        self.eos_factor
    }

    /// Guides one request's logits; forbidden codes become minus infinity.
    ///
    /// # Shapes
    ///
    /// - logits: `[2, K, V]`, unconditional, then conditional
    /// - guided (replaced): `[K, V]`
    ///
    /// # Errors
    ///
    /// A [`SamplingError`] where the logits have another shape, the end is not a code, or a logit that
    /// counts is not finite. `guided` is then of no use.
    pub fn guide(
        &self,
        logits: &[f32],
        n_channels: usize,
        rule: EosRule,
        guided: &mut Vec<f32>,
    ) -> Result<(), SamplingError> {
        let n_rows = n_channels.saturating_mul(2);
        if n_rows == 0 || logits.is_empty() || !logits.len().is_multiple_of(n_rows) {
            return Err(SamplingError::Rows {
                rows: n_rows,
                found: logits.len(),
            });
        }
        let vocabulary = logits.len() / n_rows;
        let eos = rule.eos as usize;
        if eos >= vocabulary {
            return Err(SamplingError::Eos {
                eos: rule.eos,
                vocabulary,
            });
        }

        let (unconditional, conditional) = logits.split_at(logits.len() / 2);
        guided.clear();
        if self.scale == 0.0 {
            guided.extend_from_slice(conditional);
        } else {
            let rows = unconditional.iter().zip(conditional);
            guided.extend(rows.map(|(uncond, cond)| cond + self.scale * (cond - uncond)));
        }
        if let Some(place) = guided.iter().position(|logit| !logit.is_finite()) {
            return Err(SamplingError::NotFinite {
                channel: place / vocabulary,
                code: place % vocabulary,
                found: guided[place],
            });
        }

        for (channel, row) in guided.chunks_exact_mut(vocabulary).enumerate() {
            let may_end = channel == 0 && rule.allowed;
            if may_end {
                row[eos] *= self.eos_factor;
            }
            row[eos + usize::from(may_end)..].fill(f32::NEG_INFINITY);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO: f32 = f32::NEG_INFINITY;
    const END: EosRule = EosRule {
        eos: 2,
        allowed: true,
    };

    fn guide(scale: f32, factor: f32, rule: EosRule) -> Vec<f32> {
        // Two channels of four codes; the unconditional rows are zero.
        let logits = [
            0., 0., 0., 0., 0., 0., 0., 0., 1., 2., -3., 4., 5., 6., 7., 8.,
        ];
        let mut guided = vec![9.0; 3];
        ClassifierFreeGuidance::new(scale, factor)
            .expect("valid settings")
            .guide(&logits, 2, rule, &mut guided)
            .expect("valid logits");
        guided
    }

    #[test]
    fn a_scale_of_one_doubles_what_the_condition_adds() {
        assert_eq!(guide(1.0, 0.5, END), [2., 4., -3., NO, 10., 12., NO, NO]);
    }

    #[test]
    fn a_scale_of_zero_is_the_conditional_row() {
        assert_eq!(guide(0.0, 1.0, END), [1., 2., -3., NO, 5., 6., NO, NO]);
    }

    #[test]
    fn no_channel_ends_before_the_minimum_whatever_the_factor() {
        let rule = EosRule {
            allowed: false,
            ..END
        };
        for factor in [0.0, 0.6, 2.0] {
            assert_eq!(guide(0.0, factor, rule), [1., 2., NO, NO, 5., 6., NO, NO]);
        }
    }

    #[test]
    fn logits_that_are_not_finite_are_named() {
        let guidance = ClassifierFreeGuidance::new(2.0, 1.0).expect("valid settings");
        let mut guided = Vec::new();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let mut logits = [0.0; 12];
            logits[6 + 4] = bad;
            let error = guidance.guide(&logits, 2, END, &mut guided);
            assert!(
                matches!(
                    error,
                    Err(SamplingError::NotFinite {
                        channel: 1,
                        code: 1,
                        ..
                    })
                ),
                "{bad}: {error:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let guidance = ClassifierFreeGuidance::new(1.0, 1.0).expect("valid settings");
        let mut guided = Vec::new();
        for (n_logits, n_channels) in [(0, 1), (7, 2), (8, 0), (8, usize::MAX)] {
            assert!(matches!(
                guidance.guide(&vec![0.0; n_logits], n_channels, END, &mut guided),
                Err(SamplingError::Rows { .. })
            ));
        }
        assert_eq!(
            guidance.guide(&[0.0; 4], 1, END, &mut guided),
            Err(SamplingError::Eos {
                eos: 2,
                vocabulary: 2
            })
        );
        for bad in [f32::NAN, f32::INFINITY, -0.1] {
            assert!(ClassifierFreeGuidance::new(bad, 1.0).is_err());
            assert!(ClassifierFreeGuidance::new(1.0, bad).is_err());
        }
    }
}
