//! From raw lists of clips to data worth training on: filters, then duplicates.
//!
//! UniMoE-Audio (arXiv:2510.13344), section 4.1: "automatic annotation, multi-metric filtering, and deduplication".

use std::{collections::BTreeMap, ops::ControlFlow, path::PathBuf, sync::Arc};

use dac_codec::AudioClip;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    duplicates::{Candidate, Duplicate, DuplicateRules, Kept},
    error::{DataError, Fault, chain},
    filter::{Filter, Sieve, Verdict, speech_rate},
    fingerprint::{Fingerprint, Probe},
    hash::ContentHash,
    manifest::{Manifest, Policy},
    measure::AudioMeasures,
    parallel::{cores, in_order},
    record::{Record, Task},
    sounds::{check_longest, read_sound},
    text::normalized_text,
};

/// Rules for a collection of clips.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Governance {
    /// Rules for clips of all domains that have none of their own.
    pub filter: Filter,
    /// Rules for clips of one domain, instead of `filter`.
    pub domains: BTreeMap<String, Filter>,
    /// Which clips count as duplicates.
    pub duplicates: DuplicateRules,
}

/// How clips are read.
#[derive(Debug, Clone)]
pub struct GovernanceOptions {
    /// What is done about sounds that can't be read. Default: [`Policy::Fail`]
    pub policy: Policy,
    /// Longest sound that is read, in seconds. Default: 600
    pub max_seconds: f64,
    /// Threads that read files. Default: one per core
    pub workers: usize,
}

/// What was kept, and what became of the rest.
#[derive(Debug, Clone)]
pub struct Governed {
    /// The clips that were kept, with their durations and measures.
    pub manifest: Manifest,
    /// What was dropped, and why.
    pub report: GovernanceReport,
}

/// What was kept and dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GovernanceReport {
    /// By domain.
    pub domains: BTreeMap<String, DomainReport>,
    /// All domains together.
    pub total: DomainReport,
    /// Every clip that was dropped.
    pub dropped: Vec<Dropped>,
}

/// What was kept and dropped of a domain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DomainReport {
    /// Clips that were read.
    pub clips: usize,
    /// Their length.
    pub hours: f64,
    /// Clips that were kept.
    pub kept: usize,
    /// Their length.
    pub kept_hours: f64,
    /// Clips that were dropped, by reason.
    pub dropped: BTreeMap<String, usize>,
}

/// A clip that was dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Its id.
    pub id: String,
    /// Its domain.
    pub domain: String,
    /// Its manifest.
    pub manifest: PathBuf,
    /// Its line there.
    pub line: usize,
    /// Why, in short.
    pub reason: String,
    /// Why, exactly.
    pub detail: String,
}

impl Default for GovernanceOptions {
    fn default() -> Self {
        Self {
            policy: Policy::Fail,
            max_seconds: 600.0,
            workers: cores(),
        }
    }
}

/// What is found out about a clip away from the others.
struct Examined {
    measures: AudioMeasures,
    verdict: Option<Verdict>,
    content: ContentHash,
    samples: ContentHash,
    fingerprint: Fingerprint,
    probes: Vec<Probe>,
}

impl Governance {
    /// Checks the rules.
    ///
    /// # Errors
    ///
    /// As for [`Filter::validate`] and [`DuplicateRules::validate`].
    pub fn validate(&self) -> Result<(), DataError> {
        self.filter.validate()?;
        self.domains.values().try_for_each(Filter::validate)?;
        self.duplicates.validate()
    }

    /// Reads and measures every clip, and keeps those that keep to the rules. Of duplicates the first is kept.
    ///
    /// The kept records get their `duration`, and the columns `loudness_lufs`, `peak_db`, `silence_share`,
    /// `clipping_share` and, for speech, `characters_per_second`. `progress` is told how many of how many clips are
    /// done, and may stop the work.
    ///
    /// # Errors
    ///
    /// - [`DataError::Setting`] where a rule is none, [`DataError::EmptyDomain`] where rules name a domain without clips.
    /// - [`DataError::Defects`] lists all sounds that can't be read, with [`Policy::Fail`].
    /// - [`DataError::Interrupted`] where `progress` breaks off.
    pub fn apply(
        &self,
        manifest: Manifest,
        options: &GovernanceOptions,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Governed, DataError> {
        check_longest(options.max_seconds)?;
        self.validate()?;
        manifest.require(self.domains.keys().map(String::as_str))?;
        let sieves = self.sieves(&manifest)?;
        let total = manifest.records.len();
        let mut faults = BTreeMap::new();
        let mut kept = Kept::new(self.duplicates);
        let mut outcomes: Vec<Option<(AudioMeasures, Option<Verdict>)>> = vec![None; total];
        let examine = |record: &Arc<Record>| self.examine(record, &sieves, options);
        let records = &manifest.records;
        in_order(records, options.workers, examine, |index, found| {
            match found {
                Err(fault) => {
                    faults.insert(index, vec![fault]);
                }
                Ok(found) => {
                    let (measures, verdict) = (found.measures, found.verdict.clone());
                    let verdict = verdict.or_else(|| {
                        let candidate = candidate(&records[index], found);
                        let duplicate = kept.add(index, candidate)?;
                        Some(verdict_of(duplicate, records))
                    });
                    outcomes[index] = Some((measures, verdict));
                }
            }
            match progress(index + 1, total) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(DataError::Interrupted),
            }
        })?;
        let outcomes: Vec<_> = outcomes.into_iter().flatten().collect();
        finish(manifest.without(&faults, options.policy)?, outcomes)
    }

