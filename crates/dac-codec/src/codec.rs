//! The Descript Audio Codec: audio to codes and back.
//!
//! Kumar et al., "High-Fidelity Audio Compression with Improved RVQGAN" (arXiv:2306.06546).
//! Axes: `B` batch, `L` samples, `T` frames, `K` codebooks, `D` latent width, `C` code width.

use std::path::Path;

use burn::{
    module::Module,
    tensor::{DType, Device, Int, Tensor},
};
use model_files::ModelPath;

use crate::{
    config::DacConfig,
    decoder::Decoder,
    encoder::Encoder,
    error::DacError,
    quantizer::{Dequantized, Quantized, ResidualVectorQuantizer},
    weights,
};

/// The codec: `audio -> encoder -> quantizer -> codes` and `codes -> quantizer -> decoder -> audio`.
#[derive(Module, Debug)]
pub struct DacCodec {
    /// Samples to latent.
    pub encoder: Encoder,
    /// Latent to codes.
    pub quantizer: ResidualVectorQuantizer,
    /// Latent to samples.
    pub decoder: Decoder,
    #[module(skip)]
    config: DacConfig,
}

/// Encoded audio.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// Codebook entries, `[B, K, T]`.
    pub codes: Tensor<3, Int>,
    /// The quantised latent, `[B, D, T]`.
    pub z: Tensor<3>,
    /// The projections in front of the codebooks, `[B, K * C, T]`.
    pub latents: Tensor<3>,
    /// See [`Quantized::commitment_loss`].
    pub commitment_loss: Tensor<1>,
    /// See [`Quantized::codebook_loss`].
    pub codebook_loss: Tensor<1>,
}

/// Audio that has gone through the whole codec.
#[derive(Debug, Clone)]
pub struct Reconstructed {
    /// The decoded audio, `[B, 1, L]`, cut to the input's length; shorter than that where the decoder's odd
    /// strides make it so.
    pub audio: Tensor<3>,
    /// What it was decoded from.
    pub encoded: Encoded,
}

impl DacConfig {
    /// Initializes a [`DacCodec`] from Burn's generator; [`DacCodec::random`] draws from a seed of its own.
    ///
    /// # Panics
    ///
    /// Panics if [`DacConfig::validate`] finds a fault.
    pub fn init(&self, device: &Device) -> DacCodec {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        DacCodec {
            encoder: Encoder::new(self, device),
            quantizer: ResidualVectorQuantizer::new(self, device),
            decoder: Decoder::new(self, device),
            config: self.clone(),
        }
    }
}

impl DacCodec {
    /// Loads an official `.pth` checkpoint, a Hugging Face folder (`config.json`, `model.safetensors`) or the
    /// safetensors file in it, the latter two also from memory. The content decides which, not the name. Weight norm
    /// is folded away.
    ///
    /// # Errors
    ///
    /// Names the file and what is wrong with it: unreadable, no configuration, a tensor that is missing, too
    /// many, misshapen, truncated, or not finite. A pickle that would run code is an error; nothing in it runs.
    pub fn load(path: impl Into<ModelPath>, device: &Device) -> Result<Self, DacError> {
        weights::load(path.into(), device)
    }

    /// A codec with weights drawn from `seed`, the same on every device.
    ///
    /// # Errors
    ///
    /// [`DacError::Config`] as [`DacConfig::validate`].
    pub fn random(config: &DacConfig, seed: u64, device: &Device) -> Result<Self, DacError> {
        weights::random(config, seed, device)
    }

