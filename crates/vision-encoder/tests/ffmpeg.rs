//! Video files through ffmpeg. Without it on the PATH these tests say that they are skipped; with
//! `UNIMOE_REQUIRE_FFMPEG=1` they fail.
#![allow(clippy::unwrap_used)]

mod media;

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use image::{RgbImage, imageops};
use media::{
    all, at, ffmpeg, frames, grey, have_ffmpeg, levels, pattern, staircase, video, wav, words,
    write,
};
use vision_encoder::{
    FfmpegVideo, FrameLimits, FrameSource, Preprocessor, VideoOptions, mux, read_video,
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
    for name in ["a.mkv", "a.mov", "a.avi"] {
        let path = folder.path().join(name);
        video(&path, &staircase(25), 10.0, &[]); // 2.5 s of levels 0, 2, ... 48
        let sampled = |fps, max| levels(&frames(&path, &at(fps, max)).unwrap());
        assert_eq!(sampled(1.0, 64), [0, 20, 40], "{name}");
        assert_eq!(sampled(2.0, 64), [0, 10, 20, 30, 40], "{name}");
        assert_eq!(sampled(2.0, 3), [0, 10, 20], "{name}");
        assert_eq!(sampled(0.5, 64), [0, 40], "{name}");
        let every: Vec<u8> = (0..25).map(|n| n * 2).collect();
        assert_eq!(sampled(10.0, 64), every, "{name}");
        // Three times a second: 0, 0.33, 0.67, 1, ... show the frames begun at 0, 0.3, 0.6, 1, ...
        assert_eq!(sampled(3.0, 64), [0, 6, 12, 20, 26, 32, 40, 46], "{name}");
        // Faster than the file: each frame twice.
        assert_eq!(sampled(20.0, 5), [0, 0, 2, 2, 4], "{name}");
        for (fps, count) in [(1.0, 3), (2.0, 5), (10.0, 25), (3.0, 8)] {
            assert_eq!(told(&path, &at(fps, 64)), Some(count), "{name} at {fps}");
        }
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
    video(
        &path,
        &staircase(9),
        10.0,
        &["-vf", times, "-fps_mode", "vfr"],
    );
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
    for name in ["long.mkv", "long.mp4"] {
        let path = folder.path().join(name);
        // A frame every other second for four minutes, of which only some are key frames.
        let coded = ["-c:v", "mpeg4", "-q:v", "2", "-g", "7"];
        video(&path, &staircase(120), 0.5, &coded);
        let sampled = |fps| levels(&frames(&path, &at(fps, 64)).unwrap());
        // At 0, 25, 50, ... 225 s the frames 0, 12, 25, 37, ... with twice the level.
        let expected = [0u8, 24, 50, 74, 100, 124, 150, 174, 200, 224];
        let looked_up = sampled(0.04);
        assert_eq!(looked_up.len(), expected.len(), "{name}: {looked_up:?}");
        for (a, b) in looked_up.iter().zip(expected) {
            // The codec is off by a little, a frame's neighbours by 2.
            assert!(
                a.abs_diff(b) < 2,
                "{name}: {looked_up:?}, expected {expected:?}"
            );
        }
        assert_eq!(told(&path, &at(0.04, 64)), Some(10));
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
    // All of it at one frame in three minutes.
    let input = read_video(&path, &at(1.0 / 180.0, 64), &Preprocessor::default()).unwrap();
    assert_eq!((input.grid.t, input.seconds_per_step), (30, Some(360.0)));
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

/// Copies a video with the remark that it is to be turned by a quarter.
fn turn(from: &Path, to: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-nostdin",
        "-loglevel",
        "error",
        "-y",
        "-display_rotation:v:0",
        "90",
        "-i",
    ]);
    let known = command
        .arg(from)
        .args(["-c", "copy"])
        .arg(to)
        .output()
        .unwrap();
    if !known.status.success() {
        // Before version 6 it was metadata.
        let metadata = ["-c", "copy", "-metadata:s:v", "rotate=90"].map(OsStr::new);
        ffmpeg(
            [OsStr::new("-i"), from.as_os_str()]
                .into_iter()
                .chain(metadata)
                .chain([to.as_os_str()]),
        );
    }
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
fn every_name_that_a_file_can_have_is_read() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mkv");
    video(&plain, &staircase(2), 1.0, &[]);
    let mut names: Vec<OsString> = [
        "with spaces",
        "it's \"quoted\"",
        "-y",
        "-",
        "%d.png",
        "a:b",
        "http:x",
        "$(touch x);`y`|z&",
        "ünï\u{1f3ac}",
        "line\nbreak",
        "back\\slash",
        "*",
        "#",
        "pipe:0",
        "concat:a|b",
    ]
    .map(OsString::from)
    .into();
    if cfg!(windows) {
        names.retain(|name| {
            !name
                .to_string_lossy()
                .contains(['"', ':', '|', '*', '\n', '\\', '%'])
        });
    }
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::ffi::OsStringExt;
        names.push(OsString::from_vec(b"\xff\xfe not unicode".to_vec()));
    }
    for name in names {
        let path = folder.path().join(&name);
        fs::copy(&plain, &path).unwrap();
        let frames = frames(&path, &at(1.0, 64))
            .unwrap_or_else(|error| panic!("{name:?}: {}", words(&error)));
        assert_eq!(levels(&frames), [0, 2], "{name:?}");
    }
}

