//! Reports with plots, and what they are drawn from: routing statistics and gradient conflict.
//!
//! A report is one HTML file without anything from outside. It shows what the paper's discussion
//! (arXiv:2510.13344, section 6) looks at: loss by domain and stage (figure 3), share of the tokens by number of
//! experts in each layer (figure 4), load of experts and null experts by layer and domain (figure 5); and beside
//! it router entropy, how far experts belong to domains, gradient conflict, learning rate, gradient norm and speed.

mod comparison;
mod conflict;
mod curve;
mod error;
mod history;
mod page;
mod plot;
mod routing;
mod run;
mod section;
mod specialization;
mod standalone;

use std::{
    io::Write,
    path::{Path, PathBuf},
};

pub(crate) use comparison::{Comparison, ComparisonLine, ComparisonTable, write_comparison};
pub use conflict::{GradientConflict, gradient_conflict, shared_parameters};
pub use error::ReportError;
pub use routing::DomainRouting;
pub use run::RunLog;
pub use specialization::{dead_experts, mutual_information};

use history::History;
use section::Material;

/// Writes the report of `runs` to the file `path`: of one stage, or of several in the order of the
/// curriculum. What a log doesn't hold is left out with a sentence that says so.
///
/// # Errors
///
/// A [`ReportError`] where a plot can't be drawn or the file can't be written; nothing is left then.
pub fn write_report(path: &Path, title: &str, runs: &[RunLog]) -> Result<(), ReportError> {
    save(path, &render_report(title, runs)?)
}

/// Writes the plots of the report of `runs` to SVG files of the folder `folder`, which is made where it is absent: each with
/// its title and legend, on white. Returns their paths, in the report's order.
///
/// # Errors
///
/// A [`ReportError`] where a plot can't be drawn or a file can't be written; the files before it are left.
pub fn write_plots(folder: &Path, runs: &[RunLog]) -> Result<Vec<PathBuf>, ReportError> {
    standalone::write(folder, &sections(runs)?)
}

/// Writes a page to the file `path`, whole or not at all.
fn save(path: &Path, html: &str) -> Result<(), ReportError> {
    let io = |source| ReportError::Io {
        path: path.to_path_buf(),
        source,
    };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".unfinished-");
    // What an ordinary new file gets; the process's umask is taken off.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(io)?;
    file.write_all(html.as_bytes()).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// The report of `runs` as the text of an HTML file.
///
/// ```
/// use unimoe_train::{Event, RunLog, render_report};
///
/// let end = Event::End { step: 0, reason: "stopped".into(), message: String::new() };
/// let run = RunLog { name: "warmup".into(), events: vec![end] };
/// let html = render_report("My curriculum", &[run])?;
/// assert!(html.contains("<h1>My curriculum</h1>") && html.contains("warmup"));
/// # Ok::<(), unimoe_train::ReportError>(())
/// ```
///
/// # Errors
///
/// [`ReportError::Plot`] where a plot can't be drawn.
pub fn render_report(title: &str, runs: &[RunLog]) -> Result<String, ReportError> {
    let introduction = match runs {
        [] => "No run was given, so there is nothing to show.".to_string(),
        [run] => format!("One run: {}.", plot::label(&run.name)),
        runs => format!("{} runs, in the order given.", runs.len()),
    };
    let sections = sections(runs)?;
    Ok(page::page(&plot::label(title), &introduction, &sections))
}

/// The sections on `runs`; none without runs.
fn sections(runs: &[RunLog]) -> Result<Vec<page::Section>, ReportError> {
    match runs {
        [] => Ok(Vec::new()),
        runs => Material::new(runs.iter().map(History::new).collect()).sections(),
    }
}
