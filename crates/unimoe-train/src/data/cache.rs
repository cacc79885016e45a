//! Codes on disk, found by what they were computed from.
//!
//! ```text
//! FOLDER/codes/4f/4f0c...e2.codes     a CodeFile, named by its key
//! ```
//!
//! A key is the hash of the sound's bytes and of everything else that the codes depend on, so that an entry never
//! becomes wrong: another codec or sound has another name. Each entry carries a checksum. Entries are written beside
//! their place and renamed, so that two writers and a kill do no harm: the second puts the same content in place.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use dac_codec::{CodeFile, DacError};

use super::{encode::CodecEncoder, error::DataError, hash::ContentHash};

/// Age from which a file that was not finished counts as left behind by a killed writer.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);
/// How files begin that are not finished.
const UNFINISHED: &str = ".unfinished-";

/// What an entry was computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(ContentHash);

/// A folder of codes.
#[derive(Debug, Clone)]
pub struct CodeCache {
    folder: PathBuf,
}

impl Key {
    /// The key of a sound file's codes.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the file can't be read.
    pub fn of(sound: &Path, codec: &CodecEncoder) -> Result<Self, DataError> {
        let content = ContentHash::of_path(sound).map_err(DataError::io("read", sound))?;
        Ok(Self::from_content(content, codec))
    }

    pub(super) fn hash(&self) -> ContentHash {
        self.0
    }

    pub(super) fn from_content(content: ContentHash, codec: &CodecEncoder) -> Self {
        let codec = codec.fingerprint_hash();
        Self(ContentHash::of(&[&content.0, &codec.0]))
    }
}

impl CodeCache {
    /// Opens a cache folder, made where it is missing. What killed writers left behind is removed.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where it can't be read or made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, DataError> {
        let folder = folder.into();
        let codes = folder.join("codes");
        fs::create_dir_all(&codes).map_err(DataError::io("make", &codes))?;
        for shard in fs::read_dir(&codes).map_err(DataError::io("read", &codes))? {
            let shard = shard.map_err(DataError::io("read", &codes))?.path();
            if shard.is_dir() {
                clear(&shard).map_err(DataError::io("clear", &shard))?;
            }
        }
        Ok(Self { folder })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where an entry lies, whether it is there or not.
    pub fn path(&self, key: &Key) -> PathBuf {
        let name = key.0.to_string();
        let shard = self.folder.join("codes").join(&name[..2]);
        shard.join(format!("{name}.codes"))
    }

    /// The codes of a key; `None` where there are none, they are damaged, or not a codec's of these sizes.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where the entry is there and can't be read.
    pub fn get(&self, key: &Key, codec: &CodecEncoder) -> Result<Option<CodeFile>, DataError> {
        let path = self.path(key);
        match CodeFile::read(&path) {
            Ok(file) => {
                let config = codec.config();
                let whole = file.n_codebooks as usize == config.n_codebooks && file.frames() > 0;
                Ok((whole && file.check(config).is_ok()).then_some(file))
            }
            Err(DacError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(DacError::Io { source, .. }) => Err(DataError::io("read", path)(source)),
            Err(_) => Ok(None),
        }
    }

    /// Puts codes in their place.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where they can't be written.
    pub fn put(&self, key: &Key, codes: &CodeFile) -> Result<(), DataError> {
        let path = self.path(key);
        if let Some(shard) = path.parent() {
            fs::create_dir_all(shard).map_err(DataError::io("make", shard))?;
        }
        codes.write(&path).map_err(|error| match error {
            DacError::Io { source, .. } => DataError::io("write", path)(source),
            source => DataError::Codec {
                what: path.display().to_string(),
                source: source.into(),
            },
        })
    }
}

/// Removes what killed writers left behind.
pub(super) fn clear(folder: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            continue;
        }
        // A writer that is just done with it renames or removes it meanwhile.
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|time| now.duration_since(time).ok());
        if age.is_some_and(|age| age > LEFT_BEHIND) {
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
}
