//! The paper's comparison in miniature: does the curriculum do what the paper says?
//!
//! Four synthetic domains that contradict each other, as unevenly filled as the paper's (180 : 100 : 128 : 20), are
//! learnt by four methods with the same number of optimizer steps on batches of the same number of tokens:
//!
//! ```text
//! steps      0        1/4       1/2       3/4        1
//! specialists  one      two      three     four          each on its own domain
//! dense        ------------ raw mixture ------------     one dense model of equal total size ("Unify-Baseline")
//! moe          ------------ raw mixture ------------     a mixture of experts from scratch
//! curriculum   1    2    3    4  | warm-up | joint       specialists, integration, balanced set
//! ```
//!
//! UniMoE-Audio (arXiv:2510.13344), sections 4 to 6. Everything random is drawn on the host from the seed.

mod claims;
mod method;
mod results;
mod show;
mod task;

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    error::TrainError, folder::write_text, report::write_comparison, stage::Workplace,
    trainer::RunEnd,
};

pub use claims::Claim;
pub use method::Method;
pub use results::{Figure, MethodResult, ReproductionResults};

use method::Bench;
use results::SeedOutcome;

/// Names of the files that [`Reproduction::run`] writes beside the runs' folders.
pub const REPRODUCTION_FILES: [&str; 3] = ["table.md", "table.json", "report.html"];

/// The comparison's size and seeds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reproduction {
    /// Repetitions, each with a seed of its own: task, clips, first values and order of batches. Default: 3
    pub seeds: u64,
    /// The first of the seeds; the others follow it. Default: 0
    pub first_seed: u64,
    /// Optimizer steps of each method; a multiple of 8. Default: 480
    pub steps: u64,
    /// Clips of each batch. Default: 16
    pub batch_size: usize,
    /// Clips of the raw mixture for each unit of 180 : 100 : 128 : 20. Default: 8
    pub clips: usize,
    /// Clips of each domain to measure on. Default: 32
    pub validation_clips: usize,
    /// Frames of a clip. Default: 24
    pub frames: usize,
}

impl Default for Reproduction {
    fn default() -> Self {
        Self {
            seeds: 3,
            first_seed: 0,
            steps: 480,
            batch_size: 16,
            clips: 8,
            validation_clips: 32,
            frames: 24,
        }
    }
}

impl Reproduction {
    /// One seed and a few steps: shows that everything runs, and nothing else.
    pub fn quick() -> Self {
        Self {
            seeds: 1,
            steps: 16,
            batch_size: 4,
            clips: 1,
            validation_clips: 2,
            frames: 6,
            ..Self::default()
        }
    }

    /// Four times the steps and the clips.
    pub fn long() -> Self {
        let usual = Self::default();
        Self {
            steps: 4 * usual.steps,
            clips: 4 * usual.clips,
            ..usual
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`TrainError::Setting`] that names the first one that makes no comparison.
    pub fn validate(&self) -> Result<(), TrainError> {
        let ranges = [
            ("seeds", self.seeds, 1, 100, "1 to 100"),
            ("steps", self.steps, 8, 1 << 20, "8 to 1,048,576"),
            ("batch_size", self.batch_size as u64, 1, 1024, "1 to 1,024"),
            ("clips", self.clips as u64, 1, 1000, "1 to 1,000"),
            (
                "validation_clips",
                self.validation_clips as u64,
                1,
                1000,
                "1 to 1,000",
            ),
            ("frames", self.frames as u64, 1, 1000, "1 to 1,000"),
        ];
        for (field, found, low, high, expected) in ranges {
            if !(low..=high).contains(&found) {
                let found = found.to_string();
                return Err(TrainError::Setting {
                    field,
                    expected,
                    found,
                });
            }
        }
        if self.first_seed.checked_add(self.seeds).is_none() {
            return Err(TrainError::Setting {
                field: "first_seed",
                expected: "small enough for the seeds after it",
                found: self.first_seed.to_string(),
            });
        }
        match self.steps.is_multiple_of(8) {
            true => Ok(()),
            false => Err(TrainError::Setting {
                field: "steps",
                expected: "a multiple of 8, the curriculum's smallest part",
                found: self.steps.to_string(),
            }),
        }
    }

    /// Runs the comparison and writes [`REPRODUCTION_FILES`] to `output`, where each run has a folder with its log,
    /// such as `seed-0/curriculum/warmup`. What was interrupted goes on where it was; tables and report are written
    /// at the end.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where a setting makes no sense, a file can't be written, or a loss is not finite.
    pub fn run(
        &self,
        output: &Path,
        workplace: &mut Workplace<'_>,
    ) -> Result<(RunEnd, Option<ReproductionResults>), TrainError> {
        self.validate()?;
        fs::create_dir_all(output).map_err(|source| TrainError::Io {
            path: output.to_path_buf(),
            source,
        })?;
        let mut outcomes = Vec::new();
        let mut logs = Vec::new();
        for seed in self.first_seed..self.first_seed + self.seeds {
            let folder = output.join(format!("seed-{seed}"));
            let mut bench = Bench::new(self, seed, folder, workplace)?;
            let mut methods = Vec::new();
            for method in Method::ALL {
                match bench.run(method)? {
                    Ok(outcome) => methods.push(outcome),
                    Err(end) => return Ok((end, None)),
                }
            }
            if seed == self.first_seed {
                logs = bench.take_logs();
            }
            outcomes.push(SeedOutcome {
                bound: bench.bound(),
                methods,
            });
        }
        let results = ReproductionResults::new(self, &outcomes);
        write_text(&output.join("table.md"), &results.to_markdown())?;
        let json = serde_json::to_string_pretty(&results).map_err(|error| TrainError::Io {
            path: output.join("table.json"),
            source: error.into(),
        })?;
        write_text(&output.join("table.json"), &(json + "\n"))?;
        let shown = show::comparison(&results, &outcomes);
        write_comparison(
            &output.join("report.html"),
            "The curriculum in miniature",
            &shown,
            &logs,
        )?;
        Ok((RunEnd::Finished, Some(results)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_comparison_are_named() {
        for good in [
            Reproduction::default(),
            Reproduction::quick(),
            Reproduction::long(),
        ] {
            good.validate().expect("valid");
        }
        type Change = fn(&mut Reproduction);
        let changes: [(&str, Change); 8] = [
            ("seeds", |r| r.seeds = 0),
            ("first_seed", |r| r.first_seed = u64::MAX),
            ("steps", |r| r.steps = 20),
            ("steps", |r| r.steps = u64::MAX),
            ("batch_size", |r| r.batch_size = 0),
            ("clips", |r| r.clips = usize::MAX),
            ("validation_clips", |r| r.validation_clips = 0),
            ("frames", |r| r.frames = 1 << 60),
        ];
        for (field, change) in changes {
            let mut bad = Reproduction::default();
            change(&mut bad);
            let error = bad.validate().expect_err(field).to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
