//! Text to token ids and back.
//!
//! The released folder holds a byte-level BPE as `vocab.json`, `merges.txt` and the added tokens of
//! `added_tokens.json`. A text is normalised to NFC, split at added tokens, then by Qwen2's pattern,
//! and merged byte by byte. A `tokenizer.json` is used instead where there is one.

mod byte_level;
mod files;
mod json;
mod vocabulary;

use std::{collections::HashMap, path::Path};

use model_files::ModelPath;
use tokenizers::{
    AddedToken, NormalizedString, PreTokenizerWrapper, SplitDelimiterBehavior,
    Tokenizer as Library,
    models::bpe::BPE,
    pre_tokenizers::{
        byte_level::ByteLevel,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

pub(crate) use self::byte_level::{BYTE_LEVEL_PLACEHOLDER, BYTE_LEVEL_VOCAB_SIZE};
use self::files::Files;
use crate::error::TokenizerError;

pub use self::vocabulary::Vocabulary;

/// Qwen2's pieces: contractions, letters with one sign before them, single digits, signs, white space.
const PIECES: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Turns text into token ids and back.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    library: Library,
    /// Whether the whole text is normalised to NFC before it is split at added tokens.
    nfc: bool,
    special: HashMap<u32, String>,
    vocab_size: usize,
    pad: u32,
}

/// Token ids of several texts, left-padded to one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenBatch {
    /// Ids `[n_rows, length]` in row-major order.
    pub ids: Vec<u32>,
    /// `true` where a token is not padding, `[n_rows, length]`.
    pub real: Vec<bool>,
    /// Number of texts.
    pub n_rows: usize,
    /// Length of the longest.
    pub length: usize,
}

impl TokenBatch {
    /// Puts `pad` in front of the shorter rows.
    pub fn left_padded(rows: &[Vec<u32>], pad: u32) -> Self {
        let length = rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut batch = Self {
            ids: Vec::with_capacity(rows.len() * length),
            real: Vec::with_capacity(rows.len() * length),
            n_rows: rows.len(),
            length,
        };
        for row in rows {
            let padding = length - row.len();
            batch.ids.extend(std::iter::repeat_n(pad, padding));
            batch.real.extend(std::iter::repeat_n(false, padding));
            batch.ids.extend_from_slice(row);
            batch.real.extend(std::iter::repeat_n(true, row.len()));
        }
        batch
    }
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder.
    ///
    /// # Errors
    ///
    /// A [`TokenizerError`] that names the file and what is wrong with it.
    pub fn from_dir(dir: impl Into<ModelPath>) -> Result<Self, TokenizerError> {
        let dir = dir.into();
        let path = dir.join("tokenizer.json");
        if path.exists() {
            let library = json::read(&path)?;
            let pad = files::read_pad_token(&dir)?;
            return Self::from_library(library, false, pad);
        }
        Self::from_files(Files::read(&dir)?, dir.path())
    }

    /// A tokenizer without merges, in memory; see [`write_byte_level`](Self::write_byte_level).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Placeholder`] where the id leaves no room.
    pub fn byte_level(placeholder: u32) -> Result<Self, TokenizerError> {
        Self::from_files(byte_level::files(placeholder)?, Path::new("byte level"))
    }

    /// Writes a tokenizer without merges to a folder, in the released layout: the 256 bytes, the 22
    /// added tokens of Qwen2.5 right before `placeholder`, and from there the eleven audio tokens.
    ///
    /// # Errors
    ///
    /// A [`TokenizerError`] where the id leaves no room or a file can't be written.
    pub fn write_byte_level(dir: &Path, placeholder: u32) -> Result<(), TokenizerError> {
        byte_level::write(dir, placeholder, &Vocabulary::bytes())
    }

