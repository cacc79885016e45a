//! A model folder to hand on: weights in a smaller type, and with them the voices, words and settings that go with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device};
use dac_codec::{AudioClip, CodeFile};
use model_files::{ModelPath, read_text, write_json};
use serde::Deserialize;

use crate::{
    companions::Companions,
    defaults::{GENERATION_FILE, GenerationDefaults},
    error::{CompanionError, RequestError, UniMoeError, WeightsError},
    learnt_words::{LearntWords, WORDS_FILE},
    new_folder::write_new_folder,
    pipeline::{Pipeline, PipelineOptions},
    voices::{Entry, VOICES_FILE, VOICES_FOLDER, Voices, check},
};

/// Small files that go over as they are, where they are there.
const COPIED: [&str; 8] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
];
/// Most bytes of one of them.
const MAX_COPIED: u64 = 1 << 28;

/// What [`export_folder`] writes.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Type of the weights of model and codec: f32, f16 or bf16.
    pub dtype: DType,
    /// The codec, where it does not lie beside the model.
    pub codec: Option<PathBuf>,
    /// Most bytes of all files together; `None` for any number.
    pub max_bytes: Option<u64>,
    /// Voices to encode; without any, those of the model folder.
    pub voices: Vec<RecordedVoice>,
    /// Settings that a user leaves open; `None` for those of the model folder.
    pub defaults: Option<GenerationDefaults>,
    /// Words that the model has learnt; `None` for those of the model folder.
    pub words: Option<LearntWords>,
}

/// A recording of a reference voice.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedVoice {
    /// What it is called.
    pub name: String,
    /// What it is like; may be empty.
    pub description: String,
    /// What it says.
    pub text: String,
    /// The recording, at any rate.
    pub clip: AudioClip,
}

/// A folder that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Bytes of all its files.
    pub bytes: u64,
    /// Names of its voices.
    pub voices: Vec<String>,
}

impl Default for ExportOptions {
    /// Half of the bytes of a trained model, and what it has beside it.
    fn default() -> Self {
        Self {
            dtype: DType::F16,
            codec: None,
            max_bytes: None,
            voices: Vec::new(),
            defaults: None,
            words: None,
        }
    }
}

impl RecordedVoice {
    /// Reads a list of recordings: JSON as in `voices/voices.json` of a model folder, with `audio`, a sound file whose path
    /// starts from the list's folder, instead of `codes`.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] that names the list, or the sound file that can't be read.
    pub fn read_list(path: &Path) -> Result<Vec<Self>, UniMoeError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Recording {
            name: String,
            #[serde(default)]
            description: String,
            text: String,
            audio: PathBuf,
        }
        let text = read_text(path).map_err(|source| CompanionError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let recordings: Vec<Recording> =
            serde_json::from_str(&text).map_err(|source| CompanionError::Json {
                path: path.to_path_buf(),
                source,
            })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let read = |recording: Recording| {
            let audio = folder.join(recording.audio);
            Ok(Self {
                clip: AudioClip::read(audio, Pipeline::MAX_VOICE_SECONDS)?,
                name: recording.name,
                description: recording.description,
                text: recording.text,
            })
        };
        recordings.into_iter().map(read).collect()
    }
}

/// Writes the model of one folder to another with its weights in `options.dtype`, and with its tokenizer, codec, voices,
/// words and settings. The new folder is loaded once before it takes its place, which must be free or an empty folder;
/// its content appears whole or not at all.
///
/// # Errors
///
/// A [`UniMoeError`] where `model` can't be loaded, a weight is too large for the type, a voice can't be encoded, the
/// files are larger than `max_bytes`, or `folder` holds something or can't be written.
///
/// ```
/// use burn::tensor::Device;
/// use unimoe_model::{ExportOptions, Pipeline, PipelineOptions, Preset, export_folder, init_model_folder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (place, device) = (tempfile::tempdir()?, Device::flex());
/// let (model, small) = (place.path().join("model"), place.path().join("small"));
/// init_model_folder(Preset::Tiny, 1, &model, &device)?;
/// let exported = export_folder(&model, &ExportOptions::default(), &small, &device)?;
/// assert!(exported.bytes < 10_000_000);
/// Pipeline::load(&small, &PipelineOptions::default(), &device)?;
/// # Ok(())
/// # }
/// ```
pub fn export_folder(
    model: impl Into<ModelPath>,
    options: &ExportOptions,
    folder: &Path,
    device: &Device,
) -> Result<Exported, UniMoeError> {
    let model = model.into();
    write_new_folder(folder, |place| {
        let companions = write_model(&model, options, place, device)?;
        let pipeline = Pipeline::load(place, &PipelineOptions::default(), device)?;
        write_voices(&pipeline, &options.voices, &companions.voices, place)?;
        let voices = Voices::find(place)?;
        let names = voices.names().into_iter().map(String::from).collect();
        pipeline.with_companions(Companions {
            voices,
            ..companions
        })?;
        let bytes = size(place)?;
        match options.max_bytes.filter(|&limit| bytes > limit) {
            Some(limit) => Err(RequestError::ModelTooLarge {
                limit,
                found: bytes,
            }
            .into()),
            None => Ok(Exported {
                bytes,
                voices: names,
            }),
        }
    })
}

