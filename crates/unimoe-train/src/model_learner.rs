//! How a [`UniMoe`] learns.
//!
//! Axes: `B` rows, `S` positions, `K` codec channels.

use std::{collections::BTreeMap, sync::Arc};

use burn::{module::Module, tensor::Tensor};
use unimoe_model::{UniMoe, UniMoeConfig, UniMoeError};

use crate::{
    batch::{Batch, BatchSettings},
    checkpoint::{StateReader, StateWriter},
    error::TrainError,
    event::Event,
    example::Example,
    learner::{Learner, StepContext, StepOutcome, ValidationOutcome},
    objective::{DomainLosses, Objective, ObjectiveConfig},
    optim::{Optimized, OptimizerConfig},
    report::{DomainRouting, gradient_conflict, shared_parameters},
};

/// Where a model's parameters lie in a checkpoint.
const PREFIX: &str = "model";

/// A model with its objective and its optimizer.
pub struct ModelLearner {
    optimized: Optimized<UniMoe>,
    objective: ObjectiveConfig,
    config: Arc<UniMoeConfig>,
    pad_id: u32,
    conflict_every: Option<u64>,
}

impl ModelLearner {
    /// Makes a learner of a model on an autodiff device; `total_steps` are those of its schedule, `pad_id` is the
    /// tokenizer's.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where the settings make no sense or fit the model nowhere.
    pub fn new(
        model: UniMoe,
        objective: ObjectiveConfig,
        optimizer: &OptimizerConfig,
        total_steps: u64,
        pad_id: u32,
    ) -> Result<Self, TrainError> {
        objective.validate()?;
        objective.check_model(model.config())?;
        let config = Arc::new(model.config().clone());
        Ok(Self {
            optimized: Optimized::new(model, optimizer, total_steps)?,
            objective,
            config,
            pad_id,
            conflict_every: None,
        })
    }

    /// Compares the domains' gradients every `steps` steps, on the batches of the step.
    pub fn with_conflict_every(mut self, steps: Option<u64>) -> Self {
        self.conflict_every = steps.filter(|&steps| steps > 0);
        self
    }

    /// The model as it is now, in f32, adapters merged.
    pub fn trained(&self) -> UniMoe {
        self.optimized.trained()
    }

    /// The average over the steps, where one is kept.
    pub fn averaged(&self) -> Option<UniMoe> {
        self.optimized.averaged()
    }

    /// A batch as the objective wants it learnt.
    fn training_batch(&self, examples: &[Example], seed: u64) -> Batch {
        let settings = BatchSettings {
            unconditional: self.objective.unconditional,
            code_dropout: self.objective.code_dropout,
            code_noise: self.objective.code_noise,
            history_dropout: self.objective.history_dropout,
            history_channels: self.objective.history_channels,
            learn_voice: self.objective.learn_voice,
            seed,
        };
        let mut batch = self.batch(examples, settings);
        batch.input.observed_layer = self.objective.guided_attention.map(|guided| guided.layer);
        batch
    }

    /// A batch to measure on.
    fn measured_batch(&self, examples: &[Example]) -> Batch {
        self.batch(examples, BatchSettings::default())
    }

    fn batch(&self, examples: &[Example], settings: BatchSettings) -> Batch {
        let mut batch = Batch::new(examples, &self.config, self.pad_id, settings);
        self.objective.weigh(&mut batch);
        batch
    }

    /// The objective of a batch, images and videos encoded on the way.
    fn objective(
        &self,
        model: &UniMoe,
        batch: &mut Batch,
        step: u64,
    ) -> Result<Objective, TrainError> {
        batch.input.vision = model.encode_vision(&batch.vision)?;
        let computed = self.objective.compute(model, batch, step);
        Ok(computed.map_err(UniMoeError::from)?)
    }

