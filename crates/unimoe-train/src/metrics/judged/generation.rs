//! Generating the clips of a manifest's records with a model, in batches that are kept.
//!
//! ```text
//! FOLDER/generated/BATCH/CLIP.wav
//! ```
//!
//! `BATCH` tells all that its clips depend on: the model's files, the settings, the seeds, and texts, voices and videos of
//! its records. A batch appears whole, and isn't made again where it is there.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dac_codec::AudioClip;
use serde::{Deserialize, Serialize};
use unimoe_model::{
    Batching, CodeGrid, Generated, GenerationDefaults, MusicRequest, Pipeline, Request,
    RequestOptions, SpeechRequest, UniMoeError, VideoMusicRequest, Voice, find_codec,
};
use vision_encoder::{VideoOptions, read_video};

use super::sounds::{KeptSound, plain_name};
use crate::{
    data::{ContentHash, Record, Task},
    metrics::MetricError,
};

/// Changes where equal requests give other sounds than before.
const METHOD: &[u8] = b"joint batches, 1";
/// Longest result that is read back, in seconds.
const MAX_SECONDS: f64 = 3600.0;

/// How records become sounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerationPlan {
    /// How a clip of each task is generated; its seed is the plan's.
    pub options: GenerationDefaults,
    /// Whether a clip is made exactly as long as the real one, whatever the lengths in `options` say.
    pub real_length: bool,
    /// Seed of the first clip, the next ones count up from it.
    pub seed: u64,
    /// Clips that share a pass of the model.
    pub batch: usize,
}

/// What a report tells of how its clips were generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GenerationFacts {
    /// The first 12 hexadecimal digits of the [`ModelFingerprint`].
    pub model: String,
    /// Seed of the first clip, the next ones count up from it.
    pub seed: u64,
    /// Temperature; 0 takes the likeliest code always.
    pub temperature: f64,
    /// Codes to draw from; `None` is all.
    pub top_k: Option<usize>,
    /// Probability to draw from.
    pub top_p: f64,
    /// Guidance scale.
    pub guidance: f32,
    /// Factor of the end's logit.
    pub eos_factor: f32,
    /// Least and largest length in seconds; `None` where it is the real clip's.
    pub seconds: Option<[f64; 2]>,
    /// Clips that share a pass of the model.
    pub batch: usize,
}

/// How far the generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationProgress {
    /// Clips that are there.
    pub done: usize,
    /// Clips of all.
    pub total: usize,
    /// Complete frames of the batch on its way.
    pub frames: usize,
}

/// Tells a model folder with its codec from all others, by the bytes of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelFingerprint(ContentHash);

impl ModelFingerprint {
    /// Reads all files of the folder and of the codec, which is found as [`Pipeline::load`] does.
    ///
    /// # Errors
    ///
    /// [`MetricError::Io`] where one can't be read.
    pub fn of(folder: &Path, codec: Option<&Path>) -> Result<Self, MetricError> {
        let hash = |path: &Path| {
            ContentHash::of_path(path).map_err(|source| MetricError::Io {
                path: path.to_path_buf(),
                source,
            })
        };
        let model = hash(folder)?;
        let found = find_codec(folder).ok();
        let codec = match codec.or(found.as_deref()) {
            Some(codec) => hash(codec)?,
            None => ContentHash::of(&[]),
        };
        Ok(Self(ContentHash::of(&[&model.0, &codec.0])))
    }

    /// Its first 12 hexadecimal digits.
    pub fn short(&self) -> String {
        self.0.to_string()[..12].to_owned()
    }
}

impl GenerationPlan {
    fn options_of(&self, task: Task) -> RequestOptions {
        match task {
            Task::Speech => self.options.speech,
            Task::Music => self.options.music,
            Task::VideoMusic => self.options.video_music,
        }
    }

