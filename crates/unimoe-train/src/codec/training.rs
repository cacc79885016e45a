//! A run that trains a codec: from manifests to a codec folder.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use dac_codec::{DacCodec, DacConfig};
use serde_json::json;

use super::{
    config::CodecTrainingConfig,
    error::CodecTrainingError,
    learner::CodecLearner,
    sounds::{SoundSet, SoundSetOptions},
    start,
};
use crate::{
    data::{Dataset, Manifest},
    error::TrainError,
    event::Event,
    optim::autodiff_device,
    stage::{StageData, Workplace},
    trainer::{RunEnd, Training},
};

/// Name of the folder that a run leaves its codec in.
pub const CODEC_FOLDER: &str = "codec";

/// What a codec begins as.
#[derive(Debug, Clone, PartialEq)]
pub enum CodecStart {
    /// Random weights of these sizes, drawn from the run's seed.
    Random(DacConfig),
    /// A codec that is there: anything that [`DacCodec::load`] reads.
    Saved(PathBuf),
}

/// Trains a codec.
///
/// The run's folder holds `codec/` once it is finished, and `metrics.jsonl` and `checkpoints/`. A run that was
/// interrupted goes on where it was.
#[derive(Debug, Clone, PartialEq)]
pub struct CodecTraining {
    /// What it begins as.
    pub start: CodecStart,
    /// How to train.
    pub config: CodecTrainingConfig,
}

impl CodecTraining {
    /// Trains on the sounds of `data`; reference voices, videos and texts play no part, and neither does the cache of
    /// codes.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] that names what is wrong with settings, codec or data, before anything is trained; else why
    /// training could not go on.
    pub fn run(
        &self,
        data: &StageData,
        output: &Path,
        workplace: &mut Workplace<'_>,
    ) -> Result<RunEnd, TrainError> {
        let config = &self.config;
        config.validate()?;
        let device = autodiff_device(workplace.device, config.gradient_checkpointing);
        let codec = match &self.start {
            CodecStart::Random(sizes) => DacCodec::random(sizes, config.run.seed, &device)?,
            CodecStart::Saved(path) => DacCodec::load(path, &device)?,
        };
        let sizes = codec.config().clone();
        let (training, validation) = data.split()?;
        // Settings that make no sense show before any sound is read.
        CodecLearner::new(codec.clone(), config)?;
        let training = open(training, data, &sizes, workplace)?;
        let validation = open(validation, data, &sizes, workplace)?;
        if training.is_empty() {
            return Err(CodecTrainingError::NoClips.into());
        }
        let codec = match config.fit_clips.min(training.len()) {
            0 => codec,
            clips => {
                let place = |index| index * training.len() / clips;
                let sounds = (0..clips)
                    .map(|index| training.get(place(index)))
                    .collect::<Result<Vec<_>, _>>()?;
                let length = config.objective.crop(&sizes);
                let step = config.objective.crop_step(&sizes);
                let envelope = config.objective.envelope;
                start::fit_codebooks(codec, &sounds, (length, step), envelope, config.run.seed)
            }
        };
        let mut learner = CodecLearner::new(codec, config)?;
        workplace.observer.notice(&Event::Data {
            training: training.counts(),
            validation: validation.counts(),
            skipped: (training.skipped().0.len() + validation.skipped().0.len()) as u64,
        })?;
        let settings = json!({
            "stage": CODEC_FOLDER,
            "config": config,
            "codec": sizes,
            "start": match &self.start {
                CodecStart::Random(_) => None,
                CodecStart::Saved(path) => Some(path),
            },
            "data": [training.fingerprint(), validation.fingerprint()],
        });
        let run = Training {
            stage: CODEC_FOLDER,
            folder: output,
            config: &config.run,
            settings,
            training: Arc::new(training),
            validation: Some(Arc::new(validation)),
            stop: workplace.stop,
        };
        let end = run.train(&mut learner, workplace.observer)?;
        if end == RunEnd::Finished {
            let trained = learner.averaged().unwrap_or_else(|| learner.trained());
            trained.save(output.join(CODEC_FOLDER))?;
        }
        Ok(end)
    }
}

/// Reads the sounds, and says how far it is.
fn open(
    manifest: Manifest,
    data: &StageData,
    sizes: &DacConfig,
    workplace: &mut Workplace<'_>,
) -> Result<SoundSet, TrainError> {
    let options = SoundSetOptions {
        policy: data.policy(),
        ..SoundSetOptions::default()
    };
    let rate = u32::try_from(sizes.sample_rate).map_err(|_| CodecTrainingError::Setting {
        setting: "sample_rate",
        expected: "less than 2^32".into(),
        found: sizes.sample_rate.to_string(),
    })?;
    let mut noted = Ok(());
    let sounds = SoundSet::open(manifest, rate, &options, &mut |state| {
        noted = workplace.observer.notice(&Event::Prepare {
            done: state.done as u64,
            total: state.total as u64,
            seconds: state.seconds,
        });
        match noted.is_err() || workplace.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    noted?;
    Ok(sounds?)
}