#[test]
fn what_would_open_other_files_is_refused() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret.mkv");
    video(&secret, &staircase(2), 1.0, &[]);
    let secret = secret.to_str().unwrap();
    for (name, text) in [
        (
            "playlist.mp4",
            format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"),
        ),
        (
            "script.mp4",
            format!("ffconcat version 1.0\nfile '{secret}'\n"),
        ),
        (
            "remote.mp4",
            "#EXTM3U\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n".to_string(),
        ),
        (
            "session.mov",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
                .into(),
        ),
    ] {
        let path = write(&folder, name, text.as_bytes());
        let error = words(&frames(&path, &at(1.0, 4)).unwrap_err());
        assert!(
            error.contains("not a picture, an animation or a video"),
            "{name}: {error}"
        );
    }
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
        for share in [0, 1, 2, 5, 10, 50, 90, 99] {
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

#[test]
fn time_and_bytes_and_pixels_are_limited() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.mkv");
    video(&path, &staircase(20), 10.0, &[]);
    let with = |limits| {
        let options = VideoOptions {
            limits,
            ..at(10.0, 64)
        };
        words(&frames(&path, &options).unwrap_err())
    };
    let limits = FrameLimits::default();
    let error = with(FrameLimits {
        max_bytes: 10_000,
        ..limits.clone()
    });
    assert!(error.contains("10000 bytes"), "{error}");
    let error = with(FrameLimits {
        max_side: 31,
        ..limits.clone()
    });
    assert!(error.contains("32 x 24"), "{error}");
    let error = with(FrameLimits {
        max_pixels: 700,
        ..limits.clone()
    });
    assert!(error.contains("a.mkv"), "{error}");
    let error = with(FrameLimits {
        time: Duration::from_micros(1),
        ..limits
    });
    assert!(error.contains("not done after 1µs"), "{error}");
}

#[test]
fn a_missing_program_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "a.mp4", b"\0\0\0\x18ftypisom\0\0\0\0isommp42");
    let options = VideoOptions {
        ffmpeg: PathBuf::from("no-such-program-here"),
        ..at(1.0, 1)
    };
    let error = words(&frames(&path, &options).unwrap_err());
    for word in [
        "no-such-program-here",
        "apt install ffmpeg",
        "dnf",
        "brew",
        "winget",
    ] {
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_sound_is_put_beside_the_pictures() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (clip, sound) = (file("clip's.mov"), file("a tone.wav"));
    let pictures = [pattern(48, 32, 1), pattern(48, 32, 2), pattern(48, 32, 3)];
    video(&file("plain.mov"), &pictures, 2.0, &[]); // 1.5 s
    turn(&file("plain.mov"), &clip);
    wav(&sound, 4.0, 16_000);
    let before = frames(&clip, &at(2.0, 64)).unwrap();
    let options = VideoOptions::default();
    for name in ["-out.mov", "out put.mkv"] {
        let output = file(name);
        fs::write(&output, "replaced").unwrap();
        mux(&clip, &sound, &output, &options).unwrap_or_else(|error| panic!("{}", words(&error)));
        let after = frames(&output, &at(2.0, 64)).unwrap();
        assert_eq!(after.len(), before.len(), "{name}");
        if name.ends_with("mov") {
            assert_eq!(after, before, "rotation included");
        }
        // The sound is cut where the video ends.
        let mut url = OsString::from("file:");
        url.push(&output);
        let raw = ["-f", "s16le", "-ac", "1", "-ar", "16000", "-"].map(OsString::from);
        let samples = ffmpeg([OsString::from("-i"), url].into_iter().chain(raw));
        let seconds = samples.len() as f64 / 2.0 / 16_000.0;
        assert!((1.4..1.8).contains(&seconds), "{name}: {seconds} s");
        assert!(
            samples
                .as_chunks()
                .0
                .iter()
                .any(|&bytes| i16::from_le_bytes(bytes).abs() > 8000)
        );
    }
    let leftovers = fs::read_dir(folder.path()).unwrap();
    let unfinished = |name: OsString| name.to_string_lossy().starts_with(".unfinished");
    assert!(
        !leftovers
            .into_iter()
            .any(|entry| unfinished(entry.unwrap().file_name()))
    );
}

