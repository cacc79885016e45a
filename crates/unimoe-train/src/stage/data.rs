//! What a stage learns from: manifests, split and balanced, as examples.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use serde::{Deserialize, Serialize};
use unimoe_model::{Tokenizer, UniMoeConfig, UniMoeError, find_codec};
use vision_encoder::{Preprocessor, VideoOptions};

use crate::{
    data::{
        Clip, ClipSet, ClipSetOptions, CodeCache, CodecEncoder, DataError, Dataset, Manifest,
        Policy, Record, Task, VisionReader,
    },
    error::TrainError,
    event::Event,
    example::{Content, Example, ExampleBuilder, ExampleError, Request},
    stage::Workplace,
};

/// The data of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageData {
    /// Manifests of the clips to learn from.
    pub manifests: Vec<PathBuf>,
    /// Manifests of the clips to measure on; without any, [`held_out`](Self::held_out) of the others are kept back.
    pub validation: Vec<PathBuf>,
    /// Share of each domain's clips that is kept back to measure on, one at least. Which ones depends on their ids
    /// alone, so that no stage learns what another one measures on. Default: 0.05
    pub held_out: f64,
    /// Folder of codes that have been computed.
    pub cache: PathBuf,
    /// Domains to take; all where it is empty.
    pub domains: Vec<String>,
    /// Clips to draw of each domain; `None` takes all.
    pub per_domain: Option<usize>,
    /// Whether unusable clips are left out and counted; else they are an error. Default: `false`
    pub skip_unusable: bool,
}

/// What there is of a domain, without what is held out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainClips {
    /// Its name.
    pub name: String,
    /// Clips to learn from.
    pub clips: usize,
    /// Whether one of them has a video.
    pub has_video: bool,
}

/// Examples of clips, made when they are asked for.
#[derive(Debug)]
pub struct ClipExamples {
    clips: ClipSet,
    builder: ExampleBuilder,
    lengths: Vec<usize>,
}

/// What a stage learns from and measures on.
pub(super) struct StageExamples {
    pub training: ClipExamples,
    pub validation: ClipExamples,
    /// Hash of the clips, their codes and their split.
    pub fingerprint: String,
}

impl StageData {
    /// All clips of `manifests`, with codes kept in the folder `cache`.
    pub fn new(manifests: Vec<PathBuf>, cache: PathBuf) -> Self {
        Self {
            manifests,
            validation: Vec::new(),
            held_out: 0.05,
            cache,
            domains: Vec::new(),
            per_domain: None,
            skip_unusable: false,
        }
    }

    /// The domains of the manifests, by name.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where a manifest can't be read or a domain asked for is not in it.
    pub fn domains(&self) -> Result<Vec<DomainClips>, TrainError> {
        let (training, _) = self.split()?;
        let mut domains: BTreeMap<&str, DomainClips> = BTreeMap::new();
        for record in &training.records {
            let domain = (domains.entry(&record.domain)).or_insert_with(|| DomainClips {
                name: record.domain.clone(),
                clips: 0,
                has_video: false,
            });
            domain.clips += 1;
            domain.has_video |= record.video.is_some();
        }
        Ok(domains.into_values().collect())
    }

    pub(crate) fn policy(&self) -> Policy {
        match self.skip_unusable {
            true => Policy::Skip,
            false => Policy::Fail,
        }
    }

    /// What to learn from and what to measure on.
    pub(crate) fn split(&self) -> Result<(Manifest, Manifest), TrainError> {
        let mut training = self.load(&self.manifests)?;
        if !self.validation.is_empty() {
            return Ok((training, self.load(&self.validation)?));
        }
        if !(0.0..1.0).contains(&self.held_out) {
            return Err(TrainError::Setting {
                field: "held_out",
                expected: "a share from 0 to less than 1",
                found: self.held_out.to_string(),
            });
        }
        let mut validation = Manifest::default();
        for records in by_domain(&training).into_values() {
            // A domain of one clip is learnt, not measured.
            let share = (records.len() as f64 * self.held_out).ceil() as usize;
            let kept_back = share.min(records.len() - 1);
            validation
                .records
                .extend(records.into_iter().take(kept_back));
        }
        let kept_back: std::collections::BTreeSet<String> = validation
            .records
            .iter()
            .map(|record| record.id.clone())
            .collect();
        training
            .records
            .retain(|record| !kept_back.contains(&record.id));
        Ok((training, validation))
    }

