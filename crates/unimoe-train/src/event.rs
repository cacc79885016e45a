//! What happens in a run, as values: written as lines of JSON, shown in terminals, drawn in reports.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

mod number;

use number::{named, number, row, table};

/// Something that happened in a run.
///
/// JSON has no NaN and no infinity: they are written as `null`, which is read as NaN.
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
        #[serde(deserialize_with = "number")]
        loss: f64,
        /// Cross entropy summed over the channels, for each domain in the batch.
        #[serde(deserialize_with = "named")]
        domains: BTreeMap<String, f64>,
        /// Cross entropy of each channel.
        #[serde(deserialize_with = "row")]
        channels: Vec<f64>,
        /// Further terms of the objective, unweighted, such as `balance` and `z`.
        #[serde(deserialize_with = "named")]
        terms: BTreeMap<String, f64>,
        /// Norm of all gradients before clipping.
        #[serde(deserialize_with = "number")]
        gradient_norm: f64,
        /// Learning rate of the step.
        #[serde(deserialize_with = "number")]
        learning_rate: f64,
        /// Real tokens in the batch (samples of sound for the codec).
        tokens: u64,
        /// Seconds for the whole step.
        #[serde(deserialize_with = "number")]
        seconds: f64,
        /// Seconds of them spent waiting for data.
        #[serde(deserialize_with = "number")]
        waited: f64,
    },
    /// The model was measured on data that it doesn't train on.
    Validation {
        /// Steps done before.
        step: u64,
        /// Mean loss over the domains.
        #[serde(deserialize_with = "number")]
        loss: f64,
        /// Cross entropy summed over the channels, for each domain.
        #[serde(deserialize_with = "named")]
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
        #[serde(deserialize_with = "table")]
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
    #[serde(deserialize_with = "row")]
    pub load: Vec<f64>,
    /// Number of routed experts among them.
    pub routed: usize,
    /// Share of the tokens that take 0, 1, 2, ... experts of the pool.
    #[serde(deserialize_with = "row")]
    pub experts_per_token: Vec<f64>,
    /// Mean entropy of the router's probabilities over the pool, in nats.
    #[serde(deserialize_with = "number")]
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
        let mut beside = path.as_os_str().to_owned();
        beside.push(".unfinished");
        let mut kept = BufWriter::new(File::create(&beside).map_err(io)?);
        if done > 0 && path.exists() {
            // As bytes: a line may be cut off in the middle of a character.
            for line in BufReader::new(File::open(path).map_err(io)?).split(b'\n') {
                let mut line = line.map_err(io)?;
                match serde_json::from_slice::<Event>(&line) {
                    Ok(event) if event.step() <= done => {
                        line.push(b'\n');
                        kept.write_all(&line).map_err(io)?;
                    }
                    _ => {}
                }
            }
        }
        let kept = kept.into_inner().map_err(|error| io(error.into_error()))?;
        kept.sync_all().map_err(io)?;
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
        let text = std::fs::read(path).map_err(|source| EventError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let end = text.iter().rposition(|&byte| byte == b'\n');
        let whole = end.map_or(&[][..], |end| &text[..=end]);
        let lines = whole.split_inclusive(|&byte| byte == b'\n').enumerate();
        lines
            .map(|(index, line)| {
                serde_json::from_slice(line).map_err(|source| EventError::Line {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f64) -> Event {
        Event::Step {
            step,
            epoch: 1,
            loss,
            domains: BTreeMap::from([("música".to_string(), loss)]),
            channels: vec![loss, 1.0],
            terms: BTreeMap::new(),
            gradient_norm: 1.0,
            learning_rate: 1e-4,
            tokens: 7,
            seconds: 0.5,
            waited: 0.0,
        }
    }

    fn end(step: u64) -> Event {
        Event::End {
            step,
            reason: "stopped".to_string(),
            message: String::new(),
        }
    }

    fn note(path: &Path, done: u64, events: &[Event]) {
        let mut log = JsonLines::open(path, done).expect("a log");
        for event in events {
            log.notice(event).expect("noted");
        }
    }

    #[test]
    fn events_are_read_as_they_were_noted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(JsonLines::FILE_NAME);
        let routing = RoutingSummary {
            layers: vec![LayerLoad {
                load: vec![0.5, 0.25],
                routed: 1,
                experts_per_token: vec![0.25, 0.75],
                entropy: 0.1,
            }],
        };
        let events = [
            Event::Begin {
                stage: "joint".to_string(),
                steps: 10,
                done: 0,
                parameters: 5,
                trained: 3,
                seed: 1,
            },
            step(1, 2.5),
            Event::Validation {
                step: 1,
                loss: 2.0,
                domains: BTreeMap::from([("a".to_string(), 2.0)]),
                routing: BTreeMap::from([("a".to_string(), routing)]),
            },
            Event::GradientConflict {
                step: 1,
                domains: vec!["a".to_string(), "b".to_string()],
                cosines: vec![vec![1.0, -0.5], vec![-0.5, 1.0]],
            },
            Event::Checkpoint {
                step: 1,
                path: PathBuf::from("step-1"),
                best: true,
            },
            end(1),
        ];
        note(&path, 0, &events);
        assert_eq!(JsonLines::read(&path).expect("events"), events);
    }

    #[test]
    fn a_resumed_log_equals_an_uninterrupted_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let [whole, resumed] = ["whole", "resumed"].map(|name| folder.path().join(name));
        note(&whole, 0, &[step(1, 3.0), step(2, 2.0), step(3, 1.0)]);
        // Steps 2 and 3 were noted, but the last checkpoint is of step 1.
        note(
            &resumed,
            0,
            &[step(1, 3.0), step(2, 7.0), step(3, 7.0), end(3)],
        );
        note(&resumed, 1, &[step(2, 2.0), step(3, 1.0)]);
        let read = |path: &Path| std::fs::read(path).expect("a log");
        assert_eq!(read(&resumed), read(&whole));
        note(&resumed, 0, &[step(1, 3.0)]);
        assert_eq!(JsonLines::read(&resumed).expect("events"), [step(1, 3.0)]);
    }

    #[test]
    fn a_last_line_that_was_cut_off_anywhere_is_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        note(&path, 0, &[step(1, 3.0), step(2, 2.0)]);
        let text = std::fs::read(&path).expect("a log");
        let first = text.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
        for end in first..text.len() {
            std::fs::write(&path, &text[..end]).expect("written");
            assert_eq!(JsonLines::read(&path).expect("events"), [step(1, 3.0)]);
            note(&path, 5, &[step(3, 1.0)]);
            let events = JsonLines::read(&path).expect("events");
            assert_eq!(events.last(), Some(&step(3, 1.0)));
            // Without its end the second line may be whole all the same.
            assert!(events.len() == 2 || end == text.len() - 1, "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_number_is_read_as_nan() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        note(&path, 0, &[step(1, f64::NAN), step(2, f64::INFINITY)]);
        for event in JsonLines::read(&path).expect("events") {
            let Event::Step {
                loss,
                domains,
                channels,
                ..
            } = event
            else {
                panic!("not a step");
            };
            assert!(loss.is_nan() && domains["música"].is_nan() && channels[0].is_nan());
        }
    }

    #[test]
    fn a_line_in_the_middle_that_is_no_event_is_told_by_its_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        note(&path, 0, &[step(1, 3.0)]);
        let good = std::fs::read_to_string(&path).expect("a log");
        for bad in ["{}", "", "{\"event\":\"dance\"}", "[1"] {
            std::fs::write(&path, format!("{good}{bad}\n{good}")).expect("written");
            let error = JsonLines::read(&path).expect_err(bad).to_string();
            assert!(error.contains("line 2"), "{error}");
        }
        std::fs::write(&path, b"\xff\xfe\n").expect("written");
        JsonLines::read(&path).expect_err("no text");
    }
}
