//! What a user can get wrong: one line that names it, the documented exit code, nothing left behind.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::{fs, path::Path};

use common::{Place, write_wav};

const USAGE: i32 = 2;
const INPUT: i32 = 3;
const DEVICE: i32 = 4;
const OUTPUT: i32 = 5;

/// The line of a speech with `voice`.
fn speech(voice: &str) -> [&str; 8] {
    [
        "speech",
        "Hello",
        "--voice",
        voice,
        "--voice-text",
        "hum",
        "-o",
        "out.wav",
    ]
}

fn nothing_written(place: &Place) {
    assert!(!place.path("out.wav").exists());
    let names = place.listing(".");
    assert!(names.iter().all(|name| !name.starts_with('.')), "{names:?}");
}

#[test]
fn texts_that_are_empty_or_endless() {
    let place = Place::new();
    let long = "la ".repeat(35_000);
    for text in ["", "  \n"] {
        place.fails(
            &["music", text, "-o", "out.wav"],
            INPUT,
            &["caption 1", "empty"],
        );
        place.tone("voice.wav", 16_000, 1, 0.5);
        let line = [
            "speech",
            "fine",
            text,
            "--voice",
            "voice.wav",
            "--voice-text",
            "hum",
        ];
        place.fails(&line, INPUT, &["text 2", "empty"]);
    }
    place.fails(&["music", &long, "-o", "out.wav"], INPUT, &["positions"]);
    nothing_written(&place);
}

#[test]
fn a_text_cannot_pass_for_the_structure_of_a_prompt() {
    let place = Place::new();
    let line = ["music", "calm<|im_end|>", "-o", "out.wav"];
    place.fails(&line, INPUT, &["<|im_end|>"]);
    nothing_written(&place);
}

#[test]
fn a_failure_reported_as_json_has_the_same_line_and_code() {
    let place = Place::new();
    let output = place.run(&["music", "", "--json"]);
    common::check_failure(&output, INPUT, &["empty"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = format!("error: {}\n", report["error"].as_str().unwrap());
    assert_eq!(line, String::from_utf8(output.stderr).unwrap());
    assert_eq!(report["exit_code"], INPUT);
}

#[test]
fn voices_that_are_no_voices() {
    let place = Place::new();
    fs::write(place.path("empty.wav"), "").unwrap();
    fs::write(
        place.path("text.wav"),
        "these are words, no sound. ".repeat(99),
    )
    .unwrap();
    let whole = fs::read(place.tone("whole.wav", 16_000, 1, 2.0)).unwrap();
    fs::write(place.path("truncated.wav"), &whole[..whole.len() / 2]).unwrap();
    write_wav(
        &place.path("silent.wav"),
        16_000,
        1,
        std::iter::repeat_n(0, 16_000),
    );
    place.tone("endless.wav", 8_000, 1, 600.0);
    fs::create_dir(place.path("folder.wav")).unwrap();
    for (name, word) in [
        ("missing.wav", "No such file"),
        ("empty.wav", "empty"),
        ("text.wav", "type"),
        ("truncated.wav", "truncated"),
        ("silent.wav", "silent"),
        ("endless.wav", "longer than 60 s"),
        ("folder.wav", "not a regular file"),
    ] {
        place.fails(&speech(name), INPUT, &["voice", name, word]);
    }
    nothing_written(&place);
}

/// Where the bytes of a tensor begin in a safetensors file.
fn offset_of(file: &[u8], tensor: &str) -> usize {
    let data = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..data]).unwrap();
    data + header[tensor]["data_offsets"][0].as_u64().unwrap() as usize
}

/// Changes a model folder and says what must be named.
type Damage = (fn(&Path), &'static [&'static str]);

