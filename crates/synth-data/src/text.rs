//! What is said: sentences of restricted vocabularies.

mod english;
mod grammar;
mod mandarin;
mod spelling;
mod vocabulary;

use std::collections::HashSet;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::random;
use grammar::Grammar;
pub(crate) use spelling::Spelling;
pub use spelling::text_key;

/// Draws that may repeat a text before the grammar counts as exhausted.
const ATTEMPTS: usize = 1_000;
/// Words of a list.
const LIST: std::ops::RangeInclusive<usize> = 2..=4;

/// A language of the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Language {
    /// American English.
    #[serde(rename = "en")]
    English,
    /// Mandarin Chinese, in simplified characters.
    #[serde(rename = "zh")]
    Mandarin,
}

impl Language {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Mandarin, Self::English];

    /// The two letters of manifests.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Mandarin => "zh",
        }
    }

    pub(crate) fn grammar(self) -> Grammar {
        match self {
            Self::English => english::GRAMMAR,
            Self::Mandarin => mandarin::GRAMMAR,
        }
    }

    fn full_stop(self) -> &'static str {
        match self {
            Self::English => ".",
            Self::Mandarin => "。",
        }
    }

    /// The words of the vocabulary as texts of their own.
    pub(crate) fn words(self) -> impl Iterator<Item = String> {
        let grammar = self.grammar();
        let end = self.full_stop();
        let words = self.vocabulary().into_iter();
        words.map(move |word| grammar.spelling.write(&format!("{word}{end}")))
    }

    /// What newcomers try first; every speaker says each of them in the training set.
    pub fn common(self) -> &'static [&'static str] {
        match self {
            Self::English => english::COMMON,
            Self::Mandarin => mandarin::COMMON,
        }
    }

    /// What the reference recordings of the training set say.
    pub fn references(self) -> &'static [&'static str] {
        match self {
            Self::English => english::REFERENCES,
            Self::Mandarin => mandarin::REFERENCES,
        }
    }

    /// What the reference recordings of the test set say.
    pub fn test_references(self) -> &'static [&'static str] {
        match self {
            Self::English => english::TEST_REFERENCES,
            Self::Mandarin => mandarin::TEST_REFERENCES,
        }
    }
}

/// Draws texts of a language: none twice, and none of the fixed ones. Ends where the grammar has hardly another one.
///
/// ```
/// use synth_data::{Language, Texts};
///
/// let texts: Vec<String> = Texts::new(Language::English, 1).take(3).collect();
/// assert_eq!(texts.len(), 3);
/// ```
#[derive(Debug)]
pub struct Texts {
    language: Language,
    grammar: Grammar,
    rng: ChaCha8Rng,
    drawn: HashSet<String>,
}

impl Texts {
    /// Starts the draw of a seed.
    pub fn new(language: Language, seed: u64) -> Self {
        Self::of(language, language.grammar(), seed)
    }

    pub(crate) fn of(language: Language, grammar: Grammar, seed: u64) -> Self {
        let fixed = [
            language.common(),
            language.references(),
            language.test_references(),
        ];
        Self {
            language,
            grammar,
            rng: random::stream(seed, &format!("text-{}", language.code()), 0),
            drawn: fixed
                .into_iter()
                .flatten()
                .map(|text| text_key(text))
                .collect(),
        }
    }
}

impl Texts {
    /// Lists of words of the vocabulary without a grammar, `count` of them or as many as there are; none is drawn twice, here or
    /// as a sentence.
    pub(crate) fn lists(&mut self, seed: u64, count: usize) -> Vec<String> {
        let language = self.language;
        let mut rng = random::stream(seed, &format!("lists-{}", language.code()), 0);
        let words = language.vocabulary();
        let mut list = || {
            let length = rng.random_range(LIST);
            let drawn = (0..length).map(|_| words[rng.random_range(0..words.len())].as_str());
            let list = drawn.collect::<Vec<_>>().join(" ");
            self.grammar
                .spelling
                .write(&format!("{list}{}", language.full_stop()))
        };
        let mut lists = Vec::with_capacity(count);
        while lists.len() < count {
            let next = (0..ATTEMPTS).map(|_| list());
            match next
                .into_iter()
                .find(|text| self.drawn.insert(text_key(text)))
            {
                Some(text) => lists.push(text),
                None => break,
            }
        }
        lists
    }
}

impl Iterator for Texts {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        (0..ATTEMPTS)
            .map(|_| self.grammar.sentence(&mut self.rng))
            .find(|text| self.drawn.insert(text_key(text)))
    }
}

/// A grammar of 25 sentences.
#[cfg(test)]
pub(crate) const TWENTY_FIVE: Grammar = Grammar {
    slots: &[("digit", &["一", "二", "三", "四", "五"])],
    templates: &["{digit} 和 {digit} 。"],
    spelling: Spelling::Mandarin,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_where_the_grammar_ends() {
        assert_eq!(Texts::of(Language::Mandarin, TWENTY_FIVE, 1).count(), 25);
    }

    #[test]
    fn a_seed_draws_the_same_texts_and_another_seed_others() {
        let draw = |seed| {
            Texts::new(Language::English, seed)
                .take(50)
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(4), draw(4));
        assert_ne!(draw(4), draw(5));
    }

    #[test]
    fn lists_are_of_the_vocabulary_and_no_sentence_comes_after_them_again() {
        for language in Language::ALL {
            let mut texts = Texts::new(language, 1);
            let lists = texts.lists(1, 500);
            assert_eq!(lists.len(), 500);
            assert!(
                lists
                    .iter()
                    .all(|list| language.unknown_words(list).is_empty())
            );
            let keys: HashSet<String> = lists.iter().map(|list| text_key(list)).collect();
            assert_eq!(keys.len(), 500);
            assert!(texts.take(500).all(|text| !keys.contains(&text_key(&text))));
        }
    }

    #[test]
    fn no_text_comes_twice() {
        for language in Language::ALL {
            let texts: Vec<String> = Texts::new(language, 1).take(4000).collect();
            let keys: HashSet<String> = texts.iter().map(|text| text_key(text)).collect();
            assert_eq!(keys.len(), 4000);
            assert!(
                language
                    .common()
                    .iter()
                    .all(|text| !keys.contains(&text_key(text)))
            );
        }
    }
}
