//! Checkpoints: whole or not at all, and what comes of damaged or foreign ones.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use burn::tensor::TensorData;
use serde_json::{Value, json};
use unimoe_train::{CheckpointError, CheckpointPolicy, Checkpoints, StateWriter, TrainError};

fn policy(keep_last: usize, keep_best: bool) -> CheckpointPolicy {
    CheckpointPolicy {
        keep_last,
        keep_best,
        ..CheckpointPolicy::default()
    }
}

fn settings() -> Value {
    json!({"optimizer": {"learning_rate": 0.1}, "seed": 7})
}

fn open(folder: &Path) -> Checkpoints {
    Checkpoints::open(folder, policy(2, true), &settings()).unwrap()
}

/// Something of every kind that depends on `step`.
fn parts(step: u64) -> impl Fn(&mut StateWriter) -> Result<(), TrainError> {
    move |writer| {
        let values: Vec<f32> = (0..600).map(|n| (n * step) as f32 * 0.37).collect();
        writer.tensor("model.weight", TensorData::new(values, [20, 30]))?;
        writer.tensor("empty", TensorData::new(Vec::<f32>::new(), [0, 3]))?;
        writer.tensor("order", TensorData::new(vec![step as i64, -1], [2]))?;
        writer.value("position", &json!({"epoch": step, "batch": 3}))?;
        Ok(())
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".lock")
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = open(folder.path()).save(12, Some(0.5), parts(12)).unwrap();
    assert!(path.ends_with("step-00000012"));
    let latest = open(folder.path()).latest().unwrap().unwrap();
    assert_eq!((latest.step(), latest.validation()), (12, Some(0.5)));
    let weight = latest.tensor("model.weight").unwrap();
    assert_eq!(weight.shape().to_vec(), [20, 30]);
    assert_eq!(weight.try_to_vec::<f32>().unwrap()[1], 12.0f32 * 0.37);
    assert_eq!(latest.tensor("empty").unwrap().shape().to_vec(), [0, 3]);
    assert_eq!(
        latest.tensor("order").unwrap().try_to_vec::<i64>().unwrap(),
        [12, -1]
    );
    let position: Value = latest.value("position").unwrap();
    assert_eq!(position["epoch"], 12);
    let error = latest.tensor("bias").unwrap_err();
    assert!(matches!(error, CheckpointError::Missing { .. }), "{error}");
    let error = latest.value::<String>("position").unwrap_err();
    assert!(matches!(error, CheckpointError::Value { .. }), "{error}");
}

#[test]
fn the_last_ones_and_the_best_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = open(folder.path());
    let losses = [
        Some(3.0),
        Some(1.0),
        None,
        Some(2.0),
        Some(f64::NAN),
        Some(1.5),
    ];
    for (step, loss) in (1..).zip(losses) {
        checkpoints.save(step, loss, parts(step)).unwrap();
    }
    let kept = ["step-00000002", "step-00000005", "step-00000006"];
    assert_eq!(names(folder.path()), kept);
    drop(checkpoints);
    let mut checkpoints = open(folder.path());
    assert_eq!(checkpoints.best_step(), Some(2));
    assert_eq!(checkpoints.best().unwrap().unwrap().step(), 2);
    assert_eq!(checkpoints.latest().unwrap().unwrap().step(), 6);
    // A better one replaces the best.
    checkpoints.save(7, Some(0.1), parts(7)).unwrap();
    assert_eq!(names(folder.path()), ["step-00000006", "step-00000007"]);
    // The same step again replaces its folder.
    checkpoints.save(7, Some(0.2), parts(8)).unwrap();
    let latest = checkpoints.latest().unwrap().unwrap();
    assert_eq!(latest.validation(), Some(0.2));
    assert_eq!(latest.value::<Value>("position").unwrap()["epoch"], 8);
    assert_eq!(names(folder.path()), ["step-00000006", "step-00000007"]);
}

#[test]
fn a_failure_leaves_the_others_and_nothing_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = open(folder.path());
    checkpoints.save(1, None, parts(1)).unwrap();
    let failed = checkpoints.save(2, None, |writer| {
        parts(2)(writer)?;
        writer.tensor("order", TensorData::new(vec![0.0f32], [1]))?;
        Ok(())
    });
    let error = failed.unwrap_err();
    assert!(error.to_string().contains("`order` twice"), "{error}");
    assert_eq!(names(folder.path()), ["step-00000001"]);
    assert_eq!(checkpoints.latest().unwrap().unwrap().step(), 1);
}