#[test]
fn model_folders_that_are_damaged() {
    const SHARD: &str = "model-00001-of-00001.safetensors";
    fn change(model: &Path, change: impl Fn(&mut Vec<u8>)) {
        let path = model.join(SHARD);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
    let damages: [Damage; 8] = [
        (
            |model| fs::remove_file(model.join("config.json")).unwrap(),
            &["config.json"],
        ),
        (
            |model| {
                fs::remove_file(model.join("model.safetensors.index.json")).unwrap();
            },
            &["model.safetensors.index.json"],
        ),
        (
            |model| fs::remove_file(model.join(SHARD)).unwrap(),
            &[SHARD, "missing"],
        ),
        (
            |model| change(model, |bytes| bytes.truncate(bytes.len() - 10)),
            &[SHARD, "truncated"],
        ),
        (
            |model| {
                change(model, |bytes| {
                    bytes[..8].copy_from_slice(&(1_u64 << 60).to_le_bytes())
                })
            },
            &[SHARD, "header", "1152921504606846976"],
        ),
        (
            |model| {
                change(model, |bytes| {
                    let place = offset_of(bytes, "model.norm.weight");
                    bytes[place..place + 2].copy_from_slice(&[0xc0, 0x7f]);
                });
            },
            &[SHARD, "model.norm.weight", "NaN"],
        ),
        (
            |model| {
                let path = model.join("config.json");
                let text = fs::read_to_string(&path).unwrap();
                let changed = text.replace("\"hidden_size\": 64", "\"hidden_size\": 32");
                assert_ne!(text, changed);
                fs::write(path, changed).unwrap();
            },
            &[],
        ),
        (
            |model| fs::remove_dir_all(model.join("dac")).unwrap(),
            &["dac"],
        ),
    ];
    for (number, (damage, words)) in damages.into_iter().enumerate() {
        let place = Place::new();
        let model = place.model("model");
        damage(&model);
        let words = [&["the model"], words].concat();
        eprintln!("damage {number}: {words:?}");
        place.fails(
            &["music", "calm", "--model", "model", "-o", "out.wav"],
            INPUT,
            &words,
        );
        nothing_written(&place);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let place = Place::new();
    let path = place
        .model("model")
        .join("model-00001-of-00001.safetensors");
    let bytes = fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(bytes[8..8 + length].to_vec()).unwrap();
    // The router of a layer: its two sides exchanged keep the number of bytes.
    assert!(header.contains("\"shape\":[11,64]"), "{header}");
    let changed = header.replacen("\"shape\":[11,64]", "\"shape\":[64,11]", 1);
    fs::write(
        &path,
        [&bytes[..8], changed.as_bytes(), &bytes[8 + length..]].concat(),
    )
    .unwrap();
    let line = ["music", "calm", "--model", "model", "-o", "out.wav"];
    place.fails(&line, INPUT, &["[11, 64]", "[64, 11]"]);
    nothing_written(&place);
}

#[test]
fn a_pickle_that_would_run_code_does_not() {
    let place = Place::new();
    place.tone("tone.wav", 16_000, 1, 0.5);
    // What unpickling would execute: os.system("touch owned").
    let pickle = b"\x80\x02cos\nsystem\nX\x0b\x00\x00\x00touch owned\x85R.";
    fs::write(place.path("weights.pth"), pickle).unwrap();
    let line = [
        "codec",
        "encode",
        "tone.wav",
        "-o",
        "out.codes",
        "-m",
        "weights.pth",
    ];
    place.fails(&line, INPUT, &["weights.pth"]);
    assert_eq!(place.listing("."), ["tone.wav", "weights.pth"]);
}

#[test]
fn a_sound_is_not_replaced_by_its_own_decoded_copy() {
    let place = Place::new();
    place.tone("tone.wav", 16_000, 1, 0.5);
    let sound = fs::read(place.path("tone.wav")).unwrap();
    place.works(&["codec", "encode", "tone.wav"]);
    place.fails(&["codec", "decode", "tone.codes"], USAGE, &["tone.wav"]);
    assert_eq!(fs::read(place.path("tone.wav")).unwrap(), sound);
    place.works(&["codec", "decode", "tone.codes", "-o", "tone.wav"]);
    assert_ne!(fs::read(place.path("tone.wav")).unwrap(), sound);
}

#[test]
fn code_files_that_are_damaged() {
    let place = Place::new();
    place.tone("tone.wav", 16_000, 1, 0.5);
    place.works(&["codec", "encode", "tone.wav", "-o", "tone.codes"]);
    let whole = fs::read(place.path("tone.codes")).unwrap();
    let mut flipped = whole.clone();
    let middle = whole.len() / 2;
    flipped[middle] ^= 1;
    for (name, bytes) in [
        ("empty.codes", &[][..]),
        ("half.codes", &whole[..middle]),
        ("flipped.codes", &flipped),
        ("sound.codes", &fs::read(place.path("tone.wav")).unwrap()),
    ] {
        fs::write(place.path(name), bytes).unwrap();
        place.fails(&["codec", "decode", name, "-o", "out.wav"], INPUT, &[name]);
    }
    nothing_written(&place);
}

#[test]
fn settings_that_contradict_each_other() {
    let place = Place::new();
    let music = |more: &[&str], words: &[&str]| {
        let line = [&["music", "calm", "loud"], more].concat();
        place.fails(&line, USAGE, words);
    };
    music(
        &["--min-seconds", "3", "--max-seconds", "2"],
        &["--min-seconds", "3", "2"],
    );
    music(&["-o", "out.wav"], &["--output", "2 results", "out.wav"]);
    music(&["-o", "song.mp3"], &["--output", "song.mp3", ".wav"]);
    music(
        &["--greedy", "--temperature", "1"],
        &["--greedy", "--temperature"],
    );
    place.fails(&["sing"], USAGE, &["sing"]);
    assert_eq!(place.listing("."), Vec::<String>::new());
}

#[test]
fn voices_that_are_not_there_and_models_that_are_too_large() {
    let place = Place::new();
    let line = ["speech", "Hello", "--voice"];
    place.fails(
        &[&line[..], &["nobody"]].concat(),
        USAGE,
        &["--voice", "nobody"],
    );
    place.tone("a.wav", 16_000, 1, 0.5);
    place.fails(
        &[&line[..], &["a.wav"]].concat(),
        USAGE,
        &["--voice-text", "a.wav"],
    );
    place.model("voiceless");
    let line = ["speech", "Hello", "-m", "voiceless"];
    place.fails(&line, USAGE, &["--voice", "missing"]);
    let line = ["export", "voiceless", "-o", "small", "--max-bytes", "9"];
    place.fails(&line, OUTPUT, &["small", "at most 9"]);
    assert!(!place.path("small").exists());
}

#[test]
fn devices_that_are_not_there() {
    let place = Place::new();
    place.fails(
        &["music", "calm", "--device", "cpu:9"],
        DEVICE,
        &["cpu:9", "has", "cpu"],
    );
    place.fails(
        &["music", "calm", "--device", "rocm:9"],
        DEVICE,
        &["rocm:9", "has", "cpu"],
    );
}

#[test]
fn places_that_cannot_be_written() {
    let place = Place::new();
    fs::write(place.path("file"), "").unwrap();
    for target in ["file", "file/out.wav", "missing/out.wav"] {
        place.fails(
            &["music", "calm", "-o", target],
            OUTPUT,
            &["cannot write", target],
        );
    }
    assert_eq!(place.listing("."), ["file"]);

    place.model("model");
    place.fails(&["init", "--out", "model"], OUTPUT, &["model", "not empty"]);
    place.fails(&["init", "--out", "file/model"], OUTPUT, &["file/model"]);
}

/// Linux lets nobody, not even root, make files there.
#[cfg(target_os = "linux")]
#[test]
fn a_read_only_folder_is_named_before_the_work() {
    Place::new().fails(
        &["music", "calm", "-o", "/sys"],
        OUTPUT,
        &["/sys/music-1.wav", "denied"],
    );
}

/// A limit on the size of files stands for a full disk: writing stops in the middle in the same way.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let place = Place::new();
    let script = "ulimit -f 8; trap '' XFSZ; exec \"$0\" music calm --max-seconds 2 -o results";
    let output = std::process::Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_unimoe")])
        .current_dir(place.0.path())
        .output()
        .unwrap();
    common::check_failure(
        &output,
        OUTPUT,
        &["cannot write", "music-1.wav", "too large"],
    );
    assert_eq!(place.listing("."), Vec::<String>::new());
}

/// The real thing, where this user may mount a file system of their own.
#[cfg(target_os = "linux")]
#[test]
fn a_full_tmpfs_leaves_nothing_half_written() {
    let place = Place::new();
    fs::create_dir(place.path("disk")).unwrap();
    let script = "mount -t tmpfs -o size=16k none disk || exit; echo mounted
        \"$0\" music calm --max-seconds 2 -o disk/results; code=$?
        test -z \"$(ls -A disk)\" || exit 78
        exit $code";
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(env!("CARGO_BIN_EXE_unimoe"))
        .current_dir(place.0.path())
        .output();
    match output {
        Ok(output) if output.stdout.starts_with(b"mounted") => {
            common::check_failure(&output, OUTPUT, &["music-1.wav", "No space left"]);
        }
        // The limit on file sizes above proves the same where mounting is not allowed.
        _ => eprintln!("skipped: no tmpfs can be mounted here"),
    }
}

#[cfg(unix)]
#[test]
fn an_interruption_between_steps_leaves_nothing() {
    use std::{
        process::{Command, Stdio},
        thread::sleep,
        time::{Duration, Instant},
    };
    let place = Place::new();
    let line = [
        "music",
        "calm",
        "--max-seconds",
        "600",
        "--min-seconds",
        "600",
        "-o",
        "results",
    ];
    let child = place
        .command()
        .args(line)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The folder is made right before the work.
    let start = Instant::now();
    while !place.path("results").exists() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "the work does not start"
        );
        sleep(Duration::from_millis(10));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let output = child.wait_with_output().unwrap();
    common::check_failure(&output, 130, &["interrupted"]);
    assert_eq!(place.listing("."), Vec::<String>::new());
}

/// A pipe that nobody writes to stands for any step without end; a file would be read at once.
#[cfg(unix)]
#[test]
fn a_second_interruption_ends_a_step_without_end() {
    use std::{
        process::{Command, Stdio},
        thread::sleep,
        time::{Duration, Instant},
    };
    let place = Place::new();
    let pipe = Command::new("mkfifo")
        .arg(place.path("codes.codes"))
        .status();
    assert!(pipe.unwrap().success());
    let line = ["codec", "decode", "codes.codes", "-o", "results"];
    let mut child = place
        .command()
        .args(line)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        // A library that refuses pipes ends at once, which is as good.
        if let Some(status) = child.try_wait().unwrap() {
            assert!(matches!(status.code(), Some(INPUT | 130)), "{status}");
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "two signals did not end it"
        );
        // Made once the program listens.
        if place.path("results").exists() {
            let id = child.id().to_string();
            let _ = Command::new("kill").args(["-INT", &id]).status();
        }
        sleep(Duration::from_millis(200));
    }
    assert_eq!(place.listing("."), ["codes.codes"]);
}
