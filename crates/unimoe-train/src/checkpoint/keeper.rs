//! The folder of a run's checkpoints.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    CheckpointError, StateReader, StateWriter,
    disk::{self, Create},
    reader::Summary,
    writer::io_error,
};
use crate::error::TrainError;

/// When checkpoints are written and which are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointPolicy {
    /// One is due after this many steps. Default: none
    pub every_steps: Option<u64>,
    /// One is due after this many minutes. Default: 10
    pub every_minutes: Option<f64>,
    /// This many are kept, the latest ones. Default: 3
    pub keep_last: usize,
    /// Whether the one with the lowest validation loss is kept too. Default: yes
    pub keep_best: bool,
}

/// Writes, finds and removes the checkpoints of one run. Two can't have the same folder at a time.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    policy: CheckpointPolicy,
    settings: Value,
    create: Create,
    /// Step and validation loss of those that are there, in order.
    there: Vec<(u64, Option<f64>)>,
    last: (Instant, u64),
    _lock: File,
}

/// What unfinished, replaced and removed folders begin with.
const UNFINISHED: &str = ".unfinished-";
const REPLACED: &str = ".replaced-";
const REMOVED: &str = ".removed-";

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self {
            every_steps: None,
            every_minutes: Some(10.0),
            keep_last: 3,
            keep_best: true,
        }
    }
}

