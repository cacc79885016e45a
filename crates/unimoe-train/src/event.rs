//! What happens in a run, as values: written as lines of JSON, shown in terminals, drawn in reports.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Codes are being computed, or found in the cache.
    Prepare {
        /// Sounds that are done.
        done: u64,
        /// Sounds in all.
        total: u64,
        /// Seconds of sound encoded so far.
        seconds: f64,
    },
    /// The data of a stage is there.
    Data {
        /// Clips of each domain to learn from.
        training: BTreeMap<String, u64>,
        /// Clips of each domain to measure on.
        validation: BTreeMap<String, u64>,
        /// Clips that were left out as unusable.
        skipped: u64,
    },
    /// A stage begins, or goes on after an interruption.
    Begin {
        /// Name of the stage, such as `specialist-music`, `warmup` or `joint`.
        stage: String,
        /// Optimizer steps in all.
        steps: u64,
        /// Steps done before, in an earlier run of the stage.
        done: u64,
        /// Parameters in all.
        parameters: u64,
        /// Parameters that are trained.
        trained: u64,
        /// Seed of everything random.
        seed: u64,
    },
    /// An optimizer step was done.
    Step {
        /// Number of the step, from 1.
        step: u64,
        /// Passes over the data, begun ones included.
        epoch: u64,
        /// The objective, auxiliary terms included.
        loss: f64,
        /// Cross entropy summed over the channels, for each domain in the batch.
        domains: BTreeMap<String, f64>,
        /// Cross entropy of each channel.
        channels: Vec<f64>,
        /// Further terms of the objective, unweighted, such as `balance` and `z`.
        terms: BTreeMap<String, f64>,
        /// Norm of all gradients before clipping.
        gradient_norm: f64,
        /// Learning rate of the step.
        learning_rate: f64,
        /// Real tokens in the batch (samples of sound for the codec).
        tokens: u64,
        /// Seconds for the whole step.
        seconds: f64,
        /// Seconds of them spent waiting for data.
        waited: f64,
    },
    /// The model was measured on data that it doesn't train on.
    Validation {
        /// Steps done before.
        step: u64,
        /// Mean loss over the domains.
        loss: f64,
        /// Cross entropy summed over the channels, for each domain.
        domains: BTreeMap<String, f64>,
        /// Routing of each domain's tokens.
        routing: BTreeMap<String, RoutingSummary>,
    },
    /// Gradients of the domains were compared on the parameters that they share.
    GradientConflict {
        /// Steps done before.
        step: u64,
        /// The domains, in the order of `cosines`.
        domains: Vec<String>,
        /// Cosine of the gradients of each pair of domains.
        cosines: Vec<Vec<f64>>,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Steps done before.
        step: u64,
        /// Its folder.
        path: PathBuf,
        /// Whether it is the best one so far by validation.
        best: bool,
    },
    /// The run ended.
    End {
        /// Steps done in all.
        step: u64,
        /// `finished`, `stopped` or `failed`.
        reason: String,
        /// What is to be said about it; empty where there is nothing.
        message: String,
    },
}

/// Where the tokens of one domain went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoutingSummary {
    /// One entry per layer, first to last.
    pub layers: Vec<LayerLoad>,
}

/// Where the tokens of one domain went in one layer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerLoad {
    /// Share of the tokens that visit each expert of the pool (routed, then null), `[E]`.
    pub load: Vec<f64>,
    /// Number of routed experts among them.
    pub routed: usize,
    /// Share of the tokens that take 0, 1, 2, ... experts of the pool.
    pub experts_per_token: Vec<f64>,
    /// Mean entropy of the router's probabilities over the pool, in nats.
    pub entropy: f64,
}

/// Why events could not be written or read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EventError {
    /// The file could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// A line is no event.
    #[error("{path}, line {line}: not an event: {source}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Somebody who wants to know what happens.
pub trait Observer: Send {
    /// Takes notice of an event.
    ///
    /// # Errors
    ///
    /// An [`EventError`] where it can't be noted; the run then saves and ends.
    fn notice(&mut self, event: &Event) -> Result<(), EventError>;
}

/// Several observers, told in order.
#[derive(Default)]
pub struct Observers(pub Vec<Box<dyn Observer>>);

/// A file with an event in each line.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl Event {
    /// Steps done when the event happened.
    pub fn step(&self) -> u64 {
        match self {
            Self::Prepare { .. } | Self::Data { .. } => 0,
            Self::Begin { done, .. } => *done,
            Self::Step { step, .. }
            | Self::Validation { step, .. }
            | Self::GradientConflict { step, .. }
            | Self::Checkpoint { step, .. }
            | Self::End { step, .. } => *step,
        }
    }
}

impl Observer for Observers {
    fn notice(&mut self, event: &Event) -> Result<(), EventError> {
        self.0.iter_mut().try_for_each(|one| one.notice(event))
    }
}

impl JsonLines {
    /// Name of the log in the folder of a run.
    pub const FILE_NAME: &str = "metrics.jsonl";

    /// Opens `path` to add events after step `done`: what an interrupted run noted of later steps is
    /// forgotten, as those steps are done again. A line that was cut off is forgotten too.
    ///
    /// # Errors
    ///
    /// [`EventError::Io`] where the file can't be read or written.
    pub fn open(path: &Path, done: u64) -> Result<Self, EventError> {
        let io = |source| EventError::Io {
            path: path.to_path_buf(),
            source,
        };
        let mut kept = Vec::new();
        if done > 0 && path.exists() {
            for line in BufReader::new(File::open(path).map_err(io)?).lines() {
                let line = line.map_err(io)?;
                match serde_json::from_str::<Event>(&line) {
                    Ok(event) if event.step() <= done => {
                        kept.extend([line.as_bytes(), b"\n"].concat())
                    }
                    _ => {}
                }
            }
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".unfinished");
        std::fs::write(&beside, &kept).map_err(io)?;
        std::fs::rename(&beside, path).map_err(io)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
        })
    }

    /// All events of a file.
    ///
    /// # Errors
    ///
    /// An [`EventError`] where the file can't be read or a line is no event; a last line without its end
    /// is left out.
    pub fn read(path: &Path) -> Result<Vec<Event>, EventError> {
        let text = std::fs::read_to_string(path).map_err(|source| EventError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().enumerate();
        lines
            .map(|(index, line)| {
                serde_json::from_str(line).map_err(|source| EventError::Line {
                    path: path.to_path_buf(),
                    line: index + 1,
                    source,
                })
            })
            .collect()
    }
}

impl Observer for JsonLines {
    fn notice(&mut self, event: &Event) -> Result<(), EventError> {
        let io = |source| EventError::Io {
            path: self.path.clone(),
            source,
        };
        let mut line = serde_json::to_vec(event).map_err(|error| io(error.into()))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(io)
    }
}
