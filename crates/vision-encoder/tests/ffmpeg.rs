//! Frames of video files through ffmpeg. Without ffmpeg on the PATH these tests say that they are skipped; with
//! `UNIMOE_REQUIRE_FFMPEG=1` they fail.
#![allow(clippy::unwrap_used)]

mod media;

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use image::{RgbImage, imageops};
use media::{
    at, ffmpeg, frames, grey, have_ffmpeg, levels, pattern, staircase, turn, video, wav, words,
    write,
};
use vision_encoder::{
    FfmpegVideo, FrameLimits, FrameSource, Preprocessor, VideoOptions, read_video,
};

/// The number of frames that a file says it will give.
fn told(path: &Path, options: &VideoOptions) -> Option<usize> {
    let mut source = FfmpegVideo::open(path, &options.ffmpeg, options.limits.clone()).unwrap();
    source.n_frames(&options.sampling().unwrap()).unwrap()
}

#[test]
fn frames_are_those_shown_at_each_moment() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mkv");
    video(&path, &staircase(25), 10.0, &[]); // 2.5 s of levels 0, 2, ... 48
    let sampled = |fps, max| levels(&frames(&path, &at(fps, max)).unwrap());
    assert_eq!(sampled(1.0, 64), [0, 20, 40]);
    assert_eq!(sampled(2.0, 64), [0, 10, 20, 30, 40]);
    assert_eq!(sampled(2.0, 3), [0, 10, 20]);
    assert_eq!(sampled(0.5, 64), [0, 40]);
    // Three times a second: 0, 0.33, 0.67, 1, ... show the frames begun at 0, 0.3, 0.6, 1, ...
    assert_eq!(sampled(3.0, 64), [0, 6, 12, 20, 26, 32, 40, 46]);
    // Faster than the file: each frame twice.
    assert_eq!(sampled(20.0, 5), [0, 0, 2, 2, 4]);
    for (fps, count) in [(1.0, 3), (2.0, 5), (10.0, 25), (3.0, 8)] {
        assert_eq!(told(&path, &at(fps, 64)), Some(count), "at {fps}");
    }
    let every: Vec<u8> = (0..25).map(|n| n * 2).collect();
    for name in ["a.mkv", "a.mov", "a.avi"] {
        let path = folder.path().join(name);
        video(&path, &staircase(25), 10.0, &[]);
        assert_eq!(
            levels(&frames(&path, &at(10.0, 64)).unwrap()),
            every,
            "{name}"
        );
        assert_eq!(told(&path, &at(10.0, 64)), Some(25), "{name}");
    }
}

#[test]
fn variable_rates_are_sampled_by_time() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("variable.mkv");
    // The frames begin at 0, 0.1, 0.2, 0.3, then at 2, 2.7, 3.4, 4.1, 4.8.
    let times = "settb=1/1000,setpts='if(lt(N,4),N*100,2000+(N-4)*700)'";
    video(&path, &staircase(9), 10.0, &["-vf", times]);
    let sampled = |fps| levels(&frames(&path, &at(fps, 64)).unwrap());
    // At 0, 1, 2, 3, 4: frames 0, 3, 4, 5, 6.
    assert_eq!(sampled(1.0)[..5], [0, 6, 8, 10, 12]);
    assert_eq!(sampled(5.0)[..12], [0, 4, 6, 6, 6, 6, 6, 6, 6, 6, 8, 8]);
}

#[test]
fn frames_that_lie_far_apart_are_looked_up_exactly() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A transport stream has no index: what lies between is decoded there.
    for name in ["long.mkv", "long.mp4", "long.ts"] {
        let path = folder.path().join(name);
        // A frame every other second for four minutes, of which only some are key frames.
        let coded = ["-c:v", "mpeg4", "-q:v", "2", "-g", "7"];
        video(&path, &staircase(120), 0.5, &coded);
        let sampled = |fps| levels(&frames(&path, &at(fps, 64)).unwrap());
        // At 0, 35, 70, ... 210 s the frames 0, 17, 35, 52, ... with twice the level.
        let expected = [0u8, 34, 70, 104, 140, 174, 210];
        let looked_up = sampled(1.0 / 35.0);
        assert_eq!(looked_up.len(), expected.len(), "{name}: {looked_up:?}");
        for (a, b) in looked_up.iter().zip(expected) {
            // The codec is off by a little, a frame's neighbours by 2.
            assert!(
                a.abs_diff(b) < 2,
                "{name}: {looked_up:?}, expected {expected:?}"
            );
        }
        assert_eq!(told(&path, &at(1.0 / 35.0, 64)), Some(7));
    }
}

