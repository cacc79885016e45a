//! How a stage trains.

use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError,
    objective::ObjectiveConfig,
    optim::{OptimizerConfig, Schedule},
    trainer::LoopConfig,
};

/// How a stage trains.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageConfig {
    /// Steps, batches, checkpoints.
    pub run: LoopConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// What is minimised.
    pub objective: ObjectiveConfig,
    /// Whether activations are computed again in the backward pass instead of being kept: less memory, more
    /// time. Default: `false`
    pub gradient_checkpointing: bool,
    /// Steps between comparisons of the domains' gradients, one more backward pass for each domain; not with adapters.
    /// Default: never
    pub conflict_every: Option<u64>,
}

impl StageConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] that names the first one that makes no sense.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.run.validate()?;
        self.objective.validate()?;
        if let (Some(_), Some(steps)) = (&self.optimizer.lora, self.conflict_every) {
            // Adapters hang on weights that are frozen: there is no gradient of a shared weight to compare.
            return Err(TrainError::Setting {
                field: "conflict_every",
                expected: "absent where adapters are trained",
                found: steps.to_string(),
            });
        }
        if let Schedule::Cosine {
            warmup_steps,
            total_steps: None,
            ..
        } = self.optimizer.schedule
            && warmup_steps >= self.run.steps
        {
            return Err(TrainError::Setting {
                field: "schedule.warmup_steps",
                expected: "less than the steps of the run",
                found: format!("{warmup_steps} of {}", self.run.steps),
            });
        }
        Ok(self.optimizer.validate()?)
    }
}
