//! The clips of a manifest as samples at the codec's rate.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use dac_codec::{AudioClip, DacError};

use crate::data::{DataError, Dataset, Defects, Fault, Manifest, Policy, PrepareProgress, Record};

/// Clips that a thread reads between two looks at whether to go on.
const READ_AT_ONCE: usize = 16;

/// A clip.
#[derive(Debug, Clone)]
pub struct Sound {
    /// The record's id.
    pub id: String,
    /// Its domain.
    pub domain: String,
    /// The samples, at the codec's rate.
    pub samples: Arc<[f32]>,
}

/// How clips are read.
#[derive(Debug, Clone)]
pub struct SoundSetOptions {
    /// What is done about sounds that can't be read. Default: [`Policy::Fail`]
    pub policy: Policy,
    /// Longest sound that is read, in seconds. Default: 600
    pub max_seconds: f64,
    /// Samples that may stay in memory, in bytes; what is beyond is read again whenever it is asked for.
    /// Default: 1 GiB
    pub memory: usize,
    /// Threads that read files. Default: one per core
    pub workers: usize,
}

/// All clips of a manifest, each read once to know that it can be.
#[derive(Debug)]
pub struct SoundSet {
    records: Vec<Arc<Record>>,
    /// Samples of each clip.
    lengths: Vec<usize>,
    /// The samples of those that stay in memory.
    kept: Vec<Option<Arc<[f32]>>>,
    skipped: Defects,
    sample_rate: u32,
    max_seconds: f64,
    fingerprint: u32,
}

/// A clip that was read.
struct Read {
    length: usize,
    checksum: u32,
    kept: Option<Arc<[f32]>>,
}

impl Default for SoundSetOptions {
    fn default() -> Self {
        Self {
            policy: Policy::Fail,
            max_seconds: 600.0,
            memory: 1 << 30,
            workers: thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

impl SoundSet {
    /// Reads all clips of `manifest`, at `sample_rate` Hz. `progress` may stop it.
    ///
    /// # Errors
    ///
    /// [`DataError::Defects`] lists all sounds that can't be read, with [`Policy::Fail`];
    /// [`DataError::EmptyDomain`] where a domain loses all of its clips; [`DataError::Interrupted`] where
    /// `progress` breaks off.
    pub fn open(
        manifest: Manifest,
        sample_rate: u32,
        options: &SoundSetOptions,
        progress: &mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>,
    ) -> Result<Self, DataError> {
        let workers = options.workers.clamp(1, 64);
        let used = AtomicUsize::new(0);
        let read = |record: &Record| -> Result<Read, DacError> {
            let samples = samples(record, sample_rate, options.max_seconds)?;
            let bytes: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
            let before = used.fetch_add(bytes.len(), Ordering::Relaxed);
            Ok(Read {
                length: samples.len(),
                checksum: crc32fast::hash(&bytes),
                kept: (before + bytes.len() <= options.memory).then(|| samples.into()),
            })
        };
        let total = manifest.records.len();
        let mut found = Vec::with_capacity(total);
        let mut faults = BTreeMap::new();
        let mut seconds = 0.0;
        for records in manifest.records.chunks(workers * READ_AT_ONCE) {
            let state = PrepareProgress {
                done: found.len(),
                total,
                cached: 0,
                seconds,
            };
            if progress(&state).is_break() {
                return Err(DataError::Interrupted);
            }
            let parts: Vec<Vec<Result<Read, DacError>>> = thread::scope(|scope| {
                let threads: Vec<_> = records
                    .chunks(records.len().div_ceil(workers))
                    .map(|part| scope.spawn(|| part.iter().map(|record| read(record)).collect()))
                    .collect();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| thread.join();
                threads.into_iter().map(join).collect::<Result<_, _>>()
            })
            .map_err(|_| DataError::Panicked {
                index: found.len(),
                message: "a thread that reads sounds ended early".into(),
            })?;
            for result in parts.into_iter().flatten() {
                if let Ok(read) = &result {
                    seconds += read.length as f64 / f64::from(sample_rate);
                }
                let read = result.map_err(|error| {
                    let fault = Fault::Audio {
                        field: "audio",
                        reason: error.to_string(),
                    };
                    faults.insert(found.len(), vec![fault]);
                });
                found.push(read.ok());
            }
        }
        let manifest = manifest.without(&faults, options.policy)?;
        let mut checksum = crc32fast::Hasher::new();
        for (record, read) in manifest.records.iter().zip(found.iter().flatten()) {
            checksum.update(record.id.as_bytes());
            checksum.update(record.domain.as_bytes());
            checksum.update(&read.checksum.to_le_bytes());
        }
        let found = found.into_iter().flatten();
        let (lengths, kept) = found.map(|read| (read.length, read.kept)).unzip();
        Ok(Self {
            records: manifest.records,
            lengths,
            kept,
            skipped: manifest.skipped,
            sample_rate,
            max_seconds: options.max_seconds,
            fingerprint: checksum.finalize(),
        })
    }

    /// What was left out.
    pub fn skipped(&self) -> &Defects {
        &self.skipped
    }

    /// Checksum of ids, domains and samples.
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }

    /// Number of clips of each domain.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for record in &self.records {
            *counts.entry(record.domain.clone()).or_default() += 1;
        }
        counts
    }
}

impl Dataset for SoundSet {
    type Item = Sound;

    fn len(&self) -> usize {
        self.records.len()
    }

    fn length(&self, index: usize) -> usize {
        self.lengths[index]
    }

    fn domain(&self, index: usize) -> &str {
        &self.records[index].domain
    }

    fn get(&self, index: usize) -> Result<Sound, DataError> {
        let record = &self.records[index];
        let samples = match &self.kept[index] {
            Some(samples) => samples.clone(),
            None => samples(record, self.sample_rate, self.max_seconds)
                .map_err(|error| DataError::Item {
                    id: record.id.clone(),
                    source: error.into(),
                })?
                .into(),
        };
        Ok(Sound {
            id: record.id.clone(),
            domain: record.domain.clone(),
            samples,
        })
    }
}

fn samples(record: &Record, sample_rate: u32, max_seconds: f64) -> Result<Vec<f32>, DacError> {
    let clip = AudioClip::read(&record.audio, max_seconds)?;
    if clip.sample_rate == sample_rate {
        return Ok(clip.samples);
    }
    Ok(clip.resampled(sample_rate)?.samples)
}
