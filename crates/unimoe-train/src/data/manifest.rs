//! Lists of clips: files with a JSON object in each line.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    error::{DataError, Defect, Defects, Fault, Short},
    field::Fields,
    record::{Origin, Record},
};

/// Most bytes of a line.
const MAX_LINE: usize = 1 << 20;

/// What is done about defects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All defects are found, then they are an error.
    #[default]
    Fail,
    /// Records with a defect are left out and counted.
    Skip,
}

/// Records of one or more files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The records, in the order of their lines.
    pub records: Vec<Arc<Record>>,
    /// What was left out.
    pub skipped: Defects,
}

impl Manifest {
    /// Reads files of one JSON object per line (see [`Record`]). Blank lines are passed over; relative paths start
    /// from the folder of their file; an id may occur once in all files together.
    ///
    /// Whether the files that a record names are there is checked; what is in them is not.
    ///
    /// # Errors
    ///
    /// - [`DataError::Io`] where a file can't be read.
    /// - [`DataError::Defects`] lists all unusable lines, with [`Policy::Fail`].
    /// - [`DataError::EmptyManifest`] where a file has no usable line.
    /// - [`DataError::EmptyDomain`] where all lines of a domain are left out.
    pub fn load<P: AsRef<Path>>(paths: &[P], policy: Policy) -> Result<Self, DataError> {
        let mut reading = Reading::default();
        for path in paths {
            reading.file(path.as_ref())?;
        }
        let manifest = reading.manifest;
        if policy == Policy::Fail && !manifest.skipped.0.is_empty() {
            return Err(manifest.skipped.into());
        }
        for path in paths {
            let path = path.as_ref();
            let has_record = |record: &Arc<Record>| &*record.origin.manifest == path;
            if !manifest.records.iter().any(has_record) {
                return Err(DataError::EmptyManifest { path: path.into() });
            }
        }
        manifest.require(reading.domains.iter().map(String::as_str))?;
        Ok(manifest)
    }

    /// Number of records of each domain.
    pub fn domains(&self) -> BTreeMap<&str, usize> {
        let mut domains = BTreeMap::new();
        for record in &self.records {
            *domains.entry(record.domain.as_str()).or_default() += 1;
        }
        domains
    }

    /// Checks that each of some domains has a record.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptyDomain`] names the first that has none.
    pub fn require<'a>(&self, domains: impl IntoIterator<Item = &'a str>) -> Result<(), DataError> {
        let found = self.domains();
        match domains
            .into_iter()
            .find(|domain| !found.contains_key(domain))
        {
            None => Ok(()),
            Some(domain) => {
                let found: Vec<&str> = found.into_keys().collect();
                Err(DataError::EmptyDomain {
                    domain: domain.to_string(),
                    found: found.join(", "),
                })
            }
        }
    }

    /// Leaves records out, by their place, where something is wrong with them.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    pub fn without(
        mut self,
        faults: &BTreeMap<usize, Vec<Fault>>,
        policy: Policy,
    ) -> Result<Self, DataError> {
        if faults.is_empty() {
            return Ok(self);
        }
        let defects = |(&index, faults): (&usize, &Vec<Fault>)| {
            let record = self.records.get(index)?;
            let of = |fault: &Fault| Defect {
                manifest: record.origin.manifest.to_path_buf(),
                line: record.origin.line,
                id: Some(record.id.clone()),
                fault: fault.clone(),
            };
            Some(faults.iter().map(of).collect::<Vec<_>>())
        };
        let defects: Vec<Defect> = faults.iter().filter_map(defects).flatten().collect();
        if policy == Policy::Fail {
            return Err(Defects(defects).into());
        }
        let before: Vec<String> = self.domains().into_keys().map(String::from).collect();
        let mut index = 0;
        self.records.retain(|_| {
            index += 1;
            !faults.contains_key(&(index - 1))
        });
        self.skipped.0.extend(defects);
        self.require(before.iter().map(String::as_str))?;
        Ok(self)
    }

    /// Writes the records to a file, whole or not at all. Files beside or below it are named relative to it.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`] where it can't be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let folder = folder_of(path);
        write_whole(path, |file| {
            for record in &self.records {
                serde_json::to_writer(&mut *file, &record.to_json(folder))?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })
    }
}

