//! Music for videos. What needs the program ffmpeg is skipped where it is missing.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::fs;

use common::{Place, colours, ffmpeg, read_wav, write_folder, write_gif};
use image::{Rgb, RgbImage};
use serde_json::Value;

/// The first bytes of an mp4 file: its kind can be told, and no more.
const LOOKS_LIKE_A_VIDEO: &[u8] = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2";

/// Music of half a second for a video.
fn line<'a>(video: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let short = ["video-music", video, "calm", "--max-seconds", "0.5"];
    [&short, more].concat()
}

#[test]
fn an_animation_gives_sound_and_says_what_was_seen() {
    let place = Place::new();
    write_gif(&place.path("clip.gif"), &colours(3, 60, 64, 48));
    let more = ["--seed", "4", "--json", "-o", "out.wav"];
    let report: Value = serde_json::from_str(&place.works(&line("clip.gif", &more))).unwrap();
    read_wav(&place.path("out.wav"));
    assert_eq!(place.listing("."), ["clip.gif", "out.wav"]);
    assert_eq!(report["task"], "video-music");
    assert_eq!(report["model"], Value::Null);
    let video = &report["results"][0]["video"];
    // At least 12,544 pixels: 64 x 48 grows to 5 x 4 squares of 28, three frames fill two steps of two.
    assert_eq!(video["path"], "clip.gif");
    assert_eq!(
        (&video["width"], &video["height"]),
        (&140.into(), &112.into())
    );
    assert_eq!(video["grid"], serde_json::json!([2, 8, 10]));
    assert_eq!(
        (&video["frames"], &video["tokens"]),
        (&3.into(), &40.into())
    );
    assert_eq!(video["seconds_per_step"], 2.0);
    assert_eq!(video["saved_frames"], Value::Null);
}

#[test]
fn other_frames_give_another_sound_and_the_same_frames_the_same() {
    let place = Place::new();
    write_gif(&place.path("a.gif"), &colours(4, 60, 64, 48));
    write_folder(&place.path("a"), &colours(4, 60, 64, 48));
    write_folder(&place.path("b"), &colours(4, 10, 64, 48));
    let sound = |video: &str| {
        place.works(&line(video, &["--seed", "4", "-o", "out.wav"]));
        read_wav(&place.path("out.wav"))
    };
    let first = sound("a.gif");
    assert!(first == sound("a"));
    assert!(first != sound("b"));
}

#[test]
fn several_videos_are_one_batch_each_as_if_alone() {
    let place = Place::new();
    write_gif(&place.path("long.gif"), &colours(4, 60, 64, 48));
    colours(1, 200, 90, 30)[0]
        .save(place.path("still.png"))
        .unwrap();
    let more = ["--and", "still.png", "loud", "--seed", "8", "-o", "batch"];
    place.works(&line(
        "long.gif",
        &[&more[..], &["--save-frames", "seen"]].concat(),
    ));
    let names = ["video-music-1.wav", "video-music-2.wav"];
    assert_eq!(place.listing("batch"), names);
    assert_eq!(place.listing("seen"), ["video-1", "video-2"]);
    assert_eq!(place.listing("seen/video-1").len(), 5);
    // A step holds two frames, so that a picture is seen twice.
    assert_eq!(place.listing("seen/video-2").len(), 3);

    let alone = ["video-music", "still.png", "loud", "--max-seconds", "0.5"];
    place.works(&[&alone[..], &["--seed", "9", "-o", "alone.wav"]].concat());
    let batch = read_wav(&place.path("batch/video-music-2.wav"));
    assert!(batch == read_wav(&place.path("alone.wav")));
}

