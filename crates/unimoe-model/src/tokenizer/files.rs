//! Reading and checking the files of the released layout: the library trusts them and may panic on bad ones.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    io::Read,
    path::Path,
};

use model_files::ModelPath;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use tokenizers::AddedToken;

use crate::error::TokenizerError;

/// Most bytes read from one file; the released ones have about 3 million.
const MAX_BYTES: u64 = 1 << 28;

/// The checked content of a folder in the released layout.
pub(super) struct Files {
    /// Ids of the tokens that merging gives.
    pub vocab: HashMap<String, u32>,
    /// Pairs to merge, most urgent first.
    pub merges: Vec<(String, String)>,
    /// Tokens that are matched exactly, by id.
    pub added: BTreeMap<u32, AddedToken>,
    /// The token that pads.
    pub pad: String,
}

/// A merge and its place in the file, from 1.
pub(super) type Placed = (usize, (String, String));

/// A JSON object of ids that keeps what stands in it twice.
pub(super) struct Ids(pub Vec<(String, u32)>);

/// What matters of `tokenizer_config.json` and `special_tokens_map.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    added_tokens_decoder: Option<BTreeMap<String, Added>>,
    additional_special_tokens: Option<Vec<Named>>,
    bos_token: Option<Named>,
    eos_token: Option<Named>,
    pad_token: Option<Named>,
    unk_token: Option<Named>,
}

/// A token, by its text alone or with details.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Text(String),
    Details { content: String },
}

/// An added token's details.
#[derive(Deserialize)]
struct Added {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    special: bool,
}

impl Files {
    /// Reads and checks a folder.
    pub fn read(dir: &ModelPath) -> Result<Self, TokenizerError> {
        let file = dir.join("vocab.json");
        let Ids(entries) = read_json(&file)?;
        let path = file.path().to_path_buf();
        let vocab = unique(&path, &entries)?;
        for (byte, token) in (0..=u8::MAX).zip(byte_alphabet()) {
            if !vocab.contains_key(token.encode_utf8(&mut [0; 4]) as &str) {
                return Err(TokenizerError::ByteMissing { path, byte, token });
            }
        }
        let mut names: HashMap<u32, String> =
            entries.into_iter().map(|(token, id)| (id, token)).collect();
        let merges_path = dir.join("merges.txt");
        let merges = parse_merges(merges_path.path(), &read_text(&merges_path)?)?;
        check_merges(merges_path.path(), &vocab, &merges)?;

        let [config_file, map_file] = settings_paths(dir);
        let config: Settings = read_optional_json(&config_file)?;
        let map: Settings = read_optional_json(&map_file)?;
        let config_path = config_file.path().to_path_buf();
        let pad = pad_token(&config, &map);
        let special: HashSet<String> = config.special().chain(map.special()).collect();

        let mut added = BTreeMap::new();
        let mut ids = HashMap::new();
        let mut claim = |path: &Path, token: &str, id: u32| {
            let first = ids.get(token).or_else(|| vocab.get(token));
            if let Some(&first) = first.filter(|&&first| first != id) {
                return Err(TokenizerError::TokenTwice {
                    path: path.to_path_buf(),
                    token: token.to_string(),
                    first,
                    second: id,
                });
            }
            let name = names.entry(id).or_insert_with(|| token.to_string());
            if name != token {
                return Err(TokenizerError::IdTwice {
                    path: path.to_path_buf(),
                    id,
                    first: name.clone(),
                    second: token.to_string(),
                });
            }
            ids.insert(token.to_string(), id);
            Ok(())
        };
        for (key, entry) in config.added_tokens_decoder.into_iter().flatten() {
            let id = key.parse().map_err(|_| TokenizerError::Id {
                path: config_path.clone(),
                field: "each key of added_tokens_decoder",
                found: key,
            })?;
            claim(&config_path, &entry.content, id)?;
            let token = AddedToken::from(entry.content, entry.special)
                .normalized(false)
                .lstrip(entry.lstrip)
                .rstrip(entry.rstrip)
                .single_word(entry.single_word);
            added.insert(id, token);
        }
        let file = dir.join("added_tokens.json");
        let entries = if file.exists() {
            read_json::<Ids>(&file)?.0
        } else {
            Vec::new()
        };
        let path = file.path().to_path_buf();
        unique(&path, &entries)?;
        for (token, id) in entries {
            claim(&path, &token, id)?;
            let is_special = special.contains(&token);
            added
                .entry(id)
                .or_insert_with(|| AddedToken::from(token, is_special).normalized(false));
        }
        Ok(Self {
            vocab,
            merges: merges.into_iter().map(|(_, merge)| merge).collect(),
            added,
            pad,
        })
    }
}

