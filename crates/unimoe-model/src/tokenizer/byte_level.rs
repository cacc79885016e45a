//! A tokenizer without merges, for randomly initialised models.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use super::{
    files::{Files, byte_alphabet},
    vocabulary::Vocabulary,
};
use crate::error::TokenizerError;

/// The placeholder's id in the smallest such vocabulary.
pub(crate) const BYTE_LEVEL_PLACEHOLDER: u32 = 256 + BEFORE_AUDIO.len() as u32;
/// Size of the smallest such vocabulary.
pub(crate) const BYTE_LEVEL_VOCAB_SIZE: usize = 256 + BEFORE_AUDIO.len() + AUDIO.len();

/// Qwen2.5's added tokens, by id from 151643; `true` where special.
const BEFORE_AUDIO: [(&str, bool); 22] = [
    (PAD, true),
    ("<|im_start|>", true),
    (END, true),
    ("<|object_ref_start|>", true),
    ("<|object_ref_end|>", true),
    ("<|box_start|>", true),
    ("<|box_end|>", true),
    ("<|quad_start|>", true),
    ("<|quad_end|>", true),
    ("<|vision_start|>", true),
    ("<|vision_end|>", true),
    ("<|vision_pad|>", true),
    ("<|image_pad|>", true),
    ("<|video_pad|>", true),
    ("<tool_call>", false),
    ("</tool_call>", false),
    ("<|fim_prefix|>", false),
    ("<|fim_middle|>", false),
    ("<|fim_suffix|>", false),
    ("<|fim_pad|>", false),
    ("<|repo_name|>", false),
    ("<|file_sep|>", false),
];

/// UniMoE-Audio's added tokens, all special, by id from 151665.
const AUDIO: [&str; 11] = [
    "<|AUDIO_PLACEHOLDER|>",
    "<|AUDIO_START|>",
    "<|AUDIO_END|>",
    "<|SPEECH_START|>",
    "<|SPEECH_END|>",
    "<|VOICE_PROMPT_START|>",
    "<|VOICE_PROMPT_END|>",
    "<|SPEECH_PROMPT_START|>",
    "<|SPEECH_PROMPT_END|>",
    "<|MUSIC_START|>",
    "<|MUSIC_END|>",
];

const PAD: &str = "<|endoftext|>";
const END: &str = "<|im_end|>";

/// Every added token with its id and whether it is special.
fn added_tokens(placeholder: u32) -> Result<Vec<(u32, &'static str, bool)>, TokenizerError> {
    let most = u32::MAX - AUDIO.len() as u32;
    if !(BYTE_LEVEL_PLACEHOLDER..=most).contains(&placeholder) {
        return Err(TokenizerError::Placeholder {
            least: BYTE_LEVEL_PLACEHOLDER,
            most,
            found: placeholder,
        });
    }
    let audio = AUDIO.map(|token| (token, true));
    Ok((placeholder - BEFORE_AUDIO.len() as u32..)
        .zip(BEFORE_AUDIO.into_iter().chain(audio))
        .map(|(id, (token, special))| (id, token, special))
        .collect())
}

/// What a folder of this tokenizer holds.
pub(super) fn files(placeholder: u32) -> Result<Files, TokenizerError> {
    let added = added_tokens(placeholder)?;
    Ok(Files {
        vocab: bytes().map(|(token, id)| (token.to_string(), id)).collect(),
        merges: Vec::new(),
        added: added
            .into_iter()
            .map(|(id, token, special)| {
                let token = AddedToken::from(token, special).normalized(false);
                (id, token)
            })
            .collect(),
        pad: PAD.to_string(),
    })
}

/// Writes the five files of the released layout.
pub(super) fn write(
    dir: &Path,
    placeholder: u32,
    vocabulary: &Vocabulary,
) -> Result<(), TokenizerError> {
    let added = added_tokens(placeholder)?;
    let bytes = bytes().map(|(token, _)| token.to_string());
    let merged = (vocabulary.merges().iter()).map(|(first, second)| format!("{first}{second}"));
    let vocab: Map<String, Value> = bytes
        .chain(merged)
        .zip(0_u32..)
        .map(|(token, id)| (token, id.into()))
        .collect();
    let mut merges = "#version: 0.2\n".to_string();
    for (first, second) in vocabulary.merges() {
        merges.push_str(&format!("{first} {second}\n"));
    }
    let ids: BTreeMap<&str, u32> = added.iter().map(|(id, token, _)| (*token, *id)).collect();
    let details = |token: &str| {
        json!({
            "content": token, "lstrip": false, "normalized": false, "rstrip": false,
            "single_word": false,
        })
    };
    let decoder: Map<String, Value> = added
        .iter()
        .map(|(id, token, special)| {
            let mut entry = details(token);
            entry["special"] = (*special).into();
            (id.to_string(), entry)
        })
        .collect();
    let special: Vec<&str> = added
        .iter()
        .filter(|(_, token, special)| *special && *token != PAD)
        .map(|(_, token, _)| *token)
        .collect();
    let map = json!({
        "additional_special_tokens": special,
        "eos_token": details(END),
        "pad_token": details(PAD),
    });
    let config = json!({
        "add_bos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": decoder,
        "additional_special_tokens": special,
        "bos_token": null,
        "clean_up_tokenization_spaces": false,
        "eos_token": END,
        "errors": "replace",
        "pad_token": PAD,
        "split_special_tokens": false,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": null,
    });
    let write = |name: &str, text: String| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|source| TokenizerError::Io { path, source })
    };
    write("vocab.json", format!("{:#}", Value::from(vocab)))?;
    write("merges.txt", merges)?;
    write("added_tokens.json", format!("{:#}", json!(ids)))?;
    write("special_tokens_map.json", format!("{map:#}"))?;
    write("tokenizer_config.json", format!("{config:#}"))
}

/// The 256 byte tokens in the order of their characters, as GPT-2 numbers them.
pub(super) fn bytes() -> impl Iterator<Item = (char, u32)> {
    let alphabet = byte_alphabet();
    let (shown, moved): (Vec<char>, Vec<char>) = alphabet
        .into_iter()
        .partition(|&token| u32::from(token) < 256);
    shown.into_iter().chain(moved).zip(0..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_without_room_is_an_error() {
        for placeholder in [0, BYTE_LEVEL_PLACEHOLDER - 1, u32::MAX] {
            assert!(matches!(
                files(placeholder),
                Err(TokenizerError::Placeholder { found, .. }) if found == placeholder
            ));
        }
        assert!(files(u32::MAX - 11).is_ok());
    }

    #[test]
    fn bytes_are_numbered_as_in_the_release() {
        let ids: BTreeMap<char, u32> = bytes().collect();
        assert_eq!(ids.len(), 256);
        // `!` is 0, `A` 32, line feed 198 and the space 220 in every vocabulary of this family.
        let found = ['!', 'A', 'Ċ', 'Ġ'].map(|token| ids[&token]);
        assert_eq!(found, [0, 32, 198, 220]);
    }
}
