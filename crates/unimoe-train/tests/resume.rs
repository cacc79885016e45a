//! No work is lost: interrupted runs go on as if nothing had happened.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use burn::tensor::Device;
use common::{GO_ON, Silent, config, corpus, model_folder, model_folder_of, structure};
use unimoe_train::{
    DenseBaseline, Event, EventError, JsonLines, MODEL_FOLDER, Observer, RunEnd, Stage,
    StageConfig, StageData, TrainError, Workplace,
};

const STEPS: u64 = 10;
const PLACE: &str = "UNIMOE_TEST_TRAINING_FOLDER";

fn settings() -> StageConfig {
    let mut config = config(STEPS);
    config.run.checkpoints.every_steps = Some(1);
    config.run.accumulate = 2;
    config.optimizer.ema = Some(0.9);
    config
}

fn train_with(
    config: StageConfig,
    place: &Path,
    run: &str,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<RunEnd, TrainError> {
    let data = StageData::new(vec![place.join("corpus/clips.jsonl")], place.join("cache"));
    let mut workplace = Workplace {
        device: &Device::flex(),
        observer,
        stop,
    };
    let stage = DenseBaseline { config };
    stage.run(&place.join("base"), &data, &place.join(run), &mut workplace)
}

fn train(
    place: &Path,
    run: &str,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> Result<RunEnd, TrainError> {
    train_with(settings(), place, run, observer, stop)
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    corpus(&place.path().join("corpus"), 5);
    model_folder(&structure().into_dense(48), &place.path().join("base"));
    place
}

fn events(run: &Path) -> Vec<Event> {
    JsonLines::read(&run.join(JsonLines::FILE_NAME)).unwrap()
}

/// Losses, gradient norms and rates of all steps, and the validations.
fn course(run: &Path) -> BTreeMap<(u64, &'static str), Vec<f64>> {
    let mut course = BTreeMap::new();
    for event in events(run) {
        match event {
            Event::Step {
                step,
                loss,
                gradient_norm,
                learning_rate,
                epoch,
                tokens,
                ..
            } => {
                let numbers = vec![
                    loss,
                    gradient_norm,
                    learning_rate,
                    epoch as f64,
                    tokens as f64,
                ];
                course.insert((step, "step"), numbers);
            }
            Event::Validation { step, loss, .. } => {
                course.insert((step, "validation"), vec![loss]);
            }
            _ => {}
        }
    }
    course
}

fn weights(run: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(run.join(MODEL_FOLDER)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files = files.iter().filter(|path| path.is_file());
    files.map(|path| fs::read(path).unwrap()).collect()
}

/// Not a test by itself: what the test below kills.
#[test]
#[ignore = "run as a child by another test"]
fn child() {
    let place = PathBuf::from(env::var(PLACE).unwrap());
    train(&place, "killed", &mut Silent, &GO_ON).unwrap();
}

#[test]
fn a_killed_run_goes_on_with_the_losses_of_an_uninterrupted_one() {
    let place = place();
    let end = train(place.path(), "whole", &mut Silent, &GO_ON).unwrap();
    assert_eq!(end, RunEnd::Finished);
    let killed = place.path().join("killed");
    for wanted in [2, 5, 8] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["child", "--exact", "--ignored"])
            .env(PLACE, place.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let start = Instant::now();
        loop {
            let log = fs::read_to_string(killed.join(JsonLines::FILE_NAME)).unwrap_or_default();
            if log.matches("\"event\":\"step\"").count() >= wanted {
                break;
            }
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "the child does nothing"
            );
            assert!(
                child.try_wait().unwrap().is_none(),
                "the child ended by itself"
            );
            thread::sleep(Duration::from_millis(2));
        }
        // SIGKILL: nothing of it can run any more.
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        !killed.join(MODEL_FOLDER).exists(),
        "it was killed too late"
    );
    let end = train(place.path(), "killed", &mut Silent, &GO_ON).unwrap();
    assert_eq!(end, RunEnd::Finished);
    let whole = place.path().join("whole");
    let courses = (course(&whole), course(&killed));
    assert_eq!(courses.0.len(), 10 + 4);
    assert_eq!(courses.0, courses.1);
    assert_eq!(weights(&whole), weights(&killed));
    let begun = events(&killed);
    let begun = begun
        .iter()
        .filter(|event| matches!(event, Event::Begin { done, .. } if *done > 0));
    assert!(begun.count() > 0, "it began anew");
}

/// Stops the run after some steps.
struct Stopper<'a>(u64, &'a AtomicBool);

impl Observer for Stopper<'_> {
    fn notice(&mut self, event: &Event) -> Result<(), EventError> {
        if matches!(event, Event::Step { step, .. } if *step == self.0) {
            self.1.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[test]
fn a_run_that_is_told_to_stop_saves_and_goes_on() {
    let place = place();
    train(place.path(), "whole", &mut Silent, &GO_ON).unwrap();
    let stop = AtomicBool::new(false);
    let end = train(place.path(), "stopped", &mut Stopper(3, &stop), &stop).unwrap();
    assert_eq!(end, RunEnd::Stopped { step: 3 });
    let stopped = place.path().join("stopped");
    let last = events(&stopped).pop().unwrap();
    assert!(
        matches!(&last, Event::End { step: 3, reason, .. } if reason == "stopped"),
        "{last:?}"
    );
    train(place.path(), "stopped", &mut Silent, &GO_ON).unwrap();
    let whole = place.path().join("whole");
    assert_eq!(course(&whole), course(&stopped));
    assert_eq!(weights(&whole), weights(&stopped));
}

#[test]
fn a_finished_run_is_not_done_again_and_other_settings_are_refused() {
    let place = place();
    train(place.path(), "run", &mut Silent, &GO_ON).unwrap();
    let before = events(&place.path().join("run")).len();
    train(place.path(), "run", &mut Silent, &GO_ON).unwrap();
    assert_eq!(events(&place.path().join("run")).len(), before);

    let mut other = settings();
    other.optimizer.learning_rate = 5e-4;
    let error = train_with(other, place.path(), "run", &mut Silent, &GO_ON);
    let error = error.expect_err("another run's checkpoints").to_string();
    assert!(error.contains("optimizer.learning_rate"), "{error}");

    // Other weights to begin with are another run too.
    model_folder_of(&structure().into_dense(48), 8, &place.path().join("base"));
    let error = train(place.path(), "run", &mut Silent, &GO_ON);
    let error = error.expect_err("another model's checkpoints").to_string();
    assert!(error.contains("`weights`"), "{error}");
}
