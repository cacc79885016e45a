//! What all training stages do: from a model folder and data to a model folder.

use std::{fs, path::Path, sync::Arc};

use burn::tensor::DType;
use serde_json::json;
use unimoe_model::{LoadOptions, Tokenizer, UniMoe, UniMoeConfig, UniMoeError};

use crate::{
    error::TrainError,
    example::ExampleBuilder,
    folder::{weights_hash, write_model_folder},
    model_learner::ModelLearner,
    optim::autodiff_device,
    report::{RunLog, write_report},
    stage::{StageConfig, StageData, WARMED_UP, Workplace},
    trainer::{RunEnd, Training},
};

/// Name of the folder that a stage leaves its model in.
pub const MODEL_FOLDER: &str = "model";

/// Name of a stage's report.
pub const REPORT_FILE: &str = "report.html";

/// Name of the file that says with which settings a stage was finished.
const FINISHED_FILE: &str = "finished.json";

/// What a stage trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trained {
    /// Everything.
    Everything,
    /// Everything, of a dense model.
    Dense,
    /// Gates and shared experts.
    GatesAndShared,
}

pub(super) fn train(
    stage: &str,
    what: Trained,
    config: &StageConfig,
    (model, data, output): (&Path, &StageData, &Path),
    workplace: &mut Workplace<'_>,
) -> Result<RunEnd, TrainError> {
    config.validate()?;
    let structure = UniMoeConfig::load(model.join("config.json")).map_err(UniMoeError::from)?;
    check(what, &structure, model)?;
    let mut config = config.clone();
    if what == Trained::GatesAndShared {
        config.optimizer.trained = vec![WARMED_UP.to_string()];
    }
    let tokenizer = Tokenizer::from_dir(model).map_err(UniMoeError::from)?;
    let builder = ExampleBuilder::new(Arc::new(tokenizer), Arc::new(structure.clone()));
    let builder = builder.map_err(UniMoeError::from)?;
    let pad_id = builder.pad_id();
    let examples = data.open(model, &builder, workplace)?;
    let settings = json!({
        "stage": stage,
        "config": config,
        "model": structure.to_released(),
        "weights": weights_hash(model)?,
        "data": examples.fingerprint,
    });
    let finished = output.join(FINISHED_FILE);
    let is_finished = fs::read_to_string(&finished)
        .ok()
        .and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok())
        .is_some_and(|with| with == as_read(&settings));
    if is_finished && output.join(MODEL_FOLDER).is_dir() {
        return Ok(RunEnd::Finished);
    }
    let device = autodiff_device(workplace.device, config.gradient_checkpointing);
    let options = LoadOptions {
        dtype: DType::F32,
        text_head: true,
        ..LoadOptions::default()
    };
    let network = UniMoe::load(model, options, &device)?;
    let mut learner = ModelLearner::new(
        network,
        config.objective.clone(),
        &config.optimizer,
        config.run.steps,
        pad_id,
    )?
    .with_conflict_every(config.conflict_every);
    let run = Training {
        stage,
        folder: output,
        config: &config.run,
        settings: settings.clone(),
        training: Arc::new(examples.training),
        validation: Some(Arc::new(examples.validation)),
        stop: workplace.stop,
    };
    let end = run.train(&mut learner, workplace.observer)?;
    if end == RunEnd::Finished {
        let trained = learner.averaged().unwrap_or_else(|| learner.trained());
        write_model_folder(&trained, model, &output.join(MODEL_FOLDER))?;
        let log = RunLog::read(output)?;
        write_report(&output.join(REPORT_FILE), stage, &[log])?;
        crate::folder::write_text(&finished, &format!("{settings:#}\n"))?;
    }
    Ok(end)
}

/// A value as it is once it was written and read: some numbers lose their last bit on the way.
fn as_read(value: &serde_json::Value) -> serde_json::Value {
    serde_json::from_str(&value.to_string()).unwrap_or_default()
}

/// A model that the stage is not for is refused before anything is read.
fn check(what: Trained, structure: &UniMoeConfig, model: &Path) -> Result<(), TrainError> {
    let moe = &structure.moe;
    let is_dense = structure.is_dense();
    let expected = match what {
        Trained::Dense if !is_dense => {
            "a dense model (one routed expert, no null and no shared one)"
        }
        Trained::GatesAndShared if is_dense => "a mixture of experts",
        _ => return Ok(()),
    };
    Err(TrainError::Structure {
        path: model.to_path_buf(),
        expected,
        found: format!(
            "{} routed, {} null and {} shared experts",
            moe.n_routed, moe.n_null, moe.n_shared
        ),
    })
}
