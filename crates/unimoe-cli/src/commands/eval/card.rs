//! `unimoe eval card`.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use unimoe_train::{Figures, fill_card};

use crate::{args::EvalCardArgs, error::CliError, report};

/// Largest file that is read.
const MAX_BYTES: u64 = 64 << 20;

/// What a report has besides its figures doesn't matter here.
#[derive(Deserialize)]
struct Report<F> {
    figures: F,
}

/// Puts figures into a card.
///
/// # Errors
///
/// [`CliError::Input`] for a file that is not a report or a card, [`CliError::Output`] where one can't be written.
pub fn run(args: &EvalCardArgs) -> Result<(), CliError> {
    let figures = match &args.figures {
        Some(path) => json(path)?,
        None => Figures {
            speech: figures(args.speech.as_ref())?,
            music: figures(args.music.as_ref())?,
            codec: figures(args.codec.as_ref())?,
        },
    };
    let card = read(&args.card)?;
    let filled = fill_card(&card, &figures)
        .map_err(CliError::input(format!("the card {}", args.card.display())))?;
    if let Some(path) = &args.save {
        let text = serde_json::to_string_pretty(&figures).map_err(CliError::output(path))?;
        write(path, &(text + "\n"))?;
    }
    write(&args.card, &filled)?;
    report::print(&format!("{}\n", args.card.display()))
}

fn figures<F: DeserializeOwned>(path: Option<&PathBuf>) -> Result<F, CliError> {
    // The arguments ask for all three where there is no file of figures.
    let path = path.map_or(Path::new(""), PathBuf::as_path);
    json::<Report<F>>(path).map(|report| report.figures)
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    serde_json::from_str(&read(path)?)
        .map_err(CliError::input(format!("the report {}", path.display())))
}

fn read(path: &Path) -> Result<String, CliError> {
    let text = || {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            let found = "not a regular file of at most 64 MiB";
            return Err(io::Error::new(io::ErrorKind::InvalidData, found));
        }
        fs::read_to_string(path)
    };
    text().map_err(CliError::input(path.display().to_string()))
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let save = || {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".unfinished-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What an ordinary new file gets; the process's umask is taken off.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok::<(), io::Error>(())
    };
    save().map_err(CliError::output(path))
}
