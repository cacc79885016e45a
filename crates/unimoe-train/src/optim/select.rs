//! Which parameters are trained, adapted or frozen.

use regex::Regex;

use super::{OptimError, OptimizerConfig};

/// What happens to a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It stays.
    Frozen,
    /// It is trained.
    Trained,
    /// It stays and an adapter beside it is trained.
    Adapted,
}

/// The patterns of a configuration.
pub(super) struct Selection {
    trained: Vec<Regex>,
    frozen: Vec<Regex>,
    targets: Vec<Regex>,
    has_adapters: bool,
}

impl Selection {
    pub(super) fn new(config: &OptimizerConfig) -> Result<Self, OptimError> {
        let targets = config.lora.as_ref().map(|lora| lora.targets.as_slice());
        Ok(Self {
            trained: compile("trained", &config.trained)?,
            frozen: compile("frozen", &config.frozen)?,
            targets: compile("lora.targets", targets.unwrap_or_default())?,
            has_adapters: targets.is_some(),
        })
    }

    /// The part of each of `parameters`, given by path and shape.
    pub(super) fn parts(&self, parameters: &[(&str, &[usize])]) -> Result<Vec<Part>, OptimError> {
        let example = parameters.first().map_or("", |(path, _)| path);
        let lists = [
            ("trained", &self.trained, "parameter"),
            ("frozen", &self.frozen, "parameter"),
            ("lora.targets", &self.targets, "matrix"),
        ];
        for (setting, patterns, kind) in lists {
            for pattern in patterns {
                let found = parameters.iter().any(|(path, shape)| {
                    pattern.is_match(path) && (kind == "parameter" || shape.len() == 2)
                });
                if !found {
                    return Err(OptimError::NoMatch {
                        setting,
                        pattern: pattern.to_string(),
                        kind,
                        example: example.to_string(),
                    });
                }
            }
        }
        let parts = parameters
            .iter()
            .map(|(path, shape)| self.part(path, shape))
            .collect::<Result<Vec<_>, _>>()?;
        if parts.iter().all(|part| *part == Part::Frozen) {
            return Err(OptimError::NothingTrained {
                parameters: parts.len(),
            });
        }
        Ok(parts)
    }

    fn part(&self, path: &str, shape: &[usize]) -> Result<Part, OptimError> {
        let matches = |patterns: &[Regex]| patterns.iter().any(|pattern| pattern.is_match(path));
        if matches(&self.frozen) {
            return Ok(Part::Frozen);
        }
        let adapted = shape.len() == 2 && matches(&self.targets);
        match (matches(&self.trained), adapted) {
            (true, true) => Err(OptimError::Overlap {
                parameter: path.to_string(),
            }),
            (true, false) => Ok(Part::Trained),
            (false, true) => Ok(Part::Adapted),
            (false, false) if self.trained.is_empty() && !self.has_adapters => Ok(Part::Trained),
            (false, false) => Ok(Part::Frozen),
        }
    }
}

fn compile(setting: &'static str, patterns: &[String]) -> Result<Vec<Regex>, OptimError> {
    let compiled = patterns.iter().map(|pattern| {
        Regex::new(pattern).map_err(|source| OptimError::Pattern {
            setting,
            pattern: pattern.clone(),
            source,
        })
    });
    compiled.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::LoraConfig;

    const PARAMETERS: [(&str, &[usize]); 3] = [
        ("gate.weight", &[4, 2]),
        ("gate.bias", &[2]),
        ("norm.gamma", &[4]),
    ];

    fn parts(trained: &[&str], frozen: &[&str], targets: &[&str]) -> Result<Vec<Part>, OptimError> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = OptimizerConfig {
            trained: owned(trained),
            frozen: owned(frozen),
            lora: (!targets.is_empty()).then(|| LoraConfig {
                rank: 1,
                alpha: 1.0,
                targets: owned(targets),
                seed: 0,
            }),
            ..OptimizerConfig::default()
        };
        Selection::new(&config)?.parts(&PARAMETERS)
    }

    #[test]
    fn frozen_wins_over_trained_and_adapters_leave_the_rest_frozen() {
        use Part::{Adapted, Frozen, Trained};
        type List = &'static [&'static str];
        let cases: [(List, List, List, [Part; 3]); 5] = [
            (&[], &[], &[], [Trained; 3]),
            (&[], &["bias"], &[], [Trained, Frozen, Trained]),
            (&["gate"], &["bias"], &[], [Trained, Frozen, Frozen]),
            (&[], &[], &["gate"], [Adapted, Frozen, Frozen]),
            (&["norm"], &[], &["gate"], [Adapted, Frozen, Trained]),
        ];
        for (trained, frozen, targets, expected) in cases {
            assert_eq!(parts(trained, frozen, targets).expect("parts"), expected);
        }
    }

    #[test]
    fn patterns_that_say_nothing_are_errors() {
        let said = |result: Result<Vec<Part>, OptimError>| result.expect_err("no").to_string();
        assert!(said(parts(&["gate"], &["x"], &[])).contains("`x` in frozen"));
        assert!(said(parts(&["("], &[], &[])).contains("`(` in trained"));
        // Matches, but no matrix.
        assert!(said(parts(&[], &[], &["norm"])).contains("matches no matrix"));
        assert!(said(parts(&[], &["."], &[])).contains("3 parameters"));
        assert!(said(parts(&["weight"], &[], &["gate"])).contains("gate.weight"));
    }
}