    /// Writes a tokenizer to a folder, in the released layout: the 256 bytes, the tokens that `vocabulary` merges, the 22
    /// added tokens of Qwen2.5, and the eleven audio tokens.
    ///
    /// # Errors
    ///
    /// A [`TokenizerError`] where there are more tokens than ids or a file can't be written.
    pub fn write(dir: &Path, vocabulary: &Vocabulary) -> Result<(), TokenizerError> {
        let placeholder = BYTE_LEVEL_PLACEHOLDER.saturating_add(vocabulary.n_merges() as u32);
        byte_level::write(dir, placeholder, vocabulary)
    }

    /// Token ids of a text. Added tokens in the text count as such; nothing is put around it.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Library`] where the library fails.
    ///
    /// # Example
    ///
    /// ```
    /// use unimoe_model::Tokenizer;
    ///
    /// let tokenizer = Tokenizer::byte_level(278)?;
    /// let ids = tokenizer.encode("Hi<|im_end|>")?;
    /// assert_eq!(ids.len(), 3);
    /// assert_eq!(tokenizer.decode(&ids, true)?, "Hi");
    /// # Ok::<(), unimoe_model::TokenizerError>(())
    /// ```
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = if self.nfc {
            let mut normalized = NormalizedString::from(text);
            normalized.nfc();
            self.library.encode_fast(normalized.get(), false)
        } else {
            self.library.encode_fast(text, false)
        };
        Ok(encoding
            .map_err(library_error("a text"))?
            .get_ids()
            .to_vec())
    }

    /// The text of token ids; U+FFFD where bytes are not UTF-8. Special tokens can be left out.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::NoId`] for an id that no token has.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        if let Some(&id) = ids.iter().find(|&&id| self.token(id).is_none()) {
            return Err(TokenizerError::NoId { id });
        }
        self.library
            .decode(ids, skip_special)
            .map_err(library_error("token ids"))
    }

    /// The id of a token.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.library.token_to_id(token)
    }

    /// The token of an id, in the vocabulary's own alphabet for bytes.
    pub fn token(&self, id: u32) -> Option<String> {
        self.library.id_to_token(id)
    }

    /// The special token of an id; `None` where the id is another token's.
    pub fn special_token(&self, id: u32) -> Option<&str> {
        self.special.get(&id).map(String::as_str)
    }

    /// The highest id plus one: rows that an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id that shorter rows of a batch are padded with.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    fn from_files(files: Files, dir: &Path) -> Result<Self, TokenizerError> {
        let place = dir.display().to_string();
        // Among the vocabulary, an added token keeps its own id; the library would count on from the last.
        let added = files.added.iter().map(|(id, token)| (&token.content, *id));
        let vocab = files.vocab.iter().map(|(token, id)| (token, *id));
        let model = BPE::builder()
            .vocab_and_merges::<tokenizers::models::bpe::Vocab>(
                vocab
                    .chain(added)
                    .map(|(token, id)| (token.clone(), id))
                    .collect(),
                files.merges,
            )
            .build()
            .map_err(library_error(&place))?;
        let mut library = Library::new(model);
        library.with_pre_tokenizer(Some(pre_tokenizer(&place)?));
        library.with_decoder(Some(ByteLevel::new(false, false, false)));
        let mut added: Vec<(u32, AddedToken)> = files.added.into_iter().collect();
        added.sort_by_key(|(id, _)| *id);
        library
            .add_tokens(added.into_iter().map(|(_, token)| token))
            .map_err(library_error(&place))?;
        Self::from_library(library, true, files.pad)
    }

    fn from_library(library: Library, nfc: bool, pad: String) -> Result<Self, TokenizerError> {
        let highest = library.get_vocab(true).into_values().max().unwrap_or(0);
        let special = library.get_added_tokens_decoder();
        Ok(Self {
            nfc,
            special: special
                .into_iter()
                .filter(|(_, token)| token.special)
                .map(|(id, token)| (id, token.content))
                .collect(),
            vocab_size: highest as usize + 1,
            pad: library
                .token_to_id(&pad)
                .ok_or(TokenizerError::NoToken { token: pad })?,
            library,
        })
    }
}

