//! Clips as codes: a manifest, a codec and a cache.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

use dac_codec::{AudioClip, CodeFile};
use unimoe_model::CodeGrid;
use vision_encoder::VisionInput;

use super::{
    cache::{CodeCache, Key},
    encode::CodecEncoder,
    error::{DataError, Defects, Fault, chain},
    hash::ContentHash,
    loader::Dataset,
    manifest::{Manifest, Policy},
    parallel::{cores, in_order},
    record::Record,
    vision::VisionReader,
};

/// A clip as a model is trained on it.
#[derive(Debug, Clone)]
pub struct Clip {
    /// What the manifest says.
    pub record: Arc<Record>,
    /// Codes of the sound, without delay, `[T, K]`.
    pub codes: CodeGrid,
    /// Codes of the reference voice, `[T, K]`.
    pub reference: Option<CodeGrid>,
    /// The video, where there is one and it is wanted.
    pub vision: Option<Arc<VisionInput>>,
}

/// How clips are made.
#[derive(Debug, Clone)]
pub struct ClipSetOptions {
    /// What is done about sounds and videos that can't be read. Default: [`Policy::Fail`]
    pub policy: Policy,
    /// Longest sound that is read, in seconds. Default: 600
    pub max_seconds: f64,
    /// Threads that read files. Default: one per core
    pub workers: usize,
    /// How videos are read; `None` leaves them out.
    pub vision: Option<VisionReader>,
}

/// How far [`ClipSet::prepare`] is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrepareProgress {
    /// Sounds that are done.
    pub done: usize,
    /// Sounds in all.
    pub total: usize,
    /// Those of them whose codes were in the cache.
    pub cached: usize,
    /// Seconds of sound encoded.
    pub seconds: f64,
}

/// Clips whose codes are on disk.
#[derive(Debug)]
pub struct ClipSet {
    records: Vec<Arc<Record>>,
    codes: Vec<RecordCodes>,
    skipped: Defects,
    encoder: Arc<CodecEncoder>,
    cache: CodeCache,
    options: ClipSetOptions,
}

/// Where a record's codes are.
#[derive(Debug, Clone, Copy)]
struct RecordCodes {
    audio: Stored,
    reference: Option<Stored>,
}

#[derive(Debug, Clone, Copy)]
struct Stored {
    key: Key,
    frames: usize,
}

impl Default for ClipSetOptions {
    fn default() -> Self {
        Self {
            policy: Policy::Fail,
            max_seconds: 600.0,
            workers: cores(),
            vision: None,
        }
    }
}

impl ClipSet {
    /// Computes the codes of all sounds that are not in the cache, reference voices included.
    ///
    /// With [`Policy::Fail`] every sound is read before the first is encoded, so that what can't be read shows before
    /// hours are spent. `progress` may stop the work; what was encoded by then stays in the cache.
    ///
    /// # Errors
    ///
    /// - [`DataError::Defects`] lists all sounds that can't be read, with [`Policy::Fail`].
    /// - [`DataError::EmptyDomain`] where a domain loses all of its clips.
    /// - [`DataError::Io`] where the cache can't be read or written, [`DataError::Codec`] where the codec fails.
    /// - [`DataError::Interrupted`] where `progress` breaks off.
    pub fn prepare(
        manifest: Manifest,
        encoder: Arc<CodecEncoder>,
        cache: CodeCache,
        options: ClipSetOptions,
        progress: &mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>,
    ) -> Result<Self, DataError> {
        let sounds = Sounds::find(&manifest, &encoder, &cache, &options, progress)?;
        let stored = sounds.encode(&encoder, &cache, &options, progress)?;
        let manifest = manifest.without(&stored.faults, options.policy)?;
        let of = |path: &Path| stored.codes.get(path).copied();
        let codes = |record: &Arc<Record>| {
            let reference = match &record.reference {
                Some(reference) => Some(of(&reference.audio)?),
                None => None,
            };
            Some(RecordCodes {
                audio: of(&record.audio)?,
                reference,
            })
        };
        Ok(Self {
            codes: manifest.records.iter().filter_map(codes).collect(),
            records: manifest.records,
            skipped: manifest.skipped,
            encoder,
            cache,
            options,
        })
    }

