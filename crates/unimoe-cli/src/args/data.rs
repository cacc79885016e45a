//! What a user may say about data.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use unimoe_model::DeviceChoice;
use unimoe_train::{Filter, Limits, Policy};

use super::{number, positive};

/// `unimoe data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Find everything that training would stumble over
    Check(CheckArgs),
    /// Filter clips, drop duplicates, compute codes, and write the manifest that is left
    Prepare(Box<PrepareArgs>),
    /// Draw as many clips of each domain
    Balance(BalanceArgs),
    /// Make speech, music and animations to train a small model on, from a seed
    Synth(SynthArgs),
}

impl DataCommand {
    /// Whether the user wants the outcome as JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Check(args) => args.source.json,
            Self::Prepare(args) => args.source.json,
            Self::Balance(args) => args.source.json,
            Self::Synth(args) => args.json,
        }
    }
}

/// What all commands for data have in common.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Lists of clips, a JSON object in each line
    #[arg(required = true, value_name = "MANIFEST")]
    pub manifests: Vec<PathBuf>,
    /// What is done about clips that can't be used
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnDefect::Fail)]
    pub on_defect: OnDefect,
    /// Domains that must have clips, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub domains: Vec<String>,
    /// Report as one JSON object on standard output, without a progress bar
    #[arg(long)]
    pub json: bool,
}

/// What is done about clips that can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnDefect {
    /// List them all and fail
    Fail,
    /// Leave them out and count them
    Skip,
}

impl From<OnDefect> for Policy {
    fn from(choice: OnDefect) -> Self {
        match choice {
            OnDefect::Fail => Self::Fail,
            OnDefect::Skip => Self::Skip,
        }
    }
}

/// How files are read.
#[derive(Debug, Args)]
pub struct ReadingArgs {
    /// Longest sound that is read
    #[arg(long, value_name = "SECONDS", value_parser = longest, default_value_t = 600.0)]
    pub longest: f64,
    /// Threads that read files [default: one per core]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub workers: Option<u16>,
}

/// `unimoe data check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Manifests.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Model folder whose positions the clips must fit
    #[arg(short, long, value_name = "FOLDER")]
    pub model: Option<PathBuf>,
    /// Accept speech without a reference voice
    #[arg(long)]
    pub without_voices: bool,
    /// Reading.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// `unimoe data prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// Manifests.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Manifest to write; a report lies beside it
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Model folder with the codec in it
    #[arg(short, long, value_name = "FOLDER", required_unless_present = "codec")]
    pub model: Option<PathBuf>,
    /// Codec weights (official .pth, or a Hugging Face folder), instead of the model's
    #[arg(long, value_name = "PATH")]
    pub codec: Option<PathBuf>,
    /// Folder that keeps codes, made if it is missing
    #[arg(long, value_name = "FOLDER")]
    pub cache: PathBuf,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// JSON file with rules, also for single domains; options given beside it take the place of its common rules
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Rules.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Keep copies of a sound
    #[arg(long)]
    pub keep_duplicates: bool,
    /// Keep sounds that are nearly another, such as one encoded again
    #[arg(long)]
    pub keep_near_duplicates: bool,
    /// Give speech without a reference voice another clip of the same speaker, who is named by this column
    #[arg(long, value_name = "COLUMN")]
    pub voices_by: Option<String>,
    /// Seed of the choice of voices
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Reading.
    #[command(flatten)]
    pub reading: ReadingArgs,
}

