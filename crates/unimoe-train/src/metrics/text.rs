//! Word and character error rate.
//!
//! `rate = (substitutions + deletions + insertions) / length of the reference`, as jiwer defines it: without
//! normalisation nothing is folded, words are what stands between spaces, and every character counts, spaces within
//! the text too.

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use super::{EditCounts, MetricError};

/// What is made equal in both texts before they are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TextNormalization {
    /// Compatibility composition (NFKC): full-width letters, ligatures, and accents written as two characters
    /// become their usual form.
    pub compose: bool,
    /// Lower case.
    pub fold_case: bool,
    /// Punctuation and symbols become spaces, an apostrophe between letters excepted.
    pub drop_punctuation: bool,
    /// Every run of white space becomes one space.
    pub collapse_spaces: bool,
    /// The character error rate doesn't count spaces, as is usual for Chinese. Words are not touched.
    pub ignore_spaces: bool,
}

/// Edits, and their share of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ErrorRate {
    /// Edits by the length of the reference; where that is 0, the number of edits. It may exceed 1.
    pub rate: f64,
    /// The edits.
    #[serde(flatten)]
    pub counts: EditCounts,
}

impl TextNormalization {
    /// Nothing is made equal: the texts are compared as they are.
    pub fn none() -> Self {
        Self::default()
    }

    /// Everything but [`ignore_spaces`](Self::ignore_spaces): for transcripts of models that write case and
    /// punctuation as they like.
    pub fn basic() -> Self {
        Self {
            compose: true,
            fold_case: true,
            drop_punctuation: true,
            collapse_spaces: true,
            ignore_spaces: false,
        }
    }

    /// The text as it is compared.
    pub fn apply(&self, text: &str) -> String {
        let mut text = if self.compose {
            text.nfkc().collect()
        } else {
            text.to_owned()
        };
        if self.fold_case {
            text = text.to_lowercase();
        }
        if self.drop_punctuation {
            text = without_punctuation(&text);
        }
        if self.collapse_spaces {
            text = text.split(is_space).filter(|w| !w.is_empty()).fold(
                String::new(),
                |mut text, word| {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text + word
                },
            );
        }
        text
    }
}

impl ErrorRate {
    /// The rate of these counts.
    pub fn new(counts: EditCounts) -> Self {
        Self {
            rate: counts.edits() as f64 / counts.reference_length().max(1) as f64,
            counts,
        }
    }

    /// The rate of a corpus: the counts of all its pairs together.
    pub fn pooled<'a>(rates: impl IntoIterator<Item = &'a Self>) -> Self {
        let counts = rates.into_iter().map(|rate| rate.counts);
        Self::new(counts.fold(EditCounts::default(), EditCounts::plus))
    }
}

/// Word error rate (WER) of one pair of texts.
///
/// Runs of two or more white space characters count as one space; words are what stands between spaces, so that a
/// single tab joins two of them, as with jiwer.
///
/// # Errors
///
/// [`MetricError::TooMany`] for texts too long to align.
///
/// ```
/// use unimoe_train::{TextNormalization, word_error_rate};
///
/// let wer = word_error_rate("the cat sat", "the Cat sat down", TextNormalization::none())?;
/// assert_eq!((wer.counts.substitutions, wer.counts.insertions), (1, 1));
/// let wer = word_error_rate("the cat sat", "the Cat sat down", TextNormalization::basic())?;
/// assert_eq!(wer.rate, 1.0 / 3.0);
/// # Ok::<(), unimoe_train::MetricError>(())
/// ```
pub fn word_error_rate(
    reference: &str,
    hypothesis: &str,
    normalization: TextNormalization,
) -> Result<ErrorRate, MetricError> {
    let texts = [reference, hypothesis].map(|text| runs_to_spaces(&normalization.apply(text)));
    let [reference, hypothesis] = texts.each_ref().map(|text| words(text));
    EditCounts::between(&reference, &hypothesis).map(ErrorRate::new)
}

