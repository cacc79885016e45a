//! The training loop: steps, data, validation, checkpoints and interrupts of any [`Learner`].
//!
//! A run lies in a folder: `metrics.jsonl` and `checkpoints/`. Run again, it goes on from its last checkpoint and
//! gives the same losses as if it had never stopped.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    checkpoint::{CheckpointPolicy, Checkpoints},
    data::{Dataset, Loader, OrderConfig, Position, Sampling},
    error::TrainError,
    event::{Event, JsonLines, Observer},
    learner::{Learner, StepContext, StepOutcome},
};

/// Name of a run's folder of checkpoints.
pub const CHECKPOINTS_FOLDER: &str = "checkpoints";

/// How long and on what to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoopConfig {
    /// Optimizer steps. Default: 1,000
    pub steps: u64,
    /// Batches whose gradients are added up in each step. Default: 1
    pub accumulate: usize,
    /// Seed of everything random. Default: 0
    pub seed: u64,
    /// Threads that read examples. Default: 2
    pub workers: usize,
    /// Steps between validations; the end is validated too. Default: 100
    pub validate_every: u64,
    /// Examples at most in a validation. Default: 256
    pub validation_clips: usize,
    /// Most examples of a batch. Default: 8
    pub batch_size: usize,
    /// Most tokens of a batch, padding included. Default: `None`
    pub max_tokens: Option<usize>,
    /// Batches whose examples are sorted by length together; 0 leaves lengths as they come. Default: 16
    pub bucket: usize,
    /// How often each domain comes. Default: as often as it has clips
    pub sampling: Sampling,
    /// When to save, and what to keep.
    pub checkpoints: CheckpointPolicy,
}

/// A run: what to train on, and where its files lie.
pub struct Training<'a, D: Dataset> {
    /// Name of the stage, for events.
    pub stage: &'a str,
    /// Folder of the run; made where it is missing.
    pub folder: &'a Path,
    /// How long and on what to train.
    pub config: &'a LoopConfig,
    /// All settings that must be the same when the run goes on.
    pub settings: Value,
    /// What to learn from.
    pub training: Arc<D>,
    /// What to measure on.
    pub validation: Option<Arc<D>>,
    /// Set by somebody who wants the run to save and end.
    pub stop: &'a AtomicBool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps are done.
    Finished,
    /// It was told to stop; it goes on when it is run again.
    Stopped {
        /// Steps done.
        step: u64,
    },
}

/// What the loop itself goes on from.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct LoopState {
    position: Position,
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self {
            steps: 1_000,
            accumulate: 1,
            seed: 0,
            workers: 2,
            validate_every: 100,
            validation_clips: 256,
            batch_size: 8,
            max_tokens: None,
            bucket: 16,
            sampling: Sampling::Natural,
            checkpoints: CheckpointPolicy::default(),
        }
    }
}

impl LoopConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] that names the first one that makes no run.
    pub fn validate(&self) -> Result<(), TrainError> {
        let positive = [
            ("steps", self.steps),
            ("accumulate", self.accumulate as u64),
            ("validate_every", self.validate_every),
            ("batch_size", self.batch_size as u64),
            ("validation_clips", self.validation_clips as u64),
        ];
        for (field, found) in positive {
            if found == 0 {
                return Err(TrainError::Setting {
                    field,
                    expected: "positive",
                    found: "0".into(),
                });
            }
        }
        // Gradients of more batches than this are not added up by anybody; a slip of the keyboard is.
        if self.accumulate > 1 << 16 || self.workers > 256 {
            return Err(TrainError::Setting {
                field: "accumulate and workers",
                expected: "at most 65,536 and 256",
                found: format!("{} and {}", self.accumulate, self.workers),
            });
        }
        Ok(self.checkpoints.validate()?)
    }

    fn order(&self) -> OrderConfig {
        OrderConfig {
            max_tokens: self.max_tokens,
            bucket: self.bucket,
            sampling: self.sampling.clone(),
            ..OrderConfig::new(self.batch_size, self.seed)
        }
    }
}