#[test]
fn what_cannot_be_muxed_leaves_everything_as_it_was() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (clip, sound) = (file("clip.mkv"), file("tone.wav"));
    video(&clip, &staircase(3), 2.0, &[]);
    wav(&sound, 1.0, 16_000);
    let content = fs::read(&clip).unwrap();
    let options = VideoOptions::default();
    let failure = |video: &Path, sound: &Path, output: &Path| {
        words(&mux(video, sound, output, &options).unwrap_err())
    };

    let dotted = folder.path().join(".").join("clip.mkv");
    assert!(failure(&clip, &sound, &dotted).contains("choose another name"));
    assert!(failure(&clip, &sound, &file("out.txt")).contains("mp4, m4v, mov, mkv or webm"));
    assert!(failure(&clip, &sound, &file("out")).contains("mp4, m4v, mov, mkv or webm"));
    // A webm holds no PNG pictures, and a video is no sound.
    assert!(failure(&clip, &sound, &file("out.webm")).contains("ffmpeg failed"));
    assert!(failure(&clip, &clip, &file("out.mkv")).contains("no"));
    assert!(failure(&sound, &sound, &file("out.mkv")).contains("tone.wav"));
    assert!(failure(&file("absent.mkv"), &sound, &file("out.mkv")).contains("absent.mkv"));
    assert!(failure(&clip, &sound, &file("no folder/out.mkv")).contains("out.mkv"));
    assert_eq!(fs::read(&clip).unwrap(), content);
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["clip.mkv", "tone.wav"]);
}

/// Processes whose parent is `parent`, with their state, as Linux lists them.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<(u32, char)> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        (fields.next()?.parse() == Ok(parent)).then_some((pid, state))
    });
    processes.collect()
}

/// Waits until `done`, for ten seconds.
#[cfg(target_os = "linux")]
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A video that ffmpeg can't finish writing to a pipe that nobody reads.
#[cfg(target_os = "linux")]
fn endless(folder: &Path) -> PathBuf {
    let path = folder.join("endless.mkv");
    let source = "testsrc2=size=320x240:rate=10,format=yuv420p";
    let arguments = ["-f", "lavfi", "-i", source, "-t", "60", "-c:v", "mpeg4"];
    ffmpeg(
        arguments
            .map(OsStr::new)
            .into_iter()
            .chain([path.as_os_str()]),
    );
    path
}

#[test]
#[cfg(target_os = "linux")]
fn a_reader_that_stops_ends_the_program_and_leaves_no_zombie() {
    if !have_ffmpeg() {
        return;
    }
    // In a process of its own, whose children are those of this test alone.
    let folder = tempfile::tempdir().unwrap();
    let path = endless(folder.path());
    let status = helper("helper_that_stops_early", &path).wait().unwrap();
    assert!(status.success());
}

#[test]
#[cfg(target_os = "linux")]
fn the_program_dies_with_a_parent_that_is_killed() {
    if !have_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = endless(folder.path());
    let mut parent = helper("helper_that_waits", &path);
    let mut child = None;
    wait_until("the helper starts ffmpeg", || {
        let ready = fs::exists(path.with_extension("ready")).unwrap();
        child = children(parent.id()).first().map(|(pid, _)| *pid);
        ready && child.is_some()
    });
    parent.kill().unwrap();
    parent.wait().unwrap();
    let gone = || match fs::read_to_string(format!("/proc/{}/stat", child.unwrap())) {
        Err(_) => true,
        // Killed, and not yet reaped by whoever inherited it.
        Ok(stat) => stat.rsplit_once(") ").unwrap().1.starts_with('Z'),
    };
    wait_until("ffmpeg outlives its parent", gone);
}

#[cfg(target_os = "linux")]
fn helper(name: &str, path: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("UNIMOE_TEST_VIDEO", path);
    command.spawn().unwrap()
}

#[test]
#[ignore = "run by another test, in a process of its own"]
#[cfg(target_os = "linux")]
fn helper_that_stops_early() {
    let Some(path) = std::env::var_os("UNIMOE_TEST_VIDEO") else {
        return;
    };
    let options = at(10.0, 600);
    let sampling = options.sampling().unwrap();
    let me = std::process::id();
    for _ in 0..3 {
        let mut source =
            FfmpegVideo::open(Path::new(&path), &options.ffmpeg, options.limits.clone()).unwrap();
        let mut frames = source.frames(&sampling).unwrap();
        frames.next().unwrap().unwrap();
        assert_eq!(children(me).len(), 1);
        drop(frames);
        assert_eq!(children(me), []);
        all(&mut source, &at(10.0, 5).sampling().unwrap()).unwrap();
        assert_eq!(children(me), []);
    }
}

#[test]
#[ignore = "run by another test, in a process of its own"]
#[cfg(target_os = "linux")]
fn helper_that_waits() {
    let Some(path) = std::env::var_os("UNIMOE_TEST_VIDEO") else {
        return;
    };
    let path = Path::new(&path);
    let options = at(10.0, 600);
    let mut source = FfmpegVideo::open(path, &options.ffmpeg, options.limits.clone()).unwrap();
    let mut frames = source.frames(&options.sampling().unwrap()).unwrap();
    frames.next().unwrap().unwrap();
    fs::write(path.with_extension("ready"), "").unwrap();
    std::thread::sleep(Duration::from_secs(60));
}
