//! `unimoe data synth`. Without espeak-ng on the PATH or Debian's FluidR3 the test of a whole data set says that it is skipped;
//! with `UNIMOE_REQUIRE_SYNTH=1` it fails.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::Path, process::Command};

use common::{Place, check_failure, read_wav};
use serde_json::Value;

const INPUT: i32 = 3;
const OUTPUT: i32 = 5;

const FONT: &str = "/usr/share/sounds/sf2/FluidR3_GM.sf2";

fn have_programs() -> bool {
    let espeak = Command::new("espeak-ng").arg("--version").output();
    let there = espeak.is_ok_and(|output| output.status.success()) && Path::new(FONT).is_file();
    if !there {
        let required = std::env::var_os("UNIMOE_REQUIRE_SYNTH").is_some_and(|value| value == "1");
        assert!(
            !required,
            "UNIMOE_REQUIRE_SYNTH=1, but espeak-ng or {FONT} is missing"
        );
        println!("SKIPPED: espeak-ng or {FONT} is missing");
    }
    there
}

#[test]
fn a_small_data_set_is_whole_and_good_to_train_on() {
    if !have_programs() {
        return;
    }
    let place = Place::new();
    let report = place.works(&["data", "synth", "-o", "made", "--scale", "0.0001", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["domains"]["speech-zh"]["train"], 18);
    assert_eq!(report["domains"]["video_music"]["test"], 36);
    assert_eq!(
        place.listing("made"),
        ["music", "speech", "test.jsonl", "train.jsonl", "video"]
    );

    // Sounds, animations, references: all that training reads.
    let table = place.works(&[
        "data",
        "check",
        "made/train.jsonl",
        "made/test.jsonl",
        "--workers",
        "1",
    ]);
    let expected = [
        ("music", "85"),
        ("speech-en", "110"),
        ("speech-zh", "58"),
        ("video_music", "38"),
    ];
    for (domain, clips) in expected {
        let row = table.lines().find(|row| row.starts_with(domain)).unwrap();
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words[..2], [domain, clips], "{table}");
    }
    let line = fs::read_to_string(place.path("made/test.jsonl")).unwrap();
    let clip: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let samples = read_wav(&place.path("made").join(clip["audio"].as_str().unwrap()));
    assert!(samples.iter().any(|sample| sample.unsigned_abs() > 3000));

    place.fails(
        &["data", "synth", "-o", "made"],
        OUTPUT,
        &["made", "no empty folder"],
    );
}

#[test]
fn what_is_missing_is_named_and_nothing_is_left() {
    let place = Place::new();
    let mut command = place.command();
    let output = command
        .args(["data", "synth", "-o", "made"])
        .env("PATH", place.path("nowhere"));
    check_failure(
        &output.output().unwrap(),
        INPUT,
        &["espeak-ng", "Debian's package"],
    );
    assert!(place.listing(".").is_empty());

    if have_programs() {
        let line = |font| ["data", "synth", "-o", "made", "--soundfont", font];
        place.fails(&line("none.sf2"), INPUT, &["the SoundFont", "none.sf2"]);
        fs::write(place.path("words.sf2"), "words").unwrap();
        place.fails(
            &line("words.sf2"),
            INPUT,
            &["words.sf2", "header of a SoundFont"],
        );
        assert_eq!(place.listing("."), ["words.sf2"]);
    }
}