impl<D: Dataset> Training<'_, D> {
    /// Trains `learner` until all steps are done, somebody wants it to stop, or something fails. Whatever happens
    /// is told to `observer` and written to [`JsonLines::FILE_NAME`].
    ///
    /// # Errors
    ///
    /// A [`TrainError`]: of the settings, before anything is done; of data, model, a loss or gradient that is not
    /// finite, or a full disk: the last checkpoint is whole then.
    pub fn train<L>(
        &self,
        learner: &mut L,
        observer: &mut dyn Observer,
    ) -> Result<RunEnd, TrainError>
    where
        L: Learner<Item = D::Item>,
    {
        self.config.validate()?;
        std::fs::create_dir_all(self.folder).map_err(|source| TrainError::Io {
            path: self.folder.to_path_buf(),
            source,
        })?;
        let folder = self.folder.join(CHECKPOINTS_FOLDER);
        let mut checkpoints =
            Checkpoints::open(&folder, self.config.checkpoints.clone(), &self.settings)?;
        let (mut done, mut position) = (0, Position::default());
        if let Some(reader) = checkpoints.latest()? {
            learner.load(&reader)?;
            position = reader.value::<LoopState>("loop")?.position;
            done = reader.step();
            if done > self.config.steps {
                return Err(TrainError::Setting {
                    field: "the checkpoint's step",
                    expected: "at most the steps of the run",
                    found: format!("{done} of {}", self.config.steps),
                });
            }
        }
        let mut told = Told {
            file: JsonLines::open(&self.folder.join(JsonLines::FILE_NAME), done)?,
            observer,
        };
        let (parameters, trained) = learner.parameters();
        told.notice(&Event::Begin {
            stage: self.stage.to_string(),
            steps: self.config.steps,
            done,
            parameters,
            trained,
            seed: self.config.seed,
        })?;
        let best = checkpoints.best()?.and_then(|reader| reader.validation());
        let mut progress = Progress {
            best,
            step: done,
            position,
            saved: done,
        };
        let result = self.steps(learner, &mut checkpoints, &mut told, &mut progress);
        let (reason, message) = match &result {
            Ok(RunEnd::Finished) => ("finished", String::new()),
            Ok(RunEnd::Stopped { .. }) => ("stopped", "told to stop".to_string()),
            Err(error) => (
                "failed",
                format!(
                    "{error}; the last checkpoint is that of step {}",
                    progress.saved
                ),
            ),
        };
        let end = told.notice(&Event::End {
            step: progress.step,
            reason: reason.to_string(),
            message,
        });
        // What ended the run matters more than that it could not be noted.
        let end_of_run = result?;
        end?;
        Ok(end_of_run)
    }

    fn steps<L>(
        &self,
        learner: &mut L,
        checkpoints: &mut Checkpoints,
        told: &mut Told<'_>,
        progress: &mut Progress,
    ) -> Result<RunEnd, TrainError>
    where
        L: Learner<Item = D::Item>,
    {
        let config = self.config;
        let mut loader = Loader::new(
            self.training.clone(),
            config.order(),
            progress.position,
            config.workers,
        )?;
        if progress.step == 0 {
            self.validate(learner, told, 0)?;
        }
        while progress.step < config.steps {
            if self.stop.load(Ordering::Relaxed) {
                self.save(learner, checkpoints, told, progress, None)?;
                return Ok(RunEnd::Stopped {
                    step: progress.step,
                });
            }
            let start = Instant::now();
            let mut waited = Duration::ZERO;
            let mut batches = Vec::with_capacity(config.accumulate);
            let before = progress.position;
            for _ in 0..config.accumulate {
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
                let loaded = loader.next_batch()?;
                waited += loaded.waited;
                progress.position = loaded.after;
                batches.push(loaded.items);
            }
            if batches.len() < config.accumulate {
                // Stopped on the way: the step has not begun, and its batches come again.
                progress.position = before;
                continue;
            }
            let context = StepContext {
                step: progress.step,
                seed: step_seed(config.seed, progress.step),
            };
            let outcome = learner.learn(batches, context)?;
            progress.step += 1;
            let (seconds, waited) = (start.elapsed().as_secs_f64(), waited.as_secs_f64());
            told.step(progress.step, before.epoch + 1, outcome, seconds, waited)?;

            let last = progress.step == config.steps;
            let mut measured = None;
            if last || progress.step.is_multiple_of(config.validate_every) {
                measured = self.validate(learner, told, progress.step)?;
            }
            let is_kept = config.checkpoints.keep_best && progress.is_better(measured);
            if last || is_kept || checkpoints.is_due(progress.step) {
                self.save(learner, checkpoints, told, progress, measured)?;
            }
        }
        Ok(RunEnd::Finished)
    }

    fn validate<L>(
        &self,
        learner: &mut L,
        told: &mut Told<'_>,
        step: u64,
    ) -> Result<Option<f64>, TrainError>
    where
        L: Learner<Item = D::Item>,
    {
        let Some(data) = self.validation.as_ref().filter(|data| data.len() > 0) else {
            return Ok(None);
        };
        let places: Vec<usize> = spread(data.len(), self.config.validation_clips);
        let batches: Vec<&[usize]> = places.chunks(self.config.batch_size).collect();
        let mut batches = batches.into_iter().map(|places| {
            let items = places.iter().map(|&place| data.get(place));
            Ok(items.collect::<Result<Vec<_>, _>>()?)
        });
        let outcome = learner.validate(&mut batches)?;
        told.notice(&Event::Validation {
            step,
            loss: outcome.loss,
            domains: outcome.domains,
            routing: outcome.routing,
        })?;
        match outcome.loss.is_finite() {
            true => Ok(Some(outcome.loss)),
            false => Err(TrainError::MeasuredNotFinite {
                step,
                loss: outcome.loss,
            }),
        }
    }

    fn save<L>(
        &self,
        learner: &L,
        checkpoints: &mut Checkpoints,
        told: &mut Told<'_>,
        progress: &mut Progress,
        measured: Option<f64>,
    ) -> Result<(), TrainError>
    where
        L: Learner<Item = D::Item>,
    {
        if progress.saved == progress.step && progress.step > 0 {
            return Ok(());
        }
        let best = progress.is_better(measured);
        let state = LoopState {
            position: progress.position,
        };
        let path: PathBuf = checkpoints.save(progress.step, measured, |writer| {
            writer.value("loop", &state)?;
            learner.save(writer)
        })?;
        progress.saved = progress.step;
        if best {
            progress.best = measured;
        }
        told.notice(&Event::Checkpoint {
            step: progress.step,
            path,
            best,
        })?;
        Ok(())
    }
}

