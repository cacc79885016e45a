//! The command line: what a user may say.

mod data;
mod eval;
mod eval_model;
mod export;
mod report;
mod reproduce;
mod sampling;
mod train;
mod train_codec;
mod video;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use unimoe_model::DeviceChoice;

pub use data::{BalanceArgs, CheckArgs, DataCommand, OnDefect, PrepareArgs, SourceArgs, SynthArgs};
pub use eval::{
    EmbeddingMetric, EvalAudioArgs, EvalCommand, EvalEmbeddingsArgs, EvalLogitsArgs,
    EvalOutputArgs, EvalTextArgs, Lengths, Normalize,
};
pub use eval_model::{EvalCardArgs, EvalCodecArgs, EvalModelArgs, EvalMusicArgs, EvalSpeechArgs};
pub use export::{ExportArgs, StoredType, VoicesArgs};
pub use report::ReportArgs;
pub use reproduce::{ReproduceArgs, Scale};
pub use sampling::SamplingArgs;
pub use train::{
    CommonArgs, CurriculumArgs, IntegrateArgs, KnobArgs, SettingsOf, SpecialistArgs, StageArgs,
    TrainCommand,
};
pub use train_codec::TrainCodecArgs;
pub use video::{Clip, VideoMusicArgs};

const EXIT_CODES: &str = "Exit codes: 0 done, 1 the work failed, 2 wrong arguments, 3 unusable input \
(text, voice, video, model folder, code file), 4 no such device, 5 the result can't be written, \
130 interrupted (nothing is left half-written).";

/// Speech and music from text, and music for videos, with UniMoE-Audio.
#[derive(Debug, Parser)]
#[command(name = "unimoe", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Speak a text with a built-in voice or that of a recording
    Speech(SpeechArgs),
    /// Make music from a caption
    Music(MusicArgs),
    /// Make music for a video from a caption
    VideoMusic(Box<VideoMusicArgs>),
    /// Turn sound into codec codes and back
    #[command(subcommand)]
    Codec(CodecCommand),
    /// Check, clean and balance lists of clips to train on
    #[command(subcommand)]
    Data(DataCommand),
    /// Train a model: specialists, integration, warm-up, joint training
    #[command(subcommand)]
    Train(Box<TrainCommand>),
    /// Draw a page with the plots of training runs
    Report(ReportArgs),
    /// Measure models, codecs, and what was generated: texts, sounds, embeddings, class logits
    #[command(subcommand)]
    Eval(EvalCommand),
    /// Compare the curriculum with specialists, dense and MoE joint training in miniature
    Reproduce(ReproduceArgs),
    /// Write a randomly initialised model folder in the released layout
    Init(InitArgs),
    /// Show what a model folder holds: configuration, parameters, memory
    Inspect(InspectArgs),
    /// List the voices that a model brings along
    Voices(VoicesArgs),
    /// Write a model to a folder of its own: small weights, voices, words, settings
    Export(ExportArgs),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Whether the user wants the outcome as JSON, failures too.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Speech(args) => args.generation.json,
            Self::Music(args) => args.generation.json,
            Self::VideoMusic(args) => args.generation.json,
            Self::Codec(CodecCommand::Encode(args) | CodecCommand::Decode(args)) => args.json,
            Self::Data(command) => command.wants_json(),
            Self::Train(command) => command.wants_json(),
            Self::Report(args) => args.json,
            Self::Eval(command) => command.wants_json(),
            Self::Reproduce(args) => args.json,
            Self::Init(args) => args.json,
            Self::Inspect(args) => args.json,
            Self::Voices(args) => args.json,
            Self::Export(args) => args.json,
            Self::Completions { .. } => false,
        }
    }
}

/// `unimoe speech`.
#[derive(Debug, Args)]
pub struct SpeechArgs {
    /// Texts to speak, together as one batch
    #[arg(required = true, value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Name of a voice that the model brings along (see `unimoe voices`); or, with --voice-text, a recording (wav, flac,
    /// mp3, ogg, opus, m4a; any rate, mono or stereo) [default: the model's first voice]
    #[arg(long, alias = "ref-audio", value_name = "NAME|FILE")]
    pub voice: Option<String>,
    /// What is said in the recording
    #[arg(long, alias = "ref-text", value_name = "TEXT", requires = "voice")]
    pub voice_text: Option<String>,
    /// Model, sampling and output.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// `unimoe music`.
#[derive(Debug, Args)]
pub struct MusicArgs {
    /// Captions, together as one batch
    #[arg(required = true, value_name = "CAPTION")]
    pub captions: Vec<String>,
    /// Model, sampling and output.
    #[command(flatten)]
    pub generation: GenerationArgs,
}

/// What the generating commands have in common.
#[derive(Debug, Args)]
pub struct GenerationArgs {
    /// A .wav path for one result, else a folder, made if it is missing; files in it are replaced
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    pub output: PathBuf,
    /// Model folder in the released layout; without it the small built-in model runs
    #[arg(short, long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Codec weights (official .pth, or a Hugging Face folder), where they don't lie beside the model
    #[arg(long, value_name = "PATH", requires = "model")]
    pub codec: Option<PathBuf>,
    /// Device and number type.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Longest result in seconds [default: the model's, else 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub max_seconds: Option<f64>,
    /// Shortest result in seconds [default: the model's, else 2 for speech, 8 for music]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub min_seconds: Option<f64>,
    /// How codes are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Seed of the first result, the next ones count up from it [default: drawn anew, and reported]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Report as one JSON object on standard output, without a progress bar
    #[arg(long)]
    pub json: bool,
}

/// Where to compute, and in which number type.
#[derive(Debug, Clone, Args)]
pub struct DeviceArgs {
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Number type of the model's weights; auto takes what the device is fast at and what fits
    #[arg(long, value_enum, value_name = "TYPE", default_value_t = Dtype::Auto)]
    pub dtype: Dtype,
}

/// Number type of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// What the device is fast at and what fits
    Auto,
    /// 32 bits
    F32,
    /// 16 bits
    F16,
    /// 16 bits with the range of 32
    Bf16,
}