/// Rules for clips of all domains.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Shortest sound
    #[arg(long, value_name = "SECONDS", value_parser = any)]
    pub min_seconds: Option<f64>,
    /// Longest sound
    #[arg(long, value_name = "SECONDS", value_parser = any)]
    pub max_seconds: Option<f64>,
    /// Least loudness in LUFS
    #[arg(long, value_name = "LUFS", value_parser = any, allow_negative_numbers = true)]
    pub min_loudness: Option<f64>,
    /// Largest loudness in LUFS
    #[arg(long, value_name = "LUFS", value_parser = any, allow_negative_numbers = true)]
    pub max_loudness: Option<f64>,
    /// Largest share of silence, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = any)]
    pub max_silence: Option<f64>,
    /// Largest share of samples at full scale, 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = any)]
    pub max_clipping: Option<f64>,
    /// Fewest letters and digits per second of speech
    #[arg(long, value_name = "NUMBER", value_parser = any)]
    pub min_speech_rate: Option<f64>,
    /// Most letters and digits per second of speech
    #[arg(long, value_name = "NUMBER", value_parser = any)]
    pub max_speech_rate: Option<f64>,
    /// Fewest characters of a text
    #[arg(long, value_name = "COUNT", value_parser = any)]
    pub min_characters: Option<f64>,
    /// Most characters of a text
    #[arg(long, value_name = "COUNT", value_parser = any)]
    pub max_characters: Option<f64>,
    /// Unicode scripts that texts may use, such as Latin,Han
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub scripts: Vec<String>,
    /// Regular expression that must be found in texts
    #[arg(long, value_name = "REGEX")]
    pub pattern: Option<String>,
    /// Regular expression that must not be found in texts
    #[arg(long, value_name = "REGEX")]
    pub forbidden: Option<String>,
    /// Least number in a column, such as score=3.5; may be repeated
    #[arg(long, value_name = "COLUMN=NUMBER", value_parser = column, allow_hyphen_values = true)]
    pub min: Vec<(String, f64)>,
    /// Largest number in a column; may be repeated
    #[arg(long, value_name = "COLUMN=NUMBER", value_parser = column, allow_hyphen_values = true)]
    pub max: Vec<(String, f64)>,
}

/// `unimoe data balance`.
#[derive(Debug, Args)]
pub struct BalanceArgs {
    /// Manifests.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Manifest to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Clips of each domain
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub per_domain: u32,
    /// Seed of the draw
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Take those with the largest numbers in this column, instead of drawing
    #[arg(long, value_name = "COLUMN")]
    pub best: Option<String>,
    /// Take all of a domain that has fewer
    #[arg(long)]
    pub allow_fewer: bool,
}

/// `unimoe data synth`.
#[derive(Debug, Args)]
pub struct SynthArgs {
    /// Folder to make, with sounds, animations, train.jsonl and test.jsonl
    #[arg(short, long, value_name = "FOLDER")]
    pub output: PathBuf,
    /// Clips to train on, as a share of the paper's 428 thousand
    #[arg(long, value_name = "NUMBER", value_parser = share, default_value_t = 0.02)]
    pub scale: f64,
    /// Another number of clips to train on for a domain than its share; repeatable
    #[arg(long, value_name = "DOMAIN=COUNT", value_parser = domain_clips)]
    pub clips: Vec<(synth_data::Domain, usize)>,
    /// Seed of all draws
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// SoundFont with the instruments of General MIDI, in the format sf2
    #[arg(long, value_name = "FILE", default_value = synth_data::DEFAULT_SOUNDFONT)]
    pub soundfont: PathBuf,
    /// Report as one JSON object on standard output, without a progress bar
    #[arg(long)]
    pub json: bool,
}

impl ReadingArgs {
    /// Threads that read files.
    pub fn workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.map_or_else(cores, usize::from)
    }
}