/// Splits at Qwen2's pieces and spells bytes in their alphabet.
fn pre_tokenizer(place: &str) -> Result<PreTokenizerWrapper, TokenizerError> {
    let split = Split::new(
        SplitPattern::Regex(PIECES.to_string()),
        SplitDelimiterBehavior::Isolated,
        false,
    )
    .map_err(library_error(place))?;
    let bytes = ByteLevel::new(false, false, false);
    Ok(Sequence::new(vec![split.into(), bytes.into()]).into())
}

fn library_error(
    what: &str,
) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> TokenizerError {
    let what = what.to_string();
    move |reason| TokenizerError::Library { what, reason }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::LazyLock, time::Instant};

    use proptest::prelude::*;

    use super::*;

    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
        Tokenizer::byte_level(BYTE_LEVEL_PLACEHOLDER).expect("the default id has room")
    });

    #[test]
    fn a_written_folder_is_the_tokenizer_in_memory() {
        for placeholder in [BYTE_LEVEL_PLACEHOLDER, 151_665] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            Tokenizer::write_byte_level(dir.path(), placeholder).expect("a writable folder");
            let read = Tokenizer::from_dir(dir.path()).expect("a complete folder");
            let memory = Tokenizer::byte_level(placeholder).expect("an id with room");
            let text = "<|im_start|>Ça va? 你好<tool_call><|MUSIC_END|>";
            let ids = read.encode(text).expect("any text");
            assert_eq!(ids, memory.encode(text).expect("any text"));
            assert_eq!(ids[0], placeholder - 21);
            assert_eq!(ids.last(), Some(&(placeholder + 10)));
            assert_eq!(read.decode(&ids, false).expect("known ids"), text);
            let plain = read.decode(&ids, true).expect("known ids");
            assert_eq!(plain, "Ça va? 你好<tool_call>");
            assert_eq!(read.vocab_size(), placeholder as usize + 11);
            assert_eq!(read.pad_id(), placeholder - 22);
            assert_eq!(read.token_id("<|AUDIO_PLACEHOLDER|>"), Some(placeholder));
        }
        assert_eq!(TOKENIZER.vocab_size(), BYTE_LEVEL_VOCAB_SIZE);
    }

    #[test]
    fn the_released_ids_follow_from_the_released_placeholder() {
        let tokenizer = Tokenizer::byte_level(151_665).expect("an id with room");
        for (token, id) in [
            ("<|endoftext|>", 151_643),
            ("<|im_end|>", 151_645),
            ("<|vision_start|>", 151_652),
            ("<|vision_end|>", 151_653),
            ("<|image_pad|>", 151_655),
            ("<|video_pad|>", 151_656),
        ] {
            assert_eq!(tokenizer.token_id(token), Some(id), "{token}");
        }
        assert_eq!(tokenizer.vocab_size(), 151_676);
    }

    #[test]
    fn nfc_comes_before_added_tokens() {
        // A combining stroke after `>` makes one character of both, so that no token is left.
        let ids = TOKENIZER.encode("<|im_end|>\u{338}").expect("any text");
        assert!(ids.len() > 2);
        assert_eq!(
            TOKENIZER.decode(&ids, false).expect("known ids"),
            "<|im_end|\u{226f}"
        );
    }

    #[test]
    fn long_texts_take_linear_time() {
        let n = 100_000;
        for text in [
            "x".repeat(n),
            " ".repeat(n) + "x",
            "\n".repeat(n),
            "你".repeat(n),
            "!".repeat(n),
            "e\u{301}".repeat(n / 2),
            "<|".repeat(n / 2),
            "a ".repeat(n / 2),
            "\u{301}".repeat(n),
        ] {
            let start = Instant::now();
            let ids = TOKENIZER.encode(&text).expect("any text");
            assert!(!ids.is_empty());
            // Quadratic time would be minutes.
            assert!(start.elapsed().as_secs() < 10, "{:?}", text.get(..6));
        }
    }

    #[test]
    fn an_unknown_id_is_named() {
        let error = TOKENIZER.decode(&[0, 4_000_000_000], false);
        assert!(matches!(
            error,
            Err(TokenizerError::NoId { id: 4_000_000_000 })
        ));
    }

    #[test]
    fn a_tokenizer_json_takes_precedence() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let other = Tokenizer::byte_level(1000).expect("an id with room");
        other
            .library
            .save(dir.path().join("tokenizer.json"), false)
            .expect("a writable folder");
        Tokenizer::write_byte_level(dir.path(), 300).expect("a writable folder");
        let read = Tokenizer::from_dir(dir.path()).expect("a complete folder");
        assert_eq!(read.token_id("<|AUDIO_PLACEHOLDER|>"), Some(1000));
        let text = "Hello<|im_end|>";
        assert_eq!(
            read.encode(text).expect("any text"),
            other.encode(text).expect("any text")
        );

        fs::write(
            dir.path().join("tokenizer.json"),
            r#"{"model": {"type": "WordLevel"}}"#,
        )
        .expect("a writable folder");
        let error = Tokenizer::from_dir(dir.path());
        assert!(
            matches!(error, Err(TokenizerError::Kind { .. })),
            "{error:?}"
        );
    }

    /// A folder with both forms of the tokenizer, where some bytes of `name` are overwritten.
    fn damaged(name: &str, damage: &[(usize, u8)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Tokenizer::write_byte_level(dir.path(), BYTE_LEVEL_PLACEHOLDER + 1)
            .expect("a writable folder");
        let merges = "#version: 0.2\nĠ t\n";
        fs::write(dir.path().join("merges.txt"), merges).expect("a writable folder");
        let vocab = dir.path().join("vocab.json");
        let text = fs::read_to_string(&vocab).expect("a file");
        let text = text.replacen('{', "{\"Ġt\": 256,", 1);
        fs::write(&vocab, text).expect("a writable folder");
        if name == "tokenizer.json" {
            let whole = Tokenizer::from_dir(dir.path()).expect("a complete folder");
            let saved = whole.library.save(dir.path().join(name), false);
            saved.expect("a writable folder");
        }
        let mut bytes = fs::read(dir.path().join(name)).expect("a file");
        for (place, byte) in damage {
            let place = place % bytes.len();
            bytes[place] = *byte;
        }
        fs::write(dir.path().join(name), bytes).expect("a writable folder");
        dir
    }

    proptest! {
        #[test]
        fn decoding_gives_back_the_normalised_text(text in "\\PC{0,40}") {
            let ids = TOKENIZER.encode(&text).expect("any text");
            let mut normalized = NormalizedString::from(text.as_str());
            normalized.nfc();
            prop_assert_eq!(TOKENIZER.decode(&ids, false).expect("known ids"), normalized.get());
        }

        #[test]
        fn damaged_files_never_panic(
            name in prop::sample::select(vec![
                "vocab.json", "merges.txt", "added_tokens.json", "special_tokens_map.json",
                "tokenizer_config.json", "tokenizer.json",
            ]),
            damage in prop::collection::vec(
                (0_usize..1 << 20, prop::sample::select(b"{}[]\",:01 9ab\\\xff".to_vec())),
                0..3,
            ),
        ) {
            let dir = damaged(name, &damage);
            match Tokenizer::from_dir(dir.path()) {
                Ok(tokenizer) => {
                    let ids = tokenizer.encode("a text<|im_end|>");
                    prop_assert!(ids.is_ok() || name == "tokenizer.json");
                }
                Err(error) => {
                    prop_assert!(!damage.is_empty());
                    let _ = error.to_string();
                }
            }
        }
    }
}
