//! From texts, a voice and a video to sound. Start here: it calls the rest of the crate top to bottom.
//!
//! ```text
//! request -> prompt -> tokens -> model -> delayed codes -> codes -> codec -> sound
//!    voice -> codec -> codes -> delayed codes ^
//!    video -> patches -> vision encoder ------^
//! ```
//!
//! Axes: `B` batch, `K` codec channels, `T` frames, `L` samples.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use dac_codec::{AudioClip, DacCodec};
use model_files::ModelPath;
use vision_encoder::Preprocessor;

use crate::{
    companions::Companions,
    config::{UniMoeConfig, VisionConfig},
    delay::{CodeGrid, DelayPattern},
    dtype::choose_dtype,
    error::{RequestError, TokenizerError, UniMoeError},
    generate::{Batching, GeneratedCodes, StopReason},
    init::Preset,
    model::{LoadOptions, UniMoe},
    prompt::{IMAGE, VIDEO},
    request::{MusicRequest, Request, SpeechRequest, VideoMusicRequest},
    stream::{Progress, Session},
    tokenizer::Tokenizer,
};

/// Frames that are encoded or decoded at a time: bounds the memory of long sounds.
const CHUNK_FRAMES: usize = 500;

/// A recording whose loudest sample stays below this is silence.
const SILENCE: f32 = 1e-4;

/// A model, its tokenizer and its codec on one device.
#[derive(Debug)]
pub struct Pipeline {
    pub(crate) model: UniMoe,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) codec: DacCodec,
    pub(crate) delay: DelayPattern,
    preprocessor: Preprocessor,
    companions: Companions,
    device: Device,
}

/// How to load a [`Pipeline`].
#[derive(Debug, Clone, Default)]
pub struct PipelineOptions {
    /// Type of the model's parameters; `None` takes what the device is fast at and what fits.
    pub dtype: Option<DType>,
    /// The codec's weights; `None` looks beside the model for `dac/` and `weights_16khz.pth`.
    pub codec: Option<PathBuf>,
    /// Whether to accept tensors that the model has no place for.
    pub lenient: bool,
    /// Whether to leave the vision encoder out of memory: speech and music from text don't need it.
    pub without_vision: bool,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub struct Generated {
    /// Codes without delay, `[T, K]`.
    pub codes: CodeGrid,
    /// The sound, at least one second (the rest is silence), within -1 to 1.
    pub audio: AudioClip,
    /// The seed that was used.
    pub seed: u64,
    /// Why it ended.
    pub stop: StopReason,
}

impl Pipeline {
    /// Longest recording accepted as a reference voice, in seconds.
    pub const MAX_VOICE_SECONDS: f64 = 60.0;

    /// Loads a model folder and the codec beside it, from a disk or from memory ([`ModelPath`]).
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] that names the file and what is wrong with it, also where model, tokenizer and
    /// codec don't belong together.
    pub fn load(
        folder: impl Into<ModelPath>,
        options: &PipelineOptions,
        device: &Device,
    ) -> Result<Self, UniMoeError> {
        let folder = folder.into();
        let codec_path = match &options.codec {
            Some(path) => ModelPath::from(path),
            None => codec_beside(&folder)?,
        };
        let mut config = UniMoeConfig::load(folder.join("config.json"))?;
        let tokenizer = Tokenizer::from_dir(&folder)?;
        let companions = Companions::find(&folder)?;
        let codec = DacCodec::load(codec_path, device)?;
        if options.without_vision {
            // It takes no memory then, which decides the type.
            config.vision = None;
        }
        let load = LoadOptions {
            dtype: options
                .dtype
                .unwrap_or_else(|| choose_dtype(&config, device)),
            strict: !options.lenient,
            text_head: false,
            vision: !options.without_vision,
        };
        // A file that is damaged shows before the model is read.
        let preprocessor = Preprocessor::find(&folder)?;
        let model = UniMoe::load(&folder, load, device)?;
        let pipeline = Self::new(model, tokenizer, codec, device)?.with_companions(companions)?;
        match preprocessor {
            Some(preprocessor) => pipeline.with_preprocessor(preprocessor),
            None => Ok(pipeline),
        }
    }

    /// An untrained model in memory: makes noise, and equals the folder that
    /// [`init_model_folder`](crate::init_model_folder) writes for the same preset and seed.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where the parameters can't be kept in the wanted type.
    pub fn untrained(
        preset: Preset,
        seed: u64,
        dtype: Option<DType>,
        device: &Device,
    ) -> Result<Self, UniMoeError> {
        let config = preset.config();
        let load = LoadOptions {
            dtype: dtype.unwrap_or_else(|| choose_dtype(&config, device)),
            ..LoadOptions::default()
        };
        let model = UniMoe::random(&config, seed, load, device)?;
        let tokenizer = Tokenizer::byte_level(config.codec.placeholder)?;
        let codec = DacCodec::random(&preset.codec(), seed, device)?;
        Self::new(model, tokenizer, codec, device)
    }

