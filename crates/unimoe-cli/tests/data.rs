//! Checking, cleaning and balancing lists of clips.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, check_failure, colours, write_gif, write_wav};
use serde_json::{Value, json};

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const OUTPUT: i32 = 5;

/// Writes lines.
fn manifest(place: &Place, name: &str, lines: &[Value]) {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(place.path(name), lines.join("\n")).unwrap();
}

/// A sound of several tones that no other number has.
fn tune(place: &Place, name: &str, number: u32, seconds: f32) {
    let samples = (0..(8000.0 * seconds) as u32).map(|index| {
        let note = index / 1000;
        let pitch = |voice: u32| 200 + (number * 7919 + note * 104_729 + voice * 1299) % 1500;
        let angle = |voice| (index * pitch(voice) % 8000) as f32 / 8000.0 * std::f32::consts::TAU;
        ((angle(1).sin() + angle(2).sin() + angle(3).sin()) * 3000.0) as i16
    });
    write_wav(&place.path(name), 8000, 1, samples);
}

fn music(number: u32) -> Value {
    let audio = format!("{number}.wav");
    json!({"id": format!("m{number}"), "task": "music", "caption": "a tune", "audio": audio})
}

/// Six tunes of a second and more.
fn tunes(place: &Place) -> Vec<Value> {
    let one = |number| {
        tune(
            place,
            &format!("{number}.wav"),
            number,
            1.0 + number as f32 / 10.0,
        );
        music(number)
    };
    (0..6).map(one).collect()
}

