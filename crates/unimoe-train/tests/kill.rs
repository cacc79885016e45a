//! A run that is killed while it writes checkpoints.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    env, fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use burn::tensor::TensorData;
use serde_json::{Value, json};
use unimoe_train::{CheckpointPolicy, Checkpoints};

const NAME: &str = "whenever_a_run_is_killed_its_latest_checkpoint_is_whole";
/// Tells the test that it is the run to be killed, and where it writes.
const FOLDER: &str = "UNIMOE_KILLED_RUN";
const VALUES: usize = 400_000;

fn open(folder: &Path) -> Checkpoints {
    let policy = CheckpointPolicy {
        keep_last: 2,
        ..CheckpointPolicy::default()
    };
    Checkpoints::open(folder, policy, &json!({"seed": 1})).unwrap()
}

fn values(step: u64) -> Vec<f32> {
    (0..VALUES).map(|n| (n as u64 ^ step) as f32).collect()
}

/// Writes checkpoints until it is killed.
fn write(folder: &Path) -> ! {
    let mut checkpoints = open(folder);
    let mut step = checkpoints
        .latest()
        .unwrap()
        .map_or(0, |latest| latest.step());
    loop {
        step += 1;
        // Now and then the same step again, which replaces its folder.
        for _ in 0..1 + u64::from(step.is_multiple_of(3)) {
            let saved = checkpoints.save(step, Some(1.0 / step as f64), |writer| {
                writer.tensor("values", TensorData::new(values(step), [VALUES]))?;
                writer.value("step", &step)?;
                Ok(())
            });
            saved.unwrap();
        }
    }
}

fn spawn(folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn newest(folder: &Path) -> Option<String> {
    let entries = fs::read_dir(folder).ok()?;
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("step-")).max()
}

/// Folders that a killed run was still writing or removing.
fn leftovers(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with('.') && name != ".lock")
        .count()
}

#[test]
fn whenever_a_run_is_killed_its_latest_checkpoint_is_whole() {
    if let Some(folder) = env::var_os(FOLDER) {
        write(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut interrupted = 0;
    let mut last = 0;
    for delay in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
        let before = newest(folder);
        let mut run = spawn(folder);
        let started = Instant::now();
        while newest(folder) <= before {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no checkpoint is written"
            );
            assert!(run.try_wait().unwrap().is_none(), "the run ended by itself");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(delay));
        // SIGKILL on Unix.
        run.kill().unwrap();
        run.wait().unwrap();
        interrupted += leftovers(folder);

        let checkpoints = open(folder);
        assert_eq!(leftovers(folder), 0);
        let latest = checkpoints.latest().unwrap().unwrap();
        assert!(latest.step() > last, "{} after {last}", latest.step());
        last = latest.step();
        assert_eq!(latest.value::<Value>("step").unwrap(), json!(last));
        let read = latest.tensor("values").unwrap();
        assert_eq!(read.try_to_vec::<f32>().unwrap(), values(last));
        assert!(checkpoints.best().unwrap().is_some());
    }
    assert!(interrupted > 0, "no kill hit a checkpoint in the making");
}
