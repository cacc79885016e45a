#![doc = include_str!("../README.md")]

use burn::tensor::Device;
use unimoe_model::{Companions, EmbeddedFiles, ModelPath, Pipeline, PipelineOptions, UniMoeError};

/// The files of `model/`, as `build.rs` found them.
const FILES: EmbeddedFiles = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The model folder in the program: whatever reads a model folder takes it.
///
/// ```
/// use unimoe_model::UniMoeConfig;
///
/// let config = UniMoeConfig::load(embedded_model::folder().join("config.json"))?;
/// assert_eq!(config.codec.n_channels, 12);
/// # Ok::<(), unimoe_model::ConfigError>(())
/// ```
pub fn folder() -> ModelPath {
    ModelPath::embedded("the built-in model", FILES)
}

/// Loads the model: in f32 on the processor, which computes fastest in it, though it is stored in 16 bits.
///
/// # Errors
///
/// A [`UniMoeError`] where the device can't hold it.
pub fn pipeline(device: &Device) -> Result<Pipeline, UniMoeError> {
    Pipeline::load(folder(), &PipelineOptions::default(), device)
}

/// Its settings, voices and words, without loading the model.
///
/// # Errors
///
/// A [`UniMoeError`] where the program was built of damaged files.
///
/// ```
/// let companions = embedded_model::companions()?;
/// let voice = companions.voices.get(None, "Hello world.").expect("a voice for English");
/// assert!(voice.seconds() < 3.0);
/// // What the model has not learnt to say:
/// assert_eq!(companions.words.speech.unknown("Good xylotomy!"), ["xylotomy"]);
/// # Ok::<(), unimoe_model::UniMoeError>(())
/// ```
pub fn companions() -> Result<Companions, UniMoeError> {
    Ok(Companions::find(folder())?)
}
