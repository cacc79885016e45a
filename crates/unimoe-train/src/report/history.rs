//! The log of a run, sorted by what the sections of a report ask for.

use std::collections::{BTreeMap, BTreeSet};

use super::run::RunLog;
use crate::event::{Event, RoutingSummary};

/// What happened in a run, kind by kind.
#[derive(Debug, Default)]
pub(super) struct History<'a> {
    pub name: &'a str,
    pub begin: Option<Begin>,
    pub steps: Vec<Step<'a>>,
    pub validations: Vec<Validation<'a>>,
    pub conflicts: Vec<Conflict<'a>>,
    pub checkpoints: Vec<Checkpoint>,
    pub end: Option<(&'a str, &'a str)>,
}

/// Fields of [`Event::Begin`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Begin {
    pub steps: u64,
    pub parameters: u64,
    pub trained: u64,
    pub seed: u64,
}

/// Fields of [`Event::Step`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub step: f64,
    pub epoch: u64,
    pub loss: f64,
    pub domains: &'a BTreeMap<String, f64>,
    pub channels: &'a [f64],
    pub terms: &'a BTreeMap<String, f64>,
    pub gradient_norm: f64,
    pub learning_rate: f64,
    pub tokens: u64,
    pub seconds: f64,
    pub waited: f64,
}

/// Fields of [`Event::Validation`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Validation<'a> {
    pub step: f64,
    pub loss: f64,
    pub domains: &'a BTreeMap<String, f64>,
    pub routing: &'a BTreeMap<String, RoutingSummary>,
}

/// Fields of [`Event::GradientConflict`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Conflict<'a> {
    pub step: f64,
    pub domains: &'a [String],
    pub cosines: &'a [Vec<f64>],
}

/// Fields of [`Event::Checkpoint`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Checkpoint {
    pub step: u64,
    pub best: bool,
}

impl<'a> History<'a> {
    pub fn new(run: &'a RunLog) -> Self {
        let mut history = Self {
            name: &run.name,
            ..Self::default()
        };
        for event in &run.events {
            history.add(event);
        }
        history
    }

    /// The domains that have a loss, in the order of their names.
    pub fn domains(&self) -> BTreeSet<&'a str> {
        let steps = self.steps.iter().flat_map(|step| step.domains.keys());
        let validations = self.validations.iter();
        let validations = validations.flat_map(|validation| validation.domains.keys());
        steps.chain(validations).map(String::as_str).collect()
    }

    /// The last validation that tells of routing.
    pub fn routing(&self) -> Option<&Validation<'a>> {
        let mut validations = self.validations.iter().rev();
        validations.find(|validation| !validation.routing.is_empty())
    }

    /// A number of each step, with the step.
    pub fn curve(&self, value: impl Fn(&Step<'a>) -> f64) -> Vec<(f64, f64)> {
        self.steps
            .iter()
            .map(|step| (step.step, value(step)))
            .collect()
    }

    /// The loss of one domain at the steps whose batch had it.
    pub fn domain_curve(&self, domain: &str) -> Vec<(f64, f64)> {
        let losses = self.steps.iter();
        losses
            .filter_map(|step| Some((step.step, *step.domains.get(domain)?)))
            .collect()
    }

    /// The validation loss of one domain.
    pub fn validation_curve(&self, domain: &str) -> Vec<(f64, f64)> {
        let losses = self.validations.iter();
        losses
            .filter_map(|one| Some((one.step, *one.domains.get(domain)?)))
            .collect()
    }

    fn add(&mut self, event: &'a Event) {
        match event {
            Event::Prepare { .. } | Event::Data { .. } => {}
            Event::Begin {
                steps,
                parameters,
                trained,
                seed,
                ..
            } => {
                self.begin = Some(Begin {
                    steps: *steps,
                    parameters: *parameters,
                    trained: *trained,
                    seed: *seed,
                });
                // What ended before went on.
                self.end = None;
            }
            Event::Step {
                step,
                epoch,
                loss,
                domains,
                channels,
                terms,
                gradient_norm,
                learning_rate,
                tokens,
                seconds,
                waited,
            } => self.steps.push(Step {
                step: *step as f64,
                epoch: *epoch,
                loss: *loss,
                domains,
                channels,
                terms,
                gradient_norm: *gradient_norm,
                learning_rate: *learning_rate,
                tokens: *tokens,
                seconds: *seconds,
                waited: *waited,
            }),
            Event::Validation {
                step,
                loss,
                domains,
                routing,
            } => self.validations.push(Validation {
                step: *step as f64,
                loss: *loss,
                domains,
                routing,
            }),
            Event::GradientConflict {
                step,
                domains,
                cosines,
            } => self.conflicts.push(Conflict {
                step: *step as f64,
                domains,
                cosines,
            }),
            Event::Checkpoint { step, best, .. } => self.checkpoints.push(Checkpoint {
                step: *step,
                best: *best,
            }),
            Event::End {
                reason, message, ..
            } => self.end = Some((reason, message)),
        }
    }
}
