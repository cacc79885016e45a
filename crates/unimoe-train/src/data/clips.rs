//! Clips as codes: a manifest, a codec and a cache.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path, sync::Arc};

use dac_codec::CodeFile;
use unimoe_model::CodeGrid;
use vision_encoder::{Grid, VisionInput, VisionKind};

use super::{
    cache::{CodeCache, Key},
    encode::CodecEncoder,
    error::{DataError, Defects, Fault, chain},
    hash::ContentHash,
    loader::Dataset,
    manifest::{Manifest, Policy},
    memo::HashMemo,
    parallel::{cores, in_order},
    record::Record,
    sounds::{OnProgress, Sounds, Stored, check_longest, encode, read_sound},
    vision::{VisionCache, VisionReader},
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
    /// How videos are read; `None` leaves them out. Their patches are kept in the cache, up to 9.6 MB for a video with the
    /// default settings.
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
    parts: Vec<Parts>,
    skipped: Defects,
    encoder: Arc<CodecEncoder>,
    cache: CodeCache,
    videos: VisionCache,
    options: ClipSetOptions,
}

/// Where the parts of a clip are.
#[derive(Debug, Clone, Copy)]
struct Parts {
    audio: Stored,
    reference: Option<Stored>,
    video: Option<Seen>,
}

