use std::fs;

use proptest::prelude::*;
use serde_json::{Value, json};
use unimoe_train::{DataError, Fault, Manifest, Policy, Task};

use crate::studio::{Studio, load, music, speech};

fn defects(studio: &Studio, lines: &[Value]) -> Vec<(usize, &'static str)> {
    match load(&studio.manifest("bad.jsonl", lines)) {
        Err(DataError::Defects(defects)) => {
            let defects = defects.0.iter();
            defects
                .map(|defect| (defect.line, defect.fault.reason()))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_has_what_its_line_says() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.1);
    fs::create_dir(studio.path("frames")).unwrap();
    let lines = [
        json!({"id": "1", "task": "speech", "text": "Hi", "audio": "a.wav", "language": "zh",
            "reference_audio": "a.wav", "reference_text": "Ho", "duration": 0.1, "snr": 12, "video": null}),
        json!({"id": "2", "task": "video_music", "caption": "calm", "audio": "a.wav", "video": "frames"}),
        json!({"id": "3", "task": "music", "text": "calm", "audio": "a.wav", "domain": "piano", "score": 2}),
        json!({"id": "4", "task": "speech", "text": "Hi", "audio": "a.wav"}),
    ];
    let path = studio.manifest("good.jsonl", &lines);
    let found = load(&path).unwrap();
    let [first, second, third, fourth] = &found.records[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (first.task, first.domain.as_str()),
        (Task::Speech, "speech-zh")
    );
    assert_eq!(first.audio, studio.path("a.wav"));
    assert_eq!(first.reference.as_ref().unwrap().text, "Ho");
    assert_eq!(
        (first.column("snr"), first.column("duration")),
        (Some(12.0), Some(0.1))
    );
    assert_eq!(second.video, Some(studio.path("frames")));
    assert_eq!(
        (second.domain.as_str(), second.text.as_str()),
        ("video_music", "calm")
    );
    assert_eq!((third.domain.as_str(), third.score), ("piano", Some(2.0)));
    assert_eq!((fourth.domain.as_str(), fourth.origin.line), ("speech", 4));

    // What is written reads the same, from another folder too.
    fs::create_dir(studio.path("sub")).unwrap();
    for name in ["again.jsonl", "sub/again.jsonl"] {
        let copy = studio.path(name);
        found.write(&copy).unwrap();
        let again = load(&copy).unwrap();
        for (one, other) in found.records.iter().zip(&again.records) {
            let mut other = (**other).clone();
            other.origin = one.origin.clone();
            assert_eq!(**one, other);
        }
    }
}

#[test]
fn every_bad_line_is_listed_with_its_number() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.1);
    fs::write(studio.path("empty.wav"), "").unwrap();
    let good = music("good", "a.wav");
    let change = |field: &str, value: Value| {
        let mut line = music("x", "a.wav");
        line[field] = value;
        line["id"] = json!(
            format!("{field}-{line}")
                .chars()
                .take(90)
                .collect::<String>()
        );
        line
    };
    let lines = [
        good.clone(),
        json!([1, 2]),
        json!({"id": "alone"}),
        good.clone(),
        change("audio", json!("nowhere.wav")),
        change("audio", json!("empty.wav")),
        change("audio", json!(".")),
        change("audio", json!("a\u{0}.wav")),
        change("task", json!("song")),
        change("caption", json!(" ")),
        change("text", json!("another text")),
        change("duration", json!(-1)),
        change("duration", json!(1e300)),
        change("score", json!("high")),
        change("domain", json!("")),
        change("video", json!("a.wav")),
        change("reference_audio", json!("a.wav")),
        json!({"id": "s", "task": "speech", "text": "t", "audio": "a.wav", "reference_audio": "a.wav"}),
        json!({"id": "v", "task": "video_music", "text": "t", "audio": "a.wav"}),
        json!({"id": 7, "task": "music", "text": "t", "audio": "a.wav"}),
    ];
    let expected = [
        (2, "bad_json"),
        (3, "missing_field"),
        (3, "missing_field"),
        (3, "missing_field"),
        (4, "duplicate_id"),
        (5, "missing_file"),
        (6, "empty_file"),
        (7, "missing_file"),
        (8, "missing_file"),
        (9, "bad_field"),
        (10, "bad_field"),
        (11, "bad_field"),
        (12, "bad_field"),
        (13, "bad_field"),
        (14, "bad_field"),
        (15, "bad_field"),
        (16, "bad_field"),
        (17, "bad_field"),
        (18, "missing_field"),
        (19, "missing_field"),
        (20, "bad_field"),
    ];
    assert_eq!(defects(&studio, &lines), expected);

    let kept = Manifest::load(&[studio.path("bad.jsonl")], Policy::Skip);
    // An empty name is a domain that loses its only line.
    assert!(matches!(kept, Err(DataError::EmptyDomain { domain, .. }) if domain.is_empty()));
    let lines: Vec<Value> = lines
        .into_iter()
        .filter(|line| line["domain"] != "")
        .collect();
    let kept = Manifest::load(&[studio.manifest("bad.jsonl", &lines)], Policy::Skip).unwrap();
    assert_eq!((kept.records.len(), kept.skipped.0.len()), (1, 20));
    assert_eq!(kept.skipped.counts()["bad_field"], 9);
}