fn lines_of(place: &Place, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_good_manifest_is_counted_and_a_bad_one_listed() {
    let place = Place::new();
    let mut lines = tunes(&place);
    manifest(&place, "good.jsonl", &lines);
    let text = place.works(&["data", "check", "good.jsonl"]);
    assert!(text.starts_with("domain  clips"), "{text}");
    assert!(text.contains("music       6"), "{text}");

    place.fails(
        &[
            "data",
            "check",
            "good.jsonl",
            "--domains",
            "music,speech-zh",
        ],
        INPUT,
        &["speech-zh"],
    );

    fs::write(place.path("1.wav"), "words").unwrap();
    lines.push(music(9));
    lines.push(music(0));
    lines.push(json!({"id": "s", "task": "speech", "text": "Hi", "audio": "0.wav"}));
    lines.push(json!("odd"));
    manifest(&place, "bad.jsonl", &lines);
    let output = place.run(&["data", "check", "bad.jsonl", "--json"]);
    check_failure(&output, INPUT, &["5 defects"]);
    let reports = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_str(reports.lines().next().unwrap()).unwrap();
    let found = report["defects"].as_array().unwrap().iter();
    let found: Vec<_> = found
        .map(|d| (d["line"].as_u64().unwrap(), d["reason"].as_str().unwrap()))
        .collect();
    let expected = [
        (2, "unreadable_audio"),
        (7, "missing_file"),
        (8, "duplicate_id"),
        (9, "missing_field"),
        (10, "bad_json"),
    ];
    assert_eq!(found, expected);
    assert_eq!(report["domains"]["music"]["clips"], 5);

    let output = place.run(&["data", "check", "bad.jsonl"]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.contains("note: bad.jsonl, line 10: not a JSON object"),
        "{notes}"
    );

    // Only counted, but for the domain that has nothing left.
    let line = ["data", "check", "bad.jsonl", "--on-defect", "skip"];
    place.fails(&line, INPUT, &["speech"]);
    place.works(&[&line[..], &["--without-voices"]].concat());
}

#[test]
fn clips_must_fit_the_model() {
    let place = Place::new();
    place.model("model");
    tune(&place, "0.wav", 0, 1.0);
    let mut long = music(0);
    long["caption"] = json!("la ".repeat(20_000));
    let mut control = music(0);
    control["id"] = json!("c");
    control["caption"] = json!("calm<|im_end|>");
    manifest(&place, "a.jsonl", &[long, control]);
    place.works(&["data", "check", "a.jsonl"]);
    let output = place.run(&["data", "check", "a.jsonl", "--model", "model"]);
    check_failure(&output, INPUT, &["2 defects", "positions", "<|im_end|>"]);
    place.fails(
        &["data", "check", "a.jsonl", "--model", "nowhere"],
        INPUT,
        &["nowhere"],
    );
}

#[test]
fn videos_are_read_too() {
    let place = Place::new();
    tune(&place, "0.wav", 0, 1.0);
    write_gif(&place.path("good.gif"), &colours(2, 40, 64, 48));
    fs::write(place.path("bad.gif"), "GIF89a and no more").unwrap();
    let line = |video: &str| json!({"id": video, "task": "video_music", "caption": "c", "audio": "0.wav", "video": video});
    manifest(&place, "a.jsonl", &[line("good.gif")]);
    place.works(&["data", "check", "a.jsonl"]);
    manifest(&place, "b.jsonl", &[line("good.gif"), line("bad.gif")]);
    place.fails(
        &["data", "check", "b.jsonl"],
        INPUT,
        &["line 2", "bad.gif", "video"],
    );
}

const PREPARE: [&str; 8] = [
    "data",
    "prepare",
    "raw.jsonl",
    "--cache",
    "cache",
    "--model",
    "model",
    "--output",
];

#[test]
fn preparing_filters_drops_copies_computes_codes_and_reports() {
    let place = Place::new();
    place.model("model");
    let mut lines = tunes(&place);
    fs::copy(place.path("2.wav"), place.path("7.wav")).unwrap();
    tune(&place, "8.wav", 8, 0.3);
    lines.extend([music(7), music(8)]);
    lines[0]["speaker"] = json!("who");
    for (number, speaker) in [(20, "a"), (21, "a"), (22, "b")] {
        tune(&place, &format!("{number}.wav"), number, 1.0);
        lines.push(
            json!({"id": format!("s{number}"), "task": "speech", "text": format!("Text {number}"),
            "audio": format!("{number}.wav"), "language": "en", "speaker": speaker}),
        );
    }
    manifest(&place, "raw.jsonl", &lines);
    let options = [
        "kept.jsonl",
        "--min-seconds",
        "0.5",
        "--voices-by",
        "speaker",
        "--json",
    ];
    let line = [&PREPARE[..], &options].concat();
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    let domain = &report["domains"]["music"];
    assert_eq!((&domain["clips"], &domain["kept"]), (&json!(8), &json!(6)));
    assert_eq!(
        domain["dropped"],
        json!({"duration": 1, "exact_duplicate": 1})
    );
    assert_eq!(report["domains"]["speech-en"]["kept"], 3);
    assert_eq!(
        (&report["without_voice"], &report["cached"]),
        (&json!(1), &json!(0))
    );
    assert!((report["encoded_seconds"].as_f64().unwrap() - 10.5).abs() < 0.1);
    let saved = fs::read_to_string(place.path("kept.report.json")).unwrap();
    let saved: Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved, report);

    let kept = lines_of(&place, "kept.jsonl");
    assert_eq!(kept.len(), 9);
    assert_eq!(kept[0]["duration"], 1.0);
    assert_eq!(kept[0]["audio"], "0.wav");
    assert!(kept[0]["frames"].as_u64().unwrap() >= 50);
    assert!(kept[0]["loudness_lufs"].as_f64().unwrap() < -5.0);
    assert_eq!(kept[6]["reference_audio"], "21.wav");
    assert_eq!(kept[6]["reference_text"], "Text 21");

    // Again: everything is in the cache. And what was written can be read.
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(
        (&report["cached"], &report["encoded_seconds"]),
        (&json!(9), &json!(0.0))
    );
    place.works(&["data", "check", "kept.jsonl", "--without-voices"]);
    let text = place.works(&[&PREPARE[..], &["again.jsonl", "--keep-duplicates"]].concat());
    assert!(text.contains("again.jsonl: 11 clips"), "{text}");
}

#[test]
fn rules_can_come_from_a_file() {
    let place = Place::new();
    place.model("model");
    let lines = tunes(&place);
    manifest(&place, "raw.jsonl", &lines);
    let rules = json!({"filter": {"seconds": {"min": 9.0}}, "domains": {"music": {"seconds": {"min": 1.25}}}});
    fs::write(place.path("rules.json"), rules.to_string()).unwrap();
    let text = place.works(&[&PREPARE[..], &["kept.jsonl", "--rules", "rules.json"]].concat());
    assert!(text.contains("3 duration"), "{text}");
    for (rules, words) in [
        ("{\"filter\": {\"second\": 1}}", "second"),
        ("{\"domains\": {\"musik\": {}}}", "musik"),
        ("{\"filter\": {\"pattern\": \"(\"}}", "pattern"),
        ("[", "line 1"),
    ] {
        fs::write(place.path("rules.json"), rules).unwrap();
        let line = [&PREPARE[..], &["other.jsonl", "--rules", "rules.json"]].concat();
        place.fails(&line, INPUT, &[words]);
    }
    assert!(!place.path("other.jsonl").exists());
}

