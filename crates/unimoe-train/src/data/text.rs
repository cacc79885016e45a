//! What is in a text: characters, scripts, and its words without their dress.

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::error::DataError;

/// Largest compiled pattern, in bytes.
const MAX_PATTERN: usize = 1 << 22;

/// Letters and digits of a text: what is spoken, as far as that shows.
pub fn spoken_characters(text: &str) -> usize {
    text.chars()
        .filter(|character| character.is_alphanumeric())
        .count()
}

/// A text without case, signs, spaces and ways of writing the same character (NFKC): two texts that differ in these
/// alone become equal.
pub fn normalized_text(text: &str) -> String {
    let letters = text.nfkc().filter(|character| character.is_alphanumeric());
    // Lower case may take a letter apart again.
    letters.flat_map(char::to_lowercase).nfkc().collect()
}

/// Compiles a pattern of a user.
pub(super) fn pattern(setting: &'static str, pattern: &str) -> Result<Regex, DataError> {
    let mut builder = regex::RegexBuilder::new(pattern);
    builder.size_limit(MAX_PATTERN).build().map_err(|error| {
        let message = error.to_string();
        // The last line says what is wrong, those before show where.
        let reason = message.lines().last().unwrap_or_default().trim();
        DataError::setting(
            setting,
            "a regular expression",
            format!("`{pattern}`: {reason}"),
        )
    })
}

/// A pattern of texts whose characters all belong to some scripts, or to none (digits, signs, spaces).
pub(super) fn of_scripts(scripts: &[String]) -> Result<Regex, DataError> {
    let mut class = String::from(r"\p{Common}\p{Inherited}");
    for script in scripts {
        let setting = "a script";
        let plain = !script.is_empty()
            && script
                .chars()
                .all(|letter| letter.is_ascii_alphabetic() || letter == '_');
        let one = format!(r"\p{{Script={script}}}");
        if !plain || Regex::new(&one).is_err() {
            let expected = "a Unicode script such as `Latin` or `Han`";
            return Err(DataError::setting(setting, expected, format!("`{script}`")));
        }
        class.push_str(&one);
    }
    pattern("the scripts", &format!(r"\A[{class}]*\z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dress_does_not_tell_texts_apart() {
        let same = ["Hello, World 7!", "hello world７", "HELLO   WORLD7"];
        for text in same {
            assert_eq!(normalized_text(text), "helloworld7");
        }
        assert_eq!(normalized_text("Ünï\u{63}\u{327}"), "ünïç");
        assert_eq!(normalized_text("你好，世界。"), "你好世界");
        assert_eq!(spoken_characters("It's 5 o'clock."), 10);
    }

    #[test]
    fn texts_of_other_scripts_are_found() {
        let latin = of_scripts(&["Latin".into()]).expect("a script");
        assert!(latin.is_match("Hello, wörld: 5 €!"));
        assert!(!latin.is_match("Hello, мир"));
        let both = of_scripts(&["Latin".into(), "Han".into()]).expect("scripts");
        assert!(both.is_match("OK，你好"));
        for script in ["Klingon2", "", "Han}\\p{Any", "Latin]"] {
            assert!(of_scripts(&[script.into()]).is_err(), "{script}");
        }
    }

    #[test]
    fn patterns_that_are_none_or_too_large_are_errors() {
        for text in ["(", "a{1000}{1000}{1000}", r"\p{Nothing}"] {
            assert!(pattern("a pattern", text).is_err(), "{text}");
        }
    }
}