#[test]
fn leftovers_of_a_killed_run_are_removed_and_a_replaced_one_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).save(3, None, parts(3)).unwrap();
    open(folder.path()).save(4, None, parts(4)).unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in [
        ".unfinished-00000005",
        ".removed-00000001",
        ".replaced-00000003",
    ] {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("state.json"), "{").unwrap();
    }
    // Killed between the two renames of a replacement.
    fs::rename(path("step-00000004"), path(".replaced-00000004")).unwrap();
    let checkpoints = open(folder.path());
    assert_eq!(names(folder.path()), ["step-00000003", "step-00000004"]);
    assert_eq!(checkpoints.latest().unwrap().unwrap().step(), 4);
}

#[test]
fn two_runs_cannot_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path());
    let second = Checkpoints::open(folder.path(), policy(1, true), &settings());
    assert!(matches!(second, Err(CheckpointError::InUse { .. })));
    drop(first);
    open(folder.path());
}

#[test]
fn another_runs_checkpoint_is_refused_with_the_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path()).save(1, None, parts(1)).unwrap();
    let other = json!({"optimizer": {"learning_rate": 0.2}, "seed": 8});
    let checkpoints = Checkpoints::open(folder.path(), policy(1, true), &other).unwrap();
    let error = checkpoints.latest().unwrap_err().to_string();
    assert!(
        error.contains("`optimizer.learning_rate` was 0.1 there and is 0.2 here"),
        "{error}"
    );
}

#[test]
fn a_newer_format_is_refused_whatever_else_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = open(folder.path()).save(1, None, parts(1)).unwrap();
    fs::write(path.join("checkpoint.json"), r#"{"format": 2, "what": []}"#).unwrap();
    let error = open(folder.path()).latest().unwrap_err();
    assert!(
        matches!(
            error,
            CheckpointError::Version {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

/// Every file of a checkpoint, cut at many places and with single bits turned.
#[test]
fn no_damage_goes_unnoticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = open(folder.path()).save(1, Some(0.25), parts(1)).unwrap();
    let checkpoints = open(folder.path());
    for name in names(&path) {
        let file = path.join(&name);
        let whole = fs::read(&file).unwrap();
        for cut in [0, 1, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..cut.min(whole.len() - 1)]).unwrap();
            // The last byte of the JSON is a line end: what it says is whole without it.
            let is_whole = name == "checkpoint.json" && cut == whole.len() - 1;
            assert_eq!(
                checkpoints.latest().is_ok(),
                is_whole,
                "{name} cut at {cut}"
            );
        }
        for place in (0..whole.len()).step_by(whole.len() / 97 + 1) {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            fs::write(&file, &damaged).unwrap();
            if let Ok(Some(read)) = checkpoints.latest() {
                // Its own summary has no checksum: what it says may change, what it vouches for can't.
                assert_eq!(name, "checkpoint.json", "byte {place}");
                assert!(read.tensor("model.weight").is_ok());
            }
        }
        fs::remove_file(&file).unwrap();
        assert!(checkpoints.latest().is_err(), "{name} missing");
        fs::write(&file, &whole).unwrap();
    }
    assert_eq!(checkpoints.latest().unwrap().unwrap().step(), 1);
}

#[test]
fn impossible_policies_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let policies = [
        policy(0, true),
        CheckpointPolicy {
            every_steps: Some(0),
            ..policy(1, true)
        },
        CheckpointPolicy {
            every_minutes: Some(f64::NAN),
            ..policy(1, true)
        },
        CheckpointPolicy {
            every_minutes: Some(1e18),
            ..policy(1, true)
        },
    ];
    for policy in policies {
        let error = Checkpoints::open(folder.path(), policy, &settings()).unwrap_err();
        assert!(matches!(error, CheckpointError::Setting { .. }), "{error}");
    }
}

#[test]
fn one_is_due_by_steps_or_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let every = |steps, minutes| CheckpointPolicy {
        every_steps: steps,
        every_minutes: minutes,
        ..policy(1, false)
    };
    let by_steps = every(Some(5), None);
    let mut checkpoints = Checkpoints::open(folder.path(), by_steps, &settings()).unwrap();
    assert!(!checkpoints.is_due(4) && checkpoints.is_due(5) && checkpoints.is_due(9));
    checkpoints.save(9, None, parts(9)).unwrap();
    assert!(!checkpoints.is_due(13) && checkpoints.is_due(14));
    drop(checkpoints);
    // A millisecond.
    let by_time = every(None, Some(1.0 / 60_000.0));
    let checkpoints = Checkpoints::open(folder.path(), by_time, &settings()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert!(checkpoints.is_due(10));
    assert!(!checkpoints.is_due(9), "there is one of this step");
}
