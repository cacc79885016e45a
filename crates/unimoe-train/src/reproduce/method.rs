//! The four methods, each with the same number of steps.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::DType;
use serde::{Deserialize, Serialize};
use serde_json::json;
use unimoe_model::{LoadOptions, UniMoe, UniMoeConfig, UniMoeError};

use super::{
    Reproduction,
    task::{BALANCED, Clips, DOMAINS, PAD, Part, Task, raw, vocabulary},
};
use crate::{
    checkpoint::CheckpointPolicy,
    error::TrainError,
    event::{Event, RoutingSummary},
    learner::Learner,
    model_learner::ModelLearner,
    report::RunLog,
    stage::{Integration, StageConfig, WARMED_UP, Workplace},
    trainer::{RunEnd, Training},
};

/// Inner width of a specialist's feed-forward block; the integrated model's experts are halves of it.
const D_SPECIALIST: usize = 32;
/// Highest learning rate of whatever starts from scratch and of the warm-up, whose parameters are fresh too.
const FRESH_RATE: f64 = 4e-3;
/// Highest learning rate of joint training.
const JOINT_RATE: f64 = 2e-3;
/// Weight of the balance loss where it begins and where the anneal ends: the paper's.
const BALANCE: (f64, f64) = (0.025, 0.001);
/// Validations of each run.
const VALIDATIONS: u64 = 8;

/// A way to learn all domains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Method {
    /// Four dense models, each on its own domain.
    Specialists,
    /// One dense model on the raw mixture.
    Dense,
    /// A mixture of experts on the raw mixture, from scratch.
    Moe,
    /// Specialists, integration, warm-up and joint training on the balanced set.
    Curriculum,
}

/// What came of a method with one seed.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub method: Method,
    /// Validation loss of each domain at the end.
    pub losses: BTreeMap<String, f64>,
    /// Routing of each domain at the end, where the model has experts.
    pub routing: Option<BTreeMap<String, RoutingSummary>>,
    /// Mean validation loss over the domains after so many steps of the method.
    pub curve: Vec<(f64, f64)>,
    /// Mean validation loss before the warm-up, after it, and after joint training.
    pub stages: Option<[f64; 3]>,
    /// Parameters of one model.
    pub parameters: u64,
    /// Tokens that all runs learnt from.
    pub tokens: u64,
}

/// A finished run.
struct Run {
    model: UniMoe,
    log: RunLog,
    parameters: u64,
}

/// Where the methods of one seed are compared.
pub(super) struct Bench<'a, 'b> {
    plan: &'a Reproduction,
    seed: u64,
    folder: PathBuf,
    task: Task,
    workplace: &'a mut Workplace<'b>,
    logs: Vec<RunLog>,
}

/// What a run trains, and how.
struct Stage<'a> {
    name: &'a str,
    model: UniMoe,
    training: Clips,
    validation: Clips,
    config: StageConfig,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Specialists, Self::Dense, Self::Moe, Self::Curriculum];

    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Specialists => "specialists",
            Self::Dense => "dense joint",
            Self::Moe => "MoE joint",
            Self::Curriculum => "curriculum",
        }
    }
}

