//! `unimoe eval speech`, `music`, `codec` and `card`: a tiny untrained model is judged, and what is refused.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, colours, write_gif, write_wav};
use serde_json::{Value, json};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A saw wave, loud for the first fifth of each period of `beat` seconds.
fn buzz(place: &Place, name: &str, hz: f64, beat: f64, seconds: f64) {
    let sample = |n: usize| {
        let at = n as f64 / 16_000.0;
        let loud = if at % beat < beat / 5.0 { 1.0 } else { 0.2 };
        ((at * hz).fract() - 0.5) * loud * 20_000.0
    };
    let samples = (0..(seconds * 16_000.0) as usize).map(|n| sample(n) as i16);
    write_wav(&place.path(name), 16_000, 1, samples);
}

fn write_lines(place: &Place, name: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(place.path(name), text).unwrap();
}

fn speech(place: &Place) -> Vec<Value> {
    let mut lines = Vec::new();
    for (speaker, hz) in [("low", 90.0), ("high", 220.0)] {
        buzz(place, &format!("{speaker}.wav"), hz, 0.1, 0.4);
        for number in 0..2 {
            let audio = format!("{speaker}-{number}.wav");
            buzz(place, &audio, hz, 0.15 + 0.2 * f64::from(number), 0.6);
            lines.push(json!({
                "id": format!("{speaker}/{number}"), "task": "speech", "language": "zh", "text": "Hm hm.",
                "audio": audio, "speaker": speaker, "reference_audio": format!("{speaker}.wav"),
                "reference_text": "Hm.",
            }));
        }
    }
    lines
}

fn music(place: &Place) -> Vec<Value> {
    write_gif(&place.path("cuts.gif"), &colours(2, 100, 56, 56));
    let mut lines = Vec::new();
    for (mode, hz) in [("major", 262.0), ("minor", 311.0)] {
        for (tempo, beat) in [("fast", 0.3), ("slow", 0.8)] {
            for number in 0..2 {
                let audio = format!("{mode}-{tempo}-{number}.wav");
                buzz(place, &audio, hz + f64::from(number), beat, 3.0);
                let video = number == 1 && mode == "major";
                let mut line = json!({
                    "id": audio, "task": if video { "video_music" } else { "music" }, "caption": "A tune.",
                    "audio": audio, "instrument": "saw", "tempo_class": tempo, "mode": mode,
                });
                if video {
                    line["video"] = json!("cuts.gif");
                }
                lines.push(line);
            }
        }
    }
    lines
}

#[test]
fn a_tiny_model_speaks_and_is_judged_and_nothing_is_made_twice() {
    let place = Place::new();
    place.model("model");
    write_lines(&place, "speech.jsonl", &speech(&place));
    let line = [
        "eval",
        "speech",
        "speech.jsonl",
        "--model",
        "model",
        "--output",
        "out",
        "--max-seconds",
        "0.6",
        "--batch",
        "3",
        "--pictures",
        "1",
    ];
    let report = place.works(&[&line[..], &["--json"]].concat());
    let found = parsed(&report);
    assert_eq!(found["clips"].as_array().unwrap().len(), 4);
    assert_eq!(found["figures"]["recognition"], Value::Null);
    let pitch = &found["figures"]["voices"]["zh"]["pitch"];
    // Classes are sorted: high, low.
    assert_eq!(pitch["real"]["counts"], json!([[2, 0, 0], [0, 2, 0]]));
    assert_eq!(
        found["figures"]["generation"]["speech"]["seconds"],
        json!([0.5, 0.6])
    );
    assert_eq!(
        place.listing("out"),
        ["generated", "pictures", "round-trips"]
    );
    assert_eq!(place.listing("out/generated").len(), 2, "two batches");
    assert_eq!(place.listing("out/pictures").len(), 1);
    let picture = place
        .path("out/pictures")
        .join(&place.listing("out/pictures")[0]);
    assert!(image::open(picture).unwrap().height() > 500);

    let files = || -> Vec<(std::path::PathBuf, std::time::SystemTime)> {
        let mut files = Vec::new();
        for batch in place.listing("out/generated") {
            for name in place.listing(&format!("out/generated/{batch}")) {
                let path = place.path(&format!("out/generated/{batch}/{name}"));
                let changed = fs::metadata(&path).unwrap().modified().unwrap();
                files.push((path, changed));
            }
        }
        files
    };
    let before = files();
    assert_eq!(before.len(), 4);
    assert_eq!(
        parsed(&place.works(&[&line[..], &["--json"]].concat())),
        found
    );
    assert_eq!(files(), before);
    // A batch that lost a file is made again, to the same sounds.
    let bytes = fs::read(&before[0].0).unwrap();
    fs::remove_file(&before[0].0).unwrap();
    let table = place.works(&line);
    assert!(table.contains("zh: pitch nearest to its voice"), "{table}");
    assert_eq!(fs::read(&before[0].0).unwrap(), bytes);
    // Another seed is another batch.
    place.works(&[&line[..], &["--seed", "5"]].concat());
    assert_eq!(place.listing("out/generated").len(), 4);
}