/// A video's key in the cache, and its size.
#[derive(Debug, Clone, Copy)]
struct Seen {
    key: ContentHash,
    kind: VisionKind,
    grid: Grid,
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
    /// Computes the codes of all sounds that are not in the cache, reference voices included, and reads all videos.
    ///
    /// With [`Policy::Fail`] everything is read before the first sound is encoded, so that what can't be read shows before
    /// hours are spent. `progress` may stop the work; what was encoded by then stays in the cache.
    ///
    /// # Errors
    ///
    /// - [`DataError::Defects`] lists all sounds and videos that can't be read, with [`Policy::Fail`].
    /// - [`DataError::EmptyDomain`] where a domain loses all of its clips.
    /// - [`DataError::Io`] where the cache can't be read or written, [`DataError::Codec`] where the codec fails.
    /// - [`DataError::Interrupted`] where `progress` breaks off, [`DataError::Setting`] where `max_seconds` is no length.
    pub fn prepare(
        manifest: Manifest,
        encoder: Arc<CodecEncoder>,
        cache: CodeCache,
        options: ClipSetOptions,
        progress: &mut dyn FnMut(&PrepareProgress) -> ControlFlow<()>,
    ) -> Result<Self, DataError> {
        check_longest(options.max_seconds)?;
        let memo = HashMemo::open(cache.folder().join("hashes.jsonl"));
        let videos = VisionCache::new(cache.folder());
        let mut sounds = Sounds::find(&manifest, &encoder, (&cache, &memo), &options, progress)?;
        let seen = see(&manifest, (&videos, &memo), &options, &mut sounds, progress)?;
        memo.save()?;
        sounds.encode(&encoder, &cache, &options, progress)?;
        let whole = |(index, record): (usize, &Arc<Record>)| {
            let of = |path: &Path| sounds.stored.get(path).copied();
            let reference = match &record.reference {
                Some(reference) => Some(of(&reference.audio)?),
                None => None,
            };
            Some(Parts {
                audio: of(&record.audio)?,
                reference,
                video: seen.get(&index).copied(),
            })
        };
        let records = manifest.records.iter().enumerate();
        let kept = records.filter(|(index, _)| !sounds.faults.contains_key(index));
        let parts: Vec<Parts> = kept.filter_map(whole).collect();
        let manifest = manifest.without(&sounds.faults, options.policy)?;
        Ok(Self {
            parts,
            records: manifest.records,
            skipped: manifest.skipped,
            encoder,
            cache,
            videos,
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
        self.parts[index].audio.frames
    }

    /// Frames of a clip's reference voice.
    ///
    /// # Panics
    ///
    /// Panics where there is no such clip.
    pub fn reference_frames(&self, index: usize) -> Option<usize> {
        Some(self.parts[index].reference?.frames)
    }

    /// What a clip's video is and its patches, where it has one and videos are read.
    ///
    /// # Panics
    ///
    /// Panics where there is no such clip.
    pub fn grid(&self, index: usize) -> Option<(VisionKind, Grid)> {
        let seen = self.parts[index].video?;
        Some((seen.kind, seen.grid))
    }

    /// Hash of the clips: differs where a text, a domain, a sound or a video is another one, or comes in another place.
    pub fn fingerprint(&self) -> String {
        let mut hashes = Vec::with_capacity(self.parts.len());
        for (record, parts) in self.records.iter().zip(&self.parts) {
            let texts = [&record.id, &record.domain, &record.text].map(|text| text.as_bytes());
            let voice = record.reference.as_ref();
            let voice = voice.map_or(&[][..], |voice| voice.text.as_bytes());
            let keys = [
                Some(parts.audio.key.hash()),
                parts.reference.map(|stored| stored.key.hash()),
                parts.video.map(|seen| seen.key),
            ];
            let keys = keys.map(|key| key.map_or(Vec::new(), |key| key.0.to_vec()));
            let all: Vec<&[u8]> = texts
                .into_iter()
                .chain([voice])
                .chain(keys.iter().map(Vec::as_slice))
                .collect();
            hashes.extend(ContentHash::of(&all).0);
        }
        ContentHash::of(&[&hashes]).to_string()
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
        CodeGrid::new(channels, codes).map_err(|error| failed(sound, error.to_string()))
    }

    /// Encodes a sound again whose entry went missing or was damaged since it was prepared.
    fn restore(&self, stored: Stored, sound: &Path) -> Result<CodeFile, DataError> {
        if Key::of(sound, &self.encoder)? != stored.key {
            return Err(failed(sound, CHANGED.to_string()));
        }
        let clip = read_sound(sound, self.options.max_seconds);
        let clip = clip.map_err(|reason| failed(sound, reason))?;
        let file = encode(&self.encoder, &clip, sound)?;
        self.cache.put(&stored.key, &file)?;
        Ok(file)
    }

    fn look(
        &self,
        reader: &VisionReader,
        seen: Seen,
        video: &Path,
    ) -> Result<VisionInput, DataError> {
        if let Some(input) = self.videos.get(seen.key)? {
            return Ok(input);
        }
        let content = ContentHash::of_path(video).map_err(DataError::io("read", video))?;
        if reader.key(content) != seen.key {
            return Err(failed(video, CHANGED.to_string()));
        }
        let input = reader.read(video);
        let input = input.map_err(|error| failed(video, chain(&error)))?;
        self.videos.put(seen.key, &input)?;
        Ok(input)
    }
}

const CHANGED: &str =
    "it changed since it was prepared, and what was made of it then is gone from the cache";

fn failed(file: &Path, reason: String) -> DataError {
    DataError::Item {
        id: file.display().to_string(),
        source: reason.into(),
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
        let parts = self.parts[index];
        let reference = match (parts.reference, &record.reference) {
            (Some(stored), Some(voice)) => Some(self.load(stored, &voice.audio)?),
            _ => None,
        };
        let vision = match (&self.options.vision, parts.video, &record.video) {
            (Some(reader), Some(seen), Some(video)) => {
                Some(Arc::new(self.look(reader, seen, video)?))
            }
            _ => None,
        };
        Ok(Clip {
            codes: self.load(parts.audio, &record.audio)?,
            record: record.clone(),
            reference,
            vision,
        })
    }
}

/// Reads all videos that are not in the cache; notes what is wrong beside the faults of the sounds.
fn see(
    manifest: &Manifest,
    (videos, memo): (&VisionCache, &HashMemo),
    options: &ClipSetOptions,
    sounds: &mut Sounds,
    progress: OnProgress<'_>,
) -> Result<BTreeMap<usize, Seen>, DataError> {
    let Some(reader) = &options.vision else {
        return Ok(BTreeMap::new());
    };
    let records = manifest.records.iter().enumerate();
    let jobs: Vec<(usize, &Path)> = records
        .filter_map(|(index, record)| Some((index, record.video.as_deref()?)))
        .collect();
    let look = |(_, video): &(usize, &Path)| -> Result<Result<Seen, String>, DataError> {
        let content = match memo.hash(video) {
            Ok(content) => content,
            Err(error) => return Ok(Err(format!("{}: {error}", video.display()))),
        };
        let key = reader.key(content);
        let input = match videos.get(key)? {
            Some(input) => input,
            None => match reader.read(video) {
                Ok(input) => {
                    videos.put(key, &input)?;
                    input
                }
                Err(error) => return Ok(Err(chain(&error))),
            },
        };
        Ok(Ok(Seen {
            key,
            kind: input.kind,
            grid: input.grid,
        }))
    };
    let mut seen = BTreeMap::new();
    let state = sounds.progress();
    in_order(&jobs, options.workers, look, |place, found| {
        let index = jobs[place].0;
        match found? {
            Ok(found) => {
                seen.insert(index, found);
            }
            Err(reason) => {
                let faults = sounds.faults.entry(index).or_default();
                faults.push(Fault::Video { reason });
            }
        }
        match progress(&state) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(DataError::Interrupted),
        }
    })?;
    Ok(seen)
}
