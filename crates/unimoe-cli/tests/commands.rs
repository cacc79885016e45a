//! What each command does when everything is well.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, read_wav};
use serde_json::Value;

const SHORT: [&str; 2] = ["--max-seconds", "0.5"];

#[test]
fn music_without_a_model_writes_sound_and_says_that_it_is_untrained() {
    let place = Place::new();
    let output = place.run(
        &[
            &["music", "A peaceful piano melody", "--output", "out.wav"][..],
            &SHORT,
        ]
        .concat(),
    );
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("untrained"));
    assert!(
        read_wav(&place.path("out.wav"))
            .iter()
            .any(|&sample| sample != 0)
    );
    assert_eq!(place.listing("."), ["out.wav"]);
}

#[test]
fn a_model_folder_equals_the_built_in_model_of_its_seed() {
    let place = Place::new();
    place.works(&["init", "--seed", "0", "--out", "model"]);
    let line = ["music", "calm", "--seed", "5", "--max-seconds", "0.5", "-o"];
    place.works(&[&line[..], &["built_in.wav"]].concat());
    place.works(&[&line[..], &["folder.wav", "--model", "model"]].concat());
    let built_in = read_wav(&place.path("built_in.wav"));
    assert!(built_in == read_wav(&place.path("folder.wav")));
    let other = [
        "music",
        "calm",
        "--seed",
        "6",
        "--max-seconds",
        "0.5",
        "-o",
        "other.wav",
    ];
    place.works(&other);
    assert!(built_in != read_wav(&place.path("other.wav")));
}

#[test]
fn several_captions_are_one_batch_in_a_folder_each_as_if_alone() {
    let place = Place::new();
    let line = [
        "music",
        "calm",
        "loud",
        "--json",
        "--seed",
        "8",
        "--max-seconds",
        "0.5",
        "-o",
        "a/b",
    ];
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(place.listing("a/b"), ["music-1.wav", "music-2.wav"]);
    assert_eq!(report["untrained"], true);
    for (index, seed) in [8, 9].into_iter().enumerate() {
        let result = &report["results"][index];
        assert_eq!(result["seed"], seed);
        assert_eq!(result["sample_rate"], 16_000);
        assert!(result["frames"].as_u64().unwrap() <= 25);
    }
    place.works(&[
        "music",
        "loud",
        "--seed",
        "9",
        "--max-seconds",
        "0.5",
        "-o",
        "alone.wav",
    ]);
    let alone = read_wav(&place.path("alone.wav"));
    assert!(alone == read_wav(&place.path("a/b/music-2.wav")));
}

#[test]
fn speech_takes_voices_of_any_rate_in_mono_and_stereo() {
    let place = Place::new();
    for (rate, channels) in [(8_000, 1), (16_000, 1), (44_100, 2), (48_000, 2)] {
        place.tone("voice.wav", rate, channels, 0.5);
        let line = [
            "speech",
            "Hello world",
            "--ref-audio",
            "voice.wav",
            "--ref-text",
            "hum",
            "-o",
            "out.wav",
        ];
        place.works(&[&line[..], &SHORT].concat());
        read_wav(&place.path("out.wav"));
    }
}

#[test]
fn greedy_does_not_depend_on_the_seed() {
    let place = Place::new();
    for seed in ["1", "2"] {
        let line = ["music", "calm", "--greedy", "--seed", seed, "-o"];
        let name = format!("{seed}.wav");
        place.works(&[&line[..], &[name.as_str()], &SHORT].concat());
    }
    assert_eq!(
        read_wav(&place.path("1.wav")),
        read_wav(&place.path("2.wav"))
    );
}

#[test]
fn codec_round_trips_keep_the_length() {
    let place = Place::new();
    place.tone("a.wav", 16_000, 1, 1.2345);
    place.tone("b.wav", 16_000, 1, 1.0);
    place.model("model");
    place.works(&[
        "codec", "encode", "a.wav", "b.wav", "-o", "codes", "-m", "model",
    ]);
    assert_eq!(place.listing("codes"), ["a.codes", "b.codes"]);
    let line = [
        "codec",
        "decode",
        "codes/a.codes",
        "-o",
        "back.wav",
        "-m",
        "model",
        "--json",
    ];
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(report["results"][0]["codebooks"], 12);
    let samples = read_wav(&place.path("back.wav"));
    assert_eq!(samples.len(), (16_000.0 * 1.2345_f32) as usize);
}

#[test]
fn inspect_counts_what_init_wrote() {
    let place = Place::new();
    let model = place.model("model");
    let text = place.works(&["inspect", "model", "--json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    let total = report["parameters"]["total"].as_u64().unwrap();
    assert_eq!(report["memory_bytes"]["f32"], 4 * total);
    // The weights are stored in two bytes each, behind a header.
    let stored = fs::metadata(model.join("model-00001-of-00001.safetensors"))
        .unwrap()
        .len();
    assert!(
        (2 * total..2 * total + 100_000).contains(&stored),
        "{stored}"
    );
    let vision = report["parameters"]["vision"].as_u64().unwrap();
    assert!((1..total).contains(&vision), "{vision}");
    let text = place.works(&["inspect", "model"]);
    assert!(text.contains("Top-P 0.7") && text.contains("64 tokens for 224 x 224 pixels"));
}

#[test]
fn an_unwritable_home_and_cache_do_not_matter() {
    let place = Place::new();
    let output = place
        .command()
        .args(["music", "calm", "-o", "out.wav", "--max-seconds", "0.5"])
        .envs([("HOME", "/dev/null"), ("XDG_CACHE_HOME", "/dev/null")])
        .output()
        .unwrap();
    assert!(output.status.success());
    read_wav(&place.path("out.wav"));
}