impl FilterArgs {
    /// Puts what was given over `filter`.
    pub fn over(&self, filter: &mut Filter) {
        let both = |limits: &mut Limits, min: Option<f64>, max: Option<f64>| {
            limits.min = min.or(limits.min);
            limits.max = max.or(limits.max);
        };
        both(&mut filter.seconds, self.min_seconds, self.max_seconds);
        both(&mut filter.loudness, self.min_loudness, self.max_loudness);
        both(&mut filter.silence, None, self.max_silence);
        both(&mut filter.clipping, None, self.max_clipping);
        both(
            &mut filter.speech_rate,
            self.min_speech_rate,
            self.max_speech_rate,
        );
        both(
            &mut filter.characters,
            self.min_characters,
            self.max_characters,
        );
        let columns: &mut BTreeMap<String, Limits> = &mut filter.columns;
        for (column, least) in &self.min {
            columns.entry(column.clone()).or_default().min = Some(*least);
        }
        for (column, most) in &self.max {
            columns.entry(column.clone()).or_default().max = Some(*most);
        }
        if !self.scripts.is_empty() {
            filter.scripts.clone_from(&self.scripts);
        }
        let texts = [
            (&mut filter.pattern, &self.pattern),
            (&mut filter.forbidden, &self.forbidden),
        ];
        for (rule, given) in texts {
            if given.is_some() {
                rule.clone_from(given);
            }
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    let within = |share| share > 0.0 && share <= 1.0;
    number(text, within, "a number above 0 and at most 1")
}

fn domain_clips(text: &str) -> Result<(synth_data::Domain, usize), String> {
    let domain = |name: &str| {
        let mut all = synth_data::Domain::ALL.into_iter();
        all.find(|domain| domain.name() == name)
    };
    text.split_once('=')
        .and_then(|(name, count)| Some((domain(name)?, count.parse().ok()?)))
        .ok_or_else(|| {
            let names = synth_data::Domain::ALL.map(synth_data::Domain::name);
            format!("expected a domain ({}), `=` and a number", names.join(", "))
        })
}

fn any(text: &str) -> Result<f64, String> {
    number(text, |_| true, "a number")
}

fn longest(text: &str) -> Result<f64, String> {
    let seconds = positive(text)?;
    match seconds <= 86_400.0 {
        true => Ok(seconds),
        false => Err("expected at most 86400 seconds".into()),
    }
}

fn column(text: &str) -> Result<(String, f64), String> {
    let (column, value) = text
        .split_once('=')
        .filter(|(column, _)| !column.is_empty())
        .ok_or("expected COLUMN=NUMBER")?;
    Ok((column.to_string(), any(value)?))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn prepare(options: &[&str]) -> Result<PrepareArgs, clap::Error> {
        let line = [
            "unimoe", "data", "prepare", "a.jsonl", "-o", "b.jsonl", "--cache", "c", "--model", "m",
        ];
        match Cli::try_parse_from([&line, options].concat())?.command {
            Command::Data(DataCommand::Prepare(args)) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_take_the_place_of_rules() {
        let options = [
            "--min-seconds",
            "1",
            "--min-loudness",
            "-40",
            "--max",
            "snr=-2.5",
            "--min=mos=3",
        ];
        let args = prepare(&options).expect("parses");
        let mut filter = Filter {
            seconds: Limits::new(0.5, 9.0),
            ..Filter::default()
        };
        args.filter.over(&mut filter);
        assert_eq!(filter.seconds, Limits::new(1.0, 9.0));
        assert_eq!(filter.loudness, Limits::new(-40.0, None));
        assert_eq!(filter.columns["snr"], Limits::new(None, -2.5));
        assert_eq!(filter.columns["mos"], Limits::new(3.0, None));
    }

    #[test]
    fn clips_are_counted_by_domain() {
        let line = |clips| ["unimoe", "data", "synth", "-o", "out", "--clips", clips];
        match Cli::try_parse_from(line("speech-en=12"))
            .expect("a domain")
            .command
        {
            Command::Data(DataCommand::Synth(args)) => {
                assert_eq!(args.clips, [(synth_data::Domain::SpeechEn, 12)]);
            }
            other => panic!("{other:?}"),
        }
        for clips in ["12", "speech-en", "speech-en=x", "song=3"] {
            Cli::try_parse_from(line(clips)).expect_err(clips);
        }
    }

    #[test]
    fn a_scale_is_a_share() {
        let line = |scale| ["unimoe", "data", "synth", "-o", "out", "--scale", scale];
        for (scale, expected) in [("1", 1.0), ("0.001", 0.001)] {
            match Cli::try_parse_from(line(scale)).expect(scale).command {
                Command::Data(DataCommand::Synth(args)) => assert_eq!(args.scale, expected),
                other => panic!("{other:?}"),
            }
        }
        for scale in ["0", "-1", "1.01", "nan", "all"] {
            Cli::try_parse_from(line(scale)).expect_err(scale);
        }
    }

    #[test]
    fn what_is_no_number_or_column_is_refused() {
        for option in [
            "--min-seconds=nan",
            "--min=3",
            "--min==3",
            "--max=a=b",
            "--workers=0",
            "--longest=0",
            "--longest=1e9",
        ] {
            prepare(&[option]).expect_err(option);
        }
    }
}