/// Writes everything but the voices; returns what goes with the model.
fn write_model(
    model: &ModelPath,
    options: &ExportOptions,
    place: &Path,
    device: &Device,
) -> Result<Companions, UniMoeError> {
    let pipeline = Pipeline::load(
        model,
        &PipelineOptions {
            dtype: Some(options.dtype),
            codec: options.codec.clone(),
            ..PipelineOptions::default()
        },
        device,
    )?;
    pipeline.model().save(place, options.dtype)?;
    pipeline.codec().save_as(place.join("dac"), options.dtype)?;
    for name in COPIED {
        let file = model.join(name);
        if file.exists() {
            let copy = |file: &ModelPath| fs::write(place.join(name), file.read(MAX_COPIED)?);
            copy(&file).map_err(|source| CompanionError::Io {
                path: file.path().to_path_buf(),
                source,
            })?;
        }
    }
    let mut companions = pipeline.companions().clone();
    if let Some(defaults) = options.defaults {
        companions.defaults = defaults;
    }
    if let Some(words) = &options.words {
        companions.words = words.clone();
    }
    write_json(&place.join(GENERATION_FILE), &companions.defaults.to_json())?;
    if companions.words != LearntWords::default() {
        let path = place.join(WORDS_FILE);
        let words = serde_json::to_value(&companions.words);
        let words = words.map_err(|source| CompanionError::Json {
            path: path.clone(),
            source,
        })?;
        write_json(&path, &words)?;
    }
    Ok(companions)
}

/// Writes the recordings, encoded, or else the voices that are encoded already.
fn write_voices(
    pipeline: &Pipeline,
    recorded: &[RecordedVoice],
    encoded: &Voices,
    place: &Path,
) -> Result<(), UniMoeError> {
    let mut entries = Vec::new();
    let mut files = Vec::new();
    let mut add = |name: &str, description: &str, text: &str, codes: CodeFile| {
        entries.push(Entry {
            name: name.to_string(),
            description: description.to_string(),
            text: text.to_string(),
            codes: format!("{name}-{}.codes", entries.len() + 1),
        });
        files.push(codes);
    };
    for voice in recorded {
        let codes = encode(pipeline, voice)?;
        add(&voice.name, &voice.description, &voice.text, codes);
    }
    if recorded.is_empty() {
        for voice in encoded.iter() {
            add(
                &voice.name,
                &voice.description,
                &voice.text,
                voice.codes.clone(),
            );
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    let folder = place.join(VOICES_FOLDER);
    let list = folder.join(VOICES_FILE);
    check(&ModelPath::from(&list), &entries)?;
    fs::create_dir(&folder).map_err(|source| CompanionError::Io {
        path: folder.clone(),
        source,
    })?;
    for (entry, codes) in entries.iter().zip(files) {
        codes.write(folder.join(&entry.codes))?;
    }
    let json = serde_json::to_value(&entries).map_err(|source| CompanionError::Json {
        path: list.clone(),
        source,
    })?;
    Ok(write_json(&list, &json)?)
}

fn encode(pipeline: &Pipeline, voice: &RecordedVoice) -> Result<CodeFile, UniMoeError> {
    let grid = pipeline.encode_voice(&voice.clip)?;
    let config = pipeline.codec().config();
    let samples = (grid.n_frames() * config.hop_length()) as u64;
    let exact = voice.clip.seconds() * config.sample_rate as f64;
    Ok(CodeFile {
        sample_rate: config.sample_rate as u32,
        hop_length: config.hop_length() as u32,
        n_codebooks: config.n_codebooks as u32,
        codebook_size: config.codebook_size as u32,
        // The last frame may reach beyond the end.
        samples: samples.min(exact.round() as u64),
        // A codebook has at most 65536 entries.
        codes: grid.as_slice().iter().map(|&code| code as u16).collect(),
    })
}

/// Bytes of all files in a folder and the folders in it.
fn size(folder: &Path) -> Result<u64, UniMoeError> {
    fn sum(folder: &Path) -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            bytes += match metadata.is_dir() {
                true => sum(&entry.path())?,
                false => metadata.len(),
            };
        }
        Ok(bytes)
    }
    let bytes = sum(folder).map_err(|source| WeightsError::Io {
        path: folder.to_path_buf(),
        source,
    })?;
    Ok(bytes)
}