#[test]
fn the_frames_are_saved_as_the_model_sees_them() {
    let place = Place::new();
    write_gif(&place.path("clip.gif"), &colours(2, 100, 64, 48));
    let more = ["--save-frames", "a/seen", "--json", "-o", "out.wav"];
    let report: Value = serde_json::from_str(&place.works(&line("clip.gif", &more))).unwrap();
    let names = ["frame-0001.png", "frame-0002.png", "frames.png"];
    assert_eq!(place.listing("a/seen"), names);
    assert_eq!(report["results"][0]["video"]["saved_frames"], "a/seen");
    for (name, red) in [("frame-0001.png", 100), ("frame-0002.png", 200)] {
        let picture = image::open(place.path("a/seen").join(name))
            .unwrap()
            .into_rgb8();
        // 140 x 112 four times as large, with borders of squares of 28 in black and white.
        assert_eq!(picture.dimensions(), (560, 448));
        let colour = Rgb([red, 80, 255 - red]);
        let wrong = picture.enumerate_pixels().filter(|(x, y, pixel)| {
            let border = (x % 112 == 0 && *x > 0) || (y % 112 == 0 && *y > 0);
            let grey = [Rgb([0; 3]), Rgb([255; 3])].contains(pixel);
            if border { !grey } else { **pixel != colour }
        });
        assert_eq!(wrong.count(), 0);
    }
    // What lies there is not touched.
    place.fails(&line("clip.gif", &more), 5, &["a/seen", "not empty"]);
    assert_eq!(place.listing("."), ["a", "clip.gif", "out.wav"]);
}

#[test]
fn options_decide_what_is_seen() {
    let place = Place::new();
    write_folder(&place.path("clip"), &colours(8, 20, 60, 60));
    let seen = |more: &[&str]| {
        let line = line("clip", &[more, &["--json", "-o", "out.wav"]].concat());
        let report: Value = serde_json::from_str(&place.works(&line)).unwrap();
        let video = report["results"][0]["video"].clone();
        (video["grid"].clone(), video["seconds_per_step"].as_f64())
    };
    assert_eq!(seen(&[]), (serde_json::json!([4, 8, 8]), Some(2.0)));
    let (grid, seconds) = seen(&["--folder-fps", "4", "--fps", "2"]);
    assert_eq!((grid, seconds), (serde_json::json!([2, 8, 8]), Some(1.0)));
    let (grid, _) = seen(&["--max-frames", "2"]);
    assert_eq!(grid, serde_json::json!([1, 8, 8]));
    let (grid, _) = seen(&["--max-pixels", "784"]);
    assert_eq!(grid, serde_json::json!([4, 2, 2]));
    let (grid, _) = seen(&["--min-pixels", "50176"]);
    assert_eq!(grid, serde_json::json!([4, 16, 16]));
}

#[test]
fn a_video_that_is_longer_than_what_is_seen_is_told() {
    let place = Place::new();
    write_folder(&place.path("clip"), &colours(65, 3, 28, 28));
    for (more, expected) in [
        (&["--fps", "4", "--folder-fps", "4"][..], "first 16 s"),
        // The rate says nothing of pictures that are taken one by one.
        (&["--fps", "4"], "first 64 pictures"),
    ] {
        let output = place.run(&line("clip", &[more, &["-o", "out.wav"]].concat()));
        assert!(output.status.success());
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(notes.contains(expected), "{notes}");
    }
}

#[test]
fn paths_are_names_and_nothing_else() {
    let place = Place::new();
    let with_ffmpeg = ffmpeg(&place, "-f lavfi -i testsrc2=s=64x48:d=1 plain.mp4");
    for name in [
        "a b.gif",
        "it's \"$(touch owned)\".gif",
        "-clip.gif",
        "%03d.gif",
        "file:a.gif",
    ] {
        write_gif(&place.path(name), &colours(1, 60, 64, 48));
        let mut names = vec![name.to_owned()];
        if with_ffmpeg {
            names.push(name.replace(".gif", ".mp4"));
            fs::copy(place.path("plain.mp4"), place.path(&names[1])).unwrap();
        }
        for name in names {
            let line = [
                "video-music",
                "--max-seconds",
                "0.5",
                "-o",
                "out.wav",
                "--",
                &name,
                "calm",
            ];
            place.works(&line);
            fs::remove_file(place.path("out.wav")).unwrap();
            fs::remove_file(place.path(&name)).unwrap();
        }
    }
    assert!(!place.path("owned").exists());
}

