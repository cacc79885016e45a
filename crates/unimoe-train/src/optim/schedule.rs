//! The learning rate over the steps.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::OptimError;

/// How the learning rate changes with the steps done, `t`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// It stays.
    Constant,
    /// It rises linearly over `w` steps, then falls along a cosine until step `T`:
    /// `rate * max(0, (1 + cos(2 pi * cycles * (t - w) / (T - w))) / 2)`.
    Cosine {
        /// Steps `w` of the rise. The first step has the rate zero where this is not zero.
        #[serde(default)]
        warmup_steps: u64,
        /// The step `T`; the steps of the run where absent.
        #[serde(default)]
        total_steps: Option<u64>,
        /// Cosines until `T`: half of one, 0.5, ends at zero.
        #[serde(default = "half")]
        cycles: f64,
    },
    /// It swings between `rate` and `floor`, from one to the other in `P` steps:
    /// `floor + (rate - floor) * (1 + cos(pi * t / P)) / 2`.
    CosineAnnealing {
        /// The steps `P`; the steps of the run where absent.
        #[serde(default)]
        period: Option<u64>,
        /// Lowest rate.
        #[serde(default)]
        floor: f64,
    },
}

fn half() -> f64 {
    0.5
}

impl Default for Schedule {
    /// A cosine over the whole run, without a rise.
    fn default() -> Self {
        Self::Cosine {
            warmup_steps: 0,
            total_steps: None,
            cycles: half(),
        }
    }
}

impl Schedule {
    /// The learning rate of the step after `done` steps in a run of `run_steps`, where `rate` is the
    /// highest.
    pub fn rate(&self, rate: f64, done: u64, run_steps: u64) -> f64 {
        let t = done as f64;
        match *self {
            Self::Constant => rate,
            Self::Cosine {
                warmup_steps,
                total_steps,
                cycles,
            } => {
                if done < warmup_steps {
                    return rate * t / warmup_steps as f64;
                }
                let total = total_steps.unwrap_or(run_steps);
                let length = total.saturating_sub(warmup_steps).max(1) as f64;
                let progress = (t - warmup_steps as f64) / length;
                rate * (0.5 * (1.0 + (PI * cycles * 2.0 * progress).cos())).max(0.0)
            }
            Self::CosineAnnealing { period, floor } => {
                let period = period.unwrap_or(run_steps).max(1) as f64;
                floor + (rate - floor) * (1.0 + (PI * t / period).cos()) / 2.0
            }
        }
    }

    pub(super) fn validate(&self) -> Result<(), OptimError> {
        match *self {
            Self::Constant => Ok(()),
            Self::Cosine {
                warmup_steps,
                total_steps,
                cycles,
            } => {
                if !(cycles.is_finite() && cycles > 0.0) {
                    return Err(OptimError::Setting {
                        setting: "schedule.cycles",
                        expected: "a positive number",
                        found: cycles.to_string(),
                    });
                }
                match total_steps {
                    Some(total) if total <= warmup_steps => Err(OptimError::Setting {
                        setting: "schedule.total_steps",
                        expected: "more than warmup_steps",
                        found: format!("{total} with {warmup_steps} warmup_steps"),
                    }),
                    _ => Ok(()),
                }
            }
            Self::CosineAnnealing { period, floor } => {
                if !(floor.is_finite() && floor >= 0.0) {
                    return Err(OptimError::Setting {
                        setting: "schedule.floor",
                        expected: "a number that is not negative",
                        found: floor.to_string(),
                    });
                }
                if period == Some(0) {
                    return Err(OptimError::Setting {
                        setting: "schedule.period",
                        expected: "at least 1",
                        found: "0".into(),
                    });
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &Schedule, steps: &[u64]) -> Vec<f64> {
        let rates = steps.iter().map(|&step| schedule.rate(2.0, step, 10));
        rates.map(|rate| (rate * 1e9).round() / 1e9).collect()
    }

    #[test]
    fn the_cosine_rises_from_zero_and_ends_at_zero() {
        let schedule = Schedule::Cosine {
            warmup_steps: 2,
            total_steps: None,
            cycles: 0.5,
        };
        assert_eq!(
            rates(&schedule, &[0, 1, 2, 6, 10]),
            [0.0, 1.0, 2.0, 1.0, 0.0]
        );
    }

    #[test]
    fn annealing_swings_back_after_its_period() {
        let schedule = Schedule::CosineAnnealing {
            period: Some(4),
            floor: 1.0,
        };
        assert_eq!(
            rates(&schedule, &[0, 2, 4, 6, 8]),
            [2.0, 1.5, 1.0, 1.5, 2.0]
        );
    }

    #[test]
    fn a_run_without_steps_has_a_rate() {
        let cosine = Schedule::default();
        assert_eq!(cosine.rate(1.0, 0, 0), 1.0);
        assert!(cosine.rate(1.0, u64::MAX, u64::MAX).is_finite());
    }
}
