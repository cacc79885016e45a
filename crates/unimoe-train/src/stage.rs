//! The stages of the curriculum (UniMoE-Audio, section 4.2). Each takes a model folder and leaves one.
//!
//! | stage | begins with | trains | paper |
//! |---|---|---|---|
//! | [`SpecialistTraining`] | a dense model | everything, on one domain | stage 1 |
//! | [`Integration`] | the specialists | nothing: makes the mixture of experts | stage 2 |
//! | [`Warmup`] | the integrated model | gates and shared experts, on the balanced set | stage 2 |
//! | [`JointTraining`] | the warmed-up model | everything, on the balanced set | stage 3 |
//! | [`DenseBaseline`] | a dense model | everything, on the raw mixture | "Unify-Baseline" |
//! | [`MoeBaseline`] | a mixture of experts | everything, on the raw mixture | without curriculum |
//!
//! A stage's folder holds `model/` once it is finished, and `metrics.jsonl`, `checkpoints/` and `report.html`. A
//! stage that was interrupted goes on where it was; one that is finished is not done again.

mod config;
mod data;
mod integration;
mod training;

use std::{path::Path, sync::atomic::AtomicBool};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::{error::TrainError, event::Observer, trainer::RunEnd};

pub use config::StageConfig;
pub use data::{ClipExamples, DomainClips, StageData};
pub use integration::{Integration, IntegrationError};
pub use training::{MODEL_FOLDER, REPORT_FILE};

/// Parameters that [`Warmup`] trains: gates and shared experts.
pub const WARMED_UP: &str = r"^decoder\.layers\.\d+\.moe\.(gate|shared)\.";

/// Where a stage runs, who watches, and who may stop it.
pub struct Workplace<'a> {
    /// The device.
    pub device: &'a Device,
    /// Told of everything that happens.
    pub observer: &'a mut dyn Observer,
    /// Set by somebody who wants the stage to save and end.
    pub stop: &'a AtomicBool,
}

/// A stage that trains: takes a model folder and data, leaves a model folder.
///
/// Implement it for a stage of one's own: the stages here can be repeated, left out or replaced.
pub trait Stage {
    /// Name of the stage, for events and folders.
    fn name(&self) -> String;

    /// Trains the model in `model` on `data`; the stage's files go to `output`.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] that names what is wrong with settings, model or data, before anything is trained; else why
    /// training could not go on.
    fn run(
        &self,
        model: &Path,
        data: &StageData,
        output: &Path,
        workplace: &mut Workplace<'_>,
    ) -> Result<RunEnd, TrainError>;
}

macro_rules! stages {
    ($($(#[$documentation:meta])* $name:ident => $what:ident, $label:literal;)*) => {$(
        $(#[$documentation])*
        #[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name {
            /// How to train.
            pub config: StageConfig,
        }

        impl Stage for $name {
            fn name(&self) -> String {
                $label.to_string()
            }

            fn run(
                &self,
                model: &Path,
                data: &StageData,
                output: &Path,
                workplace: &mut Workplace<'_>,
            ) -> Result<RunEnd, TrainError> {
                let what = training::Trained::$what;
                training::train(&self.name(), what, &self.config, (model, data, output), workplace)
            }
        }
    )*};
}

stages! {
    /// Trains everything on the balanced set, the balance loss annealed (stage 3).
    JointTraining => Everything, "joint";
    /// Trains gates and shared experts alone, on the balanced set (stage 2); nothing else changes, by no bit.
    Warmup => GatesAndShared, "warmup";
    /// Trains one dense model on the raw mixture of all domains, the paper's "Unify-Baseline".
    DenseBaseline => Dense, "baseline-dense";
    /// Trains a mixture of experts on the raw mixture of all domains, without specialists and warm-up.
    MoeBaseline => Everything, "baseline-moe";
}

/// Trains a dense model on one domain (stage 1).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpecialistTraining {
    /// The domain, as the manifests name it.
    pub domain: String,
    /// How to train.
    pub config: StageConfig,
}

impl Stage for SpecialistTraining {
    fn name(&self) -> String {
        format!("specialist-{}", self.domain)
    }

    fn run(
        &self,
        model: &Path,
        data: &StageData,
        output: &Path,
        workplace: &mut Workplace<'_>,
    ) -> Result<RunEnd, TrainError> {
        let mut data = data.clone();
        data.domains = vec![self.domain.clone()];
        let what = training::Trained::Dense;
        training::train(
            &self.name(),
            what,
            &self.config,
            (model, &data, output),
            workplace,
        )
    }
}