impl<'a, 'b> Bench<'a, 'b> {
    pub fn new(
        plan: &'a Reproduction,
        seed: u64,
        folder: PathBuf,
        workplace: &'a mut Workplace<'b>,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            plan,
            seed,
            folder,
            task: Task::new(seed, plan.frames)?,
            workplace,
            logs: Vec::new(),
        })
    }

    /// The least possible loss of each domain.
    pub fn bound(&self) -> Vec<f64> {
        self.task.bound()
    }

    /// The logs of all runs so far.
    pub fn take_logs(&mut self) -> Vec<RunLog> {
        std::mem::take(&mut self.logs)
    }

    /// Runs a method, or says where somebody stopped it.
    pub fn run(&mut self, method: Method) -> Result<Result<Outcome, RunEnd>, TrainError> {
        match method {
            Method::Specialists => self.specialists(),
            Method::Dense => {
                let width = total_width(&Integration::default());
                let model = self.fresh(&structure(width))?;
                self.mixture(method, "dense", model)
            }
            Method::Moe => {
                let parts = vec![structure(D_SPECIALIST); DOMAINS.len()];
                let config = self.integration().config(&parts, &[])?;
                let model = self.fresh(&config)?;
                self.mixture(method, "moe", model)
            }
            Method::Curriculum => self.curriculum(),
        }
    }

    /// Each domain by itself, a quarter of the steps for each.
    fn specialists(&mut self) -> Result<Result<Outcome, RunEnd>, TrainError> {
        let steps = self.plan.steps / DOMAINS.len() as u64;
        let runs = match self.experts("specialists", steps)? {
            Ok(runs) => runs,
            Err(end) => return Ok(Err(end)),
        };
        let parts: Vec<&RunLog> = runs.iter().map(|run| &run.log).collect();
        Ok(Ok(Outcome {
            method: Method::Specialists,
            losses: together(&parts),
            routing: None,
            curve: side_by_side(&parts),
            stages: None,
            parameters: runs[0].parameters,
            tokens: runs.iter().map(|run| tokens(&run.log)).sum(),
        }))
    }

    /// One model on the raw mixture.
    fn mixture(
        &mut self,
        method: Method,
        name: &str,
        model: UniMoe,
    ) -> Result<Result<Outcome, RunEnd>, TrainError> {
        let steps = self.plan.steps;
        let has_experts = !model.config().is_dense();
        let stage = Stage {
            name,
            model,
            training: self.task.clips(Part::Training, raw(self.plan.clips))?,
            validation: self.validation()?,
            config: self.config(steps, FRESH_RATE, BALANCE),
        };
        let run = match self.train(stage)? {
            Ok(run) => run,
            Err(end) => return Ok(Err(end)),
        };
        let (losses, routing) = last(&run.log);
        Ok(Ok(Outcome {
            method,
            losses,
            routing: has_experts.then_some(routing),
            curve: curve(&run.log, 0),
            stages: None,
            parameters: run.parameters,
            tokens: tokens(&run.log),
        }))
    }

    /// Half of the steps for the specialists, a quarter for warm-up and for joint training.
    fn curriculum(&mut self) -> Result<Result<Outcome, RunEnd>, TrainError> {
        let eighth = self.plan.steps / 8;
        let experts = match self.experts("curriculum", eighth)? {
            Ok(runs) => runs,
            Err(end) => return Ok(Err(end)),
        };
        let models: Vec<UniMoe> = experts.iter().map(|run| run.model.clone()).collect();
        let names: Vec<PathBuf> = (DOMAINS.iter()).map(|kind| kind.name.into()).collect();
        let integrated = self.integration().integrate(&models, &names, 0)?;

        let mut warm_up = self.config(2 * eighth, FRESH_RATE, (BALANCE.0, BALANCE.0));
        warm_up.optimizer.trained = vec![WARMED_UP.to_string()];
        let warm_up = Stage {
            name: "curriculum/warmup",
            model: integrated,
            training: self.balanced()?,
            validation: self.validation()?,
            config: warm_up,
        };
        let warm_up = match self.train(warm_up)? {
            Ok(run) => run,
            Err(end) => return Ok(Err(end)),
        };
        let joint = Stage {
            name: "curriculum/joint",
            model: warm_up.model,
            training: self.balanced()?,
            validation: self.validation()?,
            config: self.config(2 * eighth, JOINT_RATE, BALANCE),
        };
        let joint = match self.train(joint)? {
            Ok(run) => run,
            Err(end) => return Ok(Err(end)),
        };
        let parts: Vec<&RunLog> = experts.iter().map(|run| &run.log).collect();
        let first = curve(&warm_up.log, 4 * eighth);
        let second = curve(&joint.log, 6 * eighth);
        let ends = |curve: &[(f64, f64)]| {
            let loss = |point: Option<&(f64, f64)>| point.map_or(f64::NAN, |point| point.1);
            (loss(curve.first()), loss(curve.last()))
        };
        let (losses, routing) = last(&joint.log);
        let experts_tokens: u64 = parts.iter().map(|log| tokens(log)).sum();
        Ok(Ok(Outcome {
            method: Method::Curriculum,
            losses,
            routing: Some(routing),
            stages: Some([ends(&first).0, ends(&first).1, ends(&second).1]),
            curve: [side_by_side(&parts), first, second].concat(),
            parameters: joint.parameters,
            tokens: experts_tokens + tokens(&warm_up.log) + tokens(&joint.log),
        }))
    }

    /// A dense model of each domain, all from the same first values.
    fn experts(
        &mut self,
        method: &str,
        steps: u64,
    ) -> Result<Result<Vec<Run>, RunEnd>, TrainError> {
        let mut runs = Vec::new();
        for (domain, kind) in DOMAINS.iter().enumerate() {
            let count = kind.share * self.plan.clips;
            let own = |count| [(domain, count)].into_iter();
            let stage = Stage {
                name: &format!("{method}/{}", kind.name),
                model: self.fresh(&structure(D_SPECIALIST))?,
                training: self.task.clips(Part::Training, own(count))?,
                validation: (self.task).clips(Part::Validation, own(self.plan.validation_clips))?,
                config: self.config(steps, FRESH_RATE, BALANCE),
            };
            match self.train(stage)? {
                Ok(run) => runs.push(run),
                Err(end) => return Ok(Err(end)),
            }
        }
        Ok(Ok(runs))
    }

    /// Trains through the usual loop, in a folder of its own.
    fn train(&mut self, stage: Stage<'_>) -> Result<Result<Run, RunEnd>, TrainError> {
        let Stage { name, model, .. } = stage;
        let folder = self.folder.join(name);
        let settings = json!({
            "config": stage.config,
            "model": model.config().to_released(),
            "clips": self.plan.clips,
            "frames": self.plan.frames,
        });
        let mut learner = ModelLearner::new(
            model,
            stage.config.objective.clone(),
            &stage.config.optimizer,
            stage.config.run.steps,
            PAD,
        )?;
        let label = format!("seed {}, {name}", self.seed);
        let training = Training {
            stage: &label,
            folder: &folder,
            config: &stage.config.run,
            settings,
            training: Arc::new(stage.training),
            validation: Some(Arc::new(stage.validation)),
            stop: self.workplace.stop,
        };
        let end = training.train(&mut learner, self.workplace.observer)?;
        if end != RunEnd::Finished {
            return Ok(Err(end));
        }
        let log = read(&folder, name)?;
        self.logs.push(log.clone());
        Ok(Ok(Run {
            model: learner.trained(),
            log,
            parameters: learner.parameters().0,
        }))
    }

    fn config(&self, steps: u64, learning_rate: f64, balance: (f64, f64)) -> StageConfig {
        let mut config = StageConfig::default();
        let run = &mut config.run;
        run.steps = steps;
        run.seed = self.seed;
        // Clips are in memory: nothing is to be loaded ahead.
        run.workers = 0;
        run.validate_every = (steps / VALIDATIONS).max(1);
        run.validation_clips = DOMAINS.len() * self.plan.validation_clips;
        run.batch_size = self.plan.batch_size;
        run.bucket = 0;
        run.checkpoints = CheckpointPolicy {
            every_minutes: Some(1.0),
            keep_last: 1,
            keep_best: false,
            ..CheckpointPolicy::default()
        };
        config.optimizer.learning_rate = learning_rate;
        config.objective.balance_start = balance.0;
        config.objective.balance_end = balance.1;
        config.objective.balance_steps = steps;
        // Nothing is generated, so there is nothing to be led away from.
        config.objective.unconditional = 0.0;
        config
    }

    fn integration(&self) -> Integration {
        Integration {
            seed: self.seed,
            ..Integration::default()
        }
    }

    fn fresh(&self, config: &UniMoeConfig) -> Result<UniMoe, TrainError> {
        let options = LoadOptions {
            dtype: DType::F32,
            text_head: false,
            ..LoadOptions::default()
        };
        let model = UniMoe::random(config, self.seed, options, self.workplace.device);
        Ok(model.map_err(UniMoeError::from)?)
    }

    fn balanced(&self) -> Result<Clips, TrainError> {
        let count = BALANCED * self.plan.clips;
        let domains = (0..DOMAINS.len()).map(|domain| (domain, count));
        self.task.clips(Part::Training, domains)
    }

    fn validation(&self) -> Result<Clips, TrainError> {
        let count = self.plan.validation_clips;
        let domains = (0..DOMAINS.len()).map(|domain| (domain, count));
        self.task.clips(Part::Validation, domains)
    }
}

