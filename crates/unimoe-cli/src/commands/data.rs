//! `unimoe data check`, `prepare`, `balance` and `synth`.

mod balance;
mod check;
mod prepare;
mod report;
mod synth;

use std::{
    ops::ControlFlow,
    path::Path,
    time::{Duration, Instant},
};

use unimoe_train::{DataError, Defects, Manifest};

use crate::{
    args::{DataCommand, SourceArgs},
    error::CliError,
    interrupt::Interrupt,
    progress::Progress,
};

/// Defects that are printed; the others are counted.
const PRINTED: usize = 1000;

/// Runs a command for data.
///
/// # Errors
///
/// [`CliError`]; nothing is left half-written.
pub fn run(command: &DataCommand, interrupt: &Interrupt) -> Result<(), CliError> {
    match command {
        DataCommand::Check(args) => check::run(args, interrupt),
        DataCommand::Prepare(args) => prepare::run(args, interrupt),
        DataCommand::Balance(args) => balance::run(args),
        DataCommand::Synth(args) => synth::run(args, interrupt),
    }
}

/// Reads the manifests and checks that the wanted domains are there.
fn load(source: &SourceArgs) -> Result<Manifest, CliError> {
    let manifest = Manifest::load(&source.manifests, source.on_defect.into());
    let manifest = manifest.map_err(failure("the manifests"))?;
    let wanted = source.domains.iter().map(String::as_str);
    manifest.require(wanted).map_err(failure("the manifests"))?;
    Ok(manifest)
}

/// What becomes of an error in data: its lines on standard error, and the right exit code.
fn failure(what: &'static str) -> impl FnOnce(DataError) -> CliError {
    move |error| match error {
        DataError::Interrupted => CliError::Interrupted,
        DataError::Defects(defects) => {
            list(&defects);
            CliError::input(what)(DataError::Defects(defects))
        }
        DataError::Io {
            action: action @ ("write" | "make"),
            path,
            source,
        } => {
            let at = path.clone();
            CliError::output(&at)(DataError::Io {
                action,
                path,
                source,
            })
        }
        error @ DataError::Codec { .. } => CliError::work("encode a sound")(error),
        error => CliError::input(what)(error),
    }
}

/// Lists defects on standard error, a line each.
fn list(defects: &Defects) {
    for defect in defects.0.iter().take(PRINTED) {
        let line: Vec<_> = defect
            .to_string()
            .split_whitespace()
            .map(String::from)
            .collect();
        eprintln!("note: {}", line.join(" "));
    }
    if defects.0.len() > PRINTED {
        eprintln!("note: and {} more", defects.0.len() - PRINTED);
    }
}

/// A bar of clips that looks for an interruption on the way.
struct Watch<'a> {
    progress: Progress,
    interrupt: &'a Interrupt,
    shown: Option<Instant>,
}

impl<'a> Watch<'a> {
    fn new(quiet: bool, interrupt: &'a Interrupt) -> Self {
        Self {
            progress: Progress::new(quiet),
            interrupt,
            shown: None,
        }
    }

    fn start(&mut self, message: &'static str, total: usize) {
        self.progress.count(message, total);
        self.shown = None;
    }

    fn step(&mut self, done: usize) -> ControlFlow<()> {
        let due = |at: Instant| at.elapsed() > Duration::from_millis(50);
        if self.shown.is_none_or(due) {
            self.progress.set(done);
            self.shown = Some(Instant::now());
        }
        match self.interrupt.is_raised() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Refuses an output that is one of the manifests, or can't be written, before the work.
fn check_output(output: &Path, source: &SourceArgs) -> Result<(), CliError> {
    let same = |path: &Path| match (path.canonicalize(), output.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if source.manifests.iter().any(|path| same(path)) {
        return Err(CliError::Argument {
            what: "--output",
            expected: "another file than the manifests that are read".into(),
            found: output.display().to_string(),
        });
    }
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let free = match output.is_dir() {
        true => Err(std::io::Error::from(std::io::ErrorKind::IsADirectory)),
        false => tempfile::tempfile_in(folder).map(drop),
    };
    free.map_err(CliError::output(output))
}