    /// What a report tells of it.
    pub fn facts(&self, model: ModelFingerprint, task: Task) -> GenerationFacts {
        let options = self.options_of(task);
        let sampling = options.sampling;
        let seconds = [options.min_seconds, options.max_seconds];
        GenerationFacts {
            model: model.short(),
            seed: self.seed,
            temperature: if sampling.greedy {
                0.0
            } else {
                sampling.temperature
            },
            top_k: sampling.top_k,
            top_p: sampling.top_p,
            guidance: options.guidance_scale,
            eos_factor: options.eos_factor,
            seconds: (!self.real_length).then_some(seconds),
            batch: self.batch,
        }
    }

    /// The sound of each record, made with `pipeline` or found in `folder`; `records` come with the real clip's seconds.
    /// Ends between two steps where `stop` becomes true; complete batches stay.
    ///
    /// # Errors
    ///
    /// [`MetricError::Attribute`] for speech without a voice, [`MetricError::Generate`] where the model refuses a request or
    /// fails, [`MetricError::Video`], [`MetricError::Audio`], [`MetricError::Io`] for files that can't be read,
    /// [`MetricError::Write`], [`MetricError::Stopped`].
    pub fn generate(
        &self,
        pipeline: &Pipeline,
        model: ModelFingerprint,
        records: &[(Arc<Record>, f64)],
        folder: &Path,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(GenerationProgress),
    ) -> Result<Vec<KeptSound>, MetricError> {
        let folder = folder.join("generated");
        fs::create_dir_all(&folder).map_err(write(&folder))?;
        let mut voices = HashMap::new();
        let mut sounds = Vec::new();
        for (number, batch) in records.chunks(self.batch.max(1)).enumerate() {
            let first = number * self.batch.max(1);
            let place = folder.join(&self.key(model, batch, first)?.to_string()[..16]);
            let names: Vec<PathBuf> = (batch.iter().enumerate())
                .map(|(row, (record, _))| {
                    format!("{}-{}.wav", plain_name(&record.id), first + row).into()
                })
                .collect();
            let mut tell = |frames| {
                progress(GenerationProgress {
                    done: first,
                    total: records.len(),
                    frames,
                });
            };
            tell(0);
            if names.iter().any(|name| !place.join(name).is_file()) {
                let made = self.make(pipeline, batch, first, &mut voices, stop, &mut tell)?;
                keep(&place, &names, made)?;
            }
            for name in &names {
                sounds.push(KeptSound::read(&place.join(name), MAX_SECONDS)?);
            }
        }
        Ok(sounds)
    }

