//! `unimoe eval`: what it measures, and what it refuses.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, write_wav};
use serde_json::Value;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn texts_of_one_file_and_of_two_have_the_same_error_rates() {
    let place = Place::new();
    let pairs = r#"{"id": "a", "reference": "The cat sat.", "hypothesis": "the cat"}
{"id": "b", "reference": "one", "hypothesis": "one"}"#;
    fs::write(place.path("pairs.jsonl"), pairs).unwrap();
    let wanted = "{\"id\": \"a\", \"text\": \"The cat sat.\", \"audio\": \"a.wav\"}\n{\"id\": \"b\", \"text\": \"one\"}\n";
    fs::write(place.path("manifest.jsonl"), wanted).unwrap();
    let heard = "{\"id\": \"b\", \"text\": \"one\"}\n{\"id\": \"a\", \"text\": \"the cat\"}\n";
    fs::write(place.path("heard.jsonl"), heard).unwrap();

    let one = ["eval", "text", "--manifest", "pairs.jsonl", "--json"];
    let two = [
        "eval",
        "text",
        "--reference",
        "manifest.jsonl",
        "--generated",
        "heard.jsonl",
        "--json",
    ];
    let found = [place.works(&one), place.works(&two)];
    assert_eq!(found[0], found[1]);
    // "The" is another word, "sat." is missing: 2 of 4 words.
    assert_eq!(json(&found[0])["wer"]["rate"], 0.5);

    let table = place.works(&[&one[..4], &["--normalize", "basic", "--per-clip"]].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[2].starts_with("wer") && lines[2].contains("0.2500"),
        "{table}"
    );
    assert!(
        lines[6].starts_with("a ") && lines[7].starts_with("b "),
        "{table}"
    );
}

#[test]
fn sounds_of_any_rate_and_length_are_compared_by_name() {
    let place = Place::new();
    fs::create_dir_all(place.path("wanted/b")).unwrap();
    fs::create_dir_all(place.path("made/b")).unwrap();
    place.tone("wanted/a.wav", 16_000, 1, 0.5);
    place.tone("wanted/b/c.wav", 16_000, 1, 0.5);
    place.tone("made/a.wav", 16_000, 1, 0.5);
    place.tone("made/b/c.wav", 44_100, 2, 0.6);
    let line = [
        "eval",
        "audio",
        "--reference",
        "wanted",
        "--generated",
        "made",
    ];
    let report = json(&place.works(&[&line[..], &["--json"]].concat()));
    assert_eq!(report["clips"][0]["id"], "a");
    assert_eq!(report["clips"][0]["si_sdr"], 150.0);
    assert_eq!(report["clips"][0]["mel_distance"], 0.0);
    assert_eq!(report["clips"][1]["id"], "b/c");
    assert!(
        report["clips"][1]["si_sdr"].as_f64().unwrap() > 20.0,
        "{report}"
    );
    let difference = report["max_length_difference"].as_f64().unwrap();
    assert!((difference - 0.1).abs() < 1e-4, "{difference}");
    let table = place.works(&line);
    assert!(
        table.contains("clips: 2 at 16000 Hz") && table.contains("mel_distance"),
        "{table}"
    );

    place.fails(
        &[&line[..], &["--lengths", "equal"]].concat(),
        3,
        &["`b/c`", "expected as many"],
    );
    place.tone("wanted/alone.wav", 16_000, 1, 0.5);
    place.fails(&line, 3, &["`alone`", "reference clips only", "0 more"]);
}

