//! What a user may ask of evaluation.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use unimoe_model::DeviceChoice;

use super::{EvalCardArgs, EvalCodecArgs, EvalMusicArgs, EvalSpeechArgs, positive};

/// `unimoe eval`.
#[derive(Debug, Subcommand)]
pub enum EvalCommand {
    /// Word and character error rate of transcripts
    Text(EvalTextArgs),
    /// SI-SDR, mel and STFT distances of sounds from the sounds that they should be
    Audio(EvalAudioArgs),
    /// Speaker similarity (cosine) and Frechet distance of embeddings
    Embeddings(EvalEmbeddingsArgs),
    /// KL divergence and inception score of class logits
    Logits(EvalLogitsArgs),
    /// Speech of a model: word error rate by a recogniser, voice cloning, and whether the right sentence is spoken
    Speech(Box<EvalSpeechArgs>),
    /// Music of a model: instrument, tempo and mode recovered from the sound
    Music(Box<EvalMusicArgs>),
    /// Round trips of a codec: SI-SDR, mel and STFT distances, for each group of sounds
    Codec(EvalCodecArgs),
    /// Put what speech, music and codec were measured to be into a model card
    Card(EvalCardArgs),
}

/// How an evaluation is reported.
#[derive(Debug, Args)]
pub struct EvalOutputArgs {
    /// Leave out clips that can't be compared (without counterpart, unreadable, silent), and say which
    #[arg(long)]
    pub skip: bool,
    /// Show each clip too
    #[arg(long)]
    pub per_clip: bool,
    /// Report as one JSON object on standard output, with each clip
    #[arg(long)]
    pub json: bool,
}

/// `unimoe eval text`.
#[derive(Debug, Args)]
pub struct EvalTextArgs {
    /// JSON lines with both texts: {"reference": "...", "hypothesis": "..."}
    #[arg(long, value_name = "FILE", required_unless_present = "reference", conflicts_with_all = ["reference", "generated"])]
    pub manifest: Option<PathBuf>,
    /// JSON lines with what should be said, {"id": "NAME", "text": "..."}: a manifest of training will do
    #[arg(long, value_name = "FILE", requires = "generated")]
    pub reference: Option<PathBuf>,
    /// JSON lines with what is heard in the generated clips, {"id": "NAME", "text": "..."}
    #[arg(long, value_name = "FILE", requires = "reference")]
    pub generated: Option<PathBuf>,
    /// What is made equal in both texts before they are compared
    #[arg(long, value_enum, value_name = "RULE", default_value_t = Normalize::None)]
    pub normalize: Normalize,
    /// Count no spaces in the character error rate, as is usual for Chinese
    #[arg(long)]
    pub ignore_spaces: bool,
    /// How it is reported.
    #[command(flatten)]
    pub output: EvalOutputArgs,
}

/// What is made equal in texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Normalize {
    /// Nothing: jiwer's defaults
    None,
    /// Unicode's compatible forms (NFKC), case, punctuation, runs of white space
    Basic,
}

/// `unimoe eval audio`.
#[derive(Debug, Args)]
pub struct EvalAudioArgs {
    /// Folder of the sounds that were wanted, or one file
    #[arg(long, value_name = "PATH")]
    pub reference: PathBuf,
    /// Folder of the generated sounds, of the same names but for the ending, or one file
    #[arg(long, value_name = "PATH")]
    pub generated: PathBuf,
    /// Rate in Hz at which they are compared; sounds of another one are resampled
    #[arg(long, value_name = "HZ", default_value_t = 16_000, value_parser = clap::value_parser!(u32).range(1..=768_000))]
    pub sample_rate: u32,
    /// What is done where one sound of a pair is longer
    #[arg(long, value_enum, value_name = "RULE", default_value_t = Lengths::Cut)]
    pub lengths: Lengths,
    /// Longest sound in seconds; longer ones are refused
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0, value_parser = positive)]
    pub max_seconds: f64,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// How it is reported.
    #[command(flatten)]
    pub output: EvalOutputArgs,
}

/// What is done with sounds of different length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lengths {
    /// Cut the longer one at its end
    Cut,
    /// Let silence follow the shorter one
    Pad,
    /// Refuse them
    Equal,
}

/// `unimoe eval embeddings`.
#[derive(Debug, Args)]
pub struct EvalEmbeddingsArgs {
    /// Embeddings of the references (.safetensors or .jsonl)
    #[arg(long, value_name = "FILE")]
    pub reference: PathBuf,
    /// Embeddings of what was generated (.safetensors or .jsonl)
    #[arg(long, value_name = "FILE")]
    pub generated: PathBuf,
    /// What is measured; the Frechet distance compares sets, the cosine pairs of the same name
    #[arg(long, value_enum, value_name = "METRIC", value_delimiter = ',', default_values_t = [EmbeddingMetric::Cosine, EmbeddingMetric::Frechet])]
    pub metrics: Vec<EmbeddingMetric>,
    /// How it is reported.
    #[command(flatten)]
    pub output: EvalOutputArgs,
}

/// A measure of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmbeddingMetric {
    /// Cosine similarity of the embeddings of the same clip: speaker similarity
    Cosine,
    /// Frechet distance of the two sets
    Frechet,
}

/// `unimoe eval logits`.
#[derive(Debug, Args)]
pub struct EvalLogitsArgs {
    /// Class logits of the references (.safetensors or .jsonl); without them there is no KL divergence
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// Class logits of what was generated (.safetensors or .jsonl)
    #[arg(long, value_name = "FILE")]
    pub generated: PathBuf,
    /// Parts that the inception score is computed for
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub splits: u32,
    /// Added within the logarithm of the smoothed divergences
    #[arg(long, value_name = "NUMBER", default_value_t = 1e-6, value_parser = epsilon)]
    pub epsilon: f64,
    /// How it is reported.
    #[command(flatten)]
    pub output: EvalOutputArgs,
}

impl EvalCommand {
    /// Whether the user wants the outcome as JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Text(args) => args.output.json,
            Self::Audio(args) => args.output.json,
            Self::Embeddings(args) => args.output.json,
            Self::Logits(args) => args.output.json,
            Self::Speech(args) => args.model.json,
            Self::Music(args) => args.model.json,
            Self::Codec(args) => args.json,
            Self::Card(_) => false,
        }
    }
}

fn epsilon(text: &str) -> Result<f64, String> {
    super::number(text, |v| v > 0.0 && v < 1.0, "a number above 0 and below 1")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Cli;

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn texts_come_from_one_file_or_from_two() {
        parse("unimoe eval text --manifest a.jsonl").expect("one");
        parse("unimoe eval text --reference a.jsonl --generated b.jsonl").expect("two");
        for line in [
            "unimoe eval text",
            "unimoe eval text --reference a.jsonl",
            "unimoe eval text --manifest a.jsonl --generated b.jsonl",
        ] {
            parse(line).expect_err(line);
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        for (line, word) in [
            (
                "audio --reference a --generated b --sample-rate 0",
                "--sample-rate",
            ),
            (
                "audio --reference a --generated b --max-seconds nan",
                "--max-seconds",
            ),
            (
                "audio --reference a --generated b --lengths longest",
                "--lengths",
            ),
            (
                "embeddings --reference a --generated b --metrics l2",
                "--metrics",
            ),
            ("logits --generated b --splits 0", "--splits"),
            ("logits --generated b --epsilon 1", "--epsilon"),
        ] {
            let error = parse(&format!("unimoe eval {line}")).expect_err(line);
            assert!(error.contains(word), "{error}");
        }
    }
}