/// Where a run is.
struct Progress {
    step: u64,
    position: Position,
    saved: u64,
    /// The lowest validation loss of a checkpoint.
    best: Option<f64>,
}

impl Progress {
    fn is_better(&self, measured: Option<f64>) -> bool {
        measured.is_some_and(|loss| loss.is_finite() && self.best.is_none_or(|best| loss < best))
    }
}

/// Who is told what happens.
struct Told<'a> {
    file: JsonLines,
    observer: &'a mut dyn Observer,
}

impl Told<'_> {
    fn notice(&mut self, event: &Event) -> Result<(), TrainError> {
        self.file.notice(event)?;
        Ok(self.observer.notice(event)?)
    }

    fn step(
        &mut self,
        step: u64,
        epoch: u64,
        outcome: StepOutcome,
        seconds: f64,
        waited: f64,
    ) -> Result<(), TrainError> {
        self.notice(&Event::Step {
            step,
            epoch,
            loss: outcome.loss,
            domains: outcome.domains,
            channels: outcome.channels,
            terms: outcome.terms,
            gradient_norm: outcome.gradient_norm,
            learning_rate: outcome.learning_rate,
            tokens: outcome.tokens,
            seconds,
            waited,
        })?;
        outcome
            .events
            .iter()
            .try_for_each(|event| self.notice(event))
    }
}

/// A seed for each step, whichever steps have been done in this process.
fn step_seed(seed: u64, step: u64) -> u64 {
    // SplitMix64's mixing keeps neighbouring steps apart.
    let mut mixed = seed ^ (step + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// At most `limit` places of `0..count`, evenly spread.
fn spread(count: usize, limit: usize) -> Vec<usize> {
    let taken = count.min(limit);
    (0..taken).map(|place| place * count / taken).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_over_the_whole() {
        assert_eq!(spread(10, 5), [0, 2, 4, 6, 8]);
        assert_eq!(spread(3, 5), [0, 1, 2]);
        assert!(spread(0, 5).is_empty());
    }

    #[test]
    fn steps_have_seeds_of_their_own() {
        let seeds: std::collections::BTreeSet<u64> =
            (0..1000).map(|step| step_seed(1, step)).collect();
        assert_eq!(seeds.len(), 1000);
        assert_ne!(step_seed(1, 0), step_seed(2, 0));
    }
}
