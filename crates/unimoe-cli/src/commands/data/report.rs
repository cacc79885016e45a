//! What the commands for data report, as JSON and as a table.

use std::{collections::BTreeMap, fmt::Write, path::PathBuf};

use serde::Serialize;
use unimoe_train::{Defects, DomainReport, Dropped, GovernanceReport, Manifest};

/// A fault in a manifest.
#[derive(Debug, Serialize)]
pub struct DefectReport {
    manifest: PathBuf,
    line: usize,
    id: Option<String>,
    reason: &'static str,
    message: String,
}

/// The report of `data check`.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// Clips that can be used, and their length.
    pub domains: BTreeMap<String, Usable>,
    /// How often each fault occurs.
    pub counts: BTreeMap<&'static str, usize>,
    /// Every fault.
    pub defects: Vec<DefectReport>,
}

/// What can be used of a domain.
#[derive(Debug, Default, Serialize)]
pub struct Usable {
    /// Clips.
    pub clips: usize,
    /// Their length.
    pub hours: f64,
}

/// The report of `data prepare`.
#[derive(Debug, Serialize)]
pub struct PrepareReport {
    /// The manifest that was written.
    pub output: PathBuf,
    /// What was kept and dropped, by domain.
    pub domains: BTreeMap<String, DomainReport>,
    /// All domains together.
    pub total: DomainReport,
    /// Clips that could not be used at all, by reason.
    pub unusable: BTreeMap<&'static str, usize>,
    /// Speech that has no reference voice.
    pub without_voice: usize,
    /// Sounds whose codes were in the cache.
    pub cached: usize,
    /// Seconds of sound that were encoded.
    pub encoded_seconds: f64,
    /// Encoding took so long.
    pub encode_seconds: f64,
    /// Hash of the codec that made the codes.
    pub codec: String,
    /// Every clip that was dropped.
    pub dropped: Vec<Dropped>,
    /// Every fault.
    pub defects: Vec<DefectReport>,
}

/// The report of `data balance`.
#[derive(Debug, Serialize)]
pub struct BalanceReport {
    /// The manifest that was written.
    pub output: PathBuf,
    /// The seed.
    pub seed: u64,
    /// Clips of each domain: those that were there, and those that were drawn.
    pub domains: BTreeMap<String, [usize; 2]>,
}

/// The report of `data synth`.
#[derive(Debug, Serialize)]
pub struct SynthReport {
    /// The folder that was made.
    pub output: PathBuf,
    /// The scale.
    pub scale: f64,
    /// The seed.
    pub seed: u64,
    /// What was made, by domain.
    #[serde(flatten)]
    pub summary: synth_data::Summary,
    /// Making it took so long.
    pub make_seconds: f64,
}

/// Faults for a report.
pub fn defects(defects: &Defects) -> Vec<DefectReport> {
    let defect = |defect: &unimoe_train::Defect| DefectReport {
        manifest: defect.manifest.clone(),
        line: defect.line,
        id: defect.id.clone(),
        reason: defect.fault.reason(),
        message: defect.fault.to_string(),
    };
    defects.0.iter().map(defect).collect()
}

/// Clips of each domain in a manifest.
pub fn counts(manifest: &Manifest) -> BTreeMap<String, usize> {
    let domains = manifest.domains().into_iter();
    domains
        .map(|(domain, count)| (domain.to_string(), count))
        .collect()
}

impl CheckReport {
    /// A table for people.
    pub fn text(&self) -> String {
        let head = ["domain", "clips", "hours"].map(String::from);
        let rows = self.domains.iter().map(|(domain, usable)| {
            [
                domain.clone(),
                usable.clips.to_string(),
                hours(usable.hours),
            ]
        });
        let mut text = table(&head, rows);
        text.push_str(&listing(
            "defects",
            self.counts.iter().map(|(name, count)| (*name, *count)),
        ));
        text
    }
}

