//! `learnt_words.json`: the words that a model was trained on, where they are few.
//!
//! ```json
//! {"speech": ["hello", "world", "你", "好"], "music": ["calm", "piano"]}
//! ```
//!
//! Words are in lower case. A Chinese character counts as a word of its own.

use std::collections::BTreeSet;

use model_files::{ModelPath, read_text};
use serde::{Deserialize, Serialize};

use crate::error::CompanionError;

/// Name of the file in a model folder.
pub(crate) const WORDS_FILE: &str = "learnt_words.json";

/// The words of a model's training set; empty lists where they are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearntWords {
    /// Of the texts that were spoken.
    pub speech: WordList,
    /// Of the captions of music.
    pub music: WordList,
}

/// Words in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WordList(BTreeSet<String>);

impl LearntWords {
    /// Reads the file of a model folder; empty lists where there is none.
    ///
    /// # Errors
    ///
    /// A [`CompanionError`] that names the file and what is wrong with it.
    pub fn find(folder: impl Into<ModelPath>) -> Result<Self, CompanionError> {
        let file = folder.into().join(WORDS_FILE);
        if !file.exists() {
            return Ok(Self::default());
        }
        let path = || file.path().to_path_buf();
        let text = read_text(&file).map_err(|source| CompanionError::Io {
            path: path(),
            source,
        })?;
        serde_json::from_str(&text).map_err(|source| CompanionError::Json {
            path: path(),
            source,
        })
    }
}

impl WordList {
    /// Adds the words of a text.
    pub fn learn(&mut self, text: &str) {
        self.0.extend(words(text));
    }

    /// The words of a text that are not in the list, each once, in order; none where the list is empty.
    ///
    /// ```
    /// use unimoe_model::WordList;
    ///
    /// let mut words = WordList::default();
    /// assert!(words.unknown("Anything goes.").is_empty());
    /// words.learn("Hello world, 你好!");
    /// assert_eq!(words.unknown("Hello, small world. 你早"), ["small", "早"]);
    /// ```
    pub fn unknown(&self, text: &str) -> Vec<String> {
        let mut unknown = Vec::new();
        if self.0.is_empty() {
            return unknown;
        }
        for word in words(text) {
            if !self.0.contains(&word) && !unknown.contains(&word) {
                unknown.push(word);
            }
        }
        unknown
    }

    /// The words in order.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Whether a text is written in Chinese characters, at least in part.
pub(crate) fn is_chinese(text: &str) -> bool {
    text.chars().any(is_han)
}

/// The words of a text in lower case: runs of letters and digits, single Chinese characters.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let characters = text.chars().flat_map(char::to_lowercase);
    for character in characters {
        match character {
            character if is_han(character) => {
                words.push(character.to_string());
                words.push(String::new());
            }
            '\'' | '’' => append(&mut words, '\''),
            character if character.is_alphanumeric() => append(&mut words, character),
            _ => words.push(String::new()),
        }
    }
    // An apostrophe belongs to a word only within it.
    let inner = words.iter().map(|word| word.trim_matches('\''));
    inner
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect()
}

fn append(words: &mut [String], character: char) {
    if let Some(word) = words.last_mut() {
        word.push(character);
    }
}

/// Unified ideographs, their first extension, the compatible ones, and the supplementary planes'.
fn is_han(character: char) -> bool {
    matches!(
        character,
        '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3134f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_signs_and_chinese_at_each_character() {
        assert_eq!(
            words("Don’t stop -- 'now', at 3:45! 早上好,world"),
            [
                "don't", "stop", "now", "at", "3", "45", "早", "上", "好", "world"
            ]
        );
        assert!(words(" '' -").is_empty());
        assert!(is_chinese("a 好") && !is_chinese("über ñ 3"));
    }

    #[test]
    fn a_vocabulary_reads_back_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(WORDS_FILE);
        assert_eq!(
            LearntWords::find(folder.path()).expect("no file"),
            LearntWords::default()
        );
        let mut words = LearntWords::default();
        words.speech.learn("Good morning");
        words.music.learn("calm 钢琴");
        let text = serde_json::to_string(&words).expect("JSON");
        std::fs::write(&path, text).expect("a file");
        let read = LearntWords::find(folder.path()).expect("valid");
        assert_eq!(read, words);
        assert_eq!(read.music.words().collect::<Vec<_>>(), ["calm", "琴", "钢"]);
        for text in ["{", "3", r#"{"speach": []}"#, r#"{"speech": "a"}"#] {
            std::fs::write(&path, text).expect("a file");
            let error = LearntWords::find(folder.path())
                .expect_err(text)
                .to_string();
            assert!(error.contains(WORDS_FILE), "{error}");
        }
    }
}