/// Character error rate (CER) of one pair of texts; white space around them doesn't count.
///
/// # Errors
///
/// [`MetricError::TooMany`] for texts too long to align.
pub fn character_error_rate(
    reference: &str,
    hypothesis: &str,
    normalization: TextNormalization,
) -> Result<ErrorRate, MetricError> {
    let characters = |text: &str| -> Vec<char> {
        let text = normalization.apply(text);
        let text = text.trim_matches(is_space).chars();
        text.filter(|&c| !(normalization.ignore_spaces && is_space(c)))
            .collect()
    };
    EditCounts::between(&characters(reference), &characters(hypothesis)).map(ErrorRate::new)
}

/// White space as Python's `str` knows it, which jiwer builds on: Unicode's, and four separators of ASCII.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn runs_to_spaces(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let run = is_space(c) && characters.peek().is_some_and(|&next| is_space(next));
        if run {
            while characters.next_if(|&next| is_space(next)).is_some() {}
        }
        out.push(if run { ' ' } else { c });
    }
    out
}

fn words(text: &str) -> Vec<&str> {
    let words = text.trim_matches(is_space).split(' ');
    words.filter(|word| !word.is_empty()).collect()
}

fn without_punctuation(text: &str) -> String {
    let mut previous = ' ';
    let mut characters = text.chars().peekable();
    let mut out = String::with_capacity(text.len());
    while let Some(c) = characters.next() {
        // A typographic apostrophe is written as the plain one.
        let c = if c == '\u{2019}' { '\'' } else { c };
        let next = characters.peek().copied().unwrap_or(' ');
        let inside = c == '\'' && previous.is_alphabetic() && next.is_alphabetic();
        let group = c.general_category_group();
        let dropped = matches!(
            group,
            GeneralCategoryGroup::Punctuation | GeneralCategoryGroup::Symbol
        );
        out.push(if dropped && !inside { ' ' } else { c });
        previous = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wer(reference: &str, hypothesis: &str) -> f64 {
        let none = TextNormalization::none();
        word_error_rate(reference, hypothesis, none)
            .expect("short texts")
            .rate
    }

    #[test]
    fn white_space_is_as_jiwer_sees_it() {
        assert_eq!(wer("a b", "  a \t b\n"), 0.0);
        // A single tab is no space, a run of two is.
        assert_eq!(wer("a b", "a\tb"), 1.0);
        assert_eq!(wer("a b", "a\t\tb"), 0.0);
    }

    #[test]
    fn an_empty_reference_counts_insertions() {
        assert_eq!(wer("", "a b c"), 3.0);
        assert_eq!(wer("", " "), 0.0);
        assert_eq!(wer("a b", ""), 1.0);
    }

    #[test]
    fn basic_normalization_leaves_what_is_said() {
        let basic = TextNormalization::basic();
        for (text, expected) in [
            ("  Hello,\tWORLD! ", "hello world"),
            (
                "It\u{2019}s rock \u{2019}n\u{2019} roll",
                "it's rock n roll",
            ),
            ("cafe\u{301} \u{ff21}\u{ff22}\u{ff23}", "caf\u{e9} abc"),
            ("twenty-five $ 3.5", "twenty five 3 5"),
            (
                "\u{4f60}\u{597d}\u{ff0c}\u{4e16}\u{754c}\u{3002}",
                "\u{4f60}\u{597d} \u{4e16}\u{754c}",
            ),
            (
                "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
                "\u{939}\u{93f}\u{928}\u{94d}\u{926}\u{940}",
            ),
        ] {
            assert_eq!(basic.apply(text), expected);
            assert_eq!(basic.apply(expected), expected);
        }
    }

    #[test]
    fn spaces_count_as_characters_unless_ignored() {
        let mut normalization = TextNormalization::none();
        let cer = |normalization| {
            character_error_rate("\u{4eca} \u{5929}", "\u{4eca}\u{5929}", normalization)
                .expect("short texts")
                .rate
        };
        assert_eq!(cer(normalization), 1.0 / 3.0);
        normalization.ignore_spaces = true;
        assert_eq!(cer(normalization), 0.0);
    }

    #[test]
    fn a_corpus_pools_its_counts() {
        // 1 edit of 1 word, and none of 3 words: 1/4, not the mean of 1 and 0.
        let rates = [("a", "b"), ("c d e", "c d e")].map(|(reference, hypothesis)| {
            word_error_rate(reference, hypothesis, TextNormalization::none()).expect("short texts")
        });
        assert_eq!(ErrorRate::pooled(&rates).rate, 0.25);
    }
}
