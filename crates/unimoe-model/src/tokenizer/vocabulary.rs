//! Learning merges from texts, for models that begin from random weights.

use std::collections::{BTreeMap, HashMap};

use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
};

use super::{byte_level::bytes, library_error, pre_tokenizer};
use crate::{error::TokenizerError, prompt::Prompt};

/// Fewest times that a pair of tokens must stand in the texts to be merged.
const LEAST: u64 = 2;

/// What a new tokenizer knows beyond single bytes: pairs that are merged, most urgent first.
///
/// The published model takes Qwen2.5's 151 thousand tokens. A small model is better served by the words of its own
/// texts: sequences get shorter, and each word is one row of the embedding.
///
/// ```
/// use unimoe_model::Vocabulary;
///
/// let vocabulary = Vocabulary::learn(["low lower", "low"], 100)?;
/// // `l o`, `lo w` stand twice and more; nothing else does.
/// assert_eq!(vocabulary.n_merges(), 2);
/// # Ok::<(), unimoe_model::TokenizerError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vocabulary {
    merges: Vec<(String, String)>,
}

impl Vocabulary {
    /// No merges: a token is a byte.
    pub fn bytes() -> Self {
        Self::default()
    }

    /// Learns up to `limit` merges: again and again the pair of neighbours that stands most often in the pieces of the
    /// texts, the one that sorts first among equals, until none stands twice (byte-pair encoding).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Library`] where a text can't be split into pieces.
    pub fn learn<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        limit: usize,
    ) -> Result<Self, TokenizerError> {
        let splitter = pre_tokenizer("the texts of a vocabulary")?;
        let mut pieces: BTreeMap<String, u64> = BTreeMap::new();
        for text in texts {
            for piece in split(&splitter, text)? {
                *pieces.entry(piece).or_default() += 1;
            }
        }
        let mut names: Vec<String> = bytes().map(|(token, _)| token.to_string()).collect();
        let ids: HashMap<String, usize> = names.iter().cloned().zip(0..).collect();
        let mut words: Vec<(Vec<usize>, u64)> = pieces
            .into_iter()
            .map(|(piece, count)| {
                let symbols = piece
                    .chars()
                    .filter_map(|c| ids.get(c.to_string().as_str()));
                (symbols.copied().collect(), count)
            })
            .collect();
        let mut merges = Vec::new();
        while merges.len() < limit {
            let mut counts: HashMap<(usize, usize), u64> = HashMap::new();
            for (word, count) in &words {
                for pair in word.windows(2) {
                    *counts.entry((pair[0], pair[1])).or_default() += count;
                }
            }
            let name = |&(first, second): &(usize, usize)| (&names[first], &names[second]);
            let best = counts
                .into_iter()
                .max_by(|(a, n), (b, m)| n.cmp(m).then_with(|| name(b).cmp(&name(a))));
            let Some((pair, _)) = best.filter(|(_, count)| *count >= LEAST) else {
                break;
            };
            let merged = names.len();
            merges.push((names[pair.0].clone(), names[pair.1].clone()));
            names.push(format!("{}{}", names[pair.0], names[pair.1]));
            for (word, _) in &mut words {
                replace(word, pair, merged);
            }
        }
        Ok(Self { merges })
    }

    /// Learns from prompts: from the texts in them and from the wording around them, so that what stands in every prompt
    /// takes few tokens.
    ///
    /// # Errors
    ///
    /// As for [`learn`](Self::learn).
    pub fn of_prompts<'a>(
        prompts: impl IntoIterator<Item = &'a Prompt>,
        limit: usize,
    ) -> Result<Self, TokenizerError> {
        let rows: Vec<String> = prompts
            .into_iter()
            .flat_map(|prompt| [prompt.unconditional(), prompt.conditional()])
            .map(ToString::to_string)
            .collect();
        // Added tokens are no text: `<|name|>text<|name|>`.
        let between = |part| str::split_once(part, "|>").map_or(part, |(_, text)| text);
        Self::learn(
            rows.iter().flat_map(|row| row.split("<|").map(between)),
            limit,
        )
    }

    /// Number of merges, each of which gives a token.
    pub fn n_merges(&self) -> usize {
        self.merges.len()
    }

    /// The pairs, most urgent first, in the alphabet of byte-level vocabularies.
    pub fn merges(&self) -> &[(String, String)] {
        &self.merges
    }
}

/// The pieces of a text in the alphabet of bytes; a merge never crosses their borders.
fn split(splitter: &PreTokenizerWrapper, text: &str) -> Result<Vec<String>, TokenizerError> {
    let mut whole = PreTokenizedString::from(text);
    splitter
        .pre_tokenize(&mut whole)
        .map_err(library_error("a text"))?;
    let pieces = whole.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
    Ok(pieces
        .into_iter()
        .map(|(piece, ..)| piece.to_string())
        .collect())
}

/// Puts `merged` in the place of each `pair`, from the left.
fn replace(word: &mut Vec<usize>, pair: (usize, usize), merged: usize) {
    let mut place = 0;
    while place + 1 < word.len() {
        if (word[place], word[place + 1]) == pair {
            word[place] = merged;
            word.remove(place + 1);
        }
        place += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokenizer;

    #[test]
    fn words_that_come_often_are_one_token_and_other_texts_survive() {
        let texts = ["the red dog sees the red house", "你好 the dog", "你好"];
        let vocabulary = Vocabulary::learn(texts, 500).expect("plain texts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        Tokenizer::write(folder.path(), &vocabulary).expect("a writable folder");
        let tokenizer = Tokenizer::from_dir(folder.path()).expect("a complete folder");
        assert_eq!(tokenizer.vocab_size(), 289 + vocabulary.n_merges());
        let count = |text: &str| tokenizer.encode(text).expect("any text").len();
        assert_eq!(count("the red red dog"), 4);
        assert_eq!(count("你好"), 1);
        // `house` stands once: bytes, but no less right.
        for text in ["the house 再见!", "zebra\n<|im_end|>"] {
            let ids = tokenizer.encode(text).expect("any text");
            assert_eq!(tokenizer.decode(&ids, false).expect("known ids"), text);
        }
    }

    #[test]
    fn the_wording_of_prompts_takes_a_token_a_word() {
        let prompt = Prompt::music("A calm piano.").expect("a caption");
        let vocabulary = Vocabulary::of_prompts([&prompt], 500).expect("plain texts");
        let folder = tempfile::tempdir().expect("a temporary folder");
        Tokenizer::write(folder.path(), &vocabulary).expect("a writable folder");
        let tokenizer = Tokenizer::from_dir(folder.path()).expect("a complete folder");
        let count = |text: &str| tokenizer.encode(text).expect("any text").len();
        assert_eq!(count("You are a helpful assistant."), 6);
        assert_eq!(count("<|im_start|>system\n"), 3);
    }

    #[test]
    fn merges_don_t_depend_on_the_order_of_texts() {
        let texts = [
            "one two three",
            "two three four",
            "three four five",
            "öö ßß",
        ];
        let forward = Vocabulary::learn(texts, 50).expect("plain texts");
        let backward = Vocabulary::learn(texts.into_iter().rev(), 50).expect("plain texts");
        assert_eq!(forward, backward);
        assert!(forward.n_merges() > 5);
        let fewer = Vocabulary::learn(texts, 3).expect("plain texts");
        assert_eq!(fewer.merges(), &forward.merges()[..3]);
    }
}
