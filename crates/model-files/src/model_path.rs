//! Where the files of a model are: on a disk, or in the program that carries them.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Cursor, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Files that a program carries: the path of each within their folder, with `/` between its parts, and its content.
pub type EmbeddedFiles = &'static [(&'static str, &'static [u8])];

/// A file or folder of a model, on a disk or in the memory of the program.
///
/// Everything that reads a model folder reads one of these; a [`Path`] is one by itself.
///
/// ```
/// use model_files::{EmbeddedFiles, ModelPath, read_text};
///
/// const FILES: EmbeddedFiles = &[("config.json", b"{}"), ("dac/config.json", b"[]")];
///
/// let folder = ModelPath::embedded("the program's own", FILES);
/// assert_eq!(read_text(folder.join("dac").join("config.json"))?, "[]");
/// // Errors name the file in the same way as one on a disk.
/// let missing = folder.join("vocab.json");
/// assert!(!missing.exists());
/// assert!(missing.path().ends_with("the program's own/vocab.json"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ModelPath {
    /// As errors name it.
    path: PathBuf,
    /// The files, and the place among them; `None` on a disk.
    embedded: Option<(EmbeddedFiles, String)>,
}

/// An open file, wherever it is.
#[derive(Debug)]
pub struct ModelFile {
    content: Content,
    length: u64,
}

#[derive(Debug)]
enum Content {
    Disk(File),
    Memory(Cursor<&'static [u8]>),
}

impl<P: AsRef<Path>> From<P> for ModelPath {
    /// A place on a disk.
    fn from(path: P) -> Self {
        Self {
            path: path.as_ref().to_path_buf(),
            embedded: None,
        }
    }
}

impl From<&ModelPath> for ModelPath {
    fn from(path: &ModelPath) -> Self {
        path.clone()
    }
}

impl ModelPath {
    /// A folder in memory, which errors call `name`.
    pub fn embedded(name: &str, files: EmbeddedFiles) -> Self {
        Self {
            path: PathBuf::from(name),
            embedded: Some((files, String::new())),
        }
    }

    /// What errors call it: its path on a disk, else where it would be in the embedded folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is called `name` in this folder.
    pub fn join(&self, name: impl AsRef<str>) -> Self {
        let name = name.as_ref();
        let inner = |(files, place): &(EmbeddedFiles, String)| {
            let place = match place.as_str() {
                "" => name.to_string(),
                place => format!("{place}/{name}"),
            };
            (*files, place)
        };
        Self {
            path: self.path.join(name),
            embedded: self.embedded.as_ref().map(inner),
        }
    }

    /// What is called `name` beside this file.
    pub fn with_file_name(&self, name: &str) -> Self {
        let inner = |(files, place): &(EmbeddedFiles, String)| {
            let parent = place.rsplit_once('/').map(|(parent, _)| parent);
            (
                *files,
                parent.map_or(name.to_string(), |parent| format!("{parent}/{name}")),
            )
        };
        Self {
            path: self.path.with_file_name(name),
            embedded: self.embedded.as_ref().map(inner),
        }
    }

    /// The path where it is on a disk; `None` in memory.
    pub fn on_disk(&self) -> Option<&Path> {
        self.embedded.is_none().then_some(&self.path)
    }

    /// Its last part.
    pub fn file_name(&self) -> Option<&OsStr> {
        self.path.file_name()
    }

    /// Whether there is a file or a folder.
    pub fn exists(&self) -> bool {
        match self.embedded {
            None => self.path.exists(),
            Some(_) => self.is_file() || self.is_dir(),
        }
    }

    /// Whether it is a folder.
    pub fn is_dir(&self) -> bool {
        match &self.embedded {
            None => self.path.is_dir(),
            Some((_, place)) if place.is_empty() => true,
            Some((files, place)) => files.iter().any(|(name, _)| {
                let rest = name.strip_prefix(place.as_str());
                rest.is_some_and(|rest| rest.starts_with('/'))
            }),
        }
    }

    /// Whether it is a file.
    pub fn is_file(&self) -> bool {
        match &self.embedded {
            None => self.path.is_file(),
            Some(_) => self.memory().is_some(),
        }
    }

    /// Opens a regular file.
    ///
    /// # Errors
    ///
    /// What the system says, [`ErrorKind::NotFound`] where there is none, and [`ErrorKind::InvalidData`] for what is no
    /// regular file.
    pub fn open(&self) -> io::Result<ModelFile> {
        if self.embedded.is_some() {
            let bytes = self
                .memory()
                .ok_or_else(|| io::Error::new(ErrorKind::NotFound, "no such file is built in"))?;
            return Ok(ModelFile {
                content: Content::Memory(Cursor::new(bytes)),
                length: bytes.len() as u64,
            });
        }
        // Opening a pipe would wait for its writer, and a device may have no end.
        let metadata = fs::metadata(&self.path)?;
        if !metadata.is_file() {
            let reason = "not a regular file";
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        Ok(ModelFile {
            content: Content::Disk(File::open(&self.path)?),
            length: metadata.len(),
        })
    }

    /// The whole content of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`ErrorKind::InvalidData`] for a larger file.
    pub fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open()?;
        let length = file.length;
        if length > limit {
            let reason = format!("more than {limit} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, reason));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        // Never more than was there when its size was asked for.
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn memory(&self) -> Option<&'static [u8]> {
        let (files, place) = self.embedded.as_ref()?;
        let file = files.iter().find(|(name, _)| name == place);
        file.map(|(_, bytes)| *bytes)
    }
}

impl ModelFile {
    /// Its length in bytes when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Read for ModelFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.content {
            Content::Disk(file) => file.read(buffer),
            Content::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for ModelFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match &mut self.content {
            Content::Disk(file) => file.seek(to),
            Content::Memory(bytes) => bytes.seek(to),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: EmbeddedFiles = &[("a", b"one"), ("dac/b", b"two"), ("dacapo", b"")];

    fn both() -> (tempfile::TempDir, [ModelPath; 2]) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("dac")).expect("a folder");
        for (name, bytes) in FILES {
            fs::write(folder.path().join(name), bytes).expect("a file");
        }
        let disk = ModelPath::from(folder.path());
        (folder, [disk, ModelPath::embedded("built in", FILES)])
    }

    #[test]
    fn a_folder_in_memory_is_read_like_one_on_a_disk() {
        let (_folder, places) = both();
        for place in places {
            let kind = |name: &str| {
                let path = place.join(name);
                (path.exists(), path.is_dir(), path.is_file())
            };
            assert_eq!(kind("a"), (true, false, true));
            assert_eq!(kind("dac"), (true, true, false));
            assert_eq!(kind("dac/b"), (true, false, true));
            assert_eq!(kind("dacapo"), (true, false, true));
            assert_eq!(kind("da"), (false, false, false));
            assert!(place.is_dir());

            let inner = place.join("dac").join("b");
            assert_eq!(inner.read(3).expect("just fits"), b"two");
            assert_eq!(
                inner.read(2).expect_err("too large").kind(),
                ErrorKind::InvalidData
            );
            assert!(!inner.with_file_name("a").exists());
            assert_eq!(
                place.join("x").with_file_name("a").read(9).expect("a"),
                b"one"
            );

            let mut file = inner.open().expect("a file");
            assert_eq!(file.length(), 3);
            file.seek(SeekFrom::Start(1)).expect("within");
            let mut rest = String::new();
            file.read_to_string(&mut rest).expect("text");
            assert_eq!(rest, "wo");

            let error = place.join("none").open().expect_err("no file");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            assert!(place.join("dac").open().is_err(), "a folder");
        }
    }
}