    /// Finds what is wrong with all clips for the model in the folder `model`; the codes that it computes are kept.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] that names clips, or parts of the model folder, that can't be used.
    pub fn check(&self, model: &Path, workplace: &mut Workplace<'_>) -> Result<(), TrainError> {
        let structure = UniMoeConfig::load(model.join("config.json")).map_err(UniMoeError::from)?;
        let tokenizer = Tokenizer::from_dir(model).map_err(UniMoeError::from)?;
        let builder = ExampleBuilder::new(Arc::new(tokenizer), Arc::new(structure));
        let builder = builder.map_err(UniMoeError::from)?;
        self.open(model, &builder, workplace).map(drop)
    }

    fn load(&self, paths: &[PathBuf]) -> Result<Manifest, TrainError> {
        let mut manifest = Manifest::load(paths, self.policy())?;
        if !self.domains.is_empty() {
            manifest.require(self.domains.iter().map(String::as_str))?;
            manifest
                .records
                .retain(|record| self.domains.contains(&record.domain));
        }
        Ok(manifest)
    }

    /// Draws as many clips of each domain as are wanted.
    fn draw(&self, mut training: Manifest) -> Result<Manifest, TrainError> {
        let Some(wanted) = self.per_domain else {
            return Ok(training);
        };
        let mut drawn = Vec::new();
        for (domain, records) in by_domain(&training) {
            if records.len() < wanted {
                return Err(DataError::TooFew {
                    domain,
                    expected: wanted,
                    found: records.len(),
                }
                .into());
            }
            drawn.extend(records.into_iter().take(wanted));
        }
        training.records = drawn;
        Ok(training)
    }

    /// Prepares codes and examples for the model in the folder `model`.
    pub(super) fn open(
        &self,
        model: &Path,
        builder: &ExampleBuilder,
        workplace: &mut Workplace<'_>,
    ) -> Result<StageExamples, TrainError> {
        let (training, validation) = self.split()?;
        let training = self.draw(training)?;
        let codec = find_codec(model).map_err(UniMoeError::from)?;
        let codec = dac_codec::DacCodec::load(codec, workplace.device)?;
        check_codec(model, &codec, builder)?;
        let encoder = Arc::new(CodecEncoder::new(codec, workplace.device));
        let vision = match &builder.config().vision {
            None => None,
            Some(vision) => {
                let found = Preprocessor::find(model).map_err(UniMoeError::from)?;
                Some(VisionReader {
                    options: VideoOptions::default(),
                    preprocessor: found
                        .unwrap_or_else(|| Preprocessor::for_encoder(&vision.encoder)),
                })
            }
        };
        let mut open = |manifest: Manifest| {
            let cache = CodeCache::open(&self.cache)?;
            let options = ClipSetOptions {
                policy: self.policy(),
                vision: vision.clone(),
                ..ClipSetOptions::default()
            };
            let stop = workplace.stop;
            let mut noted = Ok(());
            let clips = ClipSet::prepare(manifest, encoder.clone(), cache, options, &mut |state| {
                noted = workplace.observer.notice(&Event::Prepare {
                    done: state.done as u64,
                    total: state.total as u64,
                    seconds: state.seconds,
                });
                match noted.is_err() || stop.load(Ordering::Relaxed) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            });
            noted?;
            ClipExamples::new(clips?, builder.clone())
        };
        let (training, validation) = (open(training)?, open(validation)?);
        let fingerprint = format!(
            "{}-{}",
            training.clips.fingerprint(),
            validation.clips.fingerprint()
        );
        workplace.observer.notice(&Event::Data {
            training: training.counts(),
            validation: validation.counts(),
            skipped: training.clips.skipped().0.len() as u64
                + validation.clips.skipped().0.len() as u64,
        })?;
        Ok(StageExamples {
            training,
            validation,
            fingerprint,
        })
    }
}

