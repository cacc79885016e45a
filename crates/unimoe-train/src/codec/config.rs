//! How a codec is trained.

use dac_codec::DacConfig;
use serde::{Deserialize, Serialize};

use super::{discriminator::DiscriminatorConfig, error::CodecTrainingError};
use crate::{
    error::TrainError,
    optim::{OptimizerConfig, Schedule},
    spectral::{MultiScaleMelLossConfig, MultiScaleStftLossConfig},
    trainer::LoopConfig,
};

/// Longest crop, in seconds.
const MAX_SECONDS: f64 = 600.0;
/// Largest spread of noise, relative to the latents'.
const MAX_NOISE: f64 = 100.0;
/// Most clips that codebooks are fitted to.
const MAX_FIT_CLIPS: f64 = 4096.0;
/// Smallest factor of cepstra.
const MIN_SCALE: f64 = 1e-6;
/// Largest weight of a term.
const MAX_WEIGHT: f64 = 1e6;

/// Sizes of a codec and of what trains it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecPreset {
    /// For tests and machines without an accelerator.
    Tiny,
    /// Between the two.
    Small,
    /// The published 16 kHz codec and the paper's discriminators.
    Released,
}

/// How a codec is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodecTrainingConfig {
    /// Steps, batches, checkpoints. `max_tokens` counts the samples of whole clips.
    pub run: LoopConfig,
    /// The codec's optimizer. Default: learning rate 1e-4, betas 0.8 and 0.99, norm clipped at 1000
    pub optimizer: OptimizerConfig,
    /// What is minimised.
    pub objective: CodecObjective,
    /// The game against discriminators; `None` for none.
    pub adversarial: Option<AdversarialConfig>,
    /// Whether activations are computed again in the backward pass instead of being kept: less memory, more
    /// time. Default: `false`
    pub gradient_checkpointing: bool,
    /// Clips that the codebooks are fitted to before the first step; 0 leaves them as they are. Meant for codebooks that
    /// nothing was learnt with yet. Default: 0
    pub fit_clips: usize,
}

/// What a codec minimises by itself:
/// `mel * d_mel + stft * d_stft + waveform * d_waveform + commitment * l_commitment + codebook * l_codebook`, and `envelope`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodecObjective {
    /// Length of the random pieces that are learnt from, in seconds. Default: 0.38
    pub crop_seconds: f64,
    /// Whether the pieces begin where frames do: for sounds whose pitch and beats go with the frames, as `unimoe data synth` makes
    /// them. The codec then hears them as it will when it encodes them whole. Default: `false`
    pub whole_frames: bool,
    /// How much of a clip is measured in a validation, in seconds from its start. Default: 10
    pub validation_seconds: f64,
    /// Probability that a row keeps only its first codebooks, a number drawn from one to all. Default: 0.5
    pub quantizer_dropout: f64,
    /// Windows of the mel distance, in samples. Default: 32, 64, ... 2048
    pub mel_windows: Vec<usize>,
    /// Bands for each of them. Default: 5, 10, ... 320
    pub n_mels: Vec<usize>,
    /// Windows of the STFT distance, in samples. Default: 2048, 512
    pub stft_windows: Vec<usize>,
    /// What magnitudes are raised to before the mel distance takes their logarithm. Synthetic sounds are silent where
    /// recordings have noise: with a low floor the distance then hears little but what nobody does. Default: 1e-5
    pub mel_floor: f64,
    /// The same for the STFT distance. Default: 1e-5
    pub stft_floor: f64,
    /// Weight of the mel distance. Default: 15
    pub mel: f64,
    /// Weight of the STFT distance. Default: 1
    pub stft: f64,
    /// Whether the decoder hears what the quantiser makes of a sound. Without it, encoder and decoder learn alone; that
    /// is a quick start, after which codebooks are fitted (`fit_clips`). Default: `true`
    pub quantized: bool,
    /// Noise on the latents where nothing is quantised, its spread relative to theirs: the encoder then gives more spread
    /// to what the decoder needs, and codebooks, which leave out what has little, keep it. Default: 0
    pub latent_noise: f64,
    /// What the first latent channels are told to hold where nothing is quantised; `None` leaves all channels to what they
    /// learn. Default: `None`
    pub envelope: Option<EnvelopeObjective>,
    /// Weight of the distance of samples, `mean (x - y)^2 / mean x^2`: it listens to phase, which spectra don't, and
    /// brings pitch early. Default: 0, as in the paper
    pub waveform: f64,
    /// Weight of the commitment loss. Default: 0.25
    pub commitment: f64,
    /// Weight of the codebook loss. Default: 1
    pub codebook: f64,
}

