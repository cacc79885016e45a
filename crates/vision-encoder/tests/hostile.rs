//! Damaged and hostile files, and inputs that don't fit.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use burn::tensor::DType;
use common::{Stored, bytes, device, golden_weights, input, write};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};
use vision_encoder::{
    Grid, LoadOptions, VisionEncoder, VisionEncoderConfig, VisionError, WeightsError,
};

fn load(path: &Path, options: LoadOptions) -> Result<VisionEncoder, VisionError> {
    VisionEncoder::load_weights(&golden_weights().0, path, options, &device())
}

/// What loading these tensors ends in.
fn refused(tensors: &[Stored]) -> WeightsError {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, tensors);
    match load(&path, LoadOptions::default()).unwrap_err() {
        VisionError::Weights(error) => error,
        error => panic!("{error}"),
    }
}

#[test]
fn wrong_tensors_are_named() {
    let (_, good) = golden_weights();
    let at = |name: &str| good.iter().position(|tensor| tensor.name == name).unwrap();
    let (bias, proj) = ("blocks.1.attn.qkv.bias", "patch_embed.proj.weight");

    let mut tensors = good.clone();
    tensors.remove(at(bias));
    let error = refused(&tensors);
    assert!(
        matches!(&error, WeightsError::TensorMissing { tensor, .. } if tensor == bias),
        "{error}"
    );

    for name in ["merger.mlp.0.weight", proj] {
        let mut tensors = good.clone();
        tensors[at(name)].shape.insert(0, 1);
        let error = refused(&tensors);
        assert!(
            matches!(&error, WeightsError::TensorShape { tensor, .. } if tensor == name),
            "{error}"
        );
    }

    let mut tensors = good.clone();
    tensors[at(bias)].dtype = Dtype::I32;
    let error = refused(&tensors);
    assert!(
        matches!(&error, WeightsError::TensorType { tensor, .. } if tensor == bias),
        "{error}"
    );

    let mut tensors = good.clone();
    tensors[at(bias)].data[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
    let error = refused(&tensors);
    assert!(
        matches!(&error, WeightsError::NotFinite { tensor, index: 2, .. } if tensor == bias),
        "{error}"
    );

    let mut tensors = good.clone();
    tensors.push(Stored {
        name: "blocks.9.attn.qkv.bias".into(),
        ..good[at(bias)].clone()
    });
    let error = refused(&tensors);
    assert!(
        matches!(&error, WeightsError::TensorExtra { tensor, .. } if tensor == "blocks.9.attn.qkv.bias"),
        "{error}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &tensors);
    let lenient = LoadOptions {
        strict: false,
        ..LoadOptions::default()
    };
    assert!(load(&path, lenient).is_ok());
    let int = LoadOptions {
        dtype: DType::I32,
        ..LoadOptions::default()
    };
    assert!(matches!(
        load(&path, int),
        Err(VisionError::Weights(WeightsError::Type { .. }))
    ));
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let good = bytes(&golden_weights().1);
    for damaged in [
        &[][..],
        &good[..5],
        &good[..good.len() / 2],
        &good[..good.len() - 1],
        &[&good[..], &[0]].concat(),
        &[&(1u64 << 60).to_le_bytes()[..], &good[8..]].concat(),
        &[&(1u64 << 26).to_le_bytes()[..], &good[8..]].concat(),
        b"not weights at all, though long enough to hold a length",
    ] {
        fs::write(&path, damaged).unwrap();
        let error = load(folder.path(), LoadOptions::default()).unwrap_err();
        assert!(matches!(error, VisionError::Weights(_)), "{error}");
    }
    let missing = folder.path().join("nothing");
    assert!(load(&missing, LoadOptions::default()).is_err());
    fs::create_dir(&missing).unwrap();
    assert!(matches!(
        load(&missing, LoadOptions::default()),
        Err(VisionError::Weights(WeightsError::NoWeights { .. }))
    ));
}

#[test]
fn an_index_that_lies_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (_, tensors) = golden_weights();
    for file in ["a.safetensors", "b.safetensors"] {
        write(&folder.path().join(file), &tensors);
    }
    let name = &tensors[0].name;
    for index in [
        "{".to_string(),
        "{}".to_string(),
        json!({"weight_map": {name: 3}}).to_string(),
        json!({"weight_map": {name: "../a.safetensors"}}).to_string(),
        json!({"weight_map": {name: "/a.safetensors"}}).to_string(),
        json!({"weight_map": {name: "c.safetensors"}}).to_string(),
        json!({"weight_map": {"other": "a.safetensors"}}).to_string(),
        // Both files hold every tensor.
        json!({"weight_map": {name: "a.safetensors", "other": "b.safetensors"}}).to_string(),
    ] {
        fs::write(folder.path().join("model.safetensors.index.json"), &index).unwrap();
        let error = load(folder.path(), LoadOptions::default()).unwrap_err();
        assert!(matches!(error, VisionError::Weights(_)), "{index}: {error}");
    }
}

#[test]
fn a_configuration_that_is_no_file_or_no_json_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let load = || VisionEncoder::load(folder.path(), LoadOptions::default(), &device());
    assert!(matches!(load(), Err(VisionError::Io { .. })));
    fs::write(folder.path().join("config.json"), "{\"vision_config\": ").unwrap();
    assert!(matches!(load(), Err(VisionError::Json { .. })));
    fs::write(folder.path().join("config.json"), "{\"hidden_size\": 2048}").unwrap();
    let error = load().unwrap_err();
    assert!(matches!(error, VisionError::FieldMissing { .. }), "{error}");
}