impl Settings {
    fn special(&self) -> impl Iterator<Item = String> {
        let single = [
            &self.bos_token,
            &self.eos_token,
            &self.pad_token,
            &self.unk_token,
        ];
        self.additional_special_tokens
            .iter()
            .flatten()
            .chain(single.into_iter().flatten())
            .map(|token| token.text().to_string())
            .collect::<Vec<_>>()
            .into_iter()
    }
}

impl Named {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Details { content: text } => text,
        }
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Ids;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of tokens and their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ids, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Ids(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The token that pads, by the settings beside a `tokenizer.json`.
pub(super) fn read_pad_token(dir: &ModelPath) -> Result<String, TokenizerError> {
    let [config, map] = settings_paths(dir);
    Ok(pad_token(
        &read_optional_json(&config)?,
        &read_optional_json(&map)?,
    ))
}

/// The character that stands for each byte in a vocabulary: itself where it can be seen, else the next
/// free one from U+0100.
pub(super) fn byte_alphabet() -> [char; 256] {
    let mut next = 0x100_u32;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(byte),
        _ => {
            next += 1;
            // U+0100 to U+0143 are characters all.
            char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    })
}

fn settings_paths(dir: &ModelPath) -> [ModelPath; 2] {
    ["tokenizer_config.json", "special_tokens_map.json"].map(|name| dir.join(name))
}

fn pad_token(config: &Settings, map: &Settings) -> String {
    let named = config.pad_token.as_ref().or(map.pad_token.as_ref());
    named.map_or("<|endoftext|>", Named::text).to_string()
}

pub(super) fn read_text(file: &ModelPath) -> Result<String, TokenizerError> {
    let path = file.path();
    let io = |source| TokenizerError::Io {
        path: path.to_path_buf(),
        source,
    };
    let file = file.open().map_err(io)?;
    let found = file.length();
    if found > MAX_BYTES {
        return Err(TokenizerError::TooLarge {
            path: path.to_path_buf(),
            limit: MAX_BYTES,
            found,
        });
    }
    let mut text = String::new();
    file.take(found).read_to_string(&mut text).map_err(io)?;
    Ok(text)
}

fn read_json<T: DeserializeOwned>(file: &ModelPath) -> Result<T, TokenizerError> {
    serde_json::from_str(&read_text(file)?).map_err(|source| TokenizerError::Json {
        path: file.path().to_path_buf(),
        source,
    })
}

fn read_optional_json<T: DeserializeOwned + Default>(
    path: &ModelPath,
) -> Result<T, TokenizerError> {
    if path.exists() {
        read_json(path)
    } else {
        Ok(T::default())
    }
}

/// The entries as a map, where no token and no id stands twice.
pub(super) fn unique(
    path: &Path,
    entries: &[(String, u32)],
) -> Result<HashMap<String, u32>, TokenizerError> {
    let mut ids = HashMap::with_capacity(entries.len());
    let mut tokens = HashMap::with_capacity(entries.len());
    for (token, id) in entries {
        if let Some(first) = ids.insert(token.clone(), *id) {
            return Err(TokenizerError::TokenTwice {
                path: path.to_path_buf(),
                token: token.clone(),
                first,
                second: *id,
            });
        }
        if let Some(first) = tokens.insert(*id, token) {
            return Err(TokenizerError::IdTwice {
                path: path.to_path_buf(),
                id: *id,
                first: first.clone(),
                second: token.clone(),
            });
        }
    }
    Ok(ids)
}

fn parse_merges(path: &Path, text: &str) -> Result<Vec<Placed>, TokenizerError> {
    (1..)
        .zip(text.lines())
        .filter(|(place, line)| {
            let is_header = *place == 1 && line.starts_with("#version");
            !(is_header || line.trim().is_empty())
        })
        .map(|(place, line)| two_tokens(path, place, line))
        .collect()
}

pub(super) fn two_tokens(path: &Path, place: usize, text: &str) -> Result<Placed, TokenizerError> {
    let mut tokens = text.split_whitespace().map(str::to_string);
    match (tokens.next(), tokens.next(), tokens.next()) {
        (Some(left), Some(right), None) => Ok((place, (left, right))),
        _ => Err(merge_form(path, place, text)),
    }
}

pub(super) fn merge_form(path: &Path, place: usize, found: impl ToString) -> TokenizerError {
    TokenizerError::MergeForm {
        path: path.to_path_buf(),
        place,
        found: found.to_string(),
    }
}