    /// Puts loaded parts together.
    ///
    /// # Errors
    ///
    /// A [`RequestError::Mismatch`] where they don't belong together, [`TokenizerError::NoToken`] where the
    /// tokenizer knows no placeholder for codes.
    pub fn new(
        model: UniMoe,
        tokenizer: Tokenizer,
        codec: DacCodec,
        device: &Device,
    ) -> Result<Self, UniMoeError> {
        let (config, sound) = (model.config(), codec.config());
        let check = |what, model: usize, other: usize| {
            if model == other {
                return Ok(());
            }
            Err(RequestError::Mismatch { what, model, other })
        };
        check("codec channels", config.codec.n_channels, sound.n_codebooks)?;
        check(
            "codes of a channel",
            config.codec.eos as usize,
            sound.codebook_size,
        )?;
        let check_token = |what, token: &str, id: u32| {
            let found = tokenizer.token_id(token);
            let found = found.ok_or_else(|| TokenizerError::NoToken {
                token: token.to_string(),
            })?;
            Ok::<_, UniMoeError>(check(what, id as usize, found as usize)?)
        };
        check_token(
            "the id of <|AUDIO_PLACEHOLDER|>",
            "<|AUDIO_PLACEHOLDER|>",
            config.codec.placeholder,
        )?;
        if let (Some(_), Some(vision)) = (&model.vision, &config.vision) {
            check_token("the id of <|image_pad|>", IMAGE, vision.image_token)?;
            check_token("the id of <|video_pad|>", VIDEO, vision.video_token)?;
        }
        let delay = DelayPattern::new(config.codec.delay_pattern.clone())?;
        let vision = config.vision.as_ref();
        let preprocessor = vision.map(|vision| Preprocessor::for_encoder(&vision.encoder));
        Ok(Self {
            preprocessor: preprocessor.unwrap_or_default(),
            companions: Companions::default(),
            model,
            tokenizer,
            codec,
            delay,
            device: device.clone(),
        })
    }

    /// The same with other defaults, voices and words.
    ///
    /// # Errors
    ///
    /// [`CompanionError::Codes`](crate::CompanionError::Codes) where the codes of a voice are another codec's.
    pub fn with_companions(mut self, companions: Companions) -> Result<Self, UniMoeError> {
        companions.voices.check(self.codec.config())?;
        self.companions = companions;
        Ok(self)
    }

    /// The same with other settings for pictures, whose patches must be the model's.
    ///
    /// # Errors
    ///
    /// A [`RequestError::Mismatch`] where they are not.
    pub fn with_preprocessor(mut self, preprocessor: Preprocessor) -> Result<Self, UniMoeError> {
        if let Some(VisionConfig { encoder, .. }) = &self.model.config().vision {
            for (what, model, other) in [
                (
                    "pixels of a patch",
                    encoder.patch_size,
                    preprocessor.patch_size,
                ),
                (
                    "frames of a patch",
                    encoder.temporal_patch_size,
                    preprocessor.temporal_patch_size,
                ),
                (
                    "patches of a token",
                    encoder.merge_size,
                    preprocessor.merge_size,
                ),
            ] {
                if model != other {
                    return Err(RequestError::Mismatch { what, model, other }.into());
                }
            }
        }
        self.preprocessor = preprocessor;
        Ok(self)
    }

    /// How pictures and videos become the model's input.
    ///
    /// ```
    /// use unimoe_model::{Pipeline, Preset};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = burn::tensor::Device::flex();
    /// let pipeline = Pipeline::untrained(Preset::Tiny, 1, None, &device)?;
    /// let frames = vec![image::RgbImage::new(64, 48); 4];
    /// let input = pipeline.preprocessor().video(&frames, 2.0)?;
    /// assert_eq!(input.grid.t, 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Defaults, voices and words of the model folder.
    pub fn companions(&self) -> &Companions {
        &self.companions
    }

    /// The model.
    pub fn model(&self) -> &UniMoe {
        &self.model
    }

