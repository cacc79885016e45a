//! Sounds to codes, with a codec that is told from all others by its weights.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor},
};
use dac_codec::{AudioClip, CodeFile, DacCodec, DacConfig, DacError};
use sha2::{Digest as _, Sha256};

use super::hash::ContentHash;

/// Frames that are encoded at a time: bounds the memory of long sounds.
const CHUNK_FRAMES: usize = 500;
/// Changes where equal settings and sounds give other codes than before.
const METHOD: &[u8] = b"mean of channels, resampled by FFT, encoded in chunks, 1";

/// A codec, and what its codes depend on.
#[derive(Debug)]
pub struct CodecEncoder {
    codec: DacCodec,
    device: Device,
    fingerprint: ContentHash,
}

impl CodecEncoder {
    /// Takes a codec on its device. Reads its weights once, to tell it from others.
    pub fn new(codec: DacCodec, device: &Device) -> Self {
        struct Weights(Sha256);
        impl ModuleVisitor for Weights {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.0.update(name);
                self.0.update([0]);
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let data = param.val().into_data_dtype(DType::F32);
                for value in data.iter::<f32>() {
                    self.0.update(value.to_le_bytes());
                }
            }
        }
        let mut weights = Weights(Sha256::new());
        codec.visit(&mut weights);
        let config = format!("{:?}", codec.config());
        let weights: [u8; 32] = weights.0.finalize().into();
        Self {
            fingerprint: ContentHash::of(&[METHOD, config.as_bytes(), &weights]),
            codec,
            device: device.clone(),
        }
    }

    /// Sizes of the codec.
    pub fn config(&self) -> &DacConfig {
        self.codec.config()
    }

    /// The codec.
    pub fn codec(&self) -> &DacCodec {
        &self.codec
    }

    /// Hash of all that codes depend on but the sound: weights, sizes, method.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    pub(super) fn fingerprint_hash(&self) -> ContentHash {
        self.fingerprint
    }

    /// Encodes a sound of any sample rate.
    ///
    /// # Errors
    ///
    /// A [`DacError`] where it can't be resampled.
    pub fn encode(&self, clip: &AudioClip) -> Result<CodeFile, DacError> {
        let config = self.codec.config();
        let clip = clip.resampled(config.sample_rate as u32)?;
        let audio = clip.to_tensor(&self.device);
        let pieces = self.codec.encode_chunks([audio], None, CHUNK_FRAMES);
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        CodeFile::new(config, Tensor::cat(pieces, 2), clip.samples.len())
    }
}
