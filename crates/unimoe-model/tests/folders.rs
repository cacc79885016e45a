//! Model folders: what is written loads, what is damaged is named.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{error::Error, fs, ops::ControlFlow, path::Path};

use burn::tensor::{DType, Device};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use unimoe_model::{
    Batching, LoadOptions, MusicRequest, Pipeline, PipelineOptions, Preset, Request,
    RequestOptions, Shards, UniMoe, UniMoeConfig, init_model_folder,
};

const SEED: u64 = 11;
const SHARD: &str = "model-00001-of-00001.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    init_model_folder(Preset::Tiny, SEED, folder.path(), &Device::flex()).unwrap();
    folder
}

fn load(folder: &Path, options: LoadOptions) -> Result<UniMoe, String> {
    UniMoe::load(folder, options, &Device::flex()).map_err(|error| chain(&error))
}

/// An error with its causes, as the program prints it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Rewrites the shard's header, keeping its data.
fn edit_header(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join(SHARD);
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    edit(&mut header);
    let header = header.to_string();
    let mut edited = (header.len() as u64).to_le_bytes().to_vec();
    edited.extend(header.as_bytes());
    edited.extend(&bytes[8 + length..]);
    fs::write(path, edited).unwrap();
}

#[test]
fn a_written_folder_equals_the_model_in_memory() {
    let device = Device::flex();
    let folder = folder();
    let loaded = Pipeline::load(folder.path(), &PipelineOptions::default(), &device).unwrap();
    let memory = Pipeline::untrained(Preset::Tiny, SEED, None, &device).unwrap();
    let options = RequestOptions {
        min_seconds: 0.2,
        max_seconds: 0.2,
        seed: Some(1),
        ..RequestOptions::music()
    };
    let request = [Request::Music(MusicRequest {
        caption: "A calm piano".into(),
        options,
    })];
    let codes = |pipeline: &Pipeline| {
        let results =
            pipeline.generate(&request, Batching::Isolated, |_| ControlFlow::Continue(()));
        results.unwrap().remove(0).codes
    };
    assert_eq!(codes(&loaded), codes(&memory));
}

#[test]
fn the_same_seed_writes_the_same_files() {
    let (first, second) = (folder(), folder());
    for name in [
        SHARD,
        INDEX,
        "config.json",
        "dac/model.safetensors",
        "vocab.json",
    ] {
        let read = |folder: &TempDir| fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read(&first), read(&second), "{name}");
    }
}

#[test]
fn an_empty_folder_is_filled_and_a_new_one_made() {
    let parent = tempfile::tempdir().unwrap();
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (made, there) = (parent.path().join("made"), parent.path().join("there"));
    fs::create_dir(&there).unwrap();
    for folder in [&made, &there] {
        init_model_folder(Preset::Tiny, SEED, folder, &Device::flex()).unwrap();
    }
    assert_eq!(names(&made), names(&there));
    assert_eq!(names(parent.path()), ["made", "there"]);
}

#[test]
fn a_folder_in_use_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "mine").unwrap();
    let result = init_model_folder(Preset::Tiny, SEED, folder.path(), &Device::flex());
    assert!(result.is_err());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn half_precision_keeps_the_parameters_in_half_precision() {
    let folder = folder();
    for dtype in [DType::F16, DType::BF16] {
        let options = LoadOptions {
            dtype,
            ..LoadOptions::default()
        };
        let model = load(folder.path(), options).unwrap();
        assert_eq!(model.text_embedding.weight.val().dtype(), dtype);
        assert_eq!(
            model.decoder.layers[0].moe.routed[0]
                .up_proj
                .weight
                .val()
                .dtype(),
            dtype
        );
    }
}

#[test]
fn either_name_of_the_text_part_is_read() {
    let folder = folder();
    let rename = |name: &str| match name.strip_prefix("model.") {
        Some(rest) => format!("language_model.{rest}"),
        None => name.to_string(),
    };
    let rename_keys = |value: &mut Value| {
        let map = value.as_object_mut().unwrap();
        *map = std::mem::take(map)
            .into_iter()
            .map(|(name, value)| (rename(&name), value))
            .collect();
    };
    edit_header(folder.path(), rename_keys);
    edit_json(&folder.path().join(INDEX), |index| {
        rename_keys(&mut index["weight_map"])
    });
    load(folder.path(), LoadOptions::default()).unwrap();
}