/// The first latent channels as the mel cepstrum of their frame.
///
/// A narrow codec gives its latents to phase, so that its codes tell little of what is said by themselves, and a model
/// has much to learn before it hears a text in them. With this term the first channels are the shape of the spectrum: they
/// have the largest spread, so the first codebooks are fitted to them (`fit_clips`), and what follows from a text comes
/// first. The term is the mean squared difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvelopeObjective {
    /// Weight of the term. Default: 5
    pub weight: f64,
    /// Channels: as many coefficients of the cepstrum of 40 log10 mel bands, from the loudness on. Default: 16
    pub channels: usize,
    /// What the coefficients are multiplied by. Default: 2
    pub scale: f64,
    /// Codebooks that are fitted to those channels alone, the first ones. Default: 1
    pub codebooks: usize,
}

/// How a codec plays against discriminators.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdversarialConfig {
    /// Steps done before the game begins. Default: 0
    pub start: u64,
    /// The discriminators.
    pub discriminators: DiscriminatorConfig,
    /// Their optimizer. Default: learning rate 1e-4, betas 0.8 and 0.99, norm clipped at 10
    pub optimizer: OptimizerConfig,
    /// Weight of the codec's least-squares loss. Default: 1
    pub generator: f64,
    /// Weight of feature matching. Default: 2
    pub features: f64,
}

impl CodecPreset {
    /// The codec: 16 kHz mono, 50 frames per second, 12 codebooks.
    pub fn codec(self) -> DacConfig {
        let released = DacConfig::dac_16khz();
        match self {
            Self::Tiny => released
                .with_encoder_dim(8)
                .with_latent_dim(64)
                .with_decoder_dim(128),
            Self::Small => released
                .with_encoder_dim(16)
                .with_latent_dim(256)
                .with_decoder_dim(384),
            Self::Released => released,
        }
    }

    /// The discriminators that go with it.
    pub fn discriminators(self) -> DiscriminatorConfig {
        match self {
            Self::Tiny => DiscriminatorConfig::tiny(),
            Self::Small => DiscriminatorConfig::new()
                .with_period_channels(vec![8, 32, 128, 256, 256])
                .with_resolution_channels(8),
            Self::Released => DiscriminatorConfig::new(),
        }
    }
}

/// The paper's AdamW, with norms clipped at `clip_norm`.
fn optimizer(clip_norm: f64) -> OptimizerConfig {
    OptimizerConfig {
        betas: (0.8, 0.99),
        clip_norm: Some(clip_norm),
        schedule: Schedule::Constant,
        ..OptimizerConfig::default()
    }
}

impl Default for CodecTrainingConfig {
    fn default() -> Self {
        Self {
            run: LoopConfig {
                // Crops are all of one length.
                bucket: 0,
                ..LoopConfig::default()
            },
            optimizer: optimizer(1e3),
            objective: CodecObjective::default(),
            adversarial: Some(AdversarialConfig::default()),
            gradient_checkpointing: false,
            fit_clips: 0,
        }
    }
}

impl Default for CodecObjective {
    fn default() -> Self {
        let mel = MultiScaleMelLossConfig::new(16_000);
        Self {
            crop_seconds: 0.38,
            whole_frames: false,
            validation_seconds: 10.0,
            quantizer_dropout: 0.5,
            mel_windows: mel.windows,
            n_mels: mel.n_mels,
            stft_windows: MultiScaleStftLossConfig::new().windows,
            mel_floor: mel.floor,
            stft_floor: MultiScaleStftLossConfig::new().floor,
            mel: 15.0,
            stft: 1.0,
            quantized: true,
            latent_noise: 0.0,
            envelope: None,
            waveform: 0.0,
            commitment: 0.25,
            codebook: 1.0,
        }
    }
}

impl Default for EnvelopeObjective {
    fn default() -> Self {
        Self {
            weight: 5.0,
            channels: 16,
            scale: 2.0,
            codebooks: 1,
        }
    }
}

impl Default for AdversarialConfig {
    fn default() -> Self {
        Self {
            start: 0,
            discriminators: DiscriminatorConfig::new(),
            optimizer: optimizer(10.0),
            generator: 1.0,
            features: 2.0,
        }
    }
}

impl CodecTrainingConfig {
    /// The defaults, with the discriminators of `preset`.
    pub fn of(preset: CodecPreset) -> Self {
        Self {
            adversarial: Some(AdversarialConfig {
                discriminators: preset.discriminators(),
                ..AdversarialConfig::default()
            }),
            ..Self::default()
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] that names the first one that makes no sense.
    pub fn validate(&self) -> Result<(), TrainError> {
        self.run.validate()?;
        self.optimizer.validate()?;
        self.objective.validate()?;
        within("fit_clips", self.fit_clips as f64, 0.0, MAX_FIT_CLIPS)?;
        if let Some(adversarial) = &self.adversarial {
            adversarial.discriminators.validate()?;
            adversarial.optimizer.validate()?;
            within(
                "adversarial.generator",
                adversarial.generator,
                0.0,
                MAX_WEIGHT,
            )?;
            within(
                "adversarial.features",
                adversarial.features,
                0.0,
                MAX_WEIGHT,
            )?;
        }
        Ok(())
    }
}

impl CodecObjective {
    /// Checks the numbers; the windows are checked where they are made.
    ///
    /// # Errors
    ///
    /// [`CodecTrainingError::Setting`] names the first that is out of range.
    pub fn validate(&self) -> Result<(), CodecTrainingError> {
        within("crop_seconds", self.crop_seconds, 1e-3, MAX_SECONDS)?;
        within(
            "validation_seconds",
            self.validation_seconds,
            1e-3,
            MAX_SECONDS,
        )?;
        within("quantizer_dropout", self.quantizer_dropout, 0.0, 1.0)?;
        within("mel", self.mel, 0.0, MAX_WEIGHT)?;
        within("stft", self.stft, 0.0, MAX_WEIGHT)?;
        within("latent_noise", self.latent_noise, 0.0, MAX_NOISE)?;
        if let Some(envelope) = &self.envelope {
            within("envelope.weight", envelope.weight, 0.0, MAX_WEIGHT)?;
            within("envelope.scale", envelope.scale, MIN_SCALE, MAX_WEIGHT)?;
        }
        within("waveform", self.waveform, 0.0, MAX_WEIGHT)?;
        within("commitment", self.commitment, 0.0, MAX_WEIGHT)?;
        within("codebook", self.codebook, 0.0, MAX_WEIGHT)
    }

