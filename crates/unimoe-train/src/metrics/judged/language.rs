//! The words of texts, and how they follow one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use crate::metrics::TextNormalization;

/// The words of a text as a recogniser writes them: lower case, without punctuation, an apostrophe within a word excepted.
pub fn spoken_words(text: &str) -> Vec<String> {
    let text = TextNormalization::basic().apply(text);
    text.split_whitespace().map(str::to_owned).collect()
}

/// How often words follow each other in texts: a bigram model with Witten and Bell's discounts (IEEE Trans. Information
/// Theory 37, 1991), in which every word of a vocabulary is possible everywhere.
#[derive(Debug, Clone, Default)]
pub struct Bigrams {
    /// Of the vocabulary and the end of a sentence.
    counts: BTreeMap<String, u64>,
    /// What follows a word or the begin of a sentence.
    next: BTreeMap<String, BTreeMap<String, u64>>,
}

const BEGIN: &str = "<s>";
const END: &str = "</s>";

impl Bigrams {
    /// Counts the words of `texts` within `vocabulary`; a word outside of it breaks the sequence.
    pub fn of<'a>(vocabulary: &BTreeSet<String>, texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut model = Self::default();
        for word in vocabulary {
            model.counts.insert(word.clone(), 0);
        }
        model.counts.insert(END.into(), 0);
        for text in texts {
            let mut before = Some(BEGIN.to_owned());
            for word in spoken_words(text).into_iter().chain([END.to_owned()]) {
                let Some(count) = model.counts.get_mut(&word) else {
                    before = None;
                    continue;
                };
                *count += 1;
                if let Some(before) = before {
                    *(model.next.entry(before).or_default())
                        .entry(word.clone())
                        .or_default() += 1;
                }
                before = Some(word);
            }
        }
        model
    }

    /// The probability of a word by itself: Witten and Bell's against an even one.
    fn alone(&self, word: &str) -> f64 {
        let total: u64 = self.counts.values().sum();
        let kinds = self
            .counts
            .values()
            .filter(|&&count| count > 0)
            .count()
            .max(1) as f64;
        let even = 1.0 / self.counts.len() as f64;
        let count = self.counts.get(word).copied().unwrap_or(0) as f64;
        (count + kinds * even) / (total as f64 + kinds)
    }

    /// The probability of `word` after `before`.
    #[cfg(test)]
    fn after(&self, before: &str, word: &str) -> f64 {
        let Some(next) = self.next.get(before) else {
            return self.alone(word);
        };
        let (total, kinds) = (next.values().sum::<u64>() as f64, next.len() as f64);
        match next.get(word) {
            Some(&count) => count as f64 / (total + kinds),
            None => self.back_off(next) * self.alone(word),
        }
    }

    /// What multiplies the probability of a word by itself where it wasn't seen after another one.
    fn back_off(&self, next: &BTreeMap<String, u64>) -> f64 {
        let (total, kinds) = (next.values().sum::<u64>() as f64, next.len() as f64);
        let seen: f64 = next.keys().map(|word| self.alone(word)).sum();
        // Where all words follow, none is left to back off to.
        kinds / (total + kinds) / (1.0 - seen).max(1e-9)
    }

    /// The model in the ARPA format of n-gram files.
    pub fn arpa(&self) -> String {
        let pairs: usize = self.next.values().map(BTreeMap::len).sum();
        let singles = self.counts.len() + 1;
        let second = match pairs {
            0 => String::new(),
            pairs => format!("ngram 2={pairs}\n"),
        };
        let mut text = format!("\\data\\\nngram 1={singles}\n{second}\n\\1-grams:\n");
        // Nothing keeps a String from growing.
        let _ = writeln!(text, "-99.0 {BEGIN} {:.5}", self.weight(BEGIN));
        for word in self.counts.keys() {
            let probability = self.alone(word).log10();
            let _ = writeln!(text, "{probability:.5} {word} {:.5}", self.weight(word));
        }
        if pairs > 0 {
            text.push_str("\n\\2-grams:\n");
        }
        for (before, next) in &self.next {
            let (total, kinds) = (next.values().sum::<u64>() as f64, next.len() as f64);
            for (word, &count) in next {
                let probability = (count as f64 / (total + kinds)).log10();
                let _ = writeln!(text, "{probability:.5} {before} {word}");
            }
        }
        text.push_str("\n\\end\\\n");
        text
    }

    fn weight(&self, word: &str) -> f64 {
        self.next
            .get(word)
            .map_or(0.0, |next| self.back_off(next).log10())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(texts: &[&str]) -> Bigrams {
        let words = ["a", "b", "c"].map(str::to_owned);
        Bigrams::of(&BTreeSet::from(words), texts.iter().copied())
    }

    #[test]
    fn probabilities_after_each_word_sum_to_one() {
        let model = model(&["A b.", "a, c", "a x b"]);
        for before in [BEGIN, "a", "b", "c"] {
            let words = ["a", "b", "c", END];
            let sum: f64 = words.iter().map(|word| model.after(before, word)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "after {before}: {sum}");
        }
        // "a" begins all three: 3 of 3 + 1 kind.
        assert_eq!(model.after(BEGIN, "a"), 0.75);
        // "x" is outside of the vocabulary: "b" follows "a" once, and "c".
        assert_eq!(model.after("a", "b"), 0.25);
    }

    #[test]
    fn the_file_says_how_many_entries_follow() {
        let text = model(&["a b"]).arpa();
        assert!(
            text.starts_with("\\data\\\nngram 1=5\nngram 2=3\n"),
            "{text}"
        );
        let entries = |title: &str| {
            let part = text.split(title).nth(1).expect("the part");
            part.trim_start()
                .lines()
                .take_while(|line| !line.is_empty())
                .count()
        };
        assert_eq!((entries("\\1-grams:"), entries("\\2-grams:")), (5, 3));
        let even = model(&[]).arpa();
        assert!(
            !even.contains("ngram 2") && !even.contains("2-grams"),
            "{even}"
        );
    }

    #[test]
    fn words_are_what_is_spoken() {
        assert_eq!(
            spoken_words("Hello, WORLD! It's five."),
            ["hello", "world", "it's", "five"]
        );
    }
}