#[test]
fn clips_that_can_not_be_compared_are_refused_or_left_out_by_name() {
    let place = Place::new();
    for folder in ["wanted", "made"] {
        fs::create_dir(place.path(folder)).unwrap();
        place.tone(&format!("{folder}/good.wav"), 16_000, 1, 0.3);
        place.tone(&format!("{folder}/quiet.wav"), 16_000, 1, 0.3);
        place.tone(&format!("{folder}/torn.wav"), 16_000, 1, 0.3);
    }
    fs::write(place.path("made/torn.wav"), "no sound").unwrap();
    let line = [
        "eval",
        "audio",
        "--reference",
        "wanted",
        "--generated",
        "made",
    ];
    place.fails(&line, 3, &["torn.wav", "not a sound file"]);
    fs::remove_file(place.path("made/torn.wav")).unwrap();
    write_wav(
        &place.path("made/quiet.wav"),
        16_000,
        1,
        std::iter::repeat_n(0, 4_800),
    );
    let report = json(&place.works(&[&line[..], &["--skip", "--json"]].concat()));
    assert_eq!(report["si_sdr"]["count"], 1);
    let skipped: Vec<&str> = report["skipped"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["id"].as_str().unwrap())
        .collect();
    assert_eq!(skipped, ["torn", "quiet"]);
    fs::remove_file(place.path("wanted/torn.wav")).unwrap();
    place.fails(&line, 3, &["quiet.wav is silent"]);
    // Nothing is left to compare.
    let alone = [
        "eval",
        "audio",
        "--reference",
        "made/quiet.wav",
        "--generated",
        "made/quiet.wav",
        "--skip",
    ];
    place.fails(&alone, 3, &["pairs of sounds that can be compared: 0"]);
}

#[test]
fn embeddings_and_logits_are_compared_as_pairs_and_as_sets() {
    let place = Place::new();
    let rows = |rows: &[(&str, &str)]| -> String {
        rows.iter()
            .map(|(id, row)| format!("{{\"id\": \"{id}\", \"values\": {row}}}\n"))
            .collect()
    };
    fs::write(
        place.path("x.jsonl"),
        rows(&[("a", "[1, 0]"), ("b", "[0, 1]")]),
    )
    .unwrap();
    fs::write(
        place.path("y.jsonl"),
        rows(&[("b", "[0, 3]"), ("a", "[2, 0]")]),
    )
    .unwrap();
    fs::write(
        place.path("z.jsonl"),
        rows(&[("c", "[1, 2]"), ("d", "[2, 1]")]),
    )
    .unwrap();
    fs::write(place.path("wide.jsonl"), rows(&[("a", "[1, 2, 3]")])).unwrap();
    fs::write(place.path("bad.jsonl"), rows(&[("a", "[1e300, 2]")])).unwrap();

    let line = |kind, generated| {
        [
            "eval",
            kind,
            "--reference",
            "x.jsonl",
            "--generated",
            generated,
        ]
    };
    let report = json(&place.works(&[&line("embeddings", "y.jsonl")[..], &["--json"]].concat()));
    assert_eq!(report["cosine"]["mean"], 1.0);
    assert!(report["frechet"].as_f64().unwrap() > 0.0);
    let sets = [
        &line("embeddings", "z.jsonl")[..],
        &["--metrics", "frechet", "--json"],
    ]
    .concat();
    let report = json(&place.works(&sets));
    // Means (1/2, 1/2) and (3/2, 3/2), and the same spread.
    assert!((report["frechet"].as_f64().unwrap() - 2.0).abs() < 1e-9);
    assert_eq!(report["cosine"], Value::Null);
    let report = json(&place.works(&[&line("logits", "x.jsonl")[..], &["--json"]].concat()));
    assert_eq!(report["kl"]["forward"]["mean"], 0.0);
    assert!(report["inception_score"].as_f64().unwrap() > 1.0);
    place.works(&["eval", "logits", "--generated", "z.jsonl", "--splits", "2"]);

    for kind in ["embeddings", "logits"] {
        place.fails(&line(kind, "z.jsonl"), 3, &["`a`", "3 more"]);
        place.fails(&line(kind, "wide.jsonl"), 3, &["3, expected 2"]);
        place.fails(
            &line(kind, "bad.jsonl"),
            3,
            &["bad.jsonl", "row 0, column 0", "range of f32"],
        );
        place.fails(&line(kind, "none.jsonl"), 3, &["none.jsonl"]);
    }
    place.fails(
        &["eval", "logits", "--generated", "x.jsonl", "--splits", "3"],
        3,
        &["splits is 3"],
    );
}
