//! `unimoe train codec`: what a user may say.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use unimoe_model::DeviceChoice;
use unimoe_train::CodecPreset;

use super::KnobArgs;

/// Sizes of a codec and of the discriminators that train it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CodecSize {
    /// For trying, on any machine
    Tiny,
    /// Between the two
    Small,
    /// The published 16 kHz codec and its discriminators
    Released,
}

/// `unimoe train codec`.
#[derive(Debug, Args)]
pub struct TrainCodecArgs {
    /// Manifests of the sounds to learn from (JSON lines)
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// Manifests of the sounds to measure on [default: 5 % of the clips of each domain are held out]
    #[arg(long, num_args = 1.., value_name = "MANIFEST")]
    pub validation: Vec<PathBuf>,
    /// Folder of the run: codec, events, checkpoints; a run that is there goes on
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Size of the codec and of its discriminators
    #[arg(long, value_enum, value_name = "SIZE", default_value_t = CodecSize::Tiny)]
    pub preset: CodecSize,
    /// Sizes of the codec as JSON, as in the config.json of a codec folder, instead of the preset's
    #[arg(long, value_name = "FILE", conflicts_with = "codec")]
    pub config: Option<PathBuf>,
    /// Go on training this codec (official .pth, or a Hugging Face folder) instead of a random one
    #[arg(long, value_name = "PATH")]
    pub codec: Option<PathBuf>,
    /// Settings as JSON (`unimoe train settings codec` prints the defaults)
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Steps, batch, learning rate.
    #[command(flatten)]
    pub knobs: KnobArgs,
    /// Steps before the discriminators join [default: half of the steps]
    #[arg(long, value_name = "COUNT", conflicts_with = "no_adversarial")]
    pub adversarial_start: Option<u64>,
    /// Train without discriminators
    #[arg(long)]
    pub no_adversarial: bool,
    /// Leave unusable clips out, and count them, instead of ending
    #[arg(long)]
    pub skip_unusable: bool,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Report as one JSON object on standard output, without progress
    #[arg(long)]
    pub json: bool,
}

impl From<CodecSize> for CodecPreset {
    fn from(size: CodecSize) -> Self {
        match size {
            CodecSize::Tiny => Self::Tiny,
            CodecSize::Small => Self::Small,
            CodecSize::Released => Self::Released,
        }
    }
}
