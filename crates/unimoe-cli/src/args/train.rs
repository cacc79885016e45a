//! `unimoe train`: what a user may say about the stages.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use unimoe_model::DeviceChoice;

use super::{positive, train_codec::TrainCodecArgs};

/// `unimoe train`.
#[derive(Debug, Subcommand)]
pub enum TrainCommand {
    /// Specialists, integration, warm-up and joint training, one after another
    Curriculum(CurriculumArgs),
    /// Train a dense model on one domain (stage 1)
    Specialist(SpecialistArgs),
    /// Make a mixture of experts of dense specialists (between stages 1 and 2)
    Integrate(IntegrateArgs),
    /// Train gates and shared experts alone (stage 2)
    Warmup(StageArgs),
    /// Train everything together (stage 3)
    Joint(StageArgs),
    /// Train a dense model on all domains: the baseline of the paper
    BaselineDense(StageArgs),
    /// Train a mixture of experts on all domains, without curriculum
    BaselineMoe(StageArgs),
    /// Train a codec on recordings
    Codec(Box<TrainCodecArgs>),
    /// Print the default settings of a stage as JSON, to edit and give back with --settings
    Settings {
        /// The stage
        #[arg(value_enum, default_value_t = SettingsOf::Curriculum)]
        of: SettingsOf,
    },
}

/// Whose settings to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SettingsOf {
    /// All stages
    Curriculum,
    /// Any stage that trains
    Stage,
    /// Integration
    Integration,
    /// A codec
    Codec,
}

/// The data to train on.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Manifests of the clips to learn from (JSON lines)
    #[arg(short, long, required = true, num_args = 1.., value_name = "MANIFEST")]
    pub data: Vec<PathBuf>,
    /// Manifests of the clips to measure on [default: 5 % of the clips of each domain are held out]
    #[arg(long, num_args = 1.., value_name = "MANIFEST")]
    pub validation: Vec<PathBuf>,
    /// Folder of the codes that have been computed [default: `cache` in the output folder]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// Leave unusable clips out, and count them, instead of ending
    #[arg(long)]
    pub skip_unusable: bool,
}

/// What all stages have in common.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Model folder to begin with
    #[arg(short, long, value_name = "FOLDER")]
    pub model: PathBuf,
    /// The data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Folder of the run: model, events, checkpoints, report; a run that is there goes on
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Settings as JSON (`unimoe train settings` prints the defaults); what is missing keeps its default
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Report as one JSON object on standard output, without progress
    #[arg(long)]
    pub json: bool,
}

/// The settings that one changes most; those of a file count less.
#[derive(Debug, Args)]
pub struct KnobArgs {
    /// Optimizer steps (of each stage, in a curriculum)
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: Option<u64>,
    /// Clips in a batch
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: Option<u32>,
    /// Highest learning rate
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub learning_rate: Option<f64>,
    /// Seed of everything random
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Steps between checkpoints
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub save_every: Option<u64>,
}

/// `unimoe train warmup`, `joint`, `baseline-dense` and `baseline-moe`.
#[derive(Debug, Args)]
pub struct StageArgs {
    /// Model, data, output.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Steps, batch, learning rate.
    #[command(flatten)]
    pub knobs: KnobArgs,
    /// Draw so many clips of each domain instead of taking all
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub per_domain: Option<u32>,
}

/// `unimoe train specialist`.
#[derive(Debug, Args)]
pub struct SpecialistArgs {
    /// The domain to learn, as the manifests name it
    #[arg(long, value_name = "NAME")]
    pub domain: String,
    /// Model, data, output.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Steps, batch, learning rate.
    #[command(flatten)]
    pub knobs: KnobArgs,
}

/// `unimoe train curriculum`.
#[derive(Debug, Args)]
pub struct CurriculumArgs {
    /// Model, data, output.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Steps and batch of every stage.
    #[command(flatten)]
    pub knobs: KnobArgs,
}

/// `unimoe train integrate`.
#[derive(Debug, Args)]
pub struct IntegrateArgs {
    /// Model folders of the dense specialists, in the order of their experts
    #[arg(required = true, value_name = "FOLDER")]
    pub specialists: Vec<PathBuf>,
    /// Which specialist's vision encoder to keep, counted from 0
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub vision_from: usize,
    /// Parts that each feed-forward block is split into [default: 2]
    #[arg(long, value_name = "COUNT")]
    pub parts: Option<usize>,
    /// Parts of each specialist that become experts [default: all]
    #[arg(long, value_name = "COUNT")]
    pub experts_per_specialist: Option<usize>,
    /// Multiplies the outputs of the routed experts; about 3 keeps what specialists of one origin had learnt
    /// [default: 1, as in the paper]
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub expert_scale: Option<f64>,
    /// Seed of the gates and shared experts
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Settings as JSON (`unimoe train settings integration`)
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Model folder to write
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Report as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

impl TrainCommand {
    /// Whether the user wants the outcome as JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Curriculum(args) => args.common.json,
            Self::Specialist(args) => args.common.json,
            Self::Integrate(args) => args.json,
            Self::Warmup(args) | Self::Joint(args) => args.common.json,
            Self::BaselineDense(args) | Self::BaselineMoe(args) => args.common.json,
            Self::Codec(args) => args.json,
            Self::Settings { .. } => false,
        }
    }
}
