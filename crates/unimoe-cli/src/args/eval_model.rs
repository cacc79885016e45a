//! What a user may ask of the evaluation of models and codecs.

use std::path::PathBuf;

use clap::Args;
use unimoe_model::{DeviceChoice, GenerationDefaults, RequestOptions};
use unimoe_train::GenerationPlan;

use super::{DeviceArgs, SamplingArgs, seconds};
use crate::error::CliError;

/// What the evaluations of a model have in common.
#[derive(Debug, Args)]
pub struct EvalModelArgs {
    /// Lists of clips that the model was not trained on, a JSON object in each line
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// Model folder in the released layout
    #[arg(short, long, value_name = "FOLDER")]
    pub model: PathBuf,
    /// Codec weights (official .pth, or a Hugging Face folder), where they don't lie beside the model
    #[arg(long, value_name = "PATH")]
    pub codec: Option<PathBuf>,
    /// Folder for sounds, transcripts and pictures; what it has of this model already is not made again
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Device and number type.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Take at most this many clips of each domain, spread evenly over them
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Clips that share a pass of the model; which ones do is part of the result, as is the seed
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch: u32,
    /// Seed of the first clip, the next ones count up from it
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Longest result in seconds [default: the model's, else 30; for music the real clip's length]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub max_seconds: Option<f64>,
    /// Shortest result in seconds [default: the model's, at most 0.5; for music the real clip's length]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub min_seconds: Option<f64>,
    /// How codes are drawn.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Draw spectrograms of the first clips of each domain, real, after the codec's round trip, and generated, as PNG
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub pictures: u32,
    /// Report as one JSON object on standard output, with each clip
    #[arg(long)]
    pub json: bool,
}

/// `unimoe eval speech`.
#[derive(Debug, Args)]
pub struct EvalSpeechArgs {
    /// Model, clips and output.
    #[command(flatten)]
    pub model: EvalModelArgs,
    /// Manifests whose English texts, each once, tell the recogniser its words and how they follow each other: those that the model was
    /// trained on, never those that it is measured with
    #[arg(long, value_name = "MANIFEST")]
    pub texts: Vec<PathBuf>,
    /// The recogniser of English, pocketsphinx_batch of CMU Sphinx 5 prealpha
    #[arg(long, value_name = "PROGRAM", default_value = "pocketsphinx_batch")]
    pub recognizer: PathBuf,
    /// Folder of its acoustic model `en-us` and its dictionary `cmudict-en-us.dict`
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/usr/share/pocketsphinx/model/en-us"
    )]
    pub recognizer_model: PathBuf,
    /// Leave the word error rates out
    #[arg(long, conflicts_with_all = ["texts", "recognizer", "recognizer_model"])]
    pub without_recognizer: bool,
}

/// `unimoe eval music`.
#[derive(Debug, Args)]
pub struct EvalMusicArgs {
    /// Model, clips and output.
    #[command(flatten)]
    pub model: EvalModelArgs,
    /// Manifests of real clips that the classifiers of instrument, tempo_class and mode are fitted on
    #[arg(long, required = true, value_name = "MANIFEST")]
    pub fit: Vec<PathBuf>,
    /// Fit on at most this many clips, spread evenly over them
    #[arg(long, value_name = "COUNT", default_value_t = 600, value_parser = clap::value_parser!(u32).range(2..))]
    pub fit_limit: u32,
}

/// `unimoe eval codec`.
#[derive(Debug, Args)]
pub struct EvalCodecArgs {
    /// Manifests (.jsonl), whose domains are groups, or folders of sounds; NAME=PATH makes one group with this name
    #[arg(required = true, value_name = "[NAME=]PATH")]
    pub sources: Vec<String>,
    /// Codec weights (official .pth, or a Hugging Face folder), or a model folder with a codec in it
    #[arg(long, value_name = "PATH")]
    pub codec: PathBuf,
    /// Folder for the round trips; what it has of this codec already is not made again
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Take at most this many sounds of each group, spread evenly over them
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Report as one JSON object on standard output, with each clip
    #[arg(long)]
    pub json: bool,
}