#[test]
fn a_single_file_needs_no_index() {
    let folder = folder();
    fs::remove_file(folder.path().join(INDEX)).unwrap();
    fs::rename(
        folder.path().join(SHARD),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    load(folder.path(), LoadOptions::default()).unwrap();
}

/// What is done to a folder, by whom, and what the error says.
type Damage = (&'static str, fn(&Path), &'static [&'static str]);

#[test]
fn damaged_weights_are_named() {
    let damage: [Damage; 11] = [
        (
            "a tensor under both names",
            |folder| {
                let rename = |map: &mut Value| {
                    let map = map.as_object_mut().unwrap();
                    let tensor = map.remove("lm_head.weight").unwrap();
                    map.insert("language_model.embed_tokens.weight".into(), tensor);
                };
                edit_header(folder, rename);
                edit_json(&folder.join(INDEX), |index| {
                    rename(&mut index["weight_map"])
                });
            },
            &["model.embed_tokens.weight", "is in both"],
        ),
        (
            "a folder in the place of a shard",
            |folder| {
                fs::remove_file(folder.join(SHARD)).unwrap();
                fs::create_dir(folder.join(SHARD)).unwrap();
            },
            &[SHARD, "missing"],
        ),
        (
            "no index and no single file",
            |folder| fs::remove_file(folder.join(INDEX)).unwrap(),
            &["model.safetensors.index.json"],
        ),
        (
            "a missing shard",
            |folder| fs::remove_file(folder.join(SHARD)).unwrap(),
            &[SHARD, "missing"],
        ),
        (
            "a truncated shard",
            |folder| {
                let bytes = fs::read(folder.join(SHARD)).unwrap();
                fs::write(folder.join(SHARD), &bytes[..bytes.len() - 100]).unwrap();
            },
            &[SHARD, "truncated"],
        ),
        (
            "a header of 2^60 bytes",
            |folder| {
                let mut bytes = fs::read(folder.join(SHARD)).unwrap();
                bytes[..8].copy_from_slice(&(1u64 << 60).to_le_bytes());
                fs::write(folder.join(SHARD), bytes).unwrap();
            },
            &[SHARD, "1152921504606846976"],
        ),
        (
            "another shape",
            |folder| {
                edit_header(folder, |header| {
                    let shape = &mut header["codec_head.weight"]["shape"];
                    *shape = json!([shape[1], shape[0]]);
                });
            },
            &[SHARD, "codec_head.weight", "[12324, 64]", "[64, 12324]"],
        ),
        (
            "another type",
            |folder| {
                edit_header(folder, |header| {
                    header["codec_head.weight"]["dtype"] = json!("I16")
                })
            },
            &[SHARD, "codec_head.weight", "I16"],
        ),
        (
            "a NaN",
            |folder| {
                // The last two bytes are the last value, in bf16.
                let mut bytes = fs::read(folder.join(SHARD)).unwrap();
                let end = bytes.len();
                bytes[end - 2..].copy_from_slice(&[0xc0, 0x7f]);
                fs::write(folder.join(SHARD), bytes).unwrap();
            },
            &[SHARD, "NaN"],
        ),
        (
            "a tensor too few",
            |folder| {
                let rename = |map: &mut Value| {
                    let map = map.as_object_mut().unwrap();
                    let tensor = map.remove("model.norm.weight").unwrap();
                    map.insert("model.nurm.weight".into(), tensor);
                };
                edit_header(folder, rename);
                edit_json(&folder.join(INDEX), |index| {
                    rename(&mut index["weight_map"])
                });
            },
            &["model.norm.weight", "missing"],
        ),
        (
            "an index that leaves its folder",
            |folder| {
                edit_json(&folder.join(INDEX), |index| {
                    index["weight_map"]["codec_head.weight"] = json!("../elsewhere.safetensors");
                });
            },
            &[INDEX, "codec_head.weight"],
        ),
    ];
    for (what, damage, expected) in damage {
        let folder = folder();
        damage(folder.path());
        // The text head comes last and holds the NaN.
        let options = LoadOptions {
            text_head: true,
            ..LoadOptions::default()
        };
        let error = load(folder.path(), options).expect_err(what);
        for part in expected {
            assert!(error.contains(part), "{what}: {error} should say {part}");
        }
    }
}

#[test]
fn a_model_without_a_text_head_is_loaded_without_one() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let model = UniMoe::random(&UniMoeConfig::tiny(), 1, LoadOptions::default(), &device).unwrap();
    model.save(folder.path(), DType::F32).unwrap();
    let options = LoadOptions {
        text_head: true,
        ..LoadOptions::default()
    };
    let again = UniMoe::load(folder.path(), options, &device).unwrap();
    assert!(again.text_head.is_none());
}

#[test]
fn an_extra_tensor_is_an_error_only_where_strict() {
    let folder = folder();
    let add = |map: &mut Value, value: Value| {
        map.as_object_mut()
            .unwrap()
            .insert("stray.weight".into(), value);
    };
    let length = fs::metadata(folder.path().join(SHARD)).unwrap().len();
    edit_header(folder.path(), |header| {
        let end = header.as_object().unwrap().values();
        let end = end
            .filter_map(|info| info["data_offsets"][1].as_u64())
            .max()
            .unwrap();
        assert!(end < length);
        add(
            header,
            json!({"dtype": "F32", "shape": [0], "data_offsets": [end, end]}),
        );
    });
    edit_json(&folder.path().join(INDEX), |index| {
        add(&mut index["weight_map"], json!(SHARD))
    });
    let error = load(folder.path(), LoadOptions::default()).unwrap_err();
    assert!(error.contains("stray.weight"), "{error}");
    let lenient = LoadOptions {
        strict: false,
        ..LoadOptions::default()
    };
    load(folder.path(), lenient).unwrap();
}

#[test]
fn parts_that_dont_belong_together_are_errors() {
    let folder = folder();
    edit_json(&folder.path().join("config.json"), |config| {
        config["codec_placeholder_value"] = json!(277);
    });
    let device = Device::flex();
    let error = Pipeline::load(folder.path(), &PipelineOptions::default(), &device).unwrap_err();
    assert!(chain(&error).contains("277"), "{}", chain(&error));

    fs::remove_dir_all(folder.path().join("dac")).unwrap();
    let error = Pipeline::load(folder.path(), &PipelineOptions::default(), &device).unwrap_err();
    assert!(chain(&error).contains("dac/"), "{}", chain(&error));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_never_more_than_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), &bytes).unwrap();
        prop_assert!(Shards::open(folder.path()).is_err());
    }

    #[test]
    fn a_header_of_random_json_is_never_more_than_an_error(
        start in any::<u32>(), end in any::<u64>(), shape in proptest::collection::vec(any::<u64>(), 0..5)
    ) {
        let header = json!({"a": {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}}).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.safetensors"), &bytes).unwrap();
        // An empty tensor in no bytes is the one valid file of this form.
        if let Ok(shards) = Shards::open(folder.path()) {
            prop_assert_eq!(shards.tensors()["a"].elements(), 0);
        }
    }
}
