//! How words become a written sentence, and when two sentences are the same text.

/// How words become a written sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// Spaces between words, a capital at the start, "an" before vowels.
    English,
    /// No spaces.
    Mandarin,
}

impl Spelling {
    /// Writes words that have a space between each other.
    pub(crate) fn write(self, words: &str) -> String {
        match self {
            Self::Mandarin => words.split_whitespace().collect(),
            Self::English => {
                let words: Vec<&str> = words.split_whitespace().collect();
                let article = |i: usize| {
                    let next = words.get(i + 1);
                    let vowel = next.is_some_and(|w| w.starts_with(['a', 'e', 'i', 'o', 'u']));
                    if words[i] == "a" && vowel {
                        "an"
                    } else {
                        words[i]
                    }
                };
                let written: Vec<&str> = (0..words.len()).map(article).collect();
                capitalised(&written)
            }
        }
    }
}

/// First letters of sentences, and the word "i", in capitals.
fn capitalised(words: &[&str]) -> String {
    let mut start = true;
    let capital = |word: &&str| {
        let mut letters = word.chars();
        let first = letters.next().filter(|_| start || bare(word) == "i");
        start = word.ends_with(['.', '?', '!']);
        match first {
            Some(first) => first.to_uppercase().chain(letters).collect(),
            None => (*word).to_string(),
        }
    };
    words.iter().map(capital).collect::<Vec<String>>().join(" ")
}

/// Marks of punctuation in either language.
pub(crate) fn is_mark(c: char) -> bool {
    matches!(c, '.' | ',' | '?' | '!' | '。' | '，' | '？' | '！')
}

/// A word without the marks around it.
pub(crate) fn bare(word: &str) -> &str {
    word.trim_matches(is_mark)
}

/// A sentence without case and punctuation: equal keys are the same text.
///
/// ```
/// use synth_data::text_key;
///
/// assert_eq!(text_key("Hello, world!"), text_key("hello world."));
/// ```
pub fn text_key(text: &str) -> String {
    let plain = text.replace(is_mark, "").to_lowercase();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_and_capitals_are_those_of_english() {
        let written = Spelling::English.write("hello, world. a old house, and i see a table.");
        assert_eq!(written, "Hello, world. An old house, and I see a table.");
    }

    #[test]
    fn characters_stand_without_spaces() {
        assert_eq!(Spelling::Mandarin.write("我 的 朋友 。"), "我的朋友。");
        assert_eq!(text_key("你好，世界。"), text_key("你好世界！"));
    }
}
