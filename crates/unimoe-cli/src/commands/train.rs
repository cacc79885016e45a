//! `unimoe train`: the stages of the curriculum.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use unimoe_train::{
    CheckpointError, CodecTrainingConfig, Curriculum, DenseBaseline, Integration, JointTraining,
    LoopConfig, MODEL_FOLDER, MoeBaseline, OptimError, OptimizerConfig, RunEnd, SpecialistTraining,
    Stage, StageConfig, StageData, TrainError, Warmup, Workplace,
};

use crate::{
    args::{
        CommonArgs, CurriculumArgs, IntegrateArgs, KnobArgs, SettingsOf, SpecialistArgs, StageArgs,
        TrainCommand,
    },
    error::CliError,
    interrupt::Interrupt,
    report,
    training::TrainingProgress,
};

/// Largest settings file that is read, in bytes.
const MAX_SETTINGS: u64 = 1 << 20;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    stage: String,
    finished: bool,
    steps_done: Option<u64>,
    model: Option<PathBuf>,
    output: &'a Path,
}

/// Runs a stage, or all of them.
///
/// # Errors
///
/// [`CliError`]; where the user stopped it, the run is saved and [`CliError::Interrupted`].
pub fn run(command: &TrainCommand) -> Result<(), CliError> {
    match command {
        TrainCommand::Curriculum(args) => curriculum(args),
        TrainCommand::Specialist(args) => specialist(args),
        TrainCommand::Integrate(args) => integrate(args),
        TrainCommand::Warmup(args) => stage(args, |config| Box::new(Warmup { config })),
        TrainCommand::Joint(args) => stage(args, |config| Box::new(JointTraining { config })),
        TrainCommand::BaselineDense(args) => {
            stage(args, |config| Box::new(DenseBaseline { config }))
        }
        TrainCommand::BaselineMoe(args) => stage(args, |config| Box::new(MoeBaseline { config })),
        TrainCommand::Codec(args) => super::train_codec::run(args),
        TrainCommand::Settings { of } => settings(*of),
    }
}

fn curriculum(args: &CurriculumArgs) -> Result<(), CliError> {
    let mut curriculum: Curriculum = read_settings(args.common.settings.as_deref())?;
    for config in [
        &mut curriculum.specialist,
        &mut curriculum.warmup,
        &mut curriculum.joint,
    ] {
        turn(&mut config.run, &mut config.optimizer, &args.knobs);
    }
    if let Some(seed) = args.knobs.seed {
        curriculum.integration.seed = seed;
    }
    let common = &args.common;
    let model = common.output.join("joint").join(MODEL_FOLDER);
    in_workplace(common, "curriculum".into(), model, |workplace| {
        curriculum.run(&common.model, &data(common), &common.output, workplace)
    })
}

fn specialist(args: &SpecialistArgs) -> Result<(), CliError> {
    let mut config: StageConfig = read_settings(args.common.settings.as_deref())?;
    turn(&mut config.run, &mut config.optimizer, &args.knobs);
    let stage = SpecialistTraining {
        domain: args.domain.clone(),
        config,
    };
    run_stage(&stage, &args.common, data(&args.common))
}

fn stage(
    args: &StageArgs,
    make: impl FnOnce(StageConfig) -> Box<dyn Stage>,
) -> Result<(), CliError> {
    let mut config: StageConfig = read_settings(args.common.settings.as_deref())?;
    turn(&mut config.run, &mut config.optimizer, &args.knobs);
    let mut data = data(&args.common);
    data.per_domain = args.per_domain.map(|count| count as usize);
    run_stage(make(config).as_ref(), &args.common, data)
}

fn run_stage(stage: &dyn Stage, common: &CommonArgs, data: StageData) -> Result<(), CliError> {
    let model = common.output.join(MODEL_FOLDER);
    in_workplace(common, stage.name(), model, |workplace| {
        stage.run(&common.model, &data, &common.output, workplace)
    })
}

fn integrate(args: &IntegrateArgs) -> Result<(), CliError> {
    let mut integration: Integration = read_settings(args.settings.as_deref())?;
    integration.parts = args.parts.unwrap_or(integration.parts);
    integration.expert_scale = args.expert_scale.unwrap_or(integration.expert_scale);
    integration.seed = args.seed.unwrap_or(integration.seed);
    if args.experts_per_specialist.is_some() {
        integration.experts_per_specialist = args.experts_per_specialist;
    }
    let device = unimoe_model::DeviceChoice::Auto.resolve()?;
    integration
        .run(&args.specialists, args.vision_from, &args.output, &device)
        .map_err(failure("integrate the specialists"))?;
    tell(
        args.json,
        "integration",
        RunEnd::Finished,
        &args.output,
        &args.output,
    )
}