impl ClipExamples {
    /// Examples of `clips` for the model that `builder` is for.
    ///
    /// # Errors
    ///
    /// The [`ExampleError`] of the first clip that doesn't fit the model: what can be told without reading its codes and
    /// its video.
    pub fn new(clips: ClipSet, builder: ExampleBuilder) -> Result<Self, TrainError> {
        let length = |(index, record): (usize, &Arc<Record>)| {
            let request = request(record, clips.reference_frames(index))?;
            builder.positions(&record.id, request, clips.frames(index))
        };
        let lengths = clips.records().iter().enumerate().map(length);
        let lengths = lengths.collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            clips,
            builder,
            lengths,
        })
    }

    /// Number of clips of each domain.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for record in self.clips.records() {
            *counts.entry(record.domain.clone()).or_default() += 1;
        }
        counts
    }

    fn example(&self, clip: &Clip) -> Result<Example, ExampleError> {
        let record = &clip.record;
        let content = match (record.task, &record.reference, &clip.reference) {
            (Task::Speech, Some(reference), Some(voice)) => Content::Speech {
                text: &record.text,
                voice_text: &reference.text,
                voice,
            },
            (Task::Speech, _, _) => {
                return Err(ExampleError::NoReference {
                    id: record.id.clone(),
                });
            }
            (Task::Music | Task::VideoMusic, _, _) => Content::Music {
                caption: &record.text,
                vision: clip.vision.as_slice(),
            },
        };
        self.builder
            .build(&record.id, &record.domain, content, &clip.codes)
    }
}

impl Dataset for ClipExamples {
    type Item = Example;

    fn len(&self) -> usize {
        self.clips.len()
    }

    fn length(&self, index: usize) -> usize {
        self.lengths[index]
    }

    fn domain(&self, index: usize) -> &str {
        self.clips.domain(index)
    }

    fn get(&self, index: usize) -> Result<Example, DataError> {
        let clip = self.clips.get(index)?;
        self.example(&clip).map_err(|error| DataError::Item {
            id: clip.record.id.clone(),
            source: error.into(),
        })
    }
}

/// What a record asks for, as far as its length goes.
fn request(record: &Record, voice_frames: Option<usize>) -> Result<Request<'_>, ExampleError> {
    match (record.task, &record.reference, voice_frames) {
        (Task::Speech, Some(reference), Some(voice_frames)) => Ok(Request::Speech {
            text: &record.text,
            voice_text: &reference.text,
            voice_frames,
        }),
        (Task::Speech, _, _) => Err(ExampleError::NoReference {
            id: record.id.clone(),
        }),
        (Task::Music | Task::VideoMusic, _, _) => Ok(Request::Music {
            caption: &record.text,
        }),
    }
}

/// The records of each domain, in an order that depends on their ids alone.
fn by_domain(manifest: &Manifest) -> BTreeMap<String, Vec<Arc<Record>>> {
    let mut domains: BTreeMap<String, Vec<Arc<Record>>> = BTreeMap::new();
    for record in &manifest.records {
        let own = domains.entry(record.domain.clone()).or_default();
        own.push(record.clone());
    }
    for records in domains.values_mut() {
        records.sort_by_key(|record| (scatter(&record.id), record.id.clone()));
    }
    domains
}

/// A number that spreads names evenly (FNV-1a, its bits mixed once more).
fn scatter(name: &str) -> u64 {
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// Codes of another codec than the model's would be noise to it.
fn check_codec(
    model: &Path,
    codec: &dac_codec::DacCodec,
    builder: &ExampleBuilder,
) -> Result<(), TrainError> {
    let (sound, own) = (codec.config(), &builder.config().codec);
    for (what, expected, found) in [
        ("codebooks of the codec", own.n_channels, sound.n_codebooks),
        ("codes in a codebook", own.eos as usize, sound.codebook_size),
    ] {
        if expected != found {
            return Err(TrainError::Mismatch {
                path: model.to_path_buf(),
                what,
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
    }
    Ok(())
}
