//! `unimoe report`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use unimoe_train::{ReportError, RunLog, write_plots, write_report};

use crate::{args::ReportArgs, error::CliError, report};

/// Draws the report of training runs.
///
/// # Errors
///
/// [`CliError::Input`] where a folder holds no run or its log can't be read, [`CliError::Output`] where the report
/// can't be written.
pub fn run(args: &ReportArgs) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Report<'a> {
        path: &'a Path,
        runs: Vec<&'a str>,
        plots: Vec<PathBuf>,
    }
    let mut runs = Vec::new();
    for folder in &args.runs {
        let what = format!("the run {}", folder.display());
        runs.extend(RunLog::read_all(folder).map_err(CliError::input(what))?);
    }
    let failed = |error| match error {
        ReportError::Io { path, source } => CliError::output(&path)(source),
        error => CliError::work("draw the report")(error),
    };
    write_report(&args.output, &args.title, &runs).map_err(failed)?;
    let plots = match &args.plots {
        Some(folder) => write_plots(folder, &runs).map_err(failed)?,
        None => Vec::new(),
    };
    if args.json {
        return report::json(&Report {
            path: &args.output,
            runs: runs.iter().map(|run| run.name.as_str()).collect(),
            plots,
        });
    }
    let count = runs.len();
    let runs = if count == 1 { "run" } else { "runs" };
    report::print(&format!("{}: {count} {runs}\n", args.output.display()))
}