#[test]
fn a_domain_that_loses_everything_is_an_error_that_says_why() {
    let place = Place::new();
    place.model("model");
    let lines = tunes(&place);
    manifest(&place, "raw.jsonl", &lines);
    let line = [&PREPARE[..], &["kept.jsonl", "--min-seconds", "60"]].concat();
    place.fails(&line, INPUT, &["music", "all of its 6 clips", "6 duration"]);
    assert!(!place.path("kept.jsonl").exists());
    assert!(place.path("kept.report.json").exists());
}

#[test]
fn sounds_that_can_not_be_read_are_listed_or_left_out() {
    let place = Place::new();
    place.model("model");
    let lines = tunes(&place);
    manifest(&place, "raw.jsonl", &lines);
    fs::write(place.path("3.wav"), "words").unwrap();
    let line = [&PREPARE[..], &["kept.jsonl"]].concat();
    place.fails(&line, INPUT, &["line 4", "3.wav"]);
    assert_eq!(place.listing("cache/codes").len(), 0);
    let report = place.works(&[&line[..], &["--on-defect", "skip", "--json"]].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["unusable"], json!({"unreadable_audio": 1}));
    assert_eq!(lines_of(&place, "kept.jsonl").len(), 5);
}

#[test]
fn balancing_draws_by_seed() {
    let place = Place::new();
    tune(&place, "0.wav", 0, 0.2);
    let lines: Vec<Value> = (0..30)
        .map(|number| {
            let domain = if number < 25 { "zh" } else { "en" };
            json!({"id": number.to_string(), "task": "music", "caption": "c", "audio": "0.wav",
                "domain": domain, "score": number})
        })
        .collect();
    manifest(&place, "all.jsonl", &lines);
    let line = [
        "data",
        "balance",
        "all.jsonl",
        "--per-domain",
        "5",
        "--output",
    ];
    let text = place.works(&[&line[..], &["a.jsonl", "--seed", "1"]].concat());
    assert!(text.contains("zh         25      5"), "{text}");
    place.works(&[&line[..], &["b.jsonl", "--seed", "1"]].concat());
    place.works(&[&line[..], &["c.jsonl", "--seed", "2"]].concat());
    let [a, b, c] = ["a.jsonl", "b.jsonl", "c.jsonl"].map(|name| lines_of(&place, name));
    assert_eq!((a.len(), &a), (10, &b));
    assert_ne!(a, c);
    place.works(&[&line[..], &["d.jsonl", "--best", "score"]].concat());
    let best = lines_of(&place, "d.jsonl");
    assert_eq!(best[0]["id"], "20");

    place.fails(
        &[
            "data",
            "balance",
            "all.jsonl",
            "--per-domain",
            "6",
            "-o",
            "e.jsonl",
        ],
        INPUT,
        &["en", "5 records"],
    );
    place.fails(
        &[&line[..], &["e.jsonl", "--best", "mos"]].concat(),
        INPUT,
        &["mos"],
    );
    place.fails(&[&line[..], &["all.jsonl"]].concat(), USAGE, &["--output"]);
    place.fails(
        &[&line[..], &["nowhere/e.jsonl"]].concat(),
        OUTPUT,
        &["nowhere"],
    );
    assert!(!place.path("e.jsonl").exists());
}

#[test]
fn manifests_that_are_none() {
    let place = Place::new();
    fs::write(place.path("empty.jsonl"), "\n\n").unwrap();
    fs::create_dir(place.path("folder")).unwrap();
    for (name, word) in [
        ("nowhere.jsonl", "nowhere"),
        ("empty.jsonl", "no record"),
        ("folder", "regular"),
    ] {
        place.fails(&["data", "check", name], INPUT, &[word]);
    }
    place.fails(&["data", "check"], USAGE, &["MANIFEST"]);
    place.fails(
        &[
            "data", "prepare", "a.jsonl", "-o", "b.jsonl", "--cache", "c",
        ],
        USAGE,
        &["--model"],
    );
}
