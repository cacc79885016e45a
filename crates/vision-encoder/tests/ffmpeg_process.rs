//! The program ffmpeg as a child: what it is given and what it may cost. Without it on the PATH these tests say that
//! they are skipped; with `UNIMOE_REQUIRE_FFMPEG=1` they fail.
#![allow(clippy::unwrap_used)]

mod media;

use std::{ffi::OsString, fs, path::PathBuf, time::Duration};

use media::{at, frames, have_ffmpeg, levels, staircase, video, words, write};
use vision_encoder::{FrameLimits, VideoOptions};

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
