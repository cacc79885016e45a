//! The comparison in miniature: what it writes, and that it repeats.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use burn::tensor::Device;
use common::{GO_ON, Silent};
use unimoe_train::{
    Event, EventError, JsonLines, Method, Observer, REPRODUCTION_FILES, Reproduction,
    ReproductionResults, RunEnd, Workplace,
};

fn run(
    output: &Path,
    observer: &mut dyn Observer,
    stop: &AtomicBool,
) -> (RunEnd, Option<ReproductionResults>) {
    let device = Device::flex();
    let mut workplace = Workplace {
        device: &device,
        observer,
        stop,
    };
    Reproduction::quick().run(output, &mut workplace).unwrap()
}

/// Stops the work in the middle of a stage.
struct StopAt<'a>(&'static str, &'a AtomicBool);

impl Observer for StopAt<'_> {
    fn notice(&mut self, event: &Event) -> Result<(), EventError> {
        match event {
            Event::Begin { stage, .. } if stage.ends_with(self.0) => {
                self.1.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn an_interrupted_comparison_goes_on_to_the_results_of_an_uninterrupted_one() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    let (end, results) = run(&whole, &mut Silent, &GO_ON);
    assert_eq!(end, RunEnd::Finished);
    let results = results.unwrap();

    let stop = AtomicBool::new(false);
    let (end, none) = run(&stopped, &mut StopAt("warmup", &stop), &stop);
    assert!(matches!(end, RunEnd::Stopped { .. }) && none.is_none());
    assert!(!stopped.join("table.json").exists());
    assert_eq!(run(&stopped, &mut Silent, &GO_ON).0, RunEnd::Finished);

    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).unwrap();
    for name in REPRODUCTION_FILES {
        assert!(!read(&whole, name).is_empty(), "{name}");
    }
    assert_eq!(read(&whole, "table.json"), read(&stopped, "table.json"));
    assert_eq!(read(&whole, "table.md"), read(&stopped, "table.md"));
    let again: ReproductionResults = serde_json::from_str(&read(&whole, "table.json")).unwrap();
    assert_eq!(again.methods.len(), Method::ALL.len());
    // Budgets are equal: the same tokens, and experts as wide together as the dense model.
    let tokens: Vec<u64> = again.methods.iter().map(|one| one.tokens).collect();
    assert!(tokens.iter().all(|&count| count == tokens[0] && count > 0));
    for result in &results.methods {
        assert_eq!(result.loss.len(), 4);
        for (domain, loss) in &result.loss {
            assert!(loss.mean.is_finite() && loss.mean > 0.0, "{domain}");
        }
        let has_choice = matches!(result.method, Method::Moe | Method::Curriculum);
        assert_eq!(result.mutual_information.is_some(), has_choice);
    }
    let log = whole
        .join("seed-0/curriculum/joint")
        .join(JsonLines::FILE_NAME);
    assert!(log.is_file());
}
