//! What each command does when everything is well.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, read_wav};
use serde_json::Value;

const SHORT: [&str; 2] = ["--max-seconds", "0.5"];

#[test]
fn music_without_a_model_is_the_built_in_models() {
    let place = Place::new();
    let output = place.run(
        &[
            &[
                "music",
                "A happy fast piano melody in C major.",
                "--output",
                "out.wav",
            ][..],
            &SHORT,
        ]
        .concat(),
    );
    assert!(output.status.success());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!told.contains("has not learnt"), "{told}");
    assert!(
        read_wav(&place.path("out.wav"))
            .iter()
            .any(|&sample| sample != 0)
    );
    assert_eq!(place.listing("."), ["out.wav"]);
}

#[test]
fn the_built_in_model_written_out_is_the_same_model() {
    let place = Place::new();
    place.works(&["export", "--output", "model"]);
    let voices = ["voices", "--json"];
    assert_eq!(
        place.works(&voices),
        place.works(&[&voices[..], &["-m", "model"]].concat())
    );
    let inspect = ["inspect", "--json"];
    assert_eq!(
        place.works(&inspect),
        place.works(&[&inspect[..], &["model"]].concat())
    );
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
        "loudish",
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
    assert_eq!(report["model"], Value::Null);
    assert_eq!(report["results"][1]["unknown_words"][0], "loudish");
    for (index, seed) in [8, 9].into_iter().enumerate() {
        let result = &report["results"][index];
        assert_eq!(result["seed"], seed);
        assert_eq!(result["sample_rate"], 16_000);
        assert!(result["frames"].as_u64().unwrap() <= 25);
    }
    place.works(&[
        "music",
        "loudish",
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
fn speech_without_a_voice_has_the_models_first_and_names_what_it_has_not_learnt() {
    let place = Place::new();
    let voices: Value = serde_json::from_str(&place.works(&["voices", "--json"])).unwrap();
    let first = voices[0]["name"].as_str().unwrap();
    let line = ["--seed", "3", "--json", "-o"];
    let say = |text: &str, more: &[&str]| {
        let output = place.run(&[&["speech", text], &line[..], more, &SHORT].concat());
        assert!(output.status.success());
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (report, String::from_utf8(output.stderr).unwrap())
    };
    let run = |more: &[&str]| say("Hello xylotomy.", more);
    let (report, told) = run(&["a.wav"]);
    assert_eq!(report["results"][0]["voice"], first);
    assert_eq!(report["results"][0]["unknown_words"][0], "xylotomy");
    assert!(told.starts_with("note: ") && told.contains("xylotomy"));
    run(&["b.wav", "--voice", first]);
    assert!(read_wav(&place.path("a.wav")) == read_wav(&place.path("b.wav")));

    // The built-in model has seen whole sentences only.
    say("hello xylotomy", &["d.wav"]);
    assert!(read_wav(&place.path("a.wav")) == read_wav(&place.path("d.wav")));

    let last = voices.as_array().unwrap().last().unwrap()["name"].as_str();
    run(&["c.wav", "--voice", last.unwrap()]);
    assert!(read_wav(&place.path("a.wav")) != read_wav(&place.path("c.wav")));
}

#[test]
fn an_exported_model_has_its_voices_words_and_settings() {
    let place = Place::new();
    place.model("model");
    place.tone("a.wav", 44_100, 2, 0.5);
    place.tone("b.wav", 16_000, 1, 0.5);
    fs::write(
        place.path("voices.json"),
        r#"[{"name": "ann", "text": "hum", "audio": "a.wav"}]"#,
    )
    .unwrap();
    fs::write(
        place.path("clips.jsonl"),
        r#"{"id": "m", "task": "music", "audio": "b.wav", "caption": "Calm hum"}"#,
    )
    .unwrap();
    fs::write(
        place.path("settings.json"),
        r#"{"speech": {"min_seconds": 0.1, "max_seconds": 0.2}}"#,
    )
    .unwrap();
    let line = [
        "export",
        "model",
        "-o",
        "small",
        "--voices",
        "voices.json",
        "--generation",
        "settings.json",
        "--learnt",
        "clips.jsonl",
        "--json",
    ];
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(report["voices"], serde_json::json!(["ann"]));
    assert!(report["bytes"].as_u64().unwrap() > 1_000_000);
    assert!(
        place
            .works(&["voices", "-m", "small"])
            .contains("0.5 s: hum")
    );
    let line = ["speech", "la", "-m", "small", "-o", "out.wav", "--json"];
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert!(report["results"][0]["frames"].as_u64().unwrap() <= 10);
    let line = [
        "music",
        "calm drums",
        "-m",
        "small",
        "-o",
        "out.wav",
        "--json",
    ];
    let output = place.run(&[&line[..], &SHORT].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["results"][0]["unknown_words"],
        serde_json::json!(["drums"])
    );
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