    /// Writes the Hugging Face layout, `config.json` and `model.safetensors` in f32, into `folder`, which is
    /// created where missing. Each file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`] names the file that could not be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), DacError> {
        self.save_as(folder, DType::F32)
    }

    /// As [`save`](Self::save), with the weights in f32, f16 or bf16.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`] as [`save`](Self::save), [`DacError::NonFiniteWeight`] for a weight that is too large for the
    /// type, and [`DacError::Input`] for another type.
    ///
    /// ```
    /// use burn::tensor::{DType, Device};
    /// use dac_codec::{DacCodec, DacConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (folder, device) = (tempfile::tempdir()?, Device::flex());
    /// let config = DacConfig::dac_16khz().with_encoder_dim(4).with_decoder_dim(32).with_latent_dim(8);
    /// DacCodec::random(&config, 1, &device)?.save_as(folder.path(), DType::F16)?;
    /// assert_eq!(DacCodec::load(folder.path(), &device)?.config(), &config);
    /// # Ok(())
    /// # }
    /// ```
    pub fn save_as(&self, folder: impl AsRef<Path>, dtype: DType) -> Result<(), DacError> {
        weights::save(self, folder.as_ref(), dtype)
    }

    /// The sizes.
    pub fn config(&self) -> &DacConfig {
        &self.config
    }

    /// Pads audio with zeros on the right to a multiple of the hop.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, 1, L]`
    /// - output: `[B, 1, T * hop]`
    pub fn preprocess(&self, audio: Tensor<3>) -> Tensor<3> {
        let [b, c, length] = audio.dims();
        let missing = length.next_multiple_of(self.config.hop_length()) - length;
        if missing == 0 {
            return audio;
        }
        let silence = Tensor::zeros([b, c, missing], &audio.device());
        Tensor::cat(vec![audio, silence], 2)
    }

    /// Encodes audio of any length at the codec's sample rate, with the first `n_quantizers` codebooks or all.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, 1, L]`
    /// - output: [`Encoded`], `T = ceil(L / hop)`
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] for audio that is empty or not mono, and for a number of codebooks that the codec
    /// does not have.
    pub fn encode(
        &self,
        audio: Tensor<3>,
        n_quantizers: Option<usize>,
    ) -> Result<Encoded, DacError> {
        let n_quantizers = self.check_codebooks(n_quantizers.unwrap_or(self.config.n_codebooks))?;
        let z = self.latent(audio)?;
        Ok(self.quantizer.forward(z, n_quantizers).into())
    }

    /// Decodes a latent, quantised or not.
    ///
    /// # Shapes
    ///
    /// - z: `[B, D, T]`
    /// - output: `[B, 1, L]`, `L` as [`DacConfig::decoded_length`] says
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] for a latent that is empty or of another width.
    pub fn decode(&self, z: Tensor<3>) -> Result<Tensor<3>, DacError> {
        let [b, width, frames] = z.dims();
        if b == 0 || width != self.config.latent_dim || frames == 0 {
            return Err(input(
                "latent shape",
                &format!("[batch, {}, frames], not empty", self.config.latent_dim),
                format!("{:?}", z.dims()),
            ));
        }
        Ok(self.decoder.forward(z))
    }

    /// Decodes codes of any number of codebooks up to all.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, K, T]`
    /// - output: `[B, 1, L]`, `L` as [`DacConfig::decoded_length`] says
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] for codes that are empty, of too many codebooks, or not in the codebook.
    pub fn decode_codes(&self, codes: Tensor<3, Int>) -> Result<Tensor<3>, DacError> {
        self.decode(self.dequantize(codes)?.z)
    }

    /// The latent that codes stand for.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, K, T]`
    /// - output: [`Dequantized`]
    ///
    /// # Errors
    ///
    /// As [`DacCodec::decode_codes`].
    pub fn dequantize(&self, codes: Tensor<3, Int>) -> Result<Dequantized, DacError> {
        let [b, k, frames] = codes.dims();
        self.check_codebooks(k)?;
        if b == 0 || frames == 0 {
            return Err(input(
                "code shape",
                "[batch, codebooks, frames], not empty",
                format!("{:?}", codes.dims()),
            ));
        }
        let found: Vec<i64> = Tensor::cat(
            vec![
                codes.clone().reshape([-1]).min(),
                codes.clone().reshape([-1]).max(),
            ],
            0,
        )
        .into_data()
        .iter::<i64>()
        .collect();
        let size = self.config.codebook_size;
        if let Some(code) = found
            .into_iter()
            .find(|&code| usize::try_from(code).map_or(true, |code| code >= size))
        {
            return Err(input(
                "a code",
                &format!("0 to {}", size - 1),
                code.to_string(),
            ));
        }
        Ok(self.quantizer.from_codes(codes))
    }

    /// Decodes projections (see [`Encoded::latents`]) by their nearest codebook entries.
    ///
    /// # Shapes
    ///
    /// - latents: `[B, K * C, T]`
    /// - output: `[B, 1, L]`, `L` as [`DacConfig::decoded_length`] says
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] for latents that are empty or no whole number of codebooks up to all.
    pub fn decode_latents(&self, latents: Tensor<3>) -> Result<Tensor<3>, DacError> {
        let [b, width, frames] = latents.dims();
        let c = self.config.codebook_dim;
        if b == 0 || frames == 0 || !width.is_multiple_of(c) {
            return Err(input(
                "latent shape",
                &format!("[batch, codebooks * {c}, frames], not empty"),
                format!("{:?}", latents.dims()),
            ));
        }
        self.check_codebooks(width / c)?;
        self.decode(self.quantizer.from_latents(latents).z)
    }

    /// Encodes and decodes, for training: gradients pass straight through the quantiser.
    ///
    /// Leaves a codebook out only where `n_quantizers` says so; [`DacCodec::forward_rows`] leaves other ones out in
    /// each row.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, 1, L]`
    /// - output: [`Reconstructed`]
    ///
    /// # Errors
    ///
    /// As [`DacCodec::encode`].
    pub fn forward(
        &self,
        audio: Tensor<3>,
        n_quantizers: Option<usize>,
    ) -> Result<Reconstructed, DacError> {
        let [_, _, length] = audio.dims();
        self.reconstruct(self.encode(audio, n_quantizers)?, length)
    }

    /// Encodes and decodes each row with its own number of codebooks: quantizer dropout, for training.
    ///
    /// The numbers are the trainer's to draw. See [`ResidualVectorQuantizer::forward_rows`].
    ///
    /// # Shapes
    ///
    /// - audio: `[B, 1, L]`
    /// - n_quantizers: `B` numbers
    /// - output: [`Reconstructed`], `K` the largest of the numbers
    ///
    /// # Errors
    ///
    /// As [`DacCodec::encode`]; [`DacError::Input`] also where there is not one number per row.
    pub fn forward_rows(
        &self,
        audio: Tensor<3>,
        n_quantizers: &[usize],
    ) -> Result<Reconstructed, DacError> {
        let [b, _, length] = audio.dims();
        if n_quantizers.len() != b {
            let expected = format!("one for each of {b} rows");
            let found = format!("{} numbers", n_quantizers.len());
            return Err(input("the numbers of codebooks", &expected, found));
        }
        for &n in n_quantizers {
            self.check_codebooks(n)?;
        }
        let z = self.latent(audio)?;
        let encoded = self.quantizer.forward_rows(z, n_quantizers).into();
        self.reconstruct(encoded, length)
    }

    fn reconstruct(&self, encoded: Encoded, length: usize) -> Result<Reconstructed, DacError> {
        let audio = self.decode(encoded.z.clone())?;
        let [_, _, decoded] = audio.dims();
        Ok(Reconstructed {
            audio: audio.narrow(2, 0, decoded.min(length)),
            encoded,
        })
    }

    /// The latent in front of the quantiser.
    fn latent(&self, audio: Tensor<3>) -> Result<Tensor<3>, DacError> {
        let [b, channels, length] = audio.dims();
        if b == 0 || channels != 1 || length == 0 {
            return Err(input(
                "audio shape",
                "[batch, 1, samples], not empty",
                format!("{:?}", audio.dims()),
            ));
        }
        Ok(self.encoder.forward(self.preprocess(audio)))
    }

    pub(crate) fn check_codebooks(&self, k: usize) -> Result<usize, DacError> {
        let all = self.config.n_codebooks;
        if (1..=all).contains(&k) {
            return Ok(k);
        }
        Err(input(
            "the number of codebooks",
            &format!("1 to {all}"),
            k.to_string(),
        ))
    }
}

impl From<Quantized> for Encoded {
    fn from(quantized: Quantized) -> Self {
        Self {
            codes: quantized.codes,
            z: quantized.z,
            latents: quantized.latents,
            commitment_loss: quantized.commitment_loss,
            codebook_loss: quantized.codebook_loss,
        }
    }
}

pub(crate) fn input(what: &'static str, expected: &str, found: String) -> DacError {
    DacError::Input {
        what,
        expected: expected.into(),
        found,
    }
}