#[test]
fn a_file_of_three_hours_is_read_to_the_last_frame_that_is_looked_at() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("three hours.mkv");
    let source = "testsrc2=size=64x48:rate=1,format=yuv420p";
    let arguments = [
        "-f", "lavfi", "-i", source, "-t", "10800", "-c:v", "mpeg4", "-g", "60",
    ];
    ffmpeg(
        arguments
            .map(OsStr::new)
            .into_iter()
            .chain([path.as_os_str()]),
    );

    let options = at(1.0, 64);
    assert_eq!(told(&path, &options), Some(64));
    let input = read_video(&path, &options, &Preprocessor::default()).unwrap();
    assert_eq!(input.grid.t, 32);
    // All of it at one frame in a quarter of an hour.
    let input = read_video(&path, &at(1.0 / 900.0, 64), &Preprocessor::default()).unwrap();
    assert_eq!((input.grid.t, input.seconds_per_step), (6, Some(1800.0)));
}

#[test]
fn rotation_is_obeyed() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let picture = pattern(48, 32, 3);
    let plain = folder.path().join("plain.mov");
    let turned = folder.path().join("turned.mov");
    video(&plain, std::slice::from_ref(&picture), 1.0, &[]);
    turn(&plain, &turned);
    assert_eq!(frames(&plain, &at(1.0, 1)).unwrap()[0], picture);
    let shown = &frames(&turned, &at(1.0, 1)).unwrap()[0];
    assert_eq!(shown.dimensions(), (32, 48));
    let quarter = imageops::rotate90(&picture);
    let three = imageops::rotate270(&picture);
    assert!(
        *shown == quarter || *shown == three,
        "turned otherwise than by a quarter"
    );
}

#[test]
fn time_begins_with_the_first_frame() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("offset.ts");
    // A transport stream begins at no round time.
    video(
        &path,
        &staircase(20),
        10.0,
        &[
            "-c:v",
            "mpeg2video",
            "-q:v",
            "1",
            "-output_ts_offset",
            "7.3",
        ],
    );
    let sampled = levels(&frames(&path, &at(1.0, 64)).unwrap());
    assert!(
        sampled.len() == 2 && sampled[1].abs_diff(20) < 2,
        "{sampled:?}"
    );

    // A Matroska file states when it ends, not how long it lasts.
    let path = folder.path().join("offset.mkv");
    video(&path, &staircase(20), 10.0, &["-output_ts_offset", "100"]);
    let mut options = at(1.0, 64);
    assert_eq!(told(&path, &options), Some(2));
    assert_eq!(frames(&path, &options).unwrap().len(), 2);
    // As good as no limit.
    options.limits.time = Duration::MAX;
    assert_eq!(frames(&path, &options).unwrap().len(), 2);

    // Pictures from 1.3 s on, sound from the beginning.
    let (plain, sound) = (
        folder.path().join("plain.mkv"),
        folder.path().join("tone.wav"),
    );
    let late = folder.path().join("late.mkv");
    video(&plain, &staircase(120), 5.0, &[]);
    wav(&sound, 4.0, 8000);
    let arguments = [
        OsStr::new("-itsoffset"),
        OsStr::new("1.3"),
        OsStr::new("-i"),
        plain.as_os_str(),
    ];
    let rest = ["-c:v", "copy", "-map", "0:v", "-map", "1:a"].map(OsStr::new);
    let sound = [OsStr::new("-i"), sound.as_os_str()];
    ffmpeg(
        arguments
            .into_iter()
            .chain(sound)
            .chain(rest)
            .chain([late.as_os_str()]),
    );
    let expected: Vec<u8> = (0..24).map(|n| n * 10).collect();
    assert_eq!(levels(&frames(&late, &at(1.0, 64)).unwrap()), expected);
    assert_eq!(told(&late, &at(1.0, 64)), Some(24));
    // Looked up one by one: 0, 10 and 20 s.
    assert_eq!(levels(&frames(&late, &at(0.1, 64)).unwrap()), [0, 100, 200]);
}