#[test]
fn lines_that_are_no_text_or_too_long_do_not_hide_the_others() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.1);
    let mut bytes = b"\xEF\xBB\xBF".to_vec();
    bytes.extend(format!("{}\r\n\r\n", music("1", "a.wav")).as_bytes());
    bytes.extend(b"{\"id\": \"\xFF\"}\n");
    bytes.extend(vec![b' '; (1 << 20) + 1]);
    bytes.extend(b"\n{\"id\": \n");
    bytes.extend("[".repeat(100_000).as_bytes());
    bytes.extend(format!("\n{}", music("2", "a.wav")).as_bytes());
    let path = studio.path("odd.jsonl");
    fs::write(&path, bytes).unwrap();
    let found = Manifest::load(&[&path], Policy::Skip).unwrap();
    assert_eq!(found.records.len(), 2);
    assert_eq!(found.records[1].origin.line, 7);
    let faults: Vec<_> = found
        .skipped
        .0
        .iter()
        .map(|d| (d.line, d.fault.reason()))
        .collect();
    let expected = [
        (3, "not_utf8"),
        (4, "line_too_long"),
        (5, "bad_json"),
        (6, "bad_json"),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn ids_are_unique_across_manifests() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.1);
    let one = studio.manifest("one.jsonl", &[music("x", "a.wav")]);
    let two = studio.manifest("two.jsonl", &[music("y", "a.wav"), music("x", "a.wav")]);
    let Err(DataError::Defects(defects)) = Manifest::load(&[&one, &two], Policy::Fail) else {
        panic!("accepted");
    };
    assert_eq!((&defects.0[0].manifest, defects.0[0].line), (&two, 2));
    assert!(
        matches!(&defects.0[0].fault, Fault::DuplicateId { manifest, line: 1, .. } if *manifest == one)
    );
}

#[test]
fn manifests_and_domains_without_records_are_errors() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.1);
    let good = studio.manifest("good.jsonl", &[music("x", "a.wav")]);
    let empty = studio.manifest("empty.jsonl", &[]);
    let result = Manifest::load(&[&good, &empty], Policy::Skip);
    assert!(matches!(result, Err(DataError::EmptyManifest { path }) if path == empty));

    let mut lost = speech("s", "Hi", "nowhere.wav");
    lost["domain"] = json!("readings");
    let lines = [music("x", "a.wav"), lost];
    let result = Manifest::load(&[studio.manifest("lost.jsonl", &lines)], Policy::Skip);
    assert!(matches!(result, Err(DataError::EmptyDomain { domain, .. }) if domain == "readings"));

    for path in [studio.path("nothing.jsonl"), studio.path(".")] {
        assert!(matches!(load(&path), Err(DataError::Io { .. })), "{path:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("speech"),
            Just("music"),
            Just("a.wav"),
            Just("/"),
            Just("..")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(".{0,4}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_line() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec![
        "id",
        "task",
        "text",
        "caption",
        "audio",
        "reference_audio",
        "reference_text",
        "video",
        "language",
        "duration",
        "domain",
        "score",
        "other",
    ]);
    prop::collection::btree_map(field.prop_map(String::from), any_json(), 0..9)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn hostile_lines_end_in_records_or_defects(lines in prop::collection::vec(any_line(), 0..6)) {
        let studio = Studio::new();
        let path = studio.manifest("x.jsonl", &lines);
        if let Ok(manifest) = Manifest::load(&[&path], Policy::Skip) {
            for record in &manifest.records {
                prop_assert!(record.audio.is_file());
            }
        }
    }

    #[test]
    fn hostile_bytes_end_in_records_or_defects(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let studio = Studio::new();
        let path = studio.path("x.jsonl");
        fs::write(&path, bytes).unwrap();
        prop_assert!(Manifest::load(&[&path], Policy::Fail).is_err());
    }
}
