//! The whole curriculum on a manifest:
//! `cargo run --release --features flex --example curriculum -- BASE_MODEL MANIFEST OUTPUT`
//!
//! BASE_MODEL is a dense model folder (`unimoe init --dense`); OUTPUT/joint/model is the result.

use std::{env, error::Error, path::PathBuf, sync::atomic::AtomicBool};

use burn::tensor::Device;
use unimoe_train::{Curriculum, Event, EventError, Observer, RunEnd, StageData, Workplace};

/// Tells what is measured.
struct Teller;

impl Observer for Teller {
    fn notice(&mut self, event: &Event) -> Result<(), EventError> {
        match event {
            Event::Begin { stage, steps, .. } => println!("{stage}: {steps} steps"),
            Event::Validation { step, loss, .. } => println!("  after {step}: {loss:.3}"),
            _ => {}
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [base, manifest, output] = paths.as_slice() else {
        return Err("usage: curriculum BASE_MODEL MANIFEST OUTPUT".into());
    };
    let mut curriculum = Curriculum::default();
    for stage in [
        &mut curriculum.specialist,
        &mut curriculum.warmup,
        &mut curriculum.joint,
    ] {
        stage.run.steps = 20;
        stage.run.validate_every = 10;
        stage.optimizer.learning_rate = 1e-3;
    }
    let data = StageData::new(vec![manifest.clone()], output.join("cache"));
    // Somebody else may set it: the run then saves and ends.
    let stop = AtomicBool::new(false);
    let mut workplace = Workplace {
        device: &Device::flex(),
        observer: &mut Teller,
        stop: &stop,
    };
    match curriculum.run(base, &data, output, &mut workplace)? {
        RunEnd::Finished => println!("finished: {}", output.join("joint/model").display()),
        RunEnd::Stopped { step } => println!("stopped after step {step}"),
    }
    Ok(())
}
