use std::{
    fs,
    io::Write,
    ops::ControlFlow,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, SystemTime},
};

use dac_codec::AudioClip;
use unimoe_train::{ClipSet, ClipSetOptions, CodeCache, Dataset, Key};

use crate::studio::{Studio, encoder, load, tune};

/// Tells the test below, run as a program of its own, where to write.
const FOLDER: &str = "UNIMOE_TEST_CACHE";

fn prepared(studio: &Studio, manifest: &Path) -> (ClipSet, usize) {
    let cache = CodeCache::open(studio.path("cache")).unwrap();
    let mut cached = 0;
    let set = ClipSet::prepare(
        load(manifest).unwrap(),
        encoder(1),
        cache,
        ClipSetOptions::default(),
        &mut |progress| {
            cached = progress.cached;
            ControlFlow::Continue(())
        },
    );
    (set.unwrap(), cached)
}

#[test]
fn damaged_entries_are_found_and_computed_again() {
    let studio = Studio::new();
    studio.music(4);
    let manifest = studio.path("music.jsonl");
    let (set, _) = prepared(&studio, &manifest);
    let whole: Vec<_> = (0..4).map(|index| set.get(index).unwrap().codes).collect();
    let cache = CodeCache::open(studio.path("cache")).unwrap();
    let entry = |index: usize| {
        let key = Key::of(&set.records()[index].audio, set.encoder()).unwrap();
        cache.path(&key)
    };
    let flip = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        fs::write(path, bytes).unwrap();
    };
    let cut = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 3]).unwrap();
    };
    let damage = || {
        flip(&entry(0));
        cut(&entry(1));
        fs::write(entry(2), "").unwrap();
    };
    damage();
    let (again, cached) = prepared(&studio, &manifest);
    assert_eq!(cached, 1);
    let check = |set: &ClipSet| {
        for (index, codes) in whole.iter().enumerate() {
            assert_eq!(set.get(index).unwrap().codes, *codes);
        }
    };
    check(&again);

    // While a run goes on, too.
    damage();
    fs::remove_file(entry(3)).unwrap();
    check(&again);
    assert_eq!(prepared(&studio, &manifest).1, 4);

    // Unless the sound is another by now.
    fs::remove_file(entry(3)).unwrap();
    let other: AudioClip = tune(77, 0.2);
    other.write_wav(&set.records()[3].audio).unwrap();
    let error = again.get(3).unwrap_err();
    assert!(unimoe_train_chain(&error).contains("changed"), "{error}");
}

fn unimoe_train_chain(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(|cause| cause.to_string());
    format!("{error}: {}", cause.unwrap_or_default())
}

#[test]
fn what_killed_writers_left_behind_is_removed_once_it_is_old() {
    let studio = Studio::new();
    let shard = studio.path("cache/codes/ab");
    fs::create_dir_all(&shard).unwrap();
    for (name, age) in [(".unfinished-old", 7200), (".unfinished-new", 60)] {
        let file = fs::File::create(shard.join(name)).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(time).unwrap();
    }
    CodeCache::open(studio.path("cache")).unwrap();
    assert!(!shard.join(".unfinished-old").exists());
    assert!(shard.join(".unfinished-new").exists());
}

#[test]
#[ignore = "the program that the next test kills"]
fn writer() {
    let folder = std::env::var(FOLDER).unwrap();
    let cache = CodeCache::open(Path::new(&folder).join("cache")).unwrap();
    let encoder = encoder(1);
    for index in (0..8).cycle() {
        let sound = Path::new(&folder).join(format!("m{index}.wav"));
        let key = Key::of(&sound, &encoder).unwrap();
        let file = encoder
            .encode(&AudioClip::read(&sound, 10.0).unwrap())
            .unwrap();
        cache.put(&key, &file).unwrap();
        std::io::stderr().write_all(b".").unwrap();
    }
}

#[test]
fn two_writers_and_kills_leave_only_whole_entries() {
    let studio = Studio::new();
    studio.music(8);
    let folder = studio.0.path();
    let start = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cache::writer", "--ignored"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let entries = || {
        let shards = fs::read_dir(folder.join("cache/codes"));
        let shards = shards
            .into_iter()
            .flatten()
            .map(|shard| shard.unwrap().path());
        let files = shards.flat_map(|shard| fs::read_dir(shard).unwrap());
        let files = files.map(|file| file.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|ending| ending == "codes"))
            .collect::<Vec<_>>()
    };
    for round in 0..4u64 {
        let mut writers = [start(), start()];
        for _ in 0..1000 {
            if !entries().is_empty() {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(40 + 17 * round));
        for writer in &mut writers {
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
        let entries = entries();
        assert!(!entries.is_empty(), "nothing was written");
        for entry in entries {
            dac_codec::CodeFile::read(&entry).unwrap();
        }
    }
    // And a whole run takes up what is there.
    let (set, _) = prepared(&studio, &studio.path("music.jsonl"));
    assert_eq!(set.len(), 8);
}