/// A dense model with feed-forward blocks `d_ff` wide.
fn structure(d_ff: usize) -> UniMoeConfig {
    let mut config = UniMoeConfig::tiny().into_dense(d_ff);
    vocabulary(&mut config);
    let text = &mut config.text;
    (text.d_model, text.n_layers, text.n_heads) = (32, 3, 2);
    text.max_positions = 2048;
    config.moe.differentiable = true;
    config
}

/// Width of all experts of the integrated model together.
fn total_width(integration: &Integration) -> usize {
    let routed = D_SPECIALIST / integration.parts;
    let shared = integration.d_shared.unwrap_or(routed / 2);
    D_SPECIALIST * DOMAINS.len() + integration.n_shared * shared
}

fn read(folder: &Path, name: &str) -> Result<RunLog, TrainError> {
    let mut log = RunLog::read(folder)?;
    log.name = name.replace('/', ": ");
    Ok(log)
}

type Measured = (BTreeMap<String, f64>, BTreeMap<String, RoutingSummary>);

/// The last validation.
fn last(log: &RunLog) -> Measured {
    let found = log.events.iter().rev().find_map(|event| match event {
        Event::Validation {
            domains, routing, ..
        } => Some((domains.clone(), routing.clone())),
        _ => None,
    });
    found.unwrap_or_default()
}

/// The last losses of runs that have a domain each.
fn together(logs: &[&RunLog]) -> BTreeMap<String, f64> {
    logs.iter().flat_map(|log| last(log).0).collect()
}

/// Mean validation loss over the steps, `before` of which others did.
fn curve(log: &RunLog, before: u64) -> Vec<(f64, f64)> {
    let points = log.events.iter().filter_map(|event| match event {
        Event::Validation { step, loss, .. } => Some(((before + step) as f64, *loss)),
        _ => None,
    });
    points.collect()
}

/// The mean of runs that share the steps among them.
fn side_by_side(logs: &[&RunLog]) -> Vec<(f64, f64)> {
    let curves: Vec<_> = logs.iter().map(|log| curve(log, 0)).collect();
    let shortest = curves.iter().map(Vec::len).min().unwrap_or(0);
    let n = curves.len() as f64;
    let mean = |place: usize| curves.iter().map(|curve| curve[place].1).sum::<f64>() / n;
    (0..shortest)
        .map(|place| (curves[0][place].0 * n, mean(place)))
        .collect()
}

/// Tokens that a run learnt from.
fn tokens(log: &RunLog) -> u64 {
    let counts = log.events.iter().map(|event| match event {
        Event::Step { tokens, .. } => *tokens,
        _ => 0,
    });
    counts.sum()
}
