//! A sound beside the pictures of a video. Without ffmpeg on the PATH these tests say that they are skipped; with
//! `UNIMOE_REQUIRE_FFMPEG=1` they fail.
#![allow(clippy::unwrap_used)]

mod media;

use std::{ffi::OsString, fs, path::Path};

use media::{at, ffmpeg, frames, have_ffmpeg, pattern, staircase, turn, video, wav, words};
use vision_encoder::{VideoOptions, check_mux, mux};

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
    // A webm holds no PNG pictures, which can be told beforehand, and a video is no sound.
    assert!(failure(&clip, &sound, &file("out.webm")).contains("ffmpeg failed"));
    let beforehand = |output: &Path| check_mux(&clip, output, &options);
    assert!(words(&beforehand(&file("out.webm")).unwrap_err()).contains("ffmpeg failed"));
    assert!(words(&beforehand(&dotted).unwrap_err()).contains("choose another name"));
    beforehand(&file("out.mkv")).unwrap();
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