/// Each merge joins two tokens of the vocabulary to a third, once.
pub(super) fn check_merges(
    path: &Path,
    vocab: &HashMap<String, u32>,
    merges: &[Placed],
) -> Result<(), TokenizerError> {
    let mut seen = HashSet::with_capacity(merges.len());
    for (place, merge) in merges {
        let (place, (left, right)) = (*place, merge);
        for token in [left, right, &format!("{left}{right}")] {
            if !vocab.contains_key(token) {
                return Err(TokenizerError::MergeToken {
                    path: path.to_path_buf(),
                    place,
                    token: token.clone(),
                });
            }
        }
        if !seen.insert(merge) {
            return Err(TokenizerError::MergeTwice {
                path: path.to_path_buf(),
                place,
                left: left.clone(),
                right: right.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A complete folder, then the file `name` replaced.
    fn read_with(name: &str, text: &str) -> Result<Files, TokenizerError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        super::super::Tokenizer::write_byte_level(dir.path(), 300).expect("a writable folder");
        fs::write(dir.path().join(name), text).expect("a writable folder");
        Files::read(&dir.path().into())
    }

    fn vocab_with(more: &str) -> String {
        let bytes: Vec<String> = (0..)
            .zip(byte_alphabet())
            .map(|(id, token): (u32, char)| format!("{:?}: {id}", token.to_string()))
            .collect();
        format!("{{{}{more}}}", bytes.join(", "))
    }

    #[test]
    fn every_file_that_is_damaged_is_named() {
        for name in [
            "vocab.json",
            "added_tokens.json",
            "special_tokens_map.json",
            "tokenizer_config.json",
        ] {
            for text in ["", "[", "[1]", "{\"a\": {}}x", "nul", "\u{0}"] {
                let error = read_with(name, text).err().expect(name).to_string();
                assert!(error.contains(name), "{name} {text:?}: {error}");
            }
        }
        for text in ["a", "a b c", "#version: 0.2\n#version"] {
            let error = read_with("merges.txt", text).err().expect(text);
            assert!(matches!(error, TokenizerError::MergeForm { .. }), "{error}");
        }
    }

    #[test]
    fn a_missing_vocabulary_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let error = Files::read(&dir.path().into())
            .err()
            .expect("an empty folder");
        assert!(error.to_string().contains("vocab.json"));
    }

    #[test]
    fn merges_must_stay_in_the_vocabulary() {
        // The line counts with its header and blank lines.
        let error = read_with("merges.txt", "#version: 0.2\n\na b\n").err();
        assert!(matches!(
            error,
            Some(TokenizerError::MergeToken { place: 3, token, .. }) if token == "ab"
        ));
        let error = read_with("merges.txt", "a zz").err();
        assert!(matches!(
            error,
            Some(TokenizerError::MergeToken { place: 1, token, .. }) if token == "zz"
        ));
        assert!(read_with("vocab.json", &vocab_with(", \"ab\": 256")).is_ok());
    }

    #[test]
    fn tokens_and_ids_stand_once() {
        for (name, text) in [
            ("vocab.json", vocab_with(", \"a\": 400")),
            ("vocab.json", vocab_with(", \"ab\": 3")),
            ("added_tokens.json", r#"{"x": 3}"#.to_string()),
            ("added_tokens.json", r#"{"<|im_end|>": 400}"#.to_string()),
            ("added_tokens.json", r#"{"x": 400, "x": 401}"#.to_string()),
            (
                "tokenizer_config.json",
                r#"{"added_tokens_decoder": {"3": {"content": "x"}}}"#.to_string(),
            ),
        ] {
            let error = read_with(name, &text).err().expect("twice");
            let is_twice = matches!(
                error,
                TokenizerError::TokenTwice { .. } | TokenizerError::IdTwice { .. }
            );
            assert!(is_twice, "{name}: {error}");
        }
        let mut merges = vocab_with(", \"ab\": 256");
        let dir = tempfile::tempdir().expect("a temporary folder");
        super::super::Tokenizer::write_byte_level(dir.path(), 300).expect("a writable folder");
        fs::write(dir.path().join("vocab.json"), &merges).expect("a writable folder");
        merges = "a b\na b\n".to_string();
        fs::write(dir.path().join("merges.txt"), merges).expect("a writable folder");
        let error = Files::read(&dir.path().into()).err();
        assert!(matches!(
            error,
            Some(TokenizerError::MergeTwice { place: 2, .. })
        ));
    }

    #[test]
    fn ids_fit_32_bits_and_bytes_are_complete() {
        for id in ["4294967296", "-1", "1.5", "\"7\"", "null"] {
            let text = vocab_with(&format!(", \"ab\": {id}"));
            let error = read_with("vocab.json", &text).err().expect(id);
            assert!(matches!(error, TokenizerError::Json { .. }), "{error}");
            let text = format!("{{\"added_tokens_decoder\": {{{id:?}: {{\"content\": \"x\"}}}}}}");
            let error = read_with("tokenizer_config.json", &text).err().expect(id);
            assert!(matches!(error, TokenizerError::Id { .. }), "{error}");
        }
        let error = read_with("vocab.json", r#"{"!": 0}"#).err();
        assert!(matches!(
            error,
            Some(TokenizerError::ByteMissing { byte: 0, .. })
        ));
    }
}
