//! The words that the speech is made of, and words that are none of them.

use std::collections::BTreeSet;

use super::{
    Language,
    spelling::{bare, is_mark},
};

impl Language {
    /// All words of the sentences, lower case, in the order of their characters.
    ///
    /// ```
    /// use synth_data::Language;
    ///
    /// assert!(Language::English.vocabulary().contains(&"hello".to_string()));
    /// assert!(Language::Mandarin.vocabulary().contains(&"朋友".to_string()));
    /// ```
    pub fn vocabulary(self) -> Vec<String> {
        let mut words = BTreeSet::new();
        for source in self.grammar().sources() {
            let plain = source.split_whitespace().map(bare);
            let plain = plain.filter(|word| !word.is_empty() && !word.contains(['{', '}']));
            words.extend(plain.map(str::to_lowercase));
        }
        match self {
            Self::English => {
                let common = self
                    .common()
                    .iter()
                    .flat_map(|text| text.split_whitespace());
                words.extend(common.map(|word| bare(word).to_lowercase()));
            }
            // The grammar's own words cover the fixed sentences, which a test checks.
            Self::Mandarin => {}
        }
        words.into_iter().collect()
    }

    /// The parts of a text that the speech is not made of, in their order, each once.
    ///
    /// English words are compared without case and marks. Mandarin is read from the left, each time by the longest word that fits;
    /// what lies between words is unknown.
    ///
    /// ```
    /// use synth_data::Language;
    ///
    /// let unknown = Language::English.unknown_words("Hello, quantum world.");
    /// assert_eq!(unknown, ["quantum"]);
    /// ```
    pub fn unknown_words(self, text: &str) -> Vec<String> {
        let vocabulary = self.vocabulary();
        let mut unknown: Vec<String> = Vec::new();
        let mut add = |word: &str| {
            if !word.is_empty() && !unknown.iter().any(|known| known == word) {
                unknown.push(word.to_string());
            }
        };
        match self {
            Self::English => {
                let words = text.split(|c: char| c.is_whitespace() || is_mark(c));
                for word in words.map(str::to_lowercase) {
                    if vocabulary.binary_search(&word).is_err() {
                        add(&word);
                    }
                }
            }
            Self::Mandarin => {
                let mut rest = text;
                let mut between = String::new();
                while let Some(c) = rest.chars().next() {
                    let fitting = vocabulary.iter().filter(|word| rest.starts_with(*word));
                    let longest = fitting.map(String::len).max();
                    let passed = c.is_whitespace() || is_mark(c);
                    if longest.is_some() || passed {
                        add(&std::mem::take(&mut between));
                    } else {
                        between.push(c);
                    }
                    rest = &rest[longest.unwrap_or(c.len_utf8())..];
                }
                add(&between);
            }
        }
        unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Texts, text_key};

    #[test]
    fn what_is_said_is_known() {
        for language in Language::ALL {
            let fixed = language.common().iter().map(|text| text.to_string());
            let drawn = Texts::new(language, 3).take(300);
            for text in fixed.chain(drawn) {
                assert_eq!(
                    language.unknown_words(&text),
                    Vec::<String>::new(),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn unknown_words_are_named_once_and_in_order() {
        let text = "Zebra, hello zebra! The aardvark.";
        assert_eq!(Language::English.unknown_words(text), ["zebra", "aardvark"]);
        assert_eq!(
            Language::Mandarin.unknown_words("你好，大象是我的朋友。"),
            ["象"]
        );
        assert_eq!(Language::Mandarin.unknown_words("机器人说话"), ["机器人"]);
    }

    #[test]
    fn every_word_is_learnt_at_the_default_scale() {
        for (language, count) in [(Language::English, 2000), (Language::Mandarin, 3600)] {
            let texts: Vec<String> = Texts::new(language, 1).take(count).collect();
            let texts: Vec<String> = texts.iter().map(|text| text_key(text)).collect();
            let fixed: Vec<String> = language.common().iter().map(|t| text_key(t)).collect();
            for word in language.vocabulary() {
                let holds = |text: &String| match language {
                    Language::English => text.split(' ').any(|w| w == word),
                    Language::Mandarin => text.contains(&word),
                };
                assert!(texts.iter().chain(&fixed).any(holds), "{word}");
            }
        }
    }

    #[test]
    fn the_page_lists_the_vocabulary() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/src/synthetic-data.md"
        );
        let page = std::fs::read_to_string(page).expect("the page");
        for language in Language::ALL {
            let list = language.vocabulary().join(" ");
            assert!(page.contains(&list), "the page lacks the list\n{list}");
        }
    }
}
