//! Hashes of files that did not change, so that terabytes of sound are not read again at every start.
//!
//! A file counts as unchanged where its size and the time of its last change are as noted. As a change within the clock's
//! tick would not show, files that were changed just before they were read are not noted.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{error::DataError, hash::ContentHash, manifest::write_whole};

/// Age from which a change is sure to show in the time of the last change.
const SETTLED: Duration = Duration::from_secs(2);
/// Largest file of notes that is read, in bytes.
const MAX_BYTES: u64 = 1 << 32;

/// Hashes by file, kept in a file of their own.
#[derive(Debug)]
pub(super) struct HashMemo {
    path: PathBuf,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    known: HashMap<PathBuf, Note>,
    changed: bool,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    path: PathBuf,
    bytes: u64,
    /// Time of the last change in nanoseconds since 1970.
    modified: u64,
    sha256: String,
}

impl HashMemo {
    /// Reads the notes at `path`; lines that are none are passed over.
    pub(super) fn open(path: PathBuf) -> Self {
        let small =
            fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_BYTES);
        let text = match small {
            true => fs::read_to_string(&path).unwrap_or_default(),
            false => String::new(),
        };
        let notes = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Note>(line).ok());
        Self {
            notes: Mutex::new(Notes {
                known: notes.map(|note| (note.path.clone(), note)).collect(),
                changed: false,
            }),
            path,
        }
    }

    /// The hash of a file or folder; of a file that did not change, the noted one.
    pub(super) fn hash(&self, path: &Path) -> io::Result<ContentHash> {
        let stamp = stamp(path)?;
        let Some((whole, bytes, modified)) = stamp else {
            return ContentHash::of_path(path);
        };
        if let Some(note) = self.lock().known.get(&whole)
            && (note.bytes, note.modified) == (bytes, modified)
            && let Some(hash) = ContentHash::parse(&note.sha256)
        {
            return Ok(hash);
        }
        let hash = ContentHash::of_path(path)?;
        let changed = UNIX_EPOCH + Duration::from_nanos(modified);
        let age = SystemTime::now().duration_since(changed);
        if age.is_ok_and(|age| age > SETTLED) {
            let note = Note {
                path: whole.clone(),
                bytes,
                modified,
                sha256: hash.to_string(),
            };
            let mut notes = self.lock();
            notes.known.insert(whole, note);
            notes.changed = true;
        }
        Ok(hash)
    }

    /// Writes the notes, where there are new ones. Of two writers the last one's stay.
    pub(super) fn save(&self) -> Result<(), DataError> {
        let mut notes = self.lock();
        if !notes.changed {
            return Ok(());
        }
        let mut sorted: Vec<&Note> = notes.known.values().collect();
        sorted.sort_by(|a, b| a.path.cmp(&b.path));
        write_whole(&self.path, |file| {
            for note in sorted {
                serde_json::to_writer(&mut *file, note)?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })?;
        notes.changed = false;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whole path, size and time of the last change of a regular file whose path can be noted; `None` for any other.
fn stamp(path: &Path) -> io::Result<Option<(PathBuf, u64, u64)>> {
    let metadata = fs::metadata(path)?;
    let time = metadata.modified().ok();
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let nanos = since.and_then(|since| u64::try_from(since.as_nanos()).ok());
    let whole = std::path::absolute(path)?;
    Ok(nanos
        .filter(|_| metadata.is_file() && whole.to_str().is_some())
        .map(|nanos| (whole, metadata.len(), nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, content: &str, age: u64) {
        fs::write(path, content).expect("written");
        let time = SystemTime::now() - Duration::from_secs(age);
        let file = fs::File::options().write(true).open(path).expect("opened");
        file.set_modified(time).expect("set");
    }

    #[test]
    fn a_file_is_read_again_once_it_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, notes) = (folder.path().join("a"), folder.path().join("notes"));
        write(&file, "one", 100);
        let memo = HashMemo::open(notes.clone());
        let first = memo.hash(&file).expect("read");
        memo.save().expect("saved");

        // Proof that the note is used: a wrong one is believed.
        let text = fs::read_to_string(&notes).expect("notes");
        let wrong = text.replace(&first.to_string()[..4], "0123");
        fs::write(&notes, format!("no note\n{wrong}")).expect("written");
        let memo = HashMemo::open(notes);
        assert_ne!(memo.hash(&file).expect("noted"), first);

        write(&file, "two", 50);
        assert_eq!(
            memo.hash(&file).expect("read"),
            ContentHash::of_path(&file).expect("read")
        );
    }

    #[test]
    fn what_changed_just_now_is_not_noted() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, notes) = (folder.path().join("a"), folder.path().join("notes"));
        write(&file, "one", 0);
        let memo = HashMemo::open(notes.clone());
        memo.hash(&file).expect("read");
        memo.save().expect("nothing to save");
        assert!(!notes.exists());
    }
}