fn settings(of: SettingsOf) -> Result<(), CliError> {
    let text = match of {
        SettingsOf::Curriculum => serde_json::to_string_pretty(&Curriculum::default()),
        SettingsOf::Stage => serde_json::to_string_pretty(&StageConfig::default()),
        SettingsOf::Integration => serde_json::to_string_pretty(&Integration::default()),
        SettingsOf::Codec => serde_json::to_string_pretty(&CodecTrainingConfig::default()),
    };
    report::print(&(text.map_err(CliError::work("write the settings"))? + "\n"))
}

/// What the command line says counts more than the settings.
pub(super) fn turn(run: &mut LoopConfig, optimizer: &mut OptimizerConfig, knobs: &KnobArgs) {
    run.steps = knobs.steps.unwrap_or(run.steps);
    run.seed = knobs.seed.unwrap_or(run.seed);
    if let Some(batch_size) = knobs.batch_size {
        run.batch_size = batch_size as usize;
    }
    if knobs.save_every.is_some() {
        run.checkpoints.every_steps = knobs.save_every;
    }
    if let Some(learning_rate) = knobs.learning_rate {
        optimizer.learning_rate = learning_rate;
    }
}

fn data(common: &CommonArgs) -> StageData {
    let cache = common.data.cache.clone();
    let cache = cache.unwrap_or_else(|| common.output.join("cache"));
    let mut data = StageData::new(common.data.data.clone(), cache);
    data.validation.clone_from(&common.data.validation);
    data.skip_unusable = common.data.skip_unusable;
    data
}

/// Settings from a file, or the defaults.
pub(super) fn read_settings<T: DeserializeOwned + Default>(
    path: Option<&Path>,
) -> Result<T, CliError> {
    let Some(path) = path else {
        return Ok(T::default());
    };
    let input = || format!("the settings in {}", path.display());
    let size = fs::metadata(path).map_err(CliError::input(input()))?.len();
    if size > MAX_SETTINGS {
        return Err(CliError::Argument {
            what: "--settings",
            expected: format!("a file of at most {MAX_SETTINGS} bytes"),
            found: format!("{size} bytes"),
        });
    }
    let text = fs::read_to_string(path).map_err(CliError::input(input()))?;
    serde_json::from_str(&text).map_err(CliError::input(input()))
}

fn in_workplace(
    common: &CommonArgs,
    stage: String,
    model: PathBuf,
    work: impl FnOnce(&mut Workplace<'_>) -> Result<RunEnd, TrainError>,
) -> Result<(), CliError> {
    let interrupt = Interrupt::listen_patiently()?;
    let device = common.device.resolve()?;
    let mut progress = TrainingProgress::new(common.json);
    let end = work(&mut Workplace {
        device: &device,
        observer: &mut progress,
        stop: interrupt.flag(),
    })
    .map_err(failure("train"))?;
    progress.finish();
    tell(common.json, &stage, end, &model, &common.output)?;
    match end {
        RunEnd::Finished => Ok(()),
        RunEnd::Stopped { .. } => Err(CliError::Interrupted),
    }
}

/// Says what came of it.
pub(super) fn tell(
    json: bool,
    stage: &str,
    end: RunEnd,
    model: &Path,
    output: &Path,
) -> Result<(), CliError> {
    let (finished, steps_done) = match end {
        RunEnd::Finished => (true, None),
        RunEnd::Stopped { step } => (false, Some(step)),
    };
    if json {
        return report::json(&Report {
            stage: stage.to_string(),
            finished,
            steps_done,
            model: finished.then(|| model.to_path_buf()),
            output,
        });
    }
    match end {
        RunEnd::Finished => report::print(&format!("{stage}: finished, {}\n", model.display())),
        RunEnd::Stopped { step } => report::print(&format!(
            "{stage}: saved after step {step}; the same command goes on from there\n"
        )),
    }
}

/// Who is to blame decides the exit code.
pub(super) fn failure(action: &'static str) -> impl FnOnce(TrainError) -> CliError {
    move |error| match error {
        error if error.is_interrupt() => CliError::Interrupted,
        TrainError::Save { path, source } => CliError::output(&path)(source),
        TrainError::LossNotFinite { .. }
        | TrainError::MeasuredNotFinite { .. }
        | TrainError::Io { .. }
        | TrainError::Event(_) => CliError::work(action)(error),
        TrainError::Optim(
            OptimError::NotFinite { .. }
            | OptimError::ValueNotFinite { .. }
            | OptimError::Checkpoint(CheckpointError::Io { .. }),
        )
        | TrainError::Checkpoint(CheckpointError::Io { .. }) => CliError::work(action)(error),
        error => CliError::input(format!("what is there to {action}"))(error),
    }
}
