//! `unimoe reproduce`: what a user may say about the comparison.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use unimoe_model::DeviceChoice;

/// `unimoe reproduce`.
#[derive(Debug, Args)]
pub struct ReproduceArgs {
    /// Folder for tables, report and runs; a comparison that is there goes on
    #[arg(short, long, visible_alias = "out", value_name = "FOLDER")]
    pub output: PathBuf,
    /// Repetitions with a seed each [default: 3, for `quick` 1]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: Option<u64>,
    /// The first of the seeds
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
    /// Size of the comparison
    #[arg(long, value_enum, value_name = "SIZE", default_value_t = Scale::Usual)]
    pub scale: Scale,
    /// Optimizer steps of each method, a multiple of 8 [default: by the size]
    #[arg(long, value_name = "COUNT")]
    pub steps: Option<u64>,
    /// auto, cpu, or cuda, rocm, metal, vulkan, wgpu with an optional number such as cuda:1
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    pub device: DeviceChoice,
    /// Report as one JSON object on standard output, without progress
    #[arg(long)]
    pub json: bool,
}

/// Sizes of `unimoe reproduce`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scale {
    /// A few steps with one seed: shows that it runs, and nothing else
    Quick,
    /// What the documentation tells of
    Usual,
    /// Four times the steps and clips
    Long,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Cli;

    #[test]
    fn the_folder_is_needed_and_has_two_names() {
        for line in ["--out x", "--output x --seeds 5 --scale long", "-o x"] {
            let line = format!("unimoe reproduce {line}");
            Cli::try_parse_from(line.split(' ')).expect("parses");
        }
        for line in ["", "-o x --seeds 0", "-o x --scale huge"] {
            let line = format!("unimoe reproduce {line}");
            Cli::try_parse_from(line.split_whitespace()).expect_err("refused");
        }
    }
}