impl PrepareReport {
    /// Puts the parts together.
    pub fn govern(mut self, report: GovernanceReport) -> Self {
        self.domains = report.domains;
        self.total = report.total;
        self.dropped = report.dropped;
        self
    }

    /// A table for people.
    pub fn text(&self) -> String {
        let head = ["domain", "clips", "hours", "kept", "hours", "dropped"].map(String::from);
        let row = |name: &str, domain: &DomainReport| {
            let reasons = domain.dropped.iter();
            let reasons: Vec<_> = reasons
                .map(|(reason, count)| format!("{count} {reason}"))
                .collect();
            [
                name.to_string(),
                domain.clips.to_string(),
                hours(domain.hours),
                domain.kept.to_string(),
                hours(domain.kept_hours),
                reasons.join(", "),
            ]
        };
        let mut rows: Vec<_> = self
            .domains
            .iter()
            .map(|(name, domain)| row(name, domain))
            .collect();
        if rows.len() > 1 {
            rows.push(row("all", &self.total));
        }
        let mut text = table(&head, rows.into_iter());
        let unusable = self.unusable.iter().map(|(name, count)| (*name, *count));
        text.push_str(&listing("unusable", unusable));
        if self.without_voice > 0 {
            let _ = writeln!(
                text,
                "speech without a reference voice: {}",
                self.without_voice
            );
        }
        let (seconds, took) = (self.encoded_seconds, self.encode_seconds);
        let _ = writeln!(
            text,
            "codes: {} sounds in the cache before, {seconds:.1} s of sound encoded in {took:.1} s",
            self.cached
        );
        let _ = writeln!(text, "{}: {} clips", self.output.display(), self.total.kept);
        text
    }
}

impl BalanceReport {
    /// A table for people.
    pub fn text(&self) -> String {
        let head = ["domain", "clips", "drawn"].map(String::from);
        let rows = self.domains.iter();
        let rows =
            rows.map(|(domain, [all, drawn])| [domain.clone(), all.to_string(), drawn.to_string()]);
        let drawn: usize = self.domains.values().map(|[_, drawn]| drawn).sum();
        table(&head, rows)
            + &format!(
                "{}: {drawn} clips, seed {}\n",
                self.output.display(),
                self.seed
            )
    }
}

impl SynthReport {
    /// A table for people.
    pub fn text(&self) -> String {
        let head = ["domain", "train", "hours", "test"].map(String::from);
        let rows = self.summary.domains.iter().map(|(name, domain)| {
            [
                (*name).to_string(),
                domain.train.to_string(),
                hours(domain.train_hours),
                domain.test.to_string(),
            ]
        });
        let (output, seed) = (self.output.display(), self.seed);
        table(&head, rows) + &format!("{output}: seed {seed}, {:.0} s\n", self.make_seconds)
    }
}

fn hours(hours: f64) -> String {
    match hours < 0.1 {
        true => format!("{hours:.4}"),
        false => format!("{hours:.2}"),
    }
}

fn listing<'a>(what: &str, counts: impl Iterator<Item = (&'a str, usize)>) -> String {
    let counts: Vec<_> = counts
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    match counts.is_empty() {
        true => String::new(),
        false => format!("{what}: {}\n", counts.join(", ")),
    }
}

/// Columns side by side: the first to the left, numbers to the right, a last one of words to the left.
fn table<const N: usize>(head: &[String; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.clone()).chain(rows).collect();
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Writing to a string does not fail.
            let _ = match column {
                0 => write!(line, "{cell:<width$}"),
                5 => write!(line, "  {cell}"),
                _ => write!(line, "  {cell:>width$}"),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let head = ["domain", "clips"].map(String::from);
        let rows = [["en", "12000"], ["speech-zh", "7"]].map(|row| row.map(String::from));
        let expected = "domain     clips\nen         12000\nspeech-zh      7\n";
        assert_eq!(table(&head, rows.into_iter()), expected);
    }
}