#[test]
fn a_video_gets_its_new_sound() {
    let place = Place::new();
    let source = "-f lavfi -i testsrc2=s=96x64:r=10:d=3 -f lavfi -i sine=d=3 clip.mp4";
    if !ffmpeg(&place, source) {
        return;
    }
    let more = ["--mux", "new.mkv", "-o", "out.wav", "--json"];
    let report: Value = serde_json::from_str(&place.works(&line("clip.mp4", &more))).unwrap();
    assert_eq!(report["results"][0]["video"]["muxed"], "new.mkv");
    assert_eq!(report["results"][0]["video"]["frames"], 3);
    // The pictures are the same, bit by bit, and the sound is another.
    let hash = |video: &str, stream: &str| {
        let line = format!("-i {video} -map 0:{stream} -f hash hash.txt");
        assert!(ffmpeg(&place, &line));
        fs::read_to_string(place.path("hash.txt")).unwrap()
    };
    assert_eq!(hash("clip.mp4", "v"), hash("new.mkv", "v"));
    assert_ne!(hash("clip.mp4", "a"), hash("new.mkv", "a"));

    let both = [
        "--and", "clip.mp4", "loud", "--mux", "videos", "-o", "sounds",
    ];
    place.works(&line("clip.mp4", &both));
    assert_eq!(
        place.listing("videos"),
        ["video-music-1.mp4", "video-music-2.mp4"]
    );
}

#[test]
fn what_cannot_be_muxed_is_told_before_the_work() {
    let place = Place::new();
    write_gif(&place.path("clip.gif"), &colours(1, 60, 64, 48));
    let fails = |video: &str, more: &[&str], code: i32, words: &[&str]| {
        place.fails(
            &line(video, &[more, &["-o", "out.wav"]].concat()),
            code,
            words,
        );
        assert!(!place.path("out.wav").exists());
    };
    fails(
        "clip.gif",
        &["--mux", "new.wav"],
        2,
        &["--mux", "new.wav", ".mp4"],
    );
    fails("clip.gif", &["--mux", "no/new.mp4"], 5, &["no/new.mp4"]);
    fs::write(place.path("head.mp4"), LOOKS_LIKE_A_VIDEO).unwrap();
    let missing = ["--mux", "new.mp4", "--ffmpeg", "./no-such-program"];
    fails(
        "head.mp4",
        &missing,
        3,
        &["head.mp4", "no-such-program", "install"],
    );
    if ffmpeg(&place, "-f lavfi -i testsrc2=s=64x48:d=1 clip.mp4") {
        fails("clip.gif", &["--mux", "new.mp4"], 3, &["--mux", "clip.gif"]);
        fails(
            "clip.mp4",
            &["--mux", "./clip.mp4"],
            2,
            &["--mux", "clip.mp4", "another"],
        );
        fails(
            "clip.mp4",
            &["--and", "clip.mp4", "x", "--mux", "new.mp4"],
            2,
            &["--output"],
        );
        assert_eq!(place.listing("."), ["clip.gif", "clip.mp4", "head.mp4"]);
    }
}

#[test]
fn videos_that_are_none() {
    let place = Place::new();
    let path = |name: &str| place.path(name);
    fs::write(path("empty.mp4"), "").unwrap();
    fs::write(
        path("text.mp4"),
        "these are words, no pictures. ".repeat(99),
    )
    .unwrap();
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("head.gif"), b"GIF89a\x02\x00\x02\x00\x00\x00\x00;").unwrap();
    RgbImage::new(20_000, 20).save(path("long.png")).unwrap();
    RgbImage::new(64, 64).save(path("whole.png")).unwrap();
    let whole = fs::read(path("whole.png")).unwrap();
    fs::write(path("half.png"), &whole[..whole.len() / 2]).unwrap();
    // A picture of a few bytes that claims 50,000 x 50,000 pixels.
    let mut bomb = whole;
    bomb[16..20].copy_from_slice(&50_000_u32.to_be_bytes());
    bomb[20..24].copy_from_slice(&50_000_u32.to_be_bytes());
    let sum = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&sum.to_be_bytes());
    fs::write(path("bomb.png"), bomb).unwrap();

    let with_ffmpeg = ffmpeg(&place, "-f lavfi -i sine=d=1 sound.mp4");
    let mut cases = vec![
        ("missing.mp4", "No such file"),
        ("folder", "no numbered picture"),
        ("head.gif", ""),
        ("long.png", "20000 x 20"),
        ("half.png", ""),
        ("bomb.png", "exceeds limit"),
        ("/dev/zero", "regular"),
    ];
    if with_ffmpeg {
        ffmpeg(&place, "-f lavfi -i testsrc2=s=64x48:d=1 video.mp4");
        let video = fs::read(path("video.mp4")).unwrap();
        fs::write(path("half.mp4"), &video[..video.len() / 2]).unwrap();
        cases.extend([
            ("empty.mp4", ""),
            ("text.mp4", "not a picture"),
            ("sound.mp4", "no video stream"),
            // The index stands at the end.
            ("half.mp4", ""),
        ]);
    }
    for (name, word) in cases {
        let words = ["cannot use the video", name, word];
        place.fails(
            &line(name, &["-o", "out.wav", "--save-frames", "seen"]),
            3,
            &words,
        );
        assert!(
            !path("out.wav").exists() && !path("seen").exists(),
            "{name}"
        );
    }
}

