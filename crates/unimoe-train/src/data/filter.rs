//! Rules that a clip must keep to: length, sound, text, scores.

use std::{collections::BTreeMap, fmt};

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{
    error::DataError,
    measure::AudioMeasures,
    record::{Record, Task},
    text::{of_scripts, pattern, spoken_characters},
};

/// Limits of a number, both included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Least value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Rules for clips. The default lets everything pass.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Length in seconds.
    pub seconds: Limits,
    /// Loudness in LUFS (see [`AudioMeasures::loudness`]).
    pub loudness: Limits,
    /// Share of silence (see [`AudioMeasures::silence`]).
    pub silence: Limits,
    /// Share of samples at full scale.
    pub clipping: Limits,
    /// Characters of the text.
    pub characters: Limits,
    /// Letters and digits per second of sound; of speech alone.
    pub speech_rate: Limits,
    /// Scripts that the text may use besides signs and digits, such as `Latin`; none allows all.
    pub scripts: Vec<String>,
    /// Regular expression that must be found in the text.
    pub pattern: Option<String>,
    /// Regular expression that must not be found in the text.
    pub forbidden: Option<String>,
    /// Numbers in columns of the manifest; a record without the number is dropped.
    pub columns: BTreeMap<String, Limits>,
}

/// Why a clip is dropped.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// A short name, to count by.
    pub reason: String,
    /// What was expected and found.
    pub detail: String,
}

/// A filter that is ready to use.
#[derive(Debug, Clone)]
pub(super) struct Sieve {
    filter: Filter,
    scripts: Option<Regex>,
    pattern: Option<Regex>,
    forbidden: Option<Regex>,
}

impl Limits {
    /// From `min` to `max`.
    pub fn new(min: impl Into<Option<f64>>, max: impl Into<Option<f64>>) -> Self {
        Self {
            min: min.into(),
            max: max.into(),
        }
    }

    /// Whether a number lies within.
    pub fn contain(&self, value: f64) -> bool {
        let above = self.min.is_none_or(|min| value >= min);
        above && self.max.is_none_or(|max| value <= max)
    }

    fn check(&self, setting: &'static str) -> Result<(), DataError> {
        let finite = [self.min, self.max]
            .into_iter()
            .flatten()
            .all(f64::is_finite);
        let ordered = match (self.min, self.max) {
            (Some(min), Some(max)) => min <= max,
            _ => true,
        };
        match finite && ordered {
            true => Ok(()),
            false => Err(DataError::setting(setting, "finite limits in order", self)),
        }
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.min, self.max) {
            (Some(min), Some(max)) => write!(formatter, "{min} to {max}"),
            (Some(min), None) => write!(formatter, "at least {min}"),
            (None, Some(max)) => write!(formatter, "at most {max}"),
            (None, None) => formatter.write_str("anything"),
        }
    }
}

impl Filter {
    /// Checks the rules.
    ///
    /// # Errors
    ///
    /// [`DataError::Setting`] for limits out of order or not finite, a pattern that is none, an unknown script.
    pub fn validate(&self) -> Result<(), DataError> {
        self.sieve().map(|_| ())
    }

    pub(super) fn sieve(&self) -> Result<Sieve, DataError> {
        for (setting, limits) in [
            ("the filter's seconds", &self.seconds),
            ("the filter's loudness", &self.loudness),
            ("the filter's share of silence", &self.silence),
            ("the filter's share of clipping", &self.clipping),
            ("the filter's number of characters", &self.characters),
            ("the filter's speech rate", &self.speech_rate),
        ] {
            limits.check(setting)?;
        }
        for limits in self.columns.values() {
            limits.check("the filter's limits of a column")?;
        }
        let pattern = |setting, text: &Option<String>| {
            text.as_deref()
                .map(|text| pattern(setting, text))
                .transpose()
        };
        Ok(Sieve {
            scripts: match self.scripts.is_empty() {
                true => None,
                false => Some(of_scripts(&self.scripts)?),
            },
            pattern: pattern("the filter's pattern", &self.pattern)?,
            forbidden: pattern("the filter's forbidden pattern", &self.forbidden)?,
            filter: self.clone(),
        })
    }
}

impl Sieve {
    /// Why a clip is dropped, by the first rule that it breaks.
    pub(super) fn verdict(&self, record: &Record, measures: &AudioMeasures) -> Option<Verdict> {
        let filter = &self.filter;
        let mut numbers = vec![
            ("duration", filter.seconds, measures.seconds),
            ("loudness", filter.loudness, measures.loudness),
            ("silence", filter.silence, measures.silence),
            ("clipping", filter.clipping, measures.clipping),
            (
                "text_length",
                filter.characters,
                record.text.chars().count() as f64,
            ),
        ];
        if record.task == Task::Speech {
            numbers.push((
                "speech_rate",
                filter.speech_rate,
                speech_rate(record, measures),
            ));
        }
        for (reason, limits, value) in numbers {
            if !limits.contain(value) {
                return Some(Verdict {
                    reason: reason.into(),
                    detail: format!("{value:.4}, expected {limits}"),
                });
            }
        }
        let text = &record.text;
        let fails = |pattern: &Option<Regex>| {
            pattern
                .as_ref()
                .is_some_and(|pattern| !pattern.is_match(text))
        };
        let rules = [
            ("script", fails(&self.scripts)),
            ("pattern", fails(&self.pattern)),
            (
                "forbidden_text",
                self.forbidden
                    .as_ref()
                    .is_some_and(|pattern| pattern.is_match(text)),
            ),
        ];
        if let Some((reason, _)) = rules.into_iter().find(|(_, broken)| *broken) {
            return Some(Verdict {
                reason: reason.into(),
                detail: super::error::Short(text).to_string(),
            });
        }
        self.column(record)
    }

    fn column(&self, record: &Record) -> Option<Verdict> {
        for (name, limits) in &self.filter.columns {
            let detail = match record.column(name) {
                Some(value) if limits.contain(value) => continue,
                Some(value) => format!("{value}, expected {limits}"),
                None => "no number".to_string(),
            };
            return Some(Verdict {
                reason: format!("column {name}"),
                detail,
            });
        }
        None
    }
}

/// Letters and digits per second.
pub(super) fn speech_rate(record: &Record, measures: &AudioMeasures) -> f64 {
    spoken_characters(&record.text) as f64 / measures.seconds.max(f64::MIN_POSITIVE)
}
