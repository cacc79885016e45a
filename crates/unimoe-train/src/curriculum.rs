//! The curriculum (UniMoE-Audio, section 4.2): specialists, integration, warm-up, joint training.
//!
//! ```text
//! base ─┬─> specialist-A/model ─┐
//!       ├─> specialist-B/model ─┼─> integrated/ ─> warmup/model ─> joint/model
//!       └─> ...                ─┘
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    data::DataError,
    error::TrainError,
    folder::{weights_hash, write_text},
    report::{RunLog, write_report},
    stage::{
        DomainClips, Integration, JointTraining, MODEL_FOLDER, REPORT_FILE, SpecialistTraining,
        Stage, StageConfig, StageData, Warmup, Workplace,
    },
    trainer::RunEnd,
};

/// All stages, one after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Curriculum {
    /// How each specialist is trained (stage 1).
    pub specialist: StageConfig,
    /// How the specialists become one model.
    pub integration: Integration,
    /// How gates and shared experts are warmed up (stage 2).
    pub warmup: StageConfig,
    /// How everything is trained together (stage 3).
    pub joint: StageConfig,
    /// Clips of each domain in the balanced set of the last two stages; `None` for as many as the scarcest
    /// domain has. Default: `None`
    pub per_domain: Option<usize>,
}

impl Default for Curriculum {
    /// The paper's learning rates; batches and steps of a size for one machine.
    fn default() -> Self {
        let stage = |learning_rate: f64| {
            let mut config = StageConfig::default();
            config.optimizer.learning_rate = learning_rate;
            config
        };
        Self {
            specialist: stage(1e-4),
            integration: Integration::default(),
            warmup: stage(3e-5),
            joint: stage(1e-5),
            per_domain: None,
        }
    }
}

impl Curriculum {
    /// Runs what is not finished of the curriculum, from the dense model folder `base` to `joint/model` below
    /// `output`, with a report over all stages.
    ///
    /// # Errors
    ///
    /// A [`TrainError`]; settings, folders and data are checked before the first stage begins.
    pub fn run(
        &self,
        base: &Path,
        data: &StageData,
        output: &Path,
        workplace: &mut Workplace<'_>,
    ) -> Result<RunEnd, TrainError> {
        for config in [&self.specialist, &self.warmup, &self.joint] {
            config.validate()?;
        }
        let domains = data.domains()?;
        // Integration is checked on the base model: all specialists have its structure.
        let structure = unimoe_model::UniMoeConfig::load(base.join("config.json"))
            .map_err(unimoe_model::UniMoeError::from)?;
        let names = vec![base.to_path_buf(); domains.len()];
        self.integration
            .config(&vec![structure; domains.len()], &names)?;

        self.check(&domains, base, data, workplace)?;
        let (mut models, mut folders) = (Vec::new(), Vec::new());
        for domain in &domains {
            let specialist = SpecialistTraining {
                domain: domain.name.clone(),
                config: self.specialist.clone(),
            };
            let folder = output.join(file_name(&specialist.name()));
            let end = specialist.run(base, data, &folder, workplace)?;
            if end != RunEnd::Finished {
                return Ok(end);
            }
            models.push(folder.join(MODEL_FOLDER));
            folders.push(folder);
        }
        let integrated = output.join("integrated");
        let sees = domains.iter().position(|domain| domain.has_video);
        self.integrate_once(&models, sees.unwrap_or(0), &integrated, workplace)?;
        let mut balanced = data.clone();
        balanced.per_domain = Some(
            self.per_domain
                .unwrap_or_else(|| (domains.iter().map(|domain| domain.clips).min()).unwrap_or(0)),
        );
        let mut model: PathBuf = integrated;
        let stages: [Box<dyn Stage>; 2] = [
            Box::new(Warmup {
                config: self.warmup.clone(),
            }),
            Box::new(JointTraining {
                config: self.joint.clone(),
            }),
        ];
        for stage in stages {
            let folder = output.join(stage.name());
            let end = stage.run(&model, &balanced, &folder, workplace)?;
            if end != RunEnd::Finished {
                return Ok(end);
            }
            model = folder.join(MODEL_FOLDER);
            folders.push(folder);
        }
        let logs = folders.iter().map(|folder| RunLog::read(folder));
        let logs = logs.collect::<Result<Vec<_>, _>>()?;
        write_report(&output.join(REPORT_FILE), "Curriculum", &logs)?;
        Ok(RunEnd::Finished)
    }
}

impl Curriculum {
    /// Finds what is wrong with the data before the first stage begins. The codes that it computes are kept.
    fn check(
        &self,
        domains: &[DomainClips],
        base: &Path,
        data: &StageData,
        workplace: &mut Workplace<'_>,
    ) -> Result<(), TrainError> {
        for domain in domains {
            let wanted = self.per_domain.unwrap_or(1);
            if wanted == 0 || wanted > domain.clips {
                return Err(DataError::TooFew {
                    domain: domain.name.clone(),
                    expected: wanted.max(1),
                    found: domain.clips.min(wanted),
                }
                .into());
            }
        }
        data.check(base, workplace)
    }

    /// Integrates the specialists, or finds that it was done.
    fn integrate_once(
        &self,
        models: &[PathBuf],
        vision: usize,
        integrated: &Path,
        workplace: &Workplace<'_>,
    ) -> Result<(), TrainError> {
        let hashes = models.iter().map(|model| weights_hash(model));
        let of = json!({
            "integration": self.integration,
            "vision": vision,
            "specialists": hashes.collect::<Result<Vec<_>, _>>()?,
        });
        let of = format!("{of:#}\n");
        let stamp = integrated.with_extension("json");
        if integrated.is_dir() {
            let found = fs::read_to_string(&stamp).unwrap_or_default();
            return match found == of {
                true => Ok(()),
                false => Err(TrainError::Mismatch {
                    path: integrated.to_path_buf(),
                    what: "what it was integrated from; remove it, or take another output folder",
                    expected: of,
                    found,
                }),
            };
        }
        write_text(&stamp, &of)?;
        (self.integration).run(models, vision, integrated, workplace.device)
    }
}

/// A name as a folder can have it on every system: letters, digits, `-` and `_` stay, other bytes become `%XX`.
fn file_name(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'-' | b'_' => char::from(byte).to_string(),
            letter if letter.is_ascii_alphanumeric() => char::from(letter).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_domain_leaves_the_output_folder() {
        assert_eq!(
            file_name("specialist-video_music"),
            "specialist-video_music"
        );
        assert_eq!(file_name("a/../b"), "a%2F%2E%2E%2Fb");
        assert_eq!(file_name("\u{e9}"), "%C3%A9");
    }
}
