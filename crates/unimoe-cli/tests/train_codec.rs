//! `unimoe train codec`.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use common::Place;
use dac_codec::{AudioClip, DacCodec};
use serde_json::{Value, json};

/// Two clips of half a second, their manifest, a codec small enough for a test, and settings that fit it.
fn place() -> Place {
    let place = Place::new();
    let mut lines = String::new();
    for (id, pitch) in [("a", 110.0), ("b", 220.0)] {
        let samples =
            (0..4000).map(|k| (k as f32 / 8000.0 * pitch * std::f32::consts::TAU).sin() * 0.4);
        let clip = AudioClip {
            samples: samples.collect(),
            sample_rate: 8000,
        };
        clip.write_wav(place.path(&format!("{id}.wav"))).unwrap();
        let record =
            json!({"id": id, "task": "music", "caption": "a tone", "audio": format!("{id}.wav")});
        lines += &format!("{record}\n");
    }
    fs::write(place.path("clips.jsonl"), lines).unwrap();
    let sizes = json!({
        "sampling_rate": 8000, "encoder_hidden_size": 4, "downsampling_ratios": [4, 5], "hidden_size": 8,
        "decoder_hidden_size": 8, "n_codebooks": 2, "codebook_size": 16, "codebook_dim": 4,
    });
    fs::write(place.path("sizes.json"), sizes.to_string()).unwrap();
    let settings = json!({
        "objective": {"crop_seconds": 0.1, "mel_windows": [128], "n_mels": [10], "stft_windows": [128]},
        "adversarial": {"discriminators": {
            "periods": [2], "period_channels": [4], "windows": [128], "bands": [1.0], "resolution_channels": 2,
        }},
        "run": {"batch_size": 2, "workers": 1},
    });
    fs::write(place.path("settings.json"), settings.to_string()).unwrap();
    place
}

const TRAIN: [&str; 9] = [
    "train",
    "codec",
    "clips.jsonl",
    "--config",
    "sizes.json",
    "--settings",
    "settings.json",
    "--output",
    "run",
];

#[test]
fn a_codec_trained_from_recordings_encodes_and_goes_on_training() {
    let place = place();
    let mut line = TRAIN.to_vec();
    line.extend([
        "--steps",
        "3",
        "--adversarial-start",
        "1",
        "--json",
        "--device",
        "cpu",
    ]);
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(
        (&report["stage"], &report["finished"]),
        (&json!("codec"), &json!(true))
    );
    let codec = DacCodec::load(place.path("run/codec"), &burn::tensor::Device::flex()).unwrap();
    assert_eq!(codec.config().hop_length(), 20);

    let events = fs::read_to_string(place.path("run/metrics.jsonl")).unwrap();
    let events: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps: Vec<&Value> = events
        .iter()
        .filter(|event| event["event"] == "step")
        .collect();
    let has_game = |step: &&Value| step["terms"].get("discriminators").is_some();
    assert_eq!(
        steps.iter().map(has_game).collect::<Vec<_>>(),
        [false, true, true]
    );

    place.works(&[
        "codec",
        "encode",
        "a.wav",
        "--model",
        "run/codec",
        "--output",
        "codes",
    ]);
    let again = [
        "train",
        "codec",
        "clips.jsonl",
        "--codec",
        "run/codec",
        "--settings",
        "settings.json",
        "--output",
        "more",
        "--steps",
        "1",
        "--no-adversarial",
        "--device",
        "cpu",
        "--json",
    ];
    place.works(&again);
    assert!(place.path("more/codec/model.safetensors").is_file());
}

#[test]
fn what_makes_no_run_is_said_before_it_begins() {
    let place = place();
    let fails = |extra: &[&str], words: &[&str]| {
        let line: Vec<&str> = TRAIN.iter().chain(extra).copied().collect();
        place.fails(&line, 3, words);
    };
    fs::write(place.path("broken.wav"), b"no sound").unwrap();
    let record = json!({"id": "c", "task": "music", "caption": "x", "audio": "broken.wav"});
    fs::write(place.path("more.jsonl"), format!("{record}\n")).unwrap();
    fails(&["more.jsonl"], &["line 1", "`c`", "broken.wav"]);
    fs::write(place.path("sizes.json"), "[]").unwrap();
    fails(&[], &["sizes.json", "no usable codec configuration"]);
    fs::write(place.path("sizes.json"), r#"{"sampling_rate": 8000}"#).unwrap();
    fails(&[], &["encoder_rates is absent"]);
    fs::write(place.path("settings.json"), r#"{"objective": {"mel": -1}}"#).unwrap();
    let line = [
        "train",
        "codec",
        "clips.jsonl",
        "--settings",
        "settings.json",
        "--output",
        "run",
    ];
    place.fails(&line, 3, &["mel is -1"]);
    fs::write(place.path("settings.json"), r#"{"objective": {"melt": 1}}"#).unwrap();
    place.fails(&line, 3, &["melt"]);
    assert!(!place.path("run/codec").exists());
}