    /// The records.
    pub fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    /// What was left out.
    pub fn skipped(&self) -> &Defects {
        &self.skipped
    }

    /// Frames of a clip.
    ///
    /// # Panics
    ///
    /// Panics where there is no such clip.
    pub fn frames(&self, index: usize) -> usize {
        self.codes[index].audio.frames
    }

    /// Frames of a clip's reference voice.
    ///
    /// # Panics
    ///
    /// Panics where there is no such clip.
    pub fn reference_frames(&self, index: usize) -> Option<usize> {
        Some(self.codes[index].reference?.frames)
    }

    /// Hash of the clips and their sounds: differs where a clip is another one, or comes in another place.
    pub fn fingerprint(&self) -> String {
        let names = self
            .records
            .iter()
            .zip(&self.codes)
            .flat_map(|(record, codes)| {
                let entry = |stored: Stored| {
                    self.cache
                        .path(&stored.key)
                        .file_name()
                        .map(|name| name.to_string_lossy().into_owned())
                };
                let reference = codes.reference.and_then(entry);
                [
                    record.id.clone(),
                    entry(codes.audio).unwrap_or_default(),
                    reference.unwrap_or_default(),
                ]
            });
        let names: Vec<String> = names.collect();
        let parts: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
        ContentHash::of(&parts).to_string()
    }

    /// The codec.
    pub fn encoder(&self) -> &Arc<CodecEncoder> {
        &self.encoder
    }

    fn load(&self, stored: Stored, sound: &Path) -> Result<CodeGrid, DataError> {
        let file = match self.cache.get(&stored.key, &self.encoder)? {
            Some(file) => file,
            None => self.restore(stored, sound)?,
        };
        let channels = file.n_codebooks as usize;
        let codes = file.codes.into_iter().map(u32::from).collect();
        CodeGrid::new(channels, codes).map_err(|error| DataError::Item {
            id: sound.display().to_string(),
            source: error.into(),
        })
    }

    /// Encodes a sound again whose entry went missing or was damaged since it was prepared.
    fn restore(&self, stored: Stored, sound: &Path) -> Result<CodeFile, DataError> {
        let failed = |source| DataError::Item {
            id: sound.display().to_string(),
            source,
        };
        if Key::of(sound, &self.encoder)? != stored.key {
            let reason = "it changed since its codes were computed, which are gone from the cache";
            return Err(failed(reason.into()));
        }
        let clip = AudioClip::read(sound, self.options.max_seconds);
        let clip = clip.map_err(|error| failed(error.into()))?;
        let file = encode(&self.encoder, &clip, sound)?;
        self.cache.put(&stored.key, &file)?;
        Ok(file)
    }
}

impl Dataset for ClipSet {
    type Item = Clip;

    fn len(&self) -> usize {
        self.records.len()
    }

    fn length(&self, index: usize) -> usize {
        self.frames(index) + self.reference_frames(index).unwrap_or(0)
    }

    fn domain(&self, index: usize) -> &str {
        &self.records[index].domain
    }

    fn get(&self, index: usize) -> Result<Clip, DataError> {
        let record = &self.records[index];
        let RecordCodes { audio, reference } = self.codes[index];
        let reference = match (reference, &record.reference) {
            (Some(stored), Some(voice)) => Some(self.load(stored, &voice.audio)?),
            _ => None,
        };
        let vision = match (&self.options.vision, &record.video) {
            (Some(reader), Some(video)) => {
                let input = reader.read(video).map_err(|error| DataError::Item {
                    id: record.id.clone(),
                    source: error.into(),
                })?;
                Some(Arc::new(input))
            }
            _ => None,
        };
        Ok(Clip {
            codes: self.load(audio, &record.audio)?,
            record: record.clone(),
            reference,
            vision,
        })
    }
}