/// The checksum of PNG, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

#[test]
fn more_pixels_than_any_prompt_holds_are_refused_at_once() {
    let place = Place::new();
    write_folder(&place.path("clip"), &colours(20, 10, 64, 64));
    let more = ["--min-pixels", "60000000", "-o", "out.wav"];
    let words = ["video clip", "number of tokens", "at most"];
    place.fails(&line("clip", &more), 3, &words);
    let more = ["--min-pixels", "4000000000", "-o", "out.wav"];
    place.fails(&line("clip", &more), 3, &["video clip"]);
}

#[test]
fn tiny_pictures_are_pictures() {
    let place = Place::new();
    RgbImage::new(1, 1).save(place.path("dot.png")).unwrap();
    place.works(&line("dot.png", &["-o", "out.wav"]));
}

#[test]
fn models_that_see_nothing() {
    let place = Place::new();
    write_gif(&place.path("clip.gif"), &colours(1, 60, 64, 48));
    let config = place.model("model").join("config.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    json.as_object_mut()
        .unwrap()
        .remove("vision_config")
        .unwrap();
    fs::write(config, json.to_string()).unwrap();
    let more = ["--model", "model", "-o", "out.wav"];
    place.fails(&line("clip.gif", &more), 3, &["the model model", "vision"]);
}

#[test]
fn an_exported_folder_equals_the_built_in_model() {
    let place = Place::new();
    write_gif(&place.path("clip.gif"), &colours(2, 60, 64, 48));
    place.works(&["export", "--output", "model"]);
    place.works(&line("clip.gif", &["--seed", "1", "-o", "a.wav"]));
    place.works(&line(
        "clip.gif",
        &["--seed", "1", "-o", "b.wav", "-m", "model"],
    ));
    assert!(read_wav(&place.path("a.wav")) == read_wav(&place.path("b.wav")));
}

/// A program that gives nothing stands for a video that takes forever.
#[cfg(unix)]
#[test]
fn an_interruption_while_reading_ends_the_child_and_leaves_nothing() {
    use std::{
        os::unix::fs::PermissionsExt,
        process::{Command, Stdio},
        thread::sleep,
        time::{Duration, Instant},
    };
    let place = Place::new();
    fs::write(place.path("clip.mp4"), LOOKS_LIKE_A_VIDEO).unwrap();
    let program = place.path("slow");
    fs::write(
        &program,
        "#!/bin/sh\necho $$ >pid.new\nmv pid.new pid\nexec sleep 600\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let more = [
        "--ffmpeg",
        "./slow",
        "-o",
        "sounds",
        "--save-frames",
        "frames",
    ];
    let child = place
        .command()
        .args(line("clip.mp4", &more))
        .stderr(Stdio::piped())
        .spawn();
    let child = child.unwrap();

    let wait_for = |what: &str, done: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(60), "{what}");
            sleep(Duration::from_millis(10));
        }
    };
    wait_for("the child does not start", &|| place.path("pid").exists());
    let pid = fs::read_to_string(place.path("pid")).unwrap();
    let kill = |signal: &str, pid: &str| {
        let kill = Command::new("kill")
            .args([signal, pid])
            .stderr(Stdio::null())
            .status();
        kill.unwrap().success()
    };
    assert!(kill("-0", pid.trim()), "the child runs");
    let start = Instant::now();
    assert!(kill("-INT", &child.id().to_string()));
    let output = child.wait_with_output().unwrap();
    common::check_failure(&output, 130, &["interrupted"]);
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "one signal is enough"
    );
    if cfg!(target_os = "linux") {
        // One that ended is gone, or waits for whoever inherited it.
        wait_for("the child outlives its parent", &|| {
            let state = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            state.map_or(true, |state| state.contains(") Z "))
        });
    }
    assert_eq!(place.listing("."), ["clip.mp4", "pid", "slow"]);
}