    /// All that the sounds of a batch depend on.
    fn key(
        &self,
        model: ModelFingerprint,
        batch: &[(Arc<Record>, f64)],
        first: usize,
    ) -> Result<ContentHash, MetricError> {
        let settings = format!("{} {}", self.real_length, self.seed);
        let mut parts: Vec<Vec<u8>> = vec![
            METHOD.to_vec(),
            model.0.0.to_vec(),
            settings.into_bytes(),
            first.to_le_bytes().to_vec(),
        ];
        for (record, seconds) in batch {
            parts.push(record.id.clone().into_bytes());
            parts.push(format!("{:?}", self.options_of(record.task)).into_bytes());
            parts.push(record.text.clone().into_bytes());
            if self.real_length {
                parts.push(seconds.to_le_bytes().to_vec());
            }
            if let Some(reference) = &record.reference {
                parts.push(reference.text.clone().into_bytes());
                parts.push(content(&reference.audio)?);
            }
            if let Some(video) = &record.video {
                parts.push(content(video)?);
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(ContentHash::of(&parts))
    }

    fn make(
        &self,
        pipeline: &Pipeline,
        batch: &[(Arc<Record>, f64)],
        first: usize,
        voices: &mut HashMap<PathBuf, CodeGrid>,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(usize),
    ) -> Result<Vec<AudioClip>, MetricError> {
        let name = batch
            .first()
            .map_or(String::new(), |(record, _)| record.id.clone());
        let failed = |source: UniMoeError| MetricError::Generate {
            id: name.clone(),
            source: Box::new(source),
        };
        let mut requests = Vec::new();
        for (row, (record, seconds)) in batch.iter().enumerate() {
            let mut options = RequestOptions {
                seed: Some(self.seed.wrapping_add((first + row) as u64)),
                ..self.options_of(record.task)
            };
            if self.real_length {
                (options.min_seconds, options.max_seconds) = (*seconds, *seconds);
            }
            requests.push(request(pipeline, record, options, voices)?);
        }
        let mut session = pipeline
            .start(&requests, Batching::Joint)
            .map_err(&failed)?;
        while session.step().map_err(&failed)?.is_some() {
            if stop.load(Ordering::Relaxed) {
                return Err(MetricError::Stopped);
            }
            tell(session.progress().frames.iter().sum());
        }
        let hop = pipeline.codec().config().hop_length();
        let bare = |generated: Generated| {
            // The pipeline fills results up to a second with silence.
            let length = generated.codes.n_frames().max(1) * hop;
            let mut clip = generated.audio;
            clip.samples.truncate(length);
            clip
        };
        let sounds = session.finish().map_err(&failed)?;
        Ok(sounds.into_iter().map(bare).collect())
    }
}

fn request(
    pipeline: &Pipeline,
    record: &Record,
    options: RequestOptions,
    voices: &mut HashMap<PathBuf, CodeGrid>,
) -> Result<Request, MetricError> {
    let lacks = |field, expected| MetricError::Attribute {
        manifest: record.origin.manifest.to_path_buf(),
        line: record.origin.line,
        id: record.id.clone(),
        field,
        expected,
    };
    let text = record.text.clone();
    Ok(match record.task {
        Task::Speech => {
            let reference = (record.reference.as_ref())
                .ok_or_else(|| lacks("reference_audio", "the voice to speak with"))?;
            let codes = match voices.get(&reference.audio) {
                Some(codes) => codes.clone(),
                None => {
                    let clip = AudioClip::read(&reference.audio, Pipeline::MAX_VOICE_SECONDS)?;
                    let codes =
                        pipeline
                            .encode_voice(&clip)
                            .map_err(|source| MetricError::Generate {
                                id: record.id.clone(),
                                source: Box::new(source),
                            })?;
                    voices.insert(reference.audio.clone(), codes.clone());
                    codes
                }
            };
            Request::Speech(SpeechRequest {
                text,
                voice: Voice::Codes(codes),
                voice_text: reference.text.clone(),
                options,
            })
        }
        Task::Music => Request::Music(MusicRequest {
            caption: text,
            options,
        }),
        Task::VideoMusic => {
            let video = (record.video.as_ref()).ok_or_else(|| lacks("video", "a video"))?;
            let seen = read_video(video, &VideoOptions::default(), pipeline.preprocessor());
            let seen = seen.map_err(|source| MetricError::Video {
                id: record.id.clone(),
                source: Box::new(source),
            })?;
            Request::VideoMusic(VideoMusicRequest {
                caption: text,
                vision: vec![seen],
                options,
            })
        }
    })
}

fn write(path: &Path) -> impl FnOnce(std::io::Error) -> MetricError {
    let path = path.to_path_buf();
    move |source| MetricError::Write { path, source }
}

fn content(path: &Path) -> Result<Vec<u8>, MetricError> {
    let hash = ContentHash::of_path(path).map_err(|source| MetricError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    Ok(hash.0.to_vec())
}

/// Puts a batch at its place, whole or not at all.
fn keep(place: &Path, names: &[PathBuf], sounds: Vec<AudioClip>) -> Result<(), MetricError> {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = place.with_file_name(format!(".unfinished-{name}"));
    // What a run before left where it was ended, and a batch that lost a file.
    for folder in [&unfinished, place] {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(write(folder))?;
        }
    }
    fs::create_dir(&unfinished).map_err(write(&unfinished))?;
    for (name, clip) in names.iter().zip(sounds) {
        clip.write_wav(unfinished.join(name))?;
    }
    fs::rename(&unfinished, place).map_err(write(place))
}