#[test]
fn unusual_pixels_become_rgb() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let odd = pattern(33, 17, 5);
    let path = folder.path().join("odd.mkv");
    video(&path, std::slice::from_ref(&odd), 1.0, &[]);
    assert_eq!(frames(&path, &at(1.0, 1)).unwrap(), [odd]);
    for (name, format, codec) in [
        ("deep.mkv", "yuv420p10le", "ffv1"),
        ("alpha.mkv", "yuva420p", "ffv1"),
        ("grey.mkv", "gray", "ffv1"),
        ("planar.mkv", "yuv444p", "ffv1"),
        ("sixteen.mkv", "rgb48le", "ffv1"),
        ("square.mkv", "yuv420p", "ffv1"),
    ] {
        let path = folder.path().join(name);
        let mut more = vec!["-c:v", codec, "-pix_fmt", format];
        if name == "square.mkv" {
            more.extend(["-aspect", "4:1"]);
        }
        video(&path, &[grey(33, 17, 120)], 1.0, &more);
        let frame = &frames(&path, &at(1.0, 1)).unwrap()[0];
        assert_eq!(frame.dimensions(), (33, 17), "{name}");
        let level = frame.get_pixel(16, 8).0[0];
        assert!(level.abs_diff(120) <= 2, "{name}: {level}");
    }
}

#[test]
fn a_longer_sound_adds_no_frames() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    video(&file("plain.mkv"), &staircase(30), 10.0, &[]);
    wav(&file("tone.wav"), 9.0, 8000);
    for name in ["a.mp4", "a.mkv"] {
        let inputs = ["-i", "plain.mkv", "-i", "tone.wav"].map(|word| match word {
            "-i" => OsString::from(word),
            name => file(name).into_os_string(),
        });
        let copied = ["-c:v", "mpeg4", "-c:a", "aac"].map(OsString::from);
        ffmpeg(
            inputs
                .into_iter()
                .chain(copied)
                .chain([file(name).into_os_string()]),
        );
        let options = at(2.0, 64);
        assert_eq!(told(&file(name), &options), Some(6), "{name}");
        assert_eq!(frames(&file(name), &options).unwrap().len(), 6, "{name}");
    }
}

#[test]
fn a_file_that_states_no_duration_is_counted() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.mkv");
    // What a browser's recorder writes: no duration, no index.
    video(
        &path,
        &staircase(25),
        10.0,
        &["-live", "1", "-f", "matroska"],
    );
    let options = at(2.0, 64);
    let source = FfmpegVideo::open(&path, &options.ffmpeg, FrameLimits::default()).unwrap();
    assert_eq!(source.duration().unwrap(), None);
    assert_eq!(told(&path, &options), Some(5));
    assert_eq!(told(&path, &at(2.0, 3)), Some(3));
    assert_eq!(
        levels(&frames(&path, &options).unwrap()),
        [0, 10, 20, 30, 40]
    );
}

#[test]
fn a_file_without_pictures_says_so() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("tone.wav");
    wav(&sound, 0.5, 8000);
    for name in ["sound.mp4", "sound.mkv", "sound.ogg"] {
        let path = folder.path().join(name);
        let codec = if name.ends_with("ogg") { "flac" } else { "aac" };
        ffmpeg([
            OsStr::new("-i"),
            sound.as_os_str(),
            OsStr::new("-c:a"),
            OsStr::new(codec),
            path.as_os_str(),
        ]);
        let error = words(&frames(&path, &at(1.0, 4)).unwrap_err());
        assert!(error.contains("no video stream"), "{name}: {error}");
    }
    let error = words(&frames(&sound, &at(1.0, 4)).unwrap_err());
    assert!(
        error.contains("not a picture, an animation or a video"),
        "{error}"
    );
}

#[test]
fn a_damaged_video_gives_the_frames_before_or_an_error() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, more, readable) in [
        ("a.mp4", &["-c:v", "mpeg4"][..], false),
        (
            "b.mp4",
            &["-c:v", "mpeg4", "-movflags", "+faststart"][..],
            true,
        ),
        ("c.mov", &[][..], false),
        ("d.mkv", &[][..], true),
        (
            "e.webm",
            &["-c:v", "libvpx", "-deadline", "realtime"][..],
            true,
        ),
        ("f.avi", &[][..], true),
    ] {
        let path = folder.path().join(name);
        let pictures: Vec<RgbImage> = (0..40).map(|n| pattern(64, 48, n)).collect();
        video(&path, &pictures, 10.0, more);
        let whole = fs::read(&path).unwrap();
        let mut some = 0;
        for share in [0, 2, 10, 50, 99] {
            let cut = write(&folder, "cut", &whole[..whole.len() * share / 100]);
            let begun = Instant::now();
            match frames(&cut, &at(10.0, 64)) {
                Ok(frames) => {
                    some += 1;
                    assert!(
                        (1..=40).contains(&frames.len()),
                        "{name}, {share} %: {}",
                        frames.len()
                    );
                }
                Err(error) => assert!(!words(&error).is_empty()),
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{name}, {share} %"
            );
        }
        assert_eq!(
            some > 0,
            readable,
            "{name}: {some} of the cut files were read"
        );
    }
}