#[test]
fn music_and_videos_are_judged_by_classifiers_of_other_clips() {
    let place = Place::new();
    place.model("model");
    let lines = music(&place);
    write_lines(&place, "music.jsonl", &lines);
    let line = [
        "eval",
        "music",
        "music.jsonl",
        "--fit",
        "music.jsonl",
        "--model",
        "model",
        "--output",
        "out",
        "--max-seconds",
        "0.5",
        "--min-seconds",
        "0.5",
        "--limit",
        "2",
        "--json",
    ];
    let found = parsed(&place.works(&line));
    let figures = &found["figures"];
    assert_eq!(figures["fitted"], 8);
    for task in ["music", "video_music"] {
        let attributes = &figures["tasks"][task]["attributes"];
        assert_eq!(figures["tasks"][task]["clips"], 2, "{figures}");
        assert_eq!(attributes["instrument"]["real"]["classes"], json!(["saw"]));
        let tempo = &attributes["tempo_class"];
        assert_eq!(tempo["real"]["classes"], json!(["fast", "slow"]));
        let count = |table: &Value| -> u64 {
            let rows = table["counts"].as_array().unwrap();
            rows.iter()
                .flat_map(|row| row.as_array().unwrap())
                .map(|n| n.as_u64().unwrap())
                .sum()
        };
        assert_eq!((count(&tempo["real"]), count(&tempo["generated"])), (2, 2));
    }
    let mut lacking = lines;
    lacking[3].as_object_mut().unwrap().remove("mode");
    write_lines(&place, "lacking.jsonl", &lacking);
    let mut refused = line;
    refused[4] = "lacking.jsonl";
    place.fails(&refused, 3, &["lacking.jsonl, line 4", "`mode`"]);
}