    /// Samples of a crop: whole frames.
    pub(super) fn crop(&self, codec: &DacConfig) -> usize {
        let samples = (self.crop_seconds * codec.sample_rate as f64) as usize;
        samples.max(1).next_multiple_of(codec.hop_length())
    }

    /// Samples between the places where a crop may begin.
    pub(super) fn crop_step(&self, codec: &DacConfig) -> usize {
        match self.whole_frames {
            true => codec.hop_length(),
            false => 1,
        }
    }

    /// Samples of a clip that are measured.
    pub(super) fn measured(&self, codec: &DacConfig) -> usize {
        let samples = (self.validation_seconds * codec.sample_rate as f64) as usize;
        samples.max(codec.hop_length())
    }
}

fn within(
    setting: &'static str,
    found: f64,
    low: f64,
    high: f64,
) -> Result<(), CodecTrainingError> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    Err(CodecTrainingError::Setting {
        setting,
        expected: format!("{low} to {high}"),
        found: found.to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn presets_pass_their_own_checks() {
        for preset in [CodecPreset::Tiny, CodecPreset::Small, CodecPreset::Released] {
            preset.codec().validate().unwrap();
            preset.discriminators().validate().unwrap();
            assert_eq!(preset.codec().frame_rate(), 50.0);
        }
        CodecTrainingConfig::default().validate().unwrap();
        // 6,080 samples of 0.38 s are 19 frames.
        let crop = CodecObjective::default().crop(&CodecPreset::Tiny.codec());
        assert_eq!(crop, 6080);
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        type Change = fn(&mut CodecObjective);
        let changes: [(&str, Change); 6] = [
            ("crop_seconds", |o| o.crop_seconds = f64::NAN),
            ("crop_seconds", |o| o.crop_seconds = 1e18),
            ("validation_seconds", |o| o.validation_seconds = 0.0),
            ("quantizer_dropout", |o| o.quantizer_dropout = -0.1),
            ("mel", |o| o.mel = f64::INFINITY),
            ("envelope.scale", |o| {
                o.envelope = Some(EnvelopeObjective {
                    scale: 0.0,
                    ..EnvelopeObjective::default()
                });
            }),
        ];
        for (name, change) in changes {
            let mut objective = CodecObjective::default();
            change(&mut objective);
            let error = objective.validate().unwrap_err();
            let is_named =
                matches!(error, CodecTrainingError::Setting { setting, .. } if setting == name);
            assert!(is_named, "{name}: {error}");
        }
    }

    #[test]
    fn discriminators_out_of_range_are_named() {
        let good = DiscriminatorConfig::tiny();
        for (config, name) in [
            (good.clone().with_periods(vec![0]), "periods"),
            (
                good.clone().with_periods(vec![]).with_windows(vec![]),
                "periods",
            ),
            (good.clone().with_period_channels(vec![]), "period_channels"),
            (
                good.clone().with_resolution_channels(1 << 40),
                "resolution_channels",
            ),
            (good.clone().with_bands(vec![0.5]), "bands"),
            (good.clone().with_bands(vec![f64::NAN, 1.0]), "bands"),
            (good.clone().with_bands(vec![1e-9, 1.0]), "bands"),
            (good.clone().with_windows(vec![1 << 40]), "windows"),
        ] {
            let error = config.validate().unwrap_err();
            let is_named =
                matches!(error, CodecTrainingError::Setting { setting, .. } if setting == name);
            assert!(is_named, "{name}: {error}");
        }
    }

    #[test]
    fn settings_survive_json_and_unknown_ones_are_refused() {
        let config = CodecTrainingConfig::default();
        let text = serde_json::to_string(&config).unwrap();
        let again: CodecTrainingConfig = serde_json::from_str(&text).unwrap();
        assert_eq!(again, config);
        let wrong = r#"{"objective": {"mell": 1}}"#;
        assert!(serde_json::from_str::<CodecTrainingConfig>(wrong).is_err());
    }
}
