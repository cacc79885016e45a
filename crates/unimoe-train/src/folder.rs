//! Model folders of trained models.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use burn::tensor::DType;
use unimoe_model::UniMoe;

use crate::{data::ContentHash, error::TrainError};

/// How the folders of an unfinished and of a replaced model begin.
const LEFTOVERS: [&str; 2] = [".unfinished-model-", ".old-model-"];

/// Writes a model's weights and configuration to `folder`, with tokenizer, preprocessor, codec, voices and settings of the
/// model folder `origin`. A model that lies there already is replaced once the new one is complete.
///
/// # Errors
///
/// A [`TrainError`] where something can't be read or written; what was there is then as it was.
pub fn write_model_folder(model: &UniMoe, origin: &Path, folder: &Path) -> Result<(), TrainError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(io(parent))?;
    remove_leftovers(parent)?;
    let unfinished = tempfile::Builder::new()
        .prefix(LEFTOVERS[0])
        .tempdir_in(parent)
        .map_err(io(parent))?;
    copy_companions(origin, unfinished.path(), true)?;
    (model.save(unfinished.path(), DType::F32)).map_err(|source| TrainError::Save {
        path: folder.to_path_buf(),
        source: Box::new(source),
    })?;
    sync(unfinished.path()).map_err(io(folder))?;
    make_readable(unfinished.path()).map_err(io(unfinished.path()))?;
    // A folder can't be replaced in one move: the old one goes aside, and goes for good once the new one is there.
    let aside = tempfile::Builder::new()
        .prefix(LEFTOVERS[1])
        .tempdir_in(parent)
        .map_err(io(parent))?;
    let old = aside.path().join("model");
    let is_there = folder.exists();
    if is_there {
        fs::rename(folder, &old).map_err(io(folder))?;
    }
    if let Err(error) = fs::rename(unfinished.path(), folder) {
        if is_there {
            fs::rename(&old, folder).map_err(io(folder))?;
        }
        return Err(io(folder)(error));
    }
    let _: PathBuf = unfinished.keep();
    Ok(())
}

/// Hash of the weights in a model folder.
pub(crate) fn weights_hash(folder: &Path) -> Result<String, TrainError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let path = entry.map_err(io(folder))?.path();
        if path
            .extension()
            .is_some_and(|ending| ending == "safetensors")
        {
            files.push(path);
        }
    }
    files.sort();
    let hash = |path: &PathBuf| ContentHash::of_path(path).map_err(io(path));
    let hashes = files.iter().map(hash).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<String> = hashes.iter().map(ToString::to_string).collect();
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    Ok(ContentHash::of(&parts).to_string())
}

/// Removes what a killed writer left in a folder.
fn remove_leftovers(folder: &Path) -> Result<(), TrainError> {
    for entry in fs::read_dir(folder).map_err(io(folder))? {
        let entry = entry.map_err(io(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if LEFTOVERS
            .iter()
            .any(|beginning| name.starts_with(beginning))
        {
            fs::remove_dir_all(entry.path()).map_err(io(folder))?;
        }
    }
    Ok(())
}

/// Has the system write a folder's files to the disk.
fn sync(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => sync(&path)?,
            false => fs::File::open(&path)?.sync_all()?,
        }
    }
    // Folders can be opened, and their names written, on Unix alone.
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

/// Writes a file whole or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), TrainError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let save = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".unfinished-");
        // What an ordinary new file gets; the process's umask is taken off.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    save().map_err(io(path))
}

/// Copies what is neither weights nor configuration: tokenizer, preprocessor, codec, voices, settings.
fn copy_companions(from: &Path, to: &Path, is_top: bool) -> Result<(), TrainError> {
    for entry in fs::read_dir(from).map_err(io(from))? {
        let entry = entry.map_err(io(from))?;
        let (path, name) = (entry.path(), entry.file_name());
        let target = to.join(&name);
        let name = name.to_string_lossy().into_owned();
        let is_weights =
            name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
        if name.starts_with('.') || (is_top && (is_weights || name == "config.json")) {
            continue;
        }
        let kind = fs::metadata(&path).map_err(io(&path))?;
        if kind.is_dir() && (name == "dac" || name == "voices" || !is_top) {
            fs::create_dir(&target).map_err(io(&target))?;
            copy_companions(&path, &target, false)?;
        } else if kind.is_file() {
            fs::copy(&path, &target).map_err(io(&path))?;
        }
    }
    Ok(())
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> TrainError + '_ {
    move |source| TrainError::Io {
        path: path.to_path_buf(),
        source,
    }
}

/// Temporary folders are private to their owner; a model folder is like any other.
#[cfg(unix)]
fn make_readable(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_readable(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}