    /// The codec.
    pub fn codec(&self) -> &DacCodec {
        &self.codec
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Samples per second of what is generated.
    pub fn sample_rate(&self) -> u32 {
        self.codec.config().sample_rate as u32
    }

    /// Speaks; one batch. `progress` is called after every step and may stop the work.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate).
    pub fn speech(
        &self,
        requests: &[SpeechRequest],
        progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, UniMoeError> {
        let requests: Vec<Request> = requests.iter().cloned().map(Request::Speech).collect();
        self.generate(&requests, Batching::default(), progress)
    }

    /// Makes music; one batch. `progress` is called after every step and may stop the work.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate).
    pub fn music(
        &self,
        requests: &[MusicRequest],
        progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, UniMoeError> {
        let requests: Vec<Request> = requests.iter().cloned().map(Request::Music).collect();
        self.generate(&requests, Batching::default(), progress)
    }

    /// Makes music for videos or images; one batch. `progress` is called after every step and may stop the
    /// work.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate).
    pub fn video_music(
        &self,
        requests: &[VideoMusicRequest],
        progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, UniMoeError> {
        let requests: Vec<Request> = requests.iter().cloned().map(Request::VideoMusic).collect();
        self.generate(&requests, Batching::default(), progress)
    }

    /// Generates a batch of any requests and decodes it.
    ///
    /// Where `progress` breaks off, each result holds what was complete by then and says
    /// [`StopReason::Cancelled`].
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where a request is unusable (a blank text, a silent or too long voice, no picture, a
    /// setting out of range, a prompt longer than the model's positions) or the model gives no finite logits.
    pub fn generate(
        &self,
        requests: &[Request],
        batching: Batching,
        mut progress: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Vec<Generated>, UniMoeError> {
        let mut session = self.start(requests, batching)?;
        while session.step()?.is_some() {
            if progress(&session.progress()).is_break() {
                break;
            }
        }
        session.finish()
    }

    /// Starts a batch that the caller steps through; see [`Session`] for sound while it grows.
    ///
    /// # Errors
    ///
    /// As for [`generate`](Self::generate).
    pub fn start(
        &self,
        requests: &[Request],
        batching: Batching,
    ) -> Result<Session<'_>, UniMoeError> {
        let prepared = self.prepare_all(requests, batching)?;
        Session::start(self, &prepared, batching)
    }

    /// Encodes a recording as a reference voice: `[T, K]`.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] where it is empty, silent, not finite, or longer than
    /// [`MAX_VOICE_SECONDS`](Self::MAX_VOICE_SECONDS).
    pub fn encode_voice(&self, clip: &AudioClip) -> Result<CodeGrid, UniMoeError> {
        let seconds = clip.seconds();
        if seconds > Self::MAX_VOICE_SECONDS {
            let limit = Self::MAX_VOICE_SECONDS;
            return Err(RequestError::VoiceTooLong { seconds, limit }.into());
        }
        if let Some(index) = clip.samples.iter().position(|sample| !sample.is_finite()) {
            let found = clip.samples[index];
            return Err(RequestError::VoiceNotFinite { index, found }.into());
        }
        if clip.samples.iter().all(|sample| sample.abs() < SILENCE) {
            return Err(RequestError::VoiceSilent { seconds }.into());
        }
        let clip = clip.resampled(self.sample_rate())?;
        let audio = clip.to_tensor(&self.device);
        let mut frames = Vec::new();
        for codes in self.codec.encode_chunks([audio], None, CHUNK_FRAMES) {
            // The codec has [B, K, T], the model [T, K].
            let codes = codes?.swap_dims(1, 2).into_data_dtype(DType::I32);
            let codes = codes.iter::<i32>().map(|code| code as u32);
            frames.extend(codes);
        }
        Ok(CodeGrid::new(self.codec.config().n_codebooks, frames)?)
    }

    /// Decodes codes `[T, K]` to sound.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where the codes are not the codec's.
    pub fn decode(&self, codes: &CodeGrid) -> Result<AudioClip, UniMoeError> {
        let mut samples = Vec::new();
        if codes.n_frames() > 0 {
            let codes = self.codes_tensor(codes.as_slice());
            for audio in self.codec.decode_chunks([codes], CHUNK_FRAMES) {
                samples.extend(audio?.into_data().iter::<f32>());
            }
        }
        Ok(AudioClip {
            samples,
            sample_rate: self.sample_rate(),
        })
    }

    /// Codes `[T, K]` of one sound for the codec, `[1, K, T]`.
    pub(crate) fn codes_tensor(&self, codes: &[u32]) -> Tensor<3, Int> {
        let channels = self.codec.config().n_codebooks;
        let values: Vec<i32> = codes.iter().map(|&code| code as i32).collect();
        let shape = [1, codes.len() / channels, channels];
        Tensor::<3, Int>::from_data(TensorData::new(values, shape), &self.device).swap_dims(1, 2)
    }

    /// The sound of what was generated, padded to a second.
    pub(crate) fn render(
        &self,
        generated: GeneratedCodes,
        seed: u64,
    ) -> Result<Generated, UniMoeError> {
        let mut audio = self.decode(&generated.codes)?;
        let second = audio.sample_rate as usize;
        if audio.samples.len() < second {
            audio.samples.resize(second, 0.0);
        }
        Ok(Generated {
            codes: generated.codes,
            audio,
            seed,
            stop: generated.stop,
        })
    }
}

/// The codec beside a model: `dac/`, else `weights_16khz.pth`.
///
/// # Errors
///
/// [`RequestError::NoCodec`] where neither is there.
pub fn find_codec(folder: &Path) -> Result<PathBuf, RequestError> {
    let found = codec_beside(&ModelPath::from(folder))?;
    Ok(found.path().to_path_buf())
}

fn codec_beside(folder: &ModelPath) -> Result<ModelPath, RequestError> {
    ["dac", "weights_16khz.pth"]
        .into_iter()
        .map(|name| folder.join(name))
        .find(ModelPath::exists)
        .ok_or_else(|| RequestError::NoCodec {
            folder: folder.path().to_path_buf(),
        })
}
