//! The program ffmpeg as a child: what it is given, what it may cost, and its end. Without ffmpeg on the PATH these tests say that they are skipped; with
//! `UNIMOE_REQUIRE_FFMPEG=1` they fail.
#![allow(clippy::unwrap_used)]

mod media;

use std::{
    ffi::OsStr, ffi::OsString, fs, path::Path, path::PathBuf, process::Command, time::Duration,
    time::Instant,
};

use media::{all, at, ffmpeg, frames, have_ffmpeg, levels, staircase, video, words, write};
use vision_encoder::{FfmpegVideo, FrameLimits, FrameSource, VideoOptions};

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
