//! How a stage trains.

use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError, objective::ObjectiveConfig, optim::OptimizerConfig, trainer::LoopConfig,
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
    /// Steps between comparisons of the domains' gradients, one more backward pass for each domain. Default: never
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
        Ok(self.optimizer.validate()?)
    }
}
