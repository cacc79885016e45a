//! The built-in model loads, says what it said, and its codec keeps its quality.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{fs, path::Path, sync::LazyLock};

use burn::tensor::{DType, Device};
use common::{Expected, codes, fixture, round_trip};
use unimoe_model::{Batching, Companions, Pipeline, PipelineOptions, UniMoeConfig};

static PIPELINE: LazyLock<Pipeline> =
    LazyLock::new(|| embedded_model::pipeline(&Device::flex()).unwrap());

/// How much the distance may differ from one processor to the next: sums are in another order, and a code or two may
/// change with them.
const TOLERANCE: f64 = 1.02;

fn expected() -> Expected {
    serde_json::from_str(&fs::read_to_string(fixture("expected.json")).unwrap()).unwrap()
}

#[test]
fn it_loads_in_f32_on_the_processor_and_equals_its_folder() {
    let weight = |pipeline: &Pipeline| pipeline.model().codec_head.projection.weight.val();
    assert_eq!(weight(&PIPELINE).dtype(), DType::F32);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("model");
    let options = PipelineOptions::default();
    let disk = Pipeline::load(&folder, &options, &Device::flex()).unwrap();
    assert_eq!(disk.companions(), PIPELINE.companions());
    assert_eq!(weight(&disk).into_data(), weight(&PIPELINE).into_data());
    let text = "Hello <|im_end|>";
    assert_eq!(
        disk.tokenizer().encode(text).unwrap(),
        PIPELINE.tokenizer().encode(text).unwrap()
    );
}

#[test]
fn it_has_the_released_structure() {
    let config = UniMoeConfig::load(embedded_model::folder().join("config.json")).unwrap();
    let moe = &config.moe;
    assert_eq!((moe.n_routed, moe.n_null, moe.n_shared), (8, 1, 2));
    assert_eq!(moe.top_p, 0.7);
    assert_eq!(config.codec.n_channels, 12);
    let released = UniMoeConfig::released().codec.delay_pattern;
    assert_eq!(config.codec.delay_pattern, released);
    assert!(config.vision.is_some());
    let codec = PIPELINE.codec().config();
    assert_eq!((codec.sample_rate, codec.frame_rate()), (16_000, 50.0));
}

#[test]
fn it_generates_the_codes_of_its_fixture() {
    let Expected {
        seed,
        speech,
        music,
        ..
    } = expected();
    assert_eq!(speech.len(), 25);
    assert_eq!(codes(&PIPELINE, Batching::Isolated, seed), [speech, music]);
}

#[test]
fn a_sentence_comes_back_from_the_codec_within_its_figure() {
    let [found, silence] = round_trip(&PIPELINE);
    let figure = expected().round_trip_mel_distance;
    assert!(found <= TOLERANCE * figure, "{found}, expected {figure}");
    assert!(found < silence, "{found}, silence {silence}");
}

#[test]
fn its_voices_speak_words_that_it_has_learnt() {
    let Companions { voices, words, .. } = embedded_model::companions().unwrap();
    assert!(!voices.names().is_empty());
    for voice in voices.iter() {
        assert!(voice.seconds() > 0.3 && voice.seconds() < 3.0);
        let unknown = words.speech.unknown(&voice.text);
        assert!(unknown.is_empty(), "{}: {unknown:?}", voice.name);
    }
}
