//! The sounds of a manifest: which of them have codes already, and computing those of the others.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use dac_codec::{AudioClip, CodeFile};

use super::{
    cache::{CodeCache, Key},
    clips::{ClipSetOptions, PrepareProgress},
    encode::CodecEncoder,
    error::{DataError, Fault, chain},
    manifest::{Manifest, Policy},
    memo::HashMemo,
    parallel::in_order,
};

/// Sample rates that are read, in Hz: what resampling costs grows without bound beyond.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;

/// Told how far the work is; may stop it.
pub(super) type OnProgress<'a> = &'a mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>;

/// Codes of a sound, in the cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    pub(super) key: Key,
    pub(super) frames: usize,
}

/// Checks the length that sounds may have.
pub(super) fn check_longest(max_seconds: f64) -> Result<(), DataError> {
    match max_seconds > 0.0 && max_seconds.is_finite() {
        true => Ok(()),
        false => {
            let expected = "a finite number of seconds above 0";
            let setting = "the longest sound";
            Err(DataError::setting(setting, expected, max_seconds))
        }
    }
}

/// Reads a sound file, or says why not.
pub(super) fn read_sound(path: &Path, max_seconds: f64) -> Result<AudioClip, String> {
    let clip = AudioClip::read(path, max_seconds).map_err(|error| chain(&error))?;
    let rate = clip.sample_rate;
    match RATES.contains(&rate) {
        true => Ok(clip),
        false => Err(format!(
            "{}: {rate} samples per second, expected {} to {}",
            path.display(),
            RATES.start(),
            RATES.end()
        )),
    }
}

pub(super) fn encode(
    encoder: &CodecEncoder,
    clip: &AudioClip,
    sound: &Path,
) -> Result<CodeFile, DataError> {
    encoder.encode(clip).map_err(|source| DataError::Codec {
        what: sound.display().to_string(),
        source: source.into(),
    })
}

/// All sound files of a manifest.
pub(super) struct Sounds {
    /// Records that need each file, and the field that names it.
    users: BTreeMap<PathBuf, Vec<(usize, &'static str)>>,
    pub(super) stored: HashMap<PathBuf, Stored>,
    /// Contents without codes, with the files that hold them.
    missing: Vec<(Key, Vec<PathBuf>)>,
    /// What is wrong, by the record's place.
    pub(super) faults: BTreeMap<usize, Vec<Fault>>,
}

impl Sounds {
    /// Looks all sounds up in the cache.
    pub(super) fn find(
        manifest: &Manifest,
        encoder: &CodecEncoder,
        (cache, memo): (&CodeCache, &HashMemo),
        options: &ClipSetOptions,
        progress: OnProgress<'_>,
    ) -> Result<Self, DataError> {
        let mut users: BTreeMap<PathBuf, Vec<_>> = BTreeMap::new();
        for (index, record) in manifest.records.iter().enumerate() {
            let entry = users.entry(record.audio.clone()).or_default();
            entry.push((index, "audio"));
            if let Some(reference) = &record.reference {
                let entry = users.entry(reference.audio.clone()).or_default();
                entry.push((index, "reference_audio"));
            }
        }
        let files: Vec<PathBuf> = users.keys().cloned().collect();
        let mut sounds = Self {
            users,
            stored: HashMap::new(),
            missing: Vec::new(),
            faults: BTreeMap::new(),
        };
        let mut missing: BTreeMap<Key, Vec<PathBuf>> = BTreeMap::new();
        let look = |path: &PathBuf| {
            let content = memo.hash(path);
            let content = content.map_err(|error| format!("{}: {error}", path.display()));
            Ok::<_, DataError>(match content {
                Err(reason) => Err(reason),
                Ok(content) => {
                    let key = Key::from_content(content, encoder);
                    let stored = cache.get(&key, encoder)?;
                    Ok((key, stored.map(|file| file.frames())))
                }
            })
        };
        in_order(&files, options.workers, look, |index, found| {
            let path = files[index].clone();
            match found? {
                Ok((key, Some(frames))) => {
                    sounds.stored.insert(path, Stored { key, frames });
                }
                Ok((key, None)) => missing.entry(key).or_default().push(path),
                Err(reason) => sounds.blame(&path, &reason),
            }
            let cached = sounds.stored.len();
            report(progress, cached, files.len(), cached, 0.0)
        })?;
        sounds.missing = missing.into_iter().collect();
        Ok(sounds)
    }

    /// How far the work is once all were looked up.
    pub(super) fn progress(&self) -> PrepareProgress {
        PrepareProgress {
            done: self.stored.len(),
            total: self.users.len(),
            cached: self.stored.len(),
            seconds: 0.0,
        }
    }

    /// Notes that a file can't be read.
    fn blame(&mut self, path: &Path, reason: &str) {
        for (index, field) in self.users.get(path).into_iter().flatten() {
            let fault = Fault::Audio {
                field,
                reason: reason.to_string(),
            };
            self.faults.entry(*index).or_default().push(fault);
        }
    }

    /// Computes the missing codes; with [`Policy::Fail`] only once all sounds were read.
    pub(super) fn encode(
        &mut self,
        encoder: &CodecEncoder,
        cache: &CodeCache,
        options: &ClipSetOptions,
        progress: OnProgress<'_>,
    ) -> Result<(), DataError> {
        let missing = std::mem::take(&mut self.missing);
        let read = |(_, files): &(Key, Vec<PathBuf>)| read_sound(&files[0], options.max_seconds);
        let (cached, total) = (self.stored.len(), self.users.len());
        if options.policy == Policy::Fail {
            in_order(&missing, options.workers, read, |index, clip| {
                if let Err(reason) = clip {
                    let files = &missing[index].1;
                    files.iter().for_each(|path| self.blame(path, &reason));
                }
                report(progress, cached, total, cached, 0.0)
            })?;
            if !self.faults.is_empty() {
                return Ok(());
            }
        }
        let mut seconds = 0.0;
        in_order(&missing, options.workers, read, |index, clip| {
            let (key, files) = &missing[index];
            match clip {
                Ok(clip) => {
                    let file = encode(encoder, &clip, &files[0])?;
                    cache.put(key, &file)?;
                    seconds += clip.seconds();
                    let (key, frames) = (*key, file.frames());
                    let stored = files
                        .iter()
                        .cloned()
                        .map(|path| (path, Stored { key, frames }));
                    self.stored.extend(stored);
                }
                Err(reason) => files.iter().for_each(|path| self.blame(path, &reason)),
            }
            report(progress, self.stored.len(), total, cached, seconds)
        })
    }
}

fn report(
    progress: OnProgress<'_>,
    done: usize,
    total: usize,
    cached: usize,
    seconds: f64,
) -> Result<(), DataError> {
    let state = PrepareProgress {
        done,
        total,
        cached,
        seconds,
    };
    match progress(&state) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(DataError::Interrupted),
    }
}