/// Files on their way to a manifest.
#[derive(Default)]
struct Reading {
    manifest: Manifest,
    ids: HashMap<String, Origin>,
    /// All domains that a line names, usable or not.
    domains: BTreeSet<String>,
}

impl Reading {
    fn file(&mut self, path: &Path) -> Result<(), DataError> {
        let read = || DataError::io("read", path);
        if !fs::metadata(path).map_err(read())?.is_file() {
            // Opening a pipe would wait for its writer.
            let kind = io::Error::new(io::ErrorKind::InvalidData, "not a regular file");
            return Err(read()(kind));
        }
        let mut source = BufReader::new(File::open(path).map_err(read())?);
        let name: Arc<Path> = path.into();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            let whole = read_line(&mut source, &mut line).map_err(read())?;
            let Some(whole) = whole else { break };
            if number == 1 && line.starts_with(b"\xEF\xBB\xBF") {
                line.drain(..3);
            }
            if whole && line.trim_ascii().is_empty() {
                continue;
            }
            let origin = Origin {
                manifest: name.clone(),
                line: number,
            };
            if whole {
                self.line(&line, origin);
            } else {
                self.note(&origin, None, [Fault::LineTooLong { limit: MAX_LINE }]);
            }
        }
        Ok(())
    }

    fn note(
        &mut self,
        origin: &Origin,
        id: Option<String>,
        faults: impl IntoIterator<Item = Fault>,
    ) {
        let defects = faults.into_iter().map(|fault| Defect {
            manifest: origin.manifest.to_path_buf(),
            line: origin.line,
            id: id.clone(),
            fault,
        });
        self.manifest.skipped.0.extend(defects);
    }

    fn line(&mut self, line: &[u8], origin: Origin) {
        let Ok(text) = str::from_utf8(line) else {
            return self.note(&origin, None, [Fault::Encoding]);
        };
        let values = match serde_json::from_str(text) {
            Ok(Value::Object(values)) => values,
            Ok(other) => {
                let message = format!("it is {}", Short(&other.to_string()));
                return self.note(&origin, None, [Fault::Json { message }]);
            }
            Err(error) => {
                let message = error.to_string();
                return self.note(&origin, None, [Fault::Json { message }]);
            }
        };
        if let Some(Value::String(domain)) = values.get("domain") {
            self.domains.insert(domain.clone());
        }
        let mut fields = Fields::new(values, folder_of(&origin.manifest));
        let id = fields.peek_id();
        let record = fields.record(origin.clone());
        let mut faults = std::mem::take(&mut fields.faults);
        if let Some(id) = &id {
            match self.ids.entry(id.clone()) {
                Entry::Vacant(free) => {
                    free.insert(origin.clone());
                }
                Entry::Occupied(taken) => faults.push(Fault::DuplicateId {
                    id: id.clone(),
                    manifest: taken.get().manifest.to_path_buf(),
                    line: taken.get().line,
                }),
            }
        }
        match record {
            Some(record) if faults.is_empty() => self.manifest.records.push(Arc::new(record)),
            _ => self.note(&origin, id, faults),
        }
    }
}

/// Reads a line without its end: `Some(false)` where it is too long, which is then passed over, and `None` at the end
/// of the file.
fn read_line(source: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
    let (mut any, mut fits) = (false, true);
    loop {
        let piece = source.fill_buf()?;
        if piece.is_empty() {
            return Ok(any.then_some(fits));
        }
        any = true;
        let end = piece.iter().position(|&byte| byte == b'\n');
        let content = &piece[..end.unwrap_or(piece.len())];
        fits &= line.len() + content.len() <= MAX_LINE;
        if fits {
            line.extend_from_slice(content);
        }
        let used = end.map_or(piece.len(), |end| end + 1);
        source.consume(used);
        if end.is_some() {
            return Ok(Some(fits));
        }
    }
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a file beside its place and renames it.
pub(crate) fn write_whole(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), DataError> {
    let save = || {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(".unfinished-");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // What an ordinary new file gets; the process's umask is taken off.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.tempfile_in(folder_of(path))?;
        let mut writer = io::BufWriter::new(file.as_file_mut());
        fill(&mut writer)?;
        writer.flush()?;
        drop(writer);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    save().map_err(DataError::io("write", PathBuf::from(path)))
}
