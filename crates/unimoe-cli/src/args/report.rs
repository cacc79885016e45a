//! `unimoe report`: what a user may say about reports.

use std::path::PathBuf;

use clap::Args;

/// `unimoe report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folders of training runs in the order to show; for a folder of runs, all of them by time
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// HTML file to write; replaced if it is there
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// Write each plot to an SVG file of this folder too
    #[arg(long, value_name = "FOLDER")]
    pub plots: Option<PathBuf>,
    /// Heading of the report
    #[arg(long, value_name = "TEXT", default_value = "Training")]
    pub title: String,
    /// Report as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
}
