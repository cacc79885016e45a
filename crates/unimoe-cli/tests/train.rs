//! `unimoe train`, from a manifest to a model that generates.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use common::Place;
use serde_json::Value;

/// Three clips of each of two domains, and a dense model to begin with.
fn place() -> Place {
    let place = Place::new();
    let mut lines = String::new();
    for n in 0..3 {
        place.tone(&format!("s{n}.wav"), 8_000, 1, 0.3);
        place.tone(&format!("m{n}.wav"), 16_000, 1, 0.3 + 0.1 * n as f32);
        lines += &format!(
            "{}\n{}\n",
            serde_json::json!({
                "id": format!("s{n}"), "task": "speech", "text": "one", "audio": format!("s{n}.wav"),
                "reference_audio": "s0.wav", "reference_text": "one",
            }),
            serde_json::json!({
                "id": format!("m{n}"), "task": "music", "caption": "a note", "audio": format!("m{n}.wav"),
            }),
        );
    }
    fs::write(place.path("clips.jsonl"), lines).unwrap();
    place.works(&["init", "--preset", "tiny", "--dense", "--out", "base"]);
    place
}

const CURRICULUM: [&str; 8] = [
    "train",
    "curriculum",
    "--model",
    "base",
    "--data",
    "clips.jsonl",
    "--output",
    "run",
];

#[test]
fn a_curriculum_leaves_a_model_that_generates_and_is_not_run_twice() {
    let place = place();
    let line = [
        &CURRICULUM[..],
        &["--steps", "2", "--batch-size", "2", "--json"],
    ]
    .concat();
    let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
    assert_eq!(report["finished"], true);
    assert_eq!(report["model"], "run/joint/model");
    let music = [
        "music",
        "a note",
        "--model",
        "run/joint/model",
        "--max-seconds",
        "1",
        "--min-seconds",
        "0",
        "--output",
        "out.wav",
    ];
    place.works(&music);
    assert!(place.path("out.wav").is_file() && place.path("run/report.html").is_file());
    let log = fs::read_to_string(place.path("run/joint/metrics.jsonl")).unwrap();
    place.works(&line);
    assert_eq!(
        fs::read_to_string(place.path("run/joint/metrics.jsonl")).unwrap(),
        log
    );
}

#[test]
fn what_cannot_be_trained_is_refused_before_hours_are_spent() {
    let place = place();
    let with = |more: &[&'static str]| [&CURRICULUM[..], more].concat();
    fs::write(
        place.path("typo.json"),
        r#"{"joint": {"run": {"step": 5}}}"#,
    )
    .unwrap();
    place.fails(
        &with(&["--settings", "typo.json"]),
        3,
        &["typo.json", "step"],
    );
    fs::write(
        place.path("rate.json"),
        r#"{"joint": {"optimizer": {"learning_rate": -1}}}"#,
    )
    .unwrap();
    place.fails(
        &with(&["--settings", "rate.json"]),
        3,
        &["learning_rate", "-1"],
    );
    place.fails(&with(&["--learning-rate", "nan"]), 2, &["--learning-rate"]);
    fs::write(place.path("parts.json"), r#"{"integration": {"parts": 7}}"#).unwrap();
    place.fails(&with(&["--settings", "parts.json"]), 3, &["7 equal parts"]);
    place.works(&["init", "--preset", "tiny", "--out", "experts"]);
    let mut line = CURRICULUM.to_vec();
    line[3] = "experts";
    place.fails(&line, 3, &["dense", "8 routed"]);
    line[3] = "nowhere";
    place.fails(&line, 3, &["nowhere"]);
    fs::write(place.path("clips.jsonl"), "no json\n{}\n").unwrap();
    place.fails(&CURRICULUM, 3, &["line 1", "line 2"]);
    assert!(!place.path("run").join("joint").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_the_same_command_goes_on() {
    let place = place();
    let line = [
        "train",
        "baseline-dense",
        "--model",
        "base",
        "--data",
        "clips.jsonl",
        "--output",
        "run",
        "--steps",
        "400",
        "--batch-size",
        "1",
    ];
    let mut child = place.command();
    let mut child = child
        .args(line)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let log = place.path("run/metrics.jsonl");
    let start = Instant::now();
    while !fs::read_to_string(&log)
        .unwrap_or_default()
        .contains("\"event\":\"step\"")
    {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "it does nothing"
        );
        thread::sleep(Duration::from_millis(5));
    }
    let id = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let text = fs::read_to_string(&log).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(last["reason"], "stopped");
    let done = last["step"].as_u64().unwrap();
    let folder = place.path(&format!("run/checkpoints/step-{done:08}"));
    assert!(folder.is_dir(), "{folder:?}");
    assert!(!place.path("run/model").exists());

    // Started again and stopped again, it has gone on from there.
    let mut child = place.command();
    let mut child = child
        .args(line)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = format!("\"done\":{done},");
    while !fs::read_to_string(&log)
        .unwrap_or_default()
        .contains(&begun)
    {
        assert!(
            start.elapsed() < Duration::from_secs(240),
            "it does not go on"
        );
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
