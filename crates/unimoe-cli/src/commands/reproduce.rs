//! `unimoe reproduce`: the paper's comparison in miniature.

use unimoe_train::{REPRODUCTION_FILES, Reproduction, TrainError, Workplace};

use crate::{
    args::{ReproduceArgs, Scale},
    error::CliError,
    interrupt::Interrupt,
    report,
    training::TrainingProgress,
};

/// Runs the comparison, or goes on with one.
///
/// # Errors
///
/// [`CliError`]; where the user stopped it, the run is saved and [`CliError::Interrupted`].
pub fn run(args: &ReproduceArgs) -> Result<(), CliError> {
    let mut plan = match args.scale {
        Scale::Quick => Reproduction::quick(),
        Scale::Usual => Reproduction::default(),
        Scale::Long => Reproduction::long(),
    };
    plan.first_seed = args.seed;
    plan.seeds = args.seeds.unwrap_or(plan.seeds);
    plan.steps = args.steps.unwrap_or(plan.steps);
    let interrupt = Interrupt::listen_patiently()?;
    let device = args.device.resolve()?;
    let mut progress = TrainingProgress::new(args.json);
    let mut workplace = Workplace {
        device: &device,
        observer: &mut progress,
        stop: interrupt.flag(),
    };
    let (_, results) = plan.run(&args.output, &mut workplace).map_err(failure)?;
    progress.finish();
    let Some(results) = results else {
        return Err(CliError::Interrupted);
    };
    if args.json {
        return report::json(&results);
    }
    let files = REPRODUCTION_FILES.map(|name| args.output.join(name).display().to_string());
    report::print(&format!(
        "{}\n{}\n",
        results.to_markdown(),
        files.join("\n")
    ))
}

fn failure(error: TrainError) -> CliError {
    match error {
        TrainError::Setting { .. } | TrainError::Checkpoint(_) => {
            CliError::input("what is there to compare")(error)
        }
        error => CliError::work("compare the methods")(error),
    }
}
