//! A randomly initialised model folder in the released layout, for tests and as a place to start.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dac_codec::{DacCodec, DacConfig};
use model_files::{ShardWriter, write_json};
use vision_encoder::Preprocessor;

use crate::{
    config::UniMoeConfig,
    error::{UniMoeError, WeightsError},
    new_folder::write_new_folder,
    random::RandomWeights,
    tokenizer::{Tokenizer, Vocabulary},
    weights::ReleasedNames,
};

/// Largest size of a shard in bytes.
pub(crate) const SHARD_BYTES: usize = 4 << 30;

/// Sizes of a model to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// About 2 M parameters: for tests.
    Tiny,
    /// About 90 M parameters.
    Small,
    /// The published sizes.
    Released,
}

impl Preset {
    /// The model.
    pub fn config(self) -> UniMoeConfig {
        match self {
            Self::Tiny => UniMoeConfig::tiny(),
            Self::Small => UniMoeConfig::small(),
            Self::Released => UniMoeConfig::released(),
        }
    }

    /// The dense model of the same sizes, as specialists begin (UniMoE-Audio, section 4.2). Split in two, or in
    /// quarters with the published sizes, its blocks have the width of the routed experts.
    pub fn dense(self) -> UniMoeConfig {
        let config = self.config();
        let parts = match self {
            Self::Tiny | Self::Small => 2,
            Self::Released => 4,
        };
        let width = parts * config.moe.d_routed;
        config.into_dense(width)
    }

    /// The codec that goes with it: 12 codebooks of 1024 codes at 16 kHz.
    pub fn codec(self) -> DacConfig {
        let (encoder, latent, decoder) = match self {
            Self::Tiny => (4, 32, 64),
            Self::Small => (16, 128, 256),
            Self::Released => return DacConfig::dac_16khz(),
        };
        DacConfig::dac_16khz()
            .with_encoder_dim(encoder)
            .with_latent_dim(latent)
            .with_decoder_dim(decoder)
    }
}

/// The codec of a new model folder.
#[derive(Debug, Clone, PartialEq)]
pub enum NewCodec {
    /// A random one.
    Random(DacConfig),
    /// A copy of the one in this folder or file.
    From(PathBuf),
}

/// Writes a randomly initialised model folder with a tokenizer, and a random codec in `dac/`: [`init_folder`] for the
/// sizes of a preset.
///
/// # Errors
///
/// As for [`init_folder`].
pub fn init_model_folder(
    preset: Preset,
    seed: u64,
    folder: &Path,
    device: &Device,
) -> Result<(), UniMoeError> {
    let codec = NewCodec::Random(preset.codec());
    init_folder(&preset.config(), &codec, seed, folder, device)
}

/// Writes a randomly initialised model folder with a tokenizer whose tokens are bytes, and a codec in `dac/`;
/// [`NewFolder`] with the default vocabulary.
///
/// # Errors
///
/// A [`UniMoeError`] where `folder` holds something, a codec can't be read, or a file can't be written.
///
/// ```
/// use unimoe_model::{NewCodec, Preset, UniMoeConfig, init_folder};
///
/// let parent = tempfile::tempdir()?;
/// let folder = parent.path().join("model");
/// let codec = NewCodec::Random(Preset::Tiny.codec());
/// init_folder(&Preset::Tiny.dense(), &codec, 1, &folder, &burn::tensor::Device::flex())?;
/// let config = UniMoeConfig::load(&folder.join("config.json"))?;
/// assert!(config.is_dense());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn init_folder(
    config: &UniMoeConfig,
    codec: &NewCodec,
    seed: u64,
    folder: &Path,
    device: &Device,
) -> Result<(), UniMoeError> {
    NewFolder {
        config: config.clone(),
        codec: codec.clone(),
        vocabulary: None,
        seed,
    }
    .write(folder, device)
}

/// A randomly initialised model that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFolder {
    /// Its sizes. With a vocabulary of its own they must be those of
    /// [`UniMoeConfig::with_vocabulary`].
    pub config: UniMoeConfig,
    /// Its codec.
    pub codec: NewCodec,
    /// Merges of its tokenizer; `None` for bytes, with the added tokens wherever the configuration has them.
    pub vocabulary: Option<Vocabulary>,
    /// Seed of the weights.
    pub seed: u64,
}

impl NewFolder {
    /// Writes the folder, which must not exist yet, or be empty; its content appears whole or not at all. The same sizes,
    /// vocabulary and seed give the same files.
    ///
    /// # Errors
    ///
    /// As for [`init_folder`].
    pub fn write(&self, folder: &Path, device: &Device) -> Result<(), UniMoeError> {
        write_new_folder(folder, |unfinished| {
            let codec = match &self.codec {
                NewCodec::Random(sizes) => DacCodec::random(sizes, self.seed, device)?,
                NewCodec::From(path) => DacCodec::load(path, device)?,
            };
            write_weights(&self.config, self.seed, unfinished, device)?;
            match &self.vocabulary {
                Some(vocabulary) => Tokenizer::write(unfinished, vocabulary)?,
                None => {
                    Tokenizer::write_byte_level(unfinished, self.config.codec.placeholder)?;
                }
            }
            codec.save(unfinished.join("dac"))?;
            Ok(())
        })
    }
}

/// Writes `config.json`, the weights in shards and their index to `folder`, which must exist.
///
/// Parameters are random from `seed`, in bf16. The memory in use is one tensor.
///
/// # Errors
///
/// [`WeightsError::Io`] where a file can't be written.
pub(crate) fn write_weights(
    config: &UniMoeConfig,
    seed: u64,
    folder: &Path,
    device: &Device,
) -> Result<(), WeightsError> {
    let parameters = model_files::parameters(config.init(device), &ReleasedNames(config))?;
    let random = RandomWeights { seed };
    let dtype = RandomWeights::DTYPE;
    let mut writer = ShardWriter::new(folder, parameters.clone(), dtype, SHARD_BYTES)?;
    for parameter in parameters {
        writer.write(&random.bytes(&parameter.name, &parameter.shape))?;
    }
    writer.finish()?;
    if let Some(vision) = &config.vision {
        let preprocessor = Preprocessor::for_encoder(&vision.encoder).to_released();
        write_json(
            &folder.join("video_preprocessor_config.json"),
            &preprocessor,
        )?;
    }
    write_json(&folder.join("config.json"), &config.to_released())
}