#[test]
fn inputs_that_do_not_fit_are_named() {
    let config = VisionEncoderConfig::tiny(8);
    let encoder = config.init(&device());
    let good = input(&config, 1, [1, 4, 4]);
    assert!(matches!(encoder.forward(&[]), Err(VisionError::NoInput)));

    let mut short = good.clone();
    short.patches.pop();
    let error = encoder.forward(&[good.clone(), short]).unwrap_err();
    assert!(
        matches!(error, VisionError::PixelCount { index: 1, .. }),
        "{error}"
    );

    let mut odd = good.clone();
    odd.grid = Grid { t: 1, h: 2, w: 1 };
    let error = encoder.forward(&[odd]).unwrap_err();
    assert!(
        matches!(error, VisionError::Grid { index: 0, .. }),
        "{error}"
    );

    let mut vast = good.clone();
    vast.grid = Grid {
        t: usize::MAX,
        h: usize::MAX - 1,
        w: 2,
    };
    assert!(matches!(
        encoder.forward(&[vast]),
        Err(VisionError::Grid { .. })
    ));

    let mut dark = good;
    dark.patches[7] = f32::NAN;
    let error = encoder.forward(&[dark]).unwrap_err();
    assert!(
        matches!(error, VisionError::PixelNotFinite { place: 7, .. }),
        "{error}"
    );
}

/// JSON of the kinds that a setting may be mistaken for.
fn setting() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(|number| json!(number)),
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        (0_u64..200).prop_map(|number| json!(number)),
        Just(Value::Null),
        Just(json!({})),
        prop::collection::vec(any::<i32>(), 0..4).prop_map(|list| json!(list)),
        ".{0,8}".prop_map(|text| json!(text)),
    ]
}

proptest! {
    #[test]
    fn a_strange_configuration_is_an_error_or_makes_an_encoder(
        changes in prop::collection::vec((0_usize..17, setting()), 1..4)
    ) {
        let mut json = VisionEncoderConfig::tiny(8).to_released();
        let fields: Vec<String> = json.as_object().unwrap().keys().cloned().collect();
        for (field, value) in changes {
            json[&fields[field % fields.len()]] = value;
        }
        if let Ok(config) = VisionEncoderConfig::from_released(&json, Path::new("config.json")) {
            // Nothing is allocated until it is used.
            if config.n_blocks < 200 {
                let encoder = config.init(&device());
                prop_assert_eq!(encoder.config(), &config);
            }
        }
    }

    #[test]
    fn random_bytes_are_never_more_than_an_error(
        mut content in prop::collection::vec(any::<u8>(), 0..300), plausible: bool
    ) {
        if plausible && content.len() > 8 {
            let header = content.len() as u64 - 8;
            content[..8].copy_from_slice(&header.to_le_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, content).unwrap();
        prop_assert!(load(&path, LoadOptions::default()).is_err());
    }

    #[test]
    fn a_header_of_random_numbers_is_never_more_than_an_error(
        start: u64, end: u64, shape in prop::collection::vec(any::<u64>(), 0..6)
    ) {
        let header = json!({"patch_embed.proj.weight":
            {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}}).to_string();
        let content = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        fs::write(&path, content).unwrap();
        prop_assert!(load(&path, LoadOptions::default()).is_err());
    }
}
