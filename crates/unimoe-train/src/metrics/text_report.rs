//! Word and character error rates of a set of clips.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    ErrorRate, MetricError, TextNormalization, character_error_rate,
    lines::read_lines,
    stored::{Id, nothing},
    word_error_rate,
};

/// What should be said and what is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPair {
    /// Name of the clip.
    pub id: String,
    /// What should be said.
    pub reference: String,
    /// What is heard.
    pub hypothesis: String,
}

/// The error rates of a set of clips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextReport {
    /// What was made equal before comparing.
    pub normalization: TextNormalization,
    /// Words: the edits of all clips by the words of all references.
    pub wer: ErrorRate,
    /// Characters: the edits of all clips by the characters of all references.
    pub cer: ErrorRate,
    /// Each clip.
    pub clips: Vec<TextItem>,
}

/// The error rates of a clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextItem {
    /// Its name.
    pub id: String,
    /// Words.
    pub wer: ErrorRate,
    /// Characters.
    pub cer: ErrorRate,
}

impl TextReport {
    /// Compares the pairs.
    ///
    /// # Errors
    ///
    /// [`MetricError::TooFew`] for no pair, [`MetricError::TooMany`] for texts too long to align.
    pub fn of(pairs: &[TextPair], normalization: TextNormalization) -> Result<Self, MetricError> {
        if pairs.is_empty() {
            return Err(MetricError::TooFew {
                what: "pairs of texts".into(),
                expected: 1,
                found: 0,
            });
        }
        let item = |pair: &TextPair| {
            let (reference, hypothesis) = (&pair.reference, &pair.hypothesis);
            Ok(TextItem {
                id: pair.id.clone(),
                wer: word_error_rate(reference, hypothesis, normalization).map_err(of(pair))?,
                cer: character_error_rate(reference, hypothesis, normalization)
                    .map_err(of(pair))?,
            })
        };
        let clips: Vec<TextItem> = pairs.iter().map(item).collect::<Result<_, MetricError>>()?;
        Ok(Self {
            normalization,
            wer: ErrorRate::pooled(clips.iter().map(|clip| &clip.wer)),
            cer: ErrorRate::pooled(clips.iter().map(|clip| &clip.cer)),
            clips,
        })
    }
}

/// Says which pair is too long.
fn of(pair: &TextPair) -> impl Fn(MetricError) -> MetricError {
    |error| match error {
        MetricError::TooMany {
            what,
            expected,
            found,
        } => MetricError::TooMany {
            what: format!("`{}`, {what}", pair.id),
            expected,
            found,
        },
        other => other,
    }
}

/// Reads pairs from a file with `{"reference": "...", "hypothesis": "..."}` in each line, and an optional `id`, which
/// is else the number of the line.
///
/// # Errors
///
/// [`MetricError::Io`], [`MetricError::Line`] for a bad line, [`MetricError::TooFew`] where there is none.
pub fn read_text_pairs(path: &Path) -> Result<Vec<TextPair>, MetricError> {
    #[derive(Deserialize)]
    struct Line {
        id: Option<Id>,
        reference: String,
        hypothesis: String,
    }
    let mut pairs = Vec::new();
    let expected = r#"{"reference": "...", "hypothesis": "..."}"#;
    read_lines(path, expected, |number, line: Line| {
        pairs.push(TextPair {
            id: line.id.map_or_else(|| number.to_string(), String::from),
            reference: line.reference,
            hypothesis: line.hypothesis,
        });
        Ok(())
    })?;
    if pairs.is_empty() {
        return Err(nothing(path));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_their_edits_pooled() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pairs.jsonl");
        let lines = r#"{"reference": "a b c", "hypothesis": "a c", "seconds": 1}
{"id": 7, "reference": "d", "hypothesis": "d"}"#;
        std::fs::write(&path, lines).expect("written");
        let pairs = read_text_pairs(&path).expect("pairs");
        let report = TextReport::of(&pairs, TextNormalization::none()).expect("a report");
        assert_eq!(report.wer.rate, 0.25);
        // "b " is missing of 5 + 1 characters.
        assert_eq!(report.cer.rate, 2.0 / 6.0);
        let ids: Vec<&str> = report.clips.iter().map(|clip| clip.id.as_str()).collect();
        assert_eq!(ids, ["1", "7"]);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["clips"][0]["wer"]["deletions"], 1);
    }

    #[test]
    fn a_pair_too_long_to_align_is_named() {
        let pair = TextPair {
            id: "novel".into(),
            reference: "a".repeat(70_000),
            hypothesis: "b".repeat(70_000),
        };
        let error = TextReport::of(&[pair], TextNormalization::none()).expect_err("too long");
        assert!(
            error.to_string().starts_with("`novel`, edit distance"),
            "{error}"
        );
    }

    #[test]
    fn files_without_pairs_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        for (text, words) in [
            ("", "number of clips: 0"),
            ("\n\n", "expected at least 1"),
            (
                r#"{"reference": "a"}"#,
                "line 1: missing field `hypothesis`",
            ),
            (
                r#"{"reference": 1, "hypothesis": "a"}"#,
                "line 1: invalid type",
            ),
            ("[", "line 1: EOF"),
        ] {
            let path = folder.path().join("pairs.jsonl");
            std::fs::write(&path, text).expect("written");
            let error = read_text_pairs(&path).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