fn encode(encoder: &CodecEncoder, clip: &AudioClip, sound: &Path) -> Result<CodeFile, DataError> {
    encoder.encode(clip).map_err(|source| DataError::Codec {
        what: sound.display().to_string(),
        source: source.into(),
    })
}

/// All sound files of a manifest.
struct Sounds {
    /// Records that need each file, and the field that names it.
    users: BTreeMap<PathBuf, Vec<(usize, &'static str)>>,
    stored: HashMap<PathBuf, Stored>,
    /// Files without codes, each content once, with the others of the same content.
    missing: Vec<(Key, Vec<PathBuf>)>,
    faults: BTreeMap<usize, Fault>,
}

/// What became of them.
struct Encoded {
    codes: HashMap<PathBuf, Stored>,
    /// By the record's place.
    faults: BTreeMap<usize, Fault>,
}

impl Sounds {
    /// Looks all sounds up in the cache.
    fn find(
        manifest: &Manifest,
        encoder: &CodecEncoder,
        cache: &CodeCache,
        options: &ClipSetOptions,
        progress: &mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>,
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
            let key = Key::of(path, encoder)?;
            Ok((key, cache.get(&key, encoder)?.map(|file| file.frames())))
        };
        in_order(&files, options.workers, look, |index, found| {
            let path = files[index].clone();
            match found {
                Ok((key, Some(frames))) => {
                    sounds.stored.insert(path, Stored { key, frames });
                }
                Ok((key, None)) => missing.entry(key).or_default().push(path),
                Err(DataError::Io {
                    path: at, source, ..
                }) if at == path => {
                    sounds.blame(&path, &source.to_string());
                }
                Err(error) => return Err(error),
            }
            let cached = sounds.stored.len();
            report(progress, cached, files.len(), cached, 0.0)
        })?;
        sounds.missing = missing.into_iter().collect();
        Ok(sounds)
    }

    /// Notes that a file can't be read.
    fn blame(&mut self, path: &Path, reason: &str) {
        for (index, field) in self.users.get(path).into_iter().flatten() {
            let fault = Fault::Audio {
                field,
                reason: reason.to_string(),
            };
            self.faults.entry(*index).or_insert(fault);
        }
    }

    fn encode(
        mut self,
        encoder: &CodecEncoder,
        cache: &CodeCache,
        options: &ClipSetOptions,
        progress: &mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>,
    ) -> Result<Encoded, DataError> {
        let missing = std::mem::take(&mut self.missing);
        let read = |(_, files): &(Key, Vec<PathBuf>)| {
            AudioClip::read(&files[0], options.max_seconds).map_err(|error| chain(&error))
        };
        let (cached, total) = (self.stored.len(), self.users.len());
        if options.policy == Policy::Fail {
            in_order(&missing, options.workers, read, |index, clip| {
                if let Err(reason) = clip {
                    let files = &missing[index].1;
                    files.iter().for_each(|path| self.blame(path, &reason));
                }
                report(progress, cached, total, cached, 0.0)
            })?;
        }
        let mut seconds = 0.0;
        if options.policy == Policy::Skip || self.faults.is_empty() {
            in_order(&missing, options.workers, read, |index, clip| {
                let (key, files) = &missing[index];
                match clip {
                    Ok(clip) => {
                        let file = encode(encoder, &clip, &files[0])?;
                        cache.put(key, &file)?;
                        seconds += clip.seconds();
                        for path in files {
                            let stored = Stored {
                                key: *key,
                                frames: file.frames(),
                            };
                            self.stored.insert(path.clone(), stored);
                        }
                    }
                    Err(reason) => files.iter().for_each(|path| self.blame(path, &reason)),
                }
                report(progress, self.stored.len(), total, cached, seconds)
            })?;
        }
        Ok(Encoded {
            codes: self.stored,
            faults: self.faults,
        })
    }
}

fn report(
    progress: &mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>,
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
