//! `unimoe train codec`: a codec from recordings.

use dac_codec::DacConfig;
use unimoe_train::{
    CODEC_FOLDER, CodecPreset, CodecStart, CodecTraining, CodecTrainingConfig, RunEnd, StageData,
    Workplace,
};

use super::train::{failure, read_settings, tell, turn};
use crate::{
    args::TrainCodecArgs, error::CliError, interrupt::Interrupt, training::TrainingProgress,
};

/// Trains a codec.
///
/// # Errors
///
/// [`CliError`]; where the user stopped it, the run is saved and [`CliError::Interrupted`].
pub fn run(args: &TrainCodecArgs) -> Result<(), CliError> {
    let training = CodecTraining {
        start: start(args)?,
        config: config(args)?,
    };
    let mut data = StageData::new(args.manifests.clone(), args.output.join("cache"));
    data.validation.clone_from(&args.validation);
    data.skip_unusable = args.skip_unusable;

    let interrupt = Interrupt::listen_patiently()?;
    let device = args.device.resolve()?;
    let mut progress = TrainingProgress::new(args.json);
    let mut workplace = Workplace {
        device: &device,
        observer: &mut progress,
        stop: interrupt.flag(),
    };
    let end = training.run(&data, &args.output, &mut workplace);
    let end = end.map_err(failure("train"))?;
    progress.finish();
    let codec = args.output.join(CODEC_FOLDER);
    tell(args.json, "codec", end, &codec, &args.output)?;
    match end {
        RunEnd::Finished => Ok(()),
        RunEnd::Stopped { .. } => Err(CliError::Interrupted),
    }
}

fn start(args: &TrainCodecArgs) -> Result<CodecStart, CliError> {
    if let Some(path) = &args.codec {
        return Ok(CodecStart::Saved(path.clone()));
    }
    let sizes = match &args.config {
        Some(path) => DacConfig::read(path).map_err(CliError::input("--config"))?,
        None => CodecPreset::from(args.preset).codec(),
    };
    Ok(CodecStart::Random(sizes))
}

/// What the command line says counts more than the settings in a file.
fn config(args: &TrainCodecArgs) -> Result<CodecTrainingConfig, CliError> {
    let mut config = match &args.settings {
        Some(path) => read_settings::<CodecTrainingConfig>(Some(path))?,
        None => CodecTrainingConfig::of(args.preset.into()),
    };
    turn(&mut config.run, &mut config.optimizer, &args.knobs);
    if args.no_adversarial {
        config.adversarial = None;
    }
    let half = config.run.steps / 2;
    if let Some(adversarial) = &mut config.adversarial {
        match (args.adversarial_start, &args.settings) {
            (Some(start), _) => adversarial.start = start,
            (None, None) => adversarial.start = half,
            (None, Some(_)) => {}
        }
    }
    Ok(config)
}
