//! Settings of the optimisation.

use serde::{Deserialize, Serialize};

use super::{OptimError, Schedule};

/// Configuration to create an [`Optimized`](super::Optimized) model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Highest learning rate. Default: 1e-4, the specialists' (paper, section 4.2)
    pub learning_rate: f64,
    /// Decay of the first and the second moment. Default: 0.9 and 0.999
    pub betas: (f64, f64),
    /// Added to the root of the second moment. Default: 1e-8
    pub epsilon: f64,
    /// Decoupled weight decay: each step takes `learning_rate * weight_decay` of every trained value.
    /// Default: 0.01
    pub weight_decay: f64,
    /// The learning rate over the steps. Default: a cosine over the run
    pub schedule: Schedule,
    /// Largest norm of all gradients together; `None` leaves them as they are. Default: 1
    pub clip_norm: Option<f64>,
    /// Type that the model computes in. Default: float32
    pub precision: Precision,
    /// Regular expressions over parameter paths such as `decoder.layers.0.moe.gate.weight`: those that match
    /// one are trained; without any, all are, or with LoRA none beside the adapters.
    pub trained: Vec<String>,
    /// Regular expressions over parameter paths: those that match one are not trained, whatever else
    /// matches.
    pub frozen: Vec<String>,
    /// Low-rank adapters.
    pub lora: Option<LoraConfig>,
    /// Decay of an exponential moving average of the trained values; `None` for no average.
    pub ema: Option<f64>,
}

/// The type that a model computes in. Values, moments and summed gradients are float32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// bfloat16.
    Bf16,
}

/// Low-rank adapters: `W' = W + alpha / rank * A B` with `W` frozen (LoRA, arXiv:2106.09685).
///
/// `A` starts uniform within `1 / sqrt(rows of W)`, `B` at zero, so that training begins at `W`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Columns of `A` and rows of `B`.
    pub rank: usize,
    /// Numerator of the adapters' factor.
    pub alpha: f64,
    /// Regular expressions over parameter paths: matrices that match one are adapted.
    pub targets: Vec<String>,
    /// Seed of `A`.
    #[serde(default)]
    pub seed: u64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-4,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.01,
            schedule: Schedule::default(),
            clip_norm: Some(1.0),
            precision: Precision::F32,
            trained: Vec::new(),
            frozen: Vec::new(),
            lora: None,
            ema: None,
        }
    }
}

impl OptimizerConfig {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    ///
    /// [`OptimError::Setting`] with the first impossible setting, [`OptimError::Pattern`] where a pattern is
    /// no regular expression.
    ///
    /// ```
    /// use unimoe_train::OptimizerConfig;
    ///
    /// let config = OptimizerConfig { learning_rate: f64::NAN, ..OptimizerConfig::default() };
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(error.to_string(), "learning_rate should be a positive number, found NaN");
    /// ```
    pub fn validate(&self) -> Result<(), OptimError> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let decay = |value: f64| (0.0..1.0).contains(&value);
        let number = "a positive number";
        let share = "at least 0 and less than 1";
        check("learning_rate", self.learning_rate, positive, number)?;
        check("betas[0]", self.betas.0, decay, share)?;
        check("betas[1]", self.betas.1, decay, share)?;
        check("epsilon", self.epsilon, positive, number)?;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        let expected = "a number that is not negative";
        check("weight_decay", self.weight_decay, not_negative, expected)?;
        if let Some(norm) = self.clip_norm {
            check("clip_norm", norm, positive, number)?;
        }
        if let Some(ema) = self.ema {
            check("ema", ema, decay, share)?;
        }
        if let Some(lora) = &self.lora {
            check("lora.rank", lora.rank as f64, positive, number)?;
            check("lora.alpha", lora.alpha, positive, number)?;
            if lora.targets.is_empty() {
                return Err(OptimError::Setting {
                    setting: "lora.targets",
                    expected: "at least one pattern",
                    found: "none".into(),
                });
            }
        }
        self.schedule.validate()?;
        super::select::Selection::new(self).map(|_| ())
    }
}

fn check(
    setting: &'static str,
    value: f64,
    good: impl Fn(f64) -> bool,
    expected: &'static str,
) -> Result<(), OptimError> {
    if good(value) {
        return Ok(());
    }
    Err(OptimError::Setting {
        setting,
        expected,
        found: value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_impossible_number_is_named() {
        type Change = fn(&mut OptimizerConfig, f64);
        let settings: [(&str, Change, &[f64]); 7] = [
            ("learning_rate", |c, v| c.learning_rate = v, &[0.0, -1.0]),
            ("betas[0]", |c, v| c.betas.0 = v, &[-0.1, 1.0]),
            ("betas[1]", |c, v| c.betas.1 = v, &[-0.1, 1.0, 1e18]),
            ("epsilon", |c, v| c.epsilon = v, &[0.0, -1.0]),
            ("weight_decay", |c, v| c.weight_decay = v, &[-1.0]),
            ("clip_norm", |c, v| c.clip_norm = Some(v), &[0.0, -1.0]),
            ("ema", |c, v| c.ema = Some(v), &[1.0, -1.0]),
        ];
        for (name, change, values) in settings {
            for &value in values.iter().chain(&[f64::NAN, f64::INFINITY]) {
                let mut config = OptimizerConfig::default();
                change(&mut config, value);
                let error = config.validate().expect_err(name).to_string();
                assert!(error.starts_with(name), "{error}");
            }
        }
    }

    #[test]
    fn settings_survive_json_and_unknown_ones_are_refused() {
        let config = OptimizerConfig {
            lora: Some(LoraConfig {
                rank: 4,
                alpha: 8.0,
                targets: vec!["q_proj".into()],
                seed: 3,
            }),
            ..OptimizerConfig::default()
        };
        let text = serde_json::to_string(&config).expect("JSON");
        let again: OptimizerConfig = serde_json::from_str(&text).expect("a configuration");
        assert_eq!(again, config);
        let error = serde_json::from_str::<OptimizerConfig>(r#"{"learning_rat": 1}"#);
        assert!(error.is_err());
    }
}