    /// The cosines of the gradients that each domain in the examples has by itself.
    fn conflict(
        &self,
        examples: &[Example],
        context: StepContext,
    ) -> Result<Option<Event>, TrainError> {
        let mut domains: BTreeMap<String, Vec<Example>> = BTreeMap::new();
        for example in examples {
            let own = domains.entry(example.domain.to_string()).or_default();
            own.push(example.clone());
        }
        if domains.len() < 2 {
            return Ok(None);
        }
        let names: Vec<String> = domains.keys().cloned().collect();
        let model = self.optimized.model();
        let conflict = gradient_conflict(&model, &shared_parameters(), &names, |domain| {
            let mut batch = self.measured_batch(&domains[domain]);
            Ok::<_, TrainError>(
                self.objective(&model, &mut batch, context.step)?
                    .codes
                    .total,
            )
        })?;
        // A domain whose gradient is zero has no direction to compare.
        let is_known = conflict
            .cosines
            .iter()
            .flatten()
            .all(|cosine| cosine.is_finite());
        Ok(is_known.then(|| conflict.event(context.step + 1)))
    }
}

impl Learner for ModelLearner {
    type Item = Example;

    fn learn(
        &mut self,
        batches: Vec<Vec<Example>>,
        context: StepContext,
    ) -> Result<StepOutcome, TrainError> {
        let mut outcome = StepOutcome::default();
        let mut losses = DomainLosses::default();
        let is_compared =
            (self.conflict_every).is_some_and(|steps| (context.step + 1).is_multiple_of(steps));
        if is_compared {
            let examples = batches.concat();
            outcome.events.extend(self.conflict(&examples, context)?);
        }
        let share = 1.0 / batches.len().max(1) as f64;
        for (index, examples) in batches.iter().enumerate() {
            // With adapters, going back through a model uses it up.
            let model = self.optimized.model();
            let seed = context.seed.wrapping_add(index as u64);
            let mut batch = self.training_batch(examples, seed);
            batch.input.training_seed = Some(seed);
            let objective = self.objective(&model, &mut batch, context.step)?;
            let loss = scalar(&objective.total);
            if !loss.is_finite() {
                return Err(TrainError::LossNotFinite {
                    step: context.step + 1,
                    loss,
                    clips: examples
                        .iter()
                        .map(|example| example.id.to_string())
                        .collect(),
                });
            }
            outcome.loss += loss * share;
            outcome.tokens += batch.tokens();
            losses.add(&objective.codes, &batch);
            let terms = [
                ("balance", &objective.balance),
                ("z", &objective.z),
                ("guided_attention", &objective.guided),
            ];
            for (name, term) in terms {
                if let Some(term) = term {
                    *outcome.terms.entry(name.to_string()).or_default() += scalar(term) * share;
                }
            }
            self.optimized.backward(objective.total, share);
        }
        let report = self.optimized.step()?;
        outcome.learning_rate = report.learning_rate;
        outcome.gradient_norm = report.gradient_norm;
        outcome.domains = losses.domains();
        outcome.channels = losses.channels();
        Ok(outcome)
    }

    fn validate(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Vec<Example>, TrainError>>,
    ) -> Result<ValidationOutcome, TrainError> {
        let model = self.optimized.model().valid();
        let mut losses = DomainLosses::default();
        let mut routing = DomainRouting::default();
        for examples in batches {
            let mut batch = self.measured_batch(&examples?);
            let objective = self.objective(&model, &mut batch, 0)?;
            losses.add(&objective.codes, &batch);
            // Where there is one expert there is nothing to tell.
            if objective.routings.first().is_some_and(|one| one.pool() > 1) {
                routing.record(&objective.routings, &batch.domains);
            }
        }
        let domains = losses.domains();
        Ok(ValidationOutcome {
            loss: domains.values().sum::<f64>() / domains.len().max(1) as f64,
            domains,
            routing: routing.summaries(),
        })
    }

    fn save(&self, writer: &mut StateWriter) -> Result<(), TrainError> {
        Ok(self.optimized.save(writer, PREFIX)?)
    }

    fn load(&mut self, reader: &StateReader) -> Result<(), TrainError> {
        Ok(self.optimized.load(reader, PREFIX)?)
    }

    fn parameters(&self) -> (u64, u64) {
        self.optimized.parameters()
    }
}

fn scalar(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().detach().into_scalar::<f32>())
}
