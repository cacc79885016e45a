//! A run as a report takes it: a name and what happened.

use std::{fs, path::Path};

use super::error::ReportError;
use crate::event::{Event, JsonLines};

/// What happened in one run of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLog {
    /// What it is called in the report.
    pub name: String,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl RunLog {
    /// Reads the log of the run in `folder` ([`JsonLines::FILE_NAME`]); its name is that of its stage.
    ///
    /// # Errors
    ///
    /// A [`ReportError`] where there is no log or it can't be read.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(JsonLines::FILE_NAME);
        if !path.is_file() {
            return Err(ReportError::NoRun {
                path: folder.to_path_buf(),
                expected: JsonLines::FILE_NAME,
            });
        }
        let events = JsonLines::read(&path)?;
        let stage = events.iter().find_map(|event| match event {
            Event::Begin { stage, .. } => Some(stage.clone()),
            _ => None,
        });
        let name = folder.file_name().map(|name| name.to_string_lossy());
        Ok(Self {
            name: stage.or(name.map(String::from)).unwrap_or_default(),
            events,
        })
    }

    /// Reads the run in `folder`, or, where it is a folder of runs such as a curriculum's, all of them, the one
    /// that was written first first.
    ///
    /// # Errors
    ///
    /// A [`ReportError`] where there is no log or one can't be read.
    pub fn read_all(folder: &Path) -> Result<Vec<Self>, ReportError> {
        let io = |source| ReportError::Io {
            path: folder.to_path_buf(),
            source,
        };
        if folder.join(JsonLines::FILE_NAME).is_file() || !folder.is_dir() {
            return Ok(vec![Self::read(folder)?]);
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let log = path.join(JsonLines::FILE_NAME);
            if log.is_file() {
                let written = fs::metadata(&log).and_then(|data| data.modified());
                found.push((written.map_err(io)?, path));
            }
        }
        if found.is_empty() {
            return Ok(vec![Self::read(folder)?]);
        }
        found.sort();
        found.iter().map(|(_, path)| Self::read(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::event::Observer;

    fn write(folder: &Path, stage: &str, age: u64) {
        fs::create_dir(folder).expect("a folder");
        let path = folder.join(JsonLines::FILE_NAME);
        let mut log = JsonLines::open(&path, 0).expect("a log");
        log.notice(&Event::Begin {
            stage: stage.to_string(),
            steps: 1,
            done: 0,
            parameters: 1,
            trained: 1,
            seed: 0,
        })
        .expect("noted");
        let file = fs::File::options().write(true).open(path).expect("the log");
        let written = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(written).expect("a time");
    }

    #[test]
    fn a_folder_of_runs_gives_them_in_the_order_of_time() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("joint"), "joint", 10);
        write(&folder.path().join("warmup"), "warmup", 20);
        fs::create_dir(folder.path().join("cache")).expect("another folder");
        let runs = RunLog::read_all(folder.path()).expect("runs");
        let names: Vec<_> = runs.iter().map(|run| run.name.as_str()).collect();
        assert_eq!(names, ["warmup", "joint"]);
        let one = RunLog::read_all(&folder.path().join("joint")).expect("a run");
        assert_eq!(one, [runs[1].clone()]);
    }

    #[test]
    fn what_is_no_run_is_told_by_its_path() {
        let folder = tempfile::tempdir().expect("a folder");
        for path in [folder.path().to_path_buf(), folder.path().join("missing")] {
            let error = RunLog::read_all(&path).expect_err("no run").to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
            assert!(error.contains(JsonLines::FILE_NAME), "{error}");
        }
    }
}