impl CheckpointPolicy {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Setting`] with the first impossible one.
    pub fn validate(&self) -> Result<(), CheckpointError> {
        let wrong = |setting, expected, found: String| CheckpointError::Setting {
            setting,
            expected,
            found,
        };
        if self.every_steps == Some(0) {
            return Err(wrong("every_steps", "at least 1", "0".into()));
        }
        match self.every_minutes {
            // Longer than a century is no number of minutes that was meant.
            Some(minutes) if !(minutes > 0.0 && minutes < 1e8) => {
                let expected = "positive and less than 10^8";
                return Err(wrong("every_minutes", expected, minutes.to_string()));
            }
            _ => {}
        }
        if self.keep_last == 0 {
            return Err(wrong("keep_last", "at least 1", "0".into()));
        }
        Ok(())
    }
}

impl Checkpoints {
    /// Opens `folder`, which is made where it is not there, and removes what a killed run left unfinished.
    /// `settings` is what must be equal for a run to go on from another's checkpoint.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where the policy is impossible, the folder can't be read or written, or another
    /// process writes checkpoints there.
    pub fn open(
        folder: &Path,
        policy: CheckpointPolicy,
        settings: &Value,
    ) -> Result<Self, CheckpointError> {
        policy.validate()?;
        fs::create_dir_all(folder).map_err(io_error(folder))?;
        let path = folder.join(".lock");
        let lock = File::create(&path).map_err(io_error(&path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(CheckpointError::InUse {
                    folder: folder.to_path_buf(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(&path)(source)),
        }
        let mut checkpoints = Self {
            folder: folder.to_path_buf(),
            policy,
            settings: settings.clone(),
            create: disk::create,
            there: Vec::new(),
            last: (Instant::now(), 0),
            _lock: lock,
        };
        checkpoints.clean()?;
        for step in checkpoints.steps()? {
            // A damaged one is reported when it is to be taken up.
            let summary = Summary::read(&checkpoints.path(step)).ok();
            let validation = summary.and_then(|summary| summary.validation);
            checkpoints.there.push((step, validation));
        }
        checkpoints.last.1 = checkpoints.there.last().map_or(0, |last| last.0);
        Ok(checkpoints)
    }

    /// The checkpoint with the most steps; `None` where there is none.
    ///
    /// # Errors
    ///
    /// A [`CheckpointError`] where it is damaged, of a newer version, or of a run with other settings.
    pub fn latest(&self) -> Result<Option<StateReader>, CheckpointError> {
        let latest = self.there.last().map(|latest| latest.0);
        latest.map(|step| self.read(step)).transpose()
    }

    /// The checkpoint with the lowest validation loss; `None` where none was validated.
    ///
    /// # Errors
    ///
    /// As [`latest`](Self::latest).
    pub fn best(&self) -> Result<Option<StateReader>, CheckpointError> {
        self.best_step().map(|step| self.read(step)).transpose()
    }

    /// Steps of the checkpoint with the lowest validation loss, the earliest of equals.
    pub fn best_step(&self) -> Option<u64> {
        let validated = self
            .there
            .iter()
            .filter_map(|&(step, loss)| Some((step, loss?)));
        let best = validated.min_by(|a, b| a.1.total_cmp(&b.1));
        best.map(|(step, _)| step)
    }

    /// Whether the policy wants a checkpoint after `step` steps.
    pub fn is_due(&self, step: u64) -> bool {
        let (time, last) = self.last;
        let steps = self.policy.every_steps;
        let minutes = self.policy.every_minutes;
        let by_steps = steps.is_some_and(|every| step.saturating_sub(last) >= every);
        let by_time =
            minutes.is_some_and(|every| time.elapsed() >= Duration::from_secs_f64(60.0 * every));
        step != last && (by_steps || by_time)
    }

    /// Writes a checkpoint after `step` steps and then removes those that are no longer kept. `parts` adds what is to
    /// be in it; `validation` is the loss of a validation of this very state.
    ///
    /// The folder appears whole. A checkpoint of the same step is replaced.
    ///
    /// # Errors
    ///
    /// What `parts` says, or a [`CheckpointError`] where the disk is full or fails. The checkpoints from before
    /// are then untouched, and nothing of the new one is left.
    pub fn save(
        &mut self,
        step: u64,
        validation: Option<f64>,
        parts: impl FnOnce(&mut StateWriter) -> Result<(), TrainError>,
    ) -> Result<PathBuf, TrainError> {
        // A loss that is not finite is none.
        let validation = validation.filter(|loss| loss.is_finite());
        let unfinished = self.hidden(UNFINISHED, step);
        let written = self.write(&unfinished, step, validation, parts);
        if let Err(error) = written {
            // Where even this fails there is nothing more to say than the first error.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(error);
        }
        let path = self.path(step);
        self.put(&unfinished, step)?;
        self.there.retain(|other| other.0 != step);
        self.there.push((step, validation));
        self.there.sort_by_key(|other| other.0);
        self.last = (Instant::now(), step);
        self.prune()?;
        Ok(path)
    }

    fn write(
        &self,
        folder: &Path,
        step: u64,
        validation: Option<f64>,
        parts: impl FnOnce(&mut StateWriter) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        remove(folder)?;
        fs::create_dir(folder).map_err(io_error(folder))?;
        let mut writer = StateWriter::new(folder, self.create);
        parts(&mut writer)?;
        writer.finish(step, validation, &self.settings)?;
        Ok(())
    }

    /// Renames a finished folder to its name.
    fn put(&self, finished: &Path, step: u64) -> Result<(), CheckpointError> {
        let path = self.path(step);
        let replaced = self.hidden(REPLACED, step);
        if path.exists() {
            rename(&path, &replaced)?;
        }
        rename(finished, &path)?;
        disk::sync_folder(&self.folder).map_err(io_error(&self.folder))?;
        remove(&replaced)
    }

    /// Removes the checkpoints that are no longer kept.
    fn prune(&mut self) -> Result<(), CheckpointError> {
        let best = self.best_step().filter(|_| self.policy.keep_best);
        let surplus = self.there.len().saturating_sub(self.policy.keep_last);
        let old: Vec<u64> = self.there[..surplus].iter().map(|other| other.0).collect();
        for step in old.into_iter().filter(|&step| best != Some(step)) {
            // Half a folder must never look like a checkpoint.
            let removed = self.hidden(REMOVED, step);
            remove(&removed)?;
            rename(&self.path(step), &removed)?;
            self.there.retain(|other| other.0 != step);
            remove(&removed)?;
        }
        Ok(())
    }

    /// Removes what a killed run left.
    fn clean(&self) -> Result<(), CheckpointError> {
        for entry in fs::read_dir(&self.folder).map_err(io_error(&self.folder))? {
            let entry = entry.map_err(io_error(&self.folder))?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if let Some(step) = name.strip_prefix(REPLACED) {
                let path = self.folder.join(format!("step-{step}"));
                if !path.exists() {
                    rename(&entry.path(), &path)?;
                    continue;
                }
            }
            if [UNFINISHED, REPLACED, REMOVED]
                .iter()
                .any(|prefix| name.starts_with(prefix))
            {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Steps of the checkpoints that are there, in order.
    fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        let mut steps = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(io_error(&self.folder))? {
            let name = entry.map_err(io_error(&self.folder))?.file_name();
            let step = name
                .to_string_lossy()
                .strip_prefix("step-")
                .and_then(|n| n.parse().ok());
            // Only what we would call so ourselves.
            steps
                .extend(step.filter(|&step| self.path(step).file_name() == Some(name.as_os_str())));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    fn read(&self, step: u64) -> Result<StateReader, CheckpointError> {
        let reader = StateReader::open(&self.path(step), &self.settings)?;
        match reader.step() == step {
            true => Ok(reader),
            false => Err(CheckpointError::Setting {
                setting: "step",
                expected: "the step of the folder's name",
                found: format!("{} in {}", reader.step(), self.path(step).display()),
            }),
        }
    }

    fn path(&self, step: u64) -> PathBuf {
        self.folder.join(format!("step-{step:08}"))
    }

    fn hidden(&self, prefix: &str, step: u64) -> PathBuf {
        self.folder.join(format!("{prefix}{step:08}"))
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    fs::rename(from, to).map_err(io_error(to))
}

/// Removes a folder that may be there.
fn remove(folder: &Path) -> Result<(), CheckpointError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(io_error(folder)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Seek, SeekFrom, Write};

    use burn::tensor::TensorData;
    use serde_json::json;

    use super::*;
    use crate::checkpoint::disk::Output;

    /// A disk that takes no more.
    struct Full {
        file: File,
        at_sync: bool,
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.at_sync {
                return self.file.write(bytes);
            }
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.file.flush()
        }
    }

    impl Seek for Full {
        fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
            self.file.seek(place)
        }
    }

    impl Output for Full {
        fn sync(&self) -> io::Result<()> {
            Err(ErrorKind::StorageFull.into())
        }
    }

    fn full(path: &Path, at_sync: bool) -> io::Result<Box<dyn Output>> {
        let file = File::create_new(path)?;
        Ok(Box::new(Full { file, at_sync }))
    }

    /// Disks that fill up at some place of a checkpoint.
    const DISKS: [Create; 4] = [
        |path| full(path, false),
        |path| full(path, true),
        |path| match path.extension() {
            Some(json) if json == "json" => full(path, false),
            _ => disk::create(path),
        },
        |path| match path.file_name() {
            Some(name) if name == "checkpoint.json" => full(path, true),
            _ => disk::create(path),
        },
    ];

    fn full_disk_leaves_the_last_checkpoint(create: Create) {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || {
            let policy = CheckpointPolicy::default();
            Checkpoints::open(folder.path(), policy, &json!({})).expect("checkpoints")
        };
        let save = |checkpoints: &mut Checkpoints, step| {
            checkpoints.save(step, None, |writer| {
                let values = vec![step as f32; 3 << 20];
                writer.tensor("values", TensorData::new(values, [3 << 20]))?;
                Ok(())
            })
        };
        let mut checkpoints = open();
        save(&mut checkpoints, 1).expect("room");
        checkpoints.create = create;
        let error = save(&mut checkpoints, 2).expect_err("no room");
        match &error {
            TrainError::Checkpoint(CheckpointError::Io { source, .. }) => {
                assert_eq!(source.kind(), ErrorKind::StorageFull, "{error}");
            }
            _ => panic!("{error}"),
        }
        let entries = fs::read_dir(folder.path()).expect("a folder");
        let mut names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, [".lock", "step-00000001"]);
        // Once there is room again it goes on.
        checkpoints.create = disk::create;
        save(&mut checkpoints, 2).expect("room");
        drop(checkpoints);
        let latest = open().latest().expect("whole").expect("one");
        let values = latest.tensor("values").expect("values");
        assert_eq!(
            (latest.step(), values.iter::<f32>().sum()),
            (2, (6 << 20) as f32)
        );
    }

    #[test]
    fn a_full_disk_leaves_the_last_checkpoint_and_nothing_else() {
        DISKS
            .into_iter()
            .for_each(full_disk_leaves_the_last_checkpoint);
    }

    /// The system's own full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_systems_full_device_leaves_the_last_checkpoint_and_nothing_else() {
        full_disk_leaves_the_last_checkpoint(|_| {
            let file = File::options().write(true).open("/dev/full")?;
            Ok(Box::new(file))
        });
    }
}