#[test]
fn a_codec_is_judged_by_group_and_the_card_is_filled() {
    let place = Place::new();
    place.model("model");
    write_lines(&place, "speech.jsonl", &speech(&place));
    write_lines(&place, "music.jsonl", &music(&place));
    fs::create_dir(place.path("digits")).unwrap();
    buzz(&place, "digits/one.wav", 150.0, 0.2, 0.4);
    write_wav(
        &place.path("digits/silent.wav"),
        8000,
        1,
        std::iter::repeat_n(0, 4000),
    );
    let line = [
        "eval",
        "codec",
        "speech.jsonl",
        "human=digits",
        "--codec",
        "model",
        "--output",
        "out",
        "--json",
    ];
    let report = place.works(&line);
    let found = parsed(&report);
    let groups = found["figures"]["groups"].as_array().unwrap();
    let names: Vec<&str> = groups
        .iter()
        .map(|group| group["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["speech-zh", "human"]);
    assert_eq!(groups[0]["mel_distance"]["count"], 4);
    assert_eq!(groups[1]["mel_distance"]["count"], 1);
    assert_eq!(found["skipped"][0]["id"], "silent");
    fs::write(place.path("codec.json"), &report).unwrap();

    let common = [
        "--model",
        "model",
        "--output",
        "out",
        "--max-seconds",
        "0.3",
        "--limit",
        "1",
        "--json",
    ];
    let speech_line = ["eval", "speech", "speech.jsonl", "--without-recognizer"];
    place.fails(
        &[&speech_line[..], &common].concat(),
        3,
        &["speakers with a reference clip: 1"],
    );
    let some = [&speech_line[..], &common[..6]].concat();
    fs::write(
        place.path("speech.json"),
        place.works(&[&some[..], &["--json"]].concat()),
    )
    .unwrap();
    let music_line = ["eval", "music", "music.jsonl", "--fit", "music.jsonl"];
    let music_report = place.works(&[&music_line[..], &common].concat());
    fs::write(place.path("music.json"), music_report).unwrap();
    let card = "# Card\n\n<!-- figures: codec -->\nold\n<!-- end of figures -->\n\nThe end.\n";
    fs::write(place.path("card.md"), card).unwrap();
    place.works(&[
        "eval",
        "card",
        "--speech",
        "speech.json",
        "--music",
        "music.json",
        "--codec",
        "codec.json",
        "--save",
        "figures.json",
        "--card",
        "card.md",
    ]);
    let filled = fs::read_to_string(place.path("card.md")).unwrap();
    assert!(
        filled.contains("| human | 1 |") && filled.ends_with("The end.\n"),
        "{filled}"
    );
    place.works(&[
        "eval",
        "card",
        "--figures",
        "figures.json",
        "--card",
        "card.md",
    ]);
    assert_eq!(fs::read_to_string(place.path("card.md")).unwrap(), filled);
    place.fails(
        &["eval", "card", "--figures", "card.md", "--card", "card.md"],
        3,
        &["the report card.md"],
    );
    fs::write(place.path("plain.md"), "no marks").unwrap();
    place.fails(
        &[
            "eval",
            "card",
            "--figures",
            "figures.json",
            "--card",
            "plain.md",
        ],
        3,
        &["plain.md", "expected one or more"],
    );
}

#[test]
fn unusable_clips_models_and_recognisers_are_named() {
    let place = Place::new();
    place.model("model");
    let mut lines = speech(&place);
    write_lines(&place, "speech.jsonl", &lines);
    fs::write(place.path("empty.jsonl"), "").unwrap();
    let run = |manifest: &str, rest: &[&str], code: i32, words: &[&str]| {
        let line = [
            "eval",
            "speech",
            manifest,
            "--output",
            "out",
            "--max-seconds",
            "0.2",
        ];
        place.fails(&[&line[..], rest].concat(), code, words);
    };
    let model = ["--model", "model"];
    run("absent.jsonl", &model, 3, &["absent.jsonl"]);
    run("empty.jsonl", &model, 3, &["empty.jsonl"]);
    run("speech.jsonl", &["--model", "nowhere"], 3, &["nowhere"]);
    // Records of another task don't count.
    write_lines(&place, "music.jsonl", &music(&place));
    run("music.jsonl", &model, 3, &["records of speech: 0"]);
    for line in &mut lines {
        line["language"] = json!("en-us");
    }
    write_lines(&place, "english.jsonl", &lines);
    fs::create_dir(place.path("sphinx")).unwrap();
    fs::write(place.path("sphinx/cmudict-en-us.dict"), "hm HH M\n").unwrap();
    let absent = [
        "--recognizer",
        "no-such-program",
        "--recognizer-model",
        "sphinx",
    ];
    run(
        "english.jsonl",
        &[&model[..], &absent].concat(),
        3,
        &["no-such-program", "Debian"],
    );
    let nowhere = ["--recognizer-model", "nowhere"];
    run(
        "english.jsonl",
        &[&model[..], &nowhere].concat(),
        3,
        &["cmudict-en-us.dict"],
    );
    lines[0].as_object_mut().unwrap().remove("speaker");
    write_lines(&place, "nobody.jsonl", &lines);
    run(
        "nobody.jsonl",
        &model,
        3,
        &["nobody.jsonl, line 1", "`speaker`"],
    );
    // Nothing is written where a file stands in the way.
    fs::write(place.path("out-file"), "x").unwrap();
    let blocked = [
        "eval",
        "speech",
        "speech.jsonl",
        "--model",
        "model",
        "--output",
        "out-file",
    ];
    place.fails(&blocked, 5, &["out-file"]);
}