    fn sieves(&self, manifest: &Manifest) -> Result<BTreeMap<String, Sieve>, DataError> {
        let sieve = |domain: &str| self.domains.get(domain).unwrap_or(&self.filter).sieve();
        let domains = manifest.domains().into_keys();
        domains
            .map(|domain| Ok((domain.to_string(), sieve(domain)?)))
            .collect()
    }

    fn examine(
        &self,
        record: &Record,
        sieves: &BTreeMap<String, Sieve>,
        options: &GovernanceOptions,
    ) -> Result<Examined, Fault> {
        let fault = |reason: String| Fault::Audio {
            field: "audio",
            reason,
        };
        let clip = read_sound(&record.audio, options.max_seconds).map_err(fault)?;
        let measures = AudioMeasures::of(&clip);
        let verdict = sieves
            .get(&record.domain)
            .and_then(|sieve| sieve.verdict(record, &measures));
        let near = self.duplicates.near && verdict.is_none();
        let (fingerprint, probes) = match near {
            true => Fingerprint::with_probes(&clip).map_err(|error| fault(chain(&error)))?,
            false => (Fingerprint::default(), Vec::new()),
        };
        let content =
            ContentHash::of_path(&record.audio).map_err(|error| fault(error.to_string()))?;
        Ok(Examined {
            measures,
            verdict,
            content,
            samples: hash_samples(&clip),
            fingerprint,
            probes,
        })
    }
}

/// Of the samples at 16 bits, which lossless formats share.
fn hash_samples(clip: &AudioClip) -> ContentHash {
    let level = |sample: &f32| ((sample.clamp(-1.0, 1.0) * 32767.0).round() as i16).to_le_bytes();
    let samples: Vec<u8> = clip.samples.iter().flat_map(level).collect();
    ContentHash::of(&[&clip.sample_rate.to_le_bytes(), &samples])
}

fn candidate(record: &Record, found: Examined) -> Candidate {
    Candidate {
        domain: record.domain.clone(),
        content: found.content,
        samples: found.samples,
        text: normalized_text(&record.text),
        fingerprint: found.fingerprint,
        probes: found.probes,
    }
}

fn verdict_of(duplicate: Duplicate, records: &[Arc<Record>]) -> Verdict {
    let (reason, detail) = match duplicate {
        Duplicate::Exact(other) => (
            "exact_duplicate",
            format!("the sound of `{}`", records[other].id),
        ),
        Duplicate::Near(other, errors) => (
            "near_duplicate",
            format!(
                "nearly the sound of `{}`: {:.1} % of the bits differ",
                records[other].id,
                100.0 * errors
            ),
        ),
    };
    Verdict {
        reason: reason.into(),
        detail,
    }
}

/// Sorts out what is kept, and counts.
fn finish(
    manifest: Manifest,
    outcomes: Vec<(AudioMeasures, Option<Verdict>)>,
) -> Result<Governed, DataError> {
    let mut report = GovernanceReport::default();
    let mut kept = Manifest {
        records: Vec::new(),
        skipped: manifest.skipped,
    };
    for (record, (measures, verdict)) in manifest.records.iter().zip(outcomes) {
        let own = report.domains.entry(record.domain.clone()).or_default();
        for domain in [own, &mut report.total] {
            domain.count(&measures, verdict.as_ref());
        }
        match verdict {
            None => kept.records.push(Arc::new(annotated(record, &measures))),
            Some(verdict) => report.dropped.push(Dropped {
                id: record.id.clone(),
                domain: record.domain.clone(),
                manifest: record.origin.manifest.to_path_buf(),
                line: record.origin.line,
                reason: verdict.reason,
                detail: verdict.detail,
            }),
        }
    }
    Ok(Governed {
        manifest: kept,
        report,
    })
}

/// The record with its measures.
fn annotated(record: &Record, measures: &AudioMeasures) -> Record {
    // Measures beyond a few digits are noise in a manifest.
    let rounded = |value: f64| json!((value * 1e4).round() / 1e4);
    let mut record = record.clone();
    record.duration = Some((measures.seconds * 1e6).round() / 1e6);
    for (column, value) in [
        ("loudness_lufs", measures.loudness),
        ("peak_db", measures.peak_db),
        ("silence_share", measures.silence),
        ("clipping_share", measures.clipping),
    ] {
        record.extra.insert(column.into(), rounded(value));
    }
    if record.task == Task::Speech {
        let rate = speech_rate(&record, measures);
        record
            .extra
            .insert("characters_per_second".into(), rounded(rate));
    }
    record
}

impl GovernanceReport {
    /// Checks that every domain kept a clip.
    ///
    /// # Errors
    ///
    /// [`DataError::Emptied`] names the first that did not, and what its clips were lost to.
    pub fn check(&self) -> Result<(), DataError> {
        let Some((domain, report)) = self.domains.iter().find(|(_, report)| report.kept == 0)
        else {
            return Ok(());
        };
        let reasons = report.dropped.iter();
        let reasons: Vec<_> = reasons
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        Err(DataError::Emptied {
            domain: domain.clone(),
            clips: report.clips,
            reasons: reasons.join(", "),
        })
    }
}

impl DomainReport {
    fn count(&mut self, measures: &AudioMeasures, verdict: Option<&Verdict>) {
        let hours = measures.seconds / 3600.0;
        self.clips += 1;
        self.hours += hours;
        match verdict {
            None => {
                self.kept += 1;
                self.kept_hours += hours;
            }
            Some(verdict) => *self.dropped.entry(verdict.reason.clone()).or_default() += 1,
        }
    }
}
