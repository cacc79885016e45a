//! Everything that training would stumble over, found beforehand.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc};

use super::{
    error::{DataError, Fault, chain},
    manifest::Manifest,
    parallel::{cores, in_order},
    positions::{ModelLimits, RecordLengths},
    record::{Record, Task},
    sounds::{check_longest, read_sound},
    vision::VisionReader,
};

/// What is checked.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// Longest sound that is read, in seconds. Default: 600
    pub max_seconds: f64,
    /// Threads that read files. Default: one per core
    pub workers: usize,
    /// How videos are read; `None` leaves them unread.
    pub vision: Option<VisionReader>,
    /// The model that the clips must fit; `None` for any.
    pub model: Option<ModelLimits>,
    /// Whether speech needs a reference voice, as the model's prompts do. Default: `true`
    pub voices: bool,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckOutcome {
    /// What is wrong, by the record's place.
    pub faults: BTreeMap<usize, Vec<Fault>>,
    /// Seconds of sound of each record; 0 where it can't be read.
    pub seconds: Vec<f64>,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            max_seconds: 600.0,
            workers: cores(),
            vision: None,
            model: None,
            voices: true,
        }
    }
}

/// Reads all sounds and videos of a manifest, and finds what is wrong with its records. `progress` is told how many of
/// how many records are done, and may stop the work.
///
/// # Errors
///
/// [`DataError::Interrupted`] where `progress` breaks off, [`DataError::Setting`] where `max_seconds` is no length.
pub fn check_manifest(
    manifest: &Manifest,
    options: &CheckOptions,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<CheckOutcome, DataError> {
    check_longest(options.max_seconds)?;
    let records = &manifest.records;
    let mut outcome = CheckOutcome::default();
    let one = |record: &Arc<Record>| options.check(record);
    in_order(records, options.workers, one, |index, (seconds, faults)| {
        outcome.seconds.push(seconds);
        if !faults.is_empty() {
            outcome.faults.insert(index, faults);
        }
        match progress(index + 1, records.len()) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DataError::Interrupted),
        }
    })?;
    Ok(outcome)
}

impl CheckOptions {
    /// Seconds of sound, and everything that is wrong.
    fn check(&self, record: &Record) -> (f64, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut seconds = |field, path: &Path| match read_sound(path, self.max_seconds) {
            Ok(clip) => clip.seconds(),
            Err(reason) => {
                faults.push(Fault::Audio { field, reason });
                0.0
            }
        };
        let mut lengths = RecordLengths {
            seconds: seconds("audio", &record.audio),
            ..RecordLengths::default()
        };
        if let Some(reference) = &record.reference {
            lengths.reference_seconds = seconds("reference_audio", &reference.audio);
        } else if self.voices && record.task == Task::Speech {
            let field = "reference_audio";
            faults.push(Fault::Missing { field });
        }
        if let (Some(reader), Some(video)) = (&self.vision, &record.video) {
            match reader.read(video) {
                Ok(input) => lengths.grid = Some((input.kind, input.grid)),
                Err(error) => faults.push(Fault::Video {
                    reason: chain(&error),
                }),
            }
        }
        if let Some(model) = &self.model {
            faults.extend(model.positions(record, &lengths).err());
        }
        (lengths.seconds, faults)
    }
}
