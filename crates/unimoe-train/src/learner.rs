//! What is trained, as the training loop sees it.

use std::collections::BTreeMap;

use crate::{
    checkpoint::{StateReader, StateWriter},
    error::TrainError,
    event::{Event, RoutingSummary},
};

/// Something that learns from batches: a model with its objective and its optimizer.
///
/// The training loop owns time (steps, data, checkpoints, interrupts); a learner owns what is learnt.
pub trait Learner {
    /// One example, as the data gives it.
    type Item: Send + 'static;

    /// Learns from one optimizer step's batches: more than one where gradients are accumulated.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where the batch doesn't fit the model, or a loss or gradient is not finite; the
    /// learner is then as it was before.
    fn learn(
        &mut self,
        batches: Vec<Vec<Self::Item>>,
        context: StepContext,
    ) -> Result<StepOutcome, TrainError>;

    /// Measures without learning.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where a batch doesn't fit the model.
    fn validate(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Vec<Self::Item>, TrainError>>,
    ) -> Result<ValidationOutcome, TrainError>;

    /// Everything that learning goes on from: parameters, moments, schedule.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where it can't be written.
    fn save(&self, writer: &mut StateWriter) -> Result<(), TrainError>;

    /// Takes up what [`save`](Self::save) wrote.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where it is of another model or setting.
    fn load(&mut self, reader: &StateReader) -> Result<(), TrainError>;

    /// Number of parameters, and of those that are trained.
    fn parameters(&self) -> (u64, u64);
}

/// Where in the run a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepContext {
    /// Steps done before this one.
    pub step: u64,
    /// Seed of this step's own random numbers: the same whenever the step is done again.
    pub seed: u64,
}

/// What came of a step; fields as in [`Event::Step`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepOutcome {
    /// The objective, auxiliary terms included.
    pub loss: f64,
    /// Cross entropy summed over the channels, for each domain in the batch.
    pub domains: BTreeMap<String, f64>,
    /// Cross entropy of each channel.
    pub channels: Vec<f64>,
    /// Further terms of the objective, unweighted.
    pub terms: BTreeMap<String, f64>,
    /// Norm of all gradients before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Real tokens.
    pub tokens: u64,
    /// What else happened in the step.
    pub events: Vec<Event>,
}

/// What came of a validation; fields as in [`Event::Validation`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ValidationOutcome {
    /// Mean loss over the domains.
    pub loss: f64,
    /// Cross entropy summed over the channels, for each domain.
    pub domains: BTreeMap<String, f64>,
    /// Routing of each domain's tokens.
    pub routing: BTreeMap<String, RoutingSummary>,
}
