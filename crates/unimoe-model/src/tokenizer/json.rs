//! Reading and checking a `tokenizer.json`, which must hold a byte-pair encoding.

use model_files::ModelPath;
use serde::Deserialize;
use serde_json::Value;
use tokenizers::Tokenizer as Library;

use super::files::{Ids, check_merges, merge_form, read_text, two_tokens, unique};
use crate::error::TokenizerError;

/// Reads the file. Padding and truncation that it asks for are left out.
pub(super) fn read(file: &ModelPath) -> Result<Library, TokenizerError> {
    let text = read_text(file)?;
    let path = file.path();
    let json = |source| TokenizerError::Json {
        path: path.to_path_buf(),
        source,
    };
    let value: Value = serde_json::from_str(&text).map_err(json)?;
    let model = &value["model"];
    let kind = |field, expected, found: &Value| TokenizerError::Kind {
        path: path.to_path_buf(),
        field,
        expected,
        found: found.to_string(),
    };
    if model["type"] != "BPE" {
        return Err(kind("model.type", "\"BPE\"", &model["type"]));
    }
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if !(model[field].is_null() || model[field] == "") {
            let name = match field {
                "end_of_word_suffix" => "model.end_of_word_suffix",
                _ => "model.continuing_subword_prefix",
            };
            return Err(kind(name, "null or empty", &model[field]));
        }
    }
    if !(model["dropout"].is_null() || model["dropout"] == 0.0) {
        return Err(kind("model.dropout", "null or 0", &model["dropout"]));
    }
    let Ids(entries) = Ids::deserialize(&model["vocab"]).map_err(json)?;
    let vocab = unique(path, &entries)?;
    let listed = model["merges"]
        .as_array()
        .ok_or_else(|| kind("model.merges", "a list", &model["merges"]))?;
    let merges = (1..)
        .zip(listed)
        .map(|(place, merge)| match merge {
            Value::String(text) => two_tokens(path, place, text),
            _ => <(String, String)>::deserialize(merge)
                .map(|merge| (place, merge))
                .map_err(|_| merge_form(path, place, merge)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    check_merges(path, &vocab, &merges)?;

    let failed = |reason| TokenizerError::Library {
        what: path.display().to_string(),
        reason,
    };
    let mut library = Library::from_bytes(text).map_err(failed)?;
    library.with_padding(None);
    library.with_truncation(None).map_err(failed)?;
    Ok(library)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tokenizer_json_that_the_library_would_panic_on_is_an_error() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("tokenizer.json");
        for model in [
            r#"{"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]}"#,
            r#"{"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}"#,
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [7]}"#,
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": {}}"#,
            r#"{"type": "BPE", "vocab": {"a": -1}, "merges": []}"#,
            r#"{"type": "BPE", "vocab": {"a": 0}, "merges": [], "continuing_subword_prefix": "long"}"#,
            r#"{"type": "Unigram", "vocab": [], "unk_id": 5}"#,
            "{}",
            "3",
        ] {
            let text =
                format!("{{\"version\": \"1.0\", \"added_tokens\": [], \"model\": {model}}}");
            for text in [text.as_str(), model, &text[..text.len() - 1]] {
                fs::write(&path, text).expect("a writable folder");
                let error = read(&path.as_path().into()).expect_err(text).to_string();
                assert!(error.contains("tokenizer.json"), "{error}");
            }
        }
    }
}
