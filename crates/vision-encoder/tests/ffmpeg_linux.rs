//! The end of ffmpeg with its reader or its parent, as Linux shows it. Without ffmpeg on the PATH these tests say that
//! they are skipped; with `UNIMOE_REQUIRE_FFMPEG=1` they fail.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod media;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use media::{all, at, ffmpeg, have_ffmpeg};
use vision_encoder::{FfmpegVideo, FrameSource};

/// Processes whose parent is `parent`, with their state, as Linux lists them.
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
fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A video that ffmpeg can't finish writing to a pipe that nobody reads.
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

fn helper(name: &str, path: &Path) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("UNIMOE_TEST_VIDEO", path);
    command.spawn().unwrap()
}

#[test]
#[ignore = "run by another test, in a process of its own"]
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