/// `unimoe eval card`.
#[derive(Debug, Args)]
pub struct EvalCardArgs {
    /// What `unimoe eval speech --json` printed
    #[arg(long, value_name = "FILE", required_unless_present = "figures")]
    pub speech: Option<PathBuf>,
    /// What `unimoe eval music --json` printed
    #[arg(long, value_name = "FILE", required_unless_present = "figures")]
    pub music: Option<PathBuf>,
    /// What `unimoe eval codec --json` printed
    #[arg(long, value_name = "FILE", required_unless_present = "figures")]
    pub codec: Option<PathBuf>,
    /// Take the figures from this file instead, which `--save` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = ["speech", "music", "codec", "save"])]
    pub figures: Option<PathBuf>,
    /// Write the figures of all three, without each clip, to this file
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Text with lines `<!-- figures: NAME -->` and `<!-- end of figures -->`, between which tables are put
    #[arg(long, value_name = "FILE")]
    pub card: PathBuf,
}

impl EvalModelArgs {
    /// How clips are generated, beginning with the model's own settings.
    ///
    /// # Errors
    ///
    /// [`CliError::Argument`] where the least length is above the largest.
    pub fn plan(
        &self,
        defaults: GenerationDefaults,
        real_length: bool,
    ) -> Result<GenerationPlan, CliError> {
        Ok(GenerationPlan {
            options: GenerationDefaults {
                speech: self.options(defaults.speech)?,
                music: self.options(defaults.music)?,
                video_music: self.options(defaults.video_music)?,
                ..defaults
            },
            real_length: real_length && self.min_seconds.is_none() && self.max_seconds.is_none(),
            seed: self.seed,
            batch: self.batch as usize,
        })
    }

    fn options(&self, defaults: RequestOptions) -> Result<RequestOptions, CliError> {
        self.sampling
            .over(defaults, self.min_seconds, self.max_seconds)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command, EvalCommand};

    fn parse(line: &str) -> Result<Cli, String> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    fn plan(options: &str) -> Result<GenerationPlan, CliError> {
        let line =
            format!("unimoe eval music t.jsonl --model m --output o --fit f.jsonl {options}");
        let Command::Eval(EvalCommand::Music(args)) = parse(&line).expect("parses").command else {
            panic!("not music");
        };
        args.model.plan(GenerationDefaults::default(), true)
    }

    #[test]
    fn music_is_as_long_as_the_real_clip_unless_a_length_is_given() {
        assert!(plan("").expect("a plan").real_length);
        let given = plan("--max-seconds 3 --temperature 0.5 --seed 7 --batch 4").expect("a plan");
        assert!(!given.real_length);
        assert_eq!((given.seed, given.batch), (7, 4));
        for options in [given.options.music, given.options.video_music] {
            assert_eq!((options.min_seconds, options.max_seconds), (3.0, 3.0));
            assert_eq!(options.sampling.temperature, 0.5);
        }
        assert_eq!(
            plan("--max-seconds 1 --min-seconds 2")
                .expect_err("impossible")
                .code(),
            2
        );
    }

    #[test]
    fn a_card_takes_three_reports_or_their_figures() {
        parse("unimoe eval card --speech a --music b --codec c --save f --card d").expect("three");
        parse("unimoe eval card --figures f --card d").expect("figures");
        for line in [
            "unimoe eval card --speech a --music b --card d",
            "unimoe eval card --figures f --speech a --card d",
            "unimoe eval music t.jsonl --model m --output o",
            "unimoe eval speech t.jsonl --model m --output o --without-recognizer --texts a",
            "unimoe eval codec t.jsonl --output o",
        ] {
            parse(line).expect_err(line);
        }
    }
}