/// `unimoe codec`.
#[derive(Debug, Subcommand)]
pub enum CodecCommand {
    /// Sound files to code files
    Encode(CodecArgs),
    /// Code files to WAV files
    Decode(CodecArgs),
}

/// `unimoe codec encode` and `decode`.
#[derive(Debug, Args)]
pub struct CodecArgs {
    /// Files to convert
    #[arg(required = true, value_name = "FILE")]
    pub inputs: Vec<PathBuf>,
    /// A file path (.codes or .wav) for one result, else a folder, made if it is missing
    #[arg(short, long, value_name = "PATH", default_value = ".")]
    pub output: PathBuf,
    /// DAC weights (official .pth, or a Hugging Face folder), or a model folder with a DAC in it; without it the
    /// codec of the built-in model runs
    #[arg(short, long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Report as one JSON object on standard output, without a progress bar
    #[arg(long)]
    pub json: bool,
}

/// `unimoe init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Size of the model
    #[arg(long, value_enum, value_name = "SIZE", default_value_t = Preset::Tiny)]
    pub preset: Preset,
    /// Sizes of your own instead of a preset's: a config.json in the released layout
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Make the model dense, as specialists begin: one feed-forward block in each layer instead of experts
    #[arg(long)]
    pub dense: bool,
    /// Learn a vocabulary from the texts of these manifests (JSON lines) instead of taking bytes for tokens
    #[arg(long, num_args = 1.., value_name = "MANIFEST")]
    pub vocabulary: Vec<PathBuf>,
    /// Most tokens that the vocabulary gets beside the bytes
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 4096,
        requires = "vocabulary"
    )]
    pub merges: usize,
    /// Take the codec from this folder (Hugging Face layout) instead of a random one
    #[arg(long, value_name = "FOLDER")]
    pub codec: Option<PathBuf>,
    /// Seed of the weights
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Folder to write; must not exist, or be empty
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Report as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

/// Sizes of `unimoe init`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// A few MB, for tests
    Tiny,
    /// Tens of millions of parameters
    Small,
    /// The published sizes
    Released,
}

/// `unimoe inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Model folder in the released layout; without it the built-in model
    #[arg(value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Report as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}

fn number(text: &str, holds: impl Fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&value: &f64| value.is_finite() && holds(value))
        .ok_or_else(|| format!("expected {expected}"))
}

fn seconds(text: &str) -> Result<f64, String> {
    number(text, |v| (0.0..=3600.0).contains(&v), "0 to 3600 seconds")
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |v| v > 0.0, "a number above 0")
}

fn non_negative(text: &str) -> Result<f64, String> {
    // The settings are f32 further on: what overflows there is none.
    number(
        text,
        |v| v >= 0.0 && (v as f32).is_finite(),
        "a number of at least 0",
    )
}

fn probability(text: &str) -> Result<f64, String> {
    number(text, |v| v > 0.0 && v <= 1.0, "a number above 0, at most 1")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["unimoe"], line].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn published_names_are_aliases_of_ours() {
        let ours = ["speech", "Hi", "--voice", "v.wav", "--voice-text", "t"];
        let theirs = ["speech", "Hi", "--ref-audio", "v.wav", "--ref-text", "t"];
        for line in [ours, theirs] {
            let Command::Speech(args) = parse(&line).expect("parses").command else {
                panic!("not speech");
            };
            assert_eq!(args.voice.as_deref(), Some("v.wav"));
            assert_eq!(args.voice_text.as_deref(), Some("t"));
        }
        parse(&["speech", "Hi", "--voice-text", "t"]).expect_err("of no recording");
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        for (option, value) in [
            ("--max-seconds", "-1"),
            ("--max-seconds", "nan"),
            ("--min-seconds", "1e9"),
            ("--temperature", "0"),
            ("--top-p", "0"),
            ("--top-p", "1.01"),
            ("--top-k", "0"),
            ("--cfg-scale", "inf"),
            ("--eos-factor", "-0.5"),
            ("--seed", "-1"),
            ("--device", "gpu"),
            ("--dtype", "f64"),
        ] {
            let error = parse(&["music", "calm", &format!("{option}={value}")])
                .expect_err("out of range")
                .to_string();
            assert!(error.contains(option), "{error}");
        }
    }

    #[test]
    fn greedy_excludes_what_it_would_ignore() {
        parse(&["music", "calm", "--greedy"]).expect("greedy alone");
        parse(&["music", "calm", "--greedy", "--top-k", "5"]).expect_err("contradiction");
    }
}
