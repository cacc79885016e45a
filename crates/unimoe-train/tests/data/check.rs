use std::{fs, ops::ControlFlow};

use image::{Rgb, RgbImage};
use serde_json::json;
use unimoe_model::{Preset, Tokenizer};
use unimoe_train::{
    CheckOptions, CheckOutcome, ClipSet, ClipSetOptions, CodeCache, DataError, Dataset, Fault,
    Manifest, ModelLimits, Policy, VisionReader, check_manifest,
};
use vision_encoder::{Preprocessor, VideoOptions, VisionKind};

use crate::studio::{Studio, encoder, load, music, speech};

fn run(manifest: &Manifest, options: &CheckOptions) -> CheckOutcome {
    check_manifest(manifest, options, &mut |_, _| ControlFlow::Continue(())).unwrap()
}

fn reader() -> VisionReader {
    VisionReader {
        options: VideoOptions::default(),
        preprocessor: Preprocessor::unimoe_audio(),
    }
}

/// A folder of pictures.
fn video(studio: &Studio, name: &str, frames: u8) {
    fs::create_dir(studio.path(name)).unwrap();
    for number in 0..frames {
        let picture = RgbImage::from_pixel(64, 48, Rgb([40 * number, 90, 10]));
        picture
            .save(studio.path(&format!("{name}/{number}.png")))
            .unwrap();
    }
}

fn video_music(id: &str, video: &str) -> serde_json::Value {
    json!({"id": id, "task": "video_music", "caption": "calm", "audio": "a.wav", "video": video})
}

#[test]
fn all_that_is_wrong_with_a_record_is_found() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.2);
    fs::write(studio.path("b.wav"), "words").unwrap();
    fs::write(studio.path("c.mp4"), "words").unwrap();
    let mut both = speech("both", "Hi", "b.wav");
    both["reference_audio"] = json!("b.wav");
    both["reference_text"] = json!("Ho");
    let lines = [
        music("fine", "a.wav"),
        both,
        speech("alone", "Hi", "a.wav"),
        video_music("video", "c.mp4"),
    ];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let options = CheckOptions {
        vision: Some(reader()),
        ..CheckOptions::default()
    };
    let found = run(&manifest, &options);
    let reasons = |index: usize| {
        let faults = found.faults.get(&index).into_iter().flatten();
        faults.map(Fault::reason).collect::<Vec<_>>()
    };
    assert_eq!(reasons(0), [""; 0]);
    assert_eq!(reasons(1), ["unreadable_audio", "unreadable_audio"]);
    assert_eq!(reasons(2), ["missing_field"]);
    assert_eq!(reasons(3), ["unreadable_video"]);
    assert_eq!(found.seconds, [0.2, 0.0, 0.2, 0.2]);
    let kept = manifest.clone().without(&found.faults, Policy::Skip);
    assert!(matches!(kept, Err(DataError::EmptyDomain { domain, .. }) if domain == "speech-en"));

    let stopped = check_manifest(&manifest, &options, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(DataError::Interrupted)));
}

#[test]
fn positions_are_those_of_the_prompt_and_the_delayed_codes() {
    let config = Preset::Tiny.config();
    let tokenizer = Tokenizer::byte_level(config.codec.placeholder).unwrap();
    let (limit, delay) = (
        config.text.max_positions,
        config.codec.delay_pattern.iter().max().unwrap(),
    );
    let limits = ModelLimits::new(tokenizer.clone(), config.clone(), 50.0);
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.2);
    let manifest = load(&studio.manifest("x.jsonl", &[music("m", "a.wav")])).unwrap();
    let record = &manifest.records[0];
    let lengths = |seconds| unimoe_train::RecordLengths {
        seconds,
        ..Default::default()
    };
    let prompt = unimoe_model::Prompt::music(&record.text).unwrap();
    let ids = prompt.conditional().encode(&tokenizer).unwrap().len();
    assert_eq!(
        limits.positions(record, &lengths(2.0)),
        Ok(ids + 100 + delay + 1)
    );
    let most = (limit - ids - delay - 1) as f64 / 50.0;
    assert_eq!(limits.positions(record, &lengths(most)), Ok(limit));
    let found = limits.positions(record, &lengths(most + 0.02));
    assert_eq!(
        found,
        Err(Fault::TooLong {
            limit,
            found: limit + 1
        })
    );
    for seconds in [1e18, f64::INFINITY] {
        assert!(limits.positions(record, &lengths(seconds)).is_err());
    }
}

#[test]
fn videos_are_read_once_and_kept() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.2);
    video(&studio, "film", 4);
    let lines = [video_music("v", "film"), music("m", "a.wav")];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let prepare = |vision| {
        let options = ClipSetOptions {
            vision,
            ..ClipSetOptions::default()
        };
        let cache = CodeCache::open(studio.path("cache")).unwrap();
        let go = &mut |_: &_| ControlFlow::Continue(());
        ClipSet::prepare(manifest.clone(), encoder(1), cache, options, go)
    };
    let blind = prepare(None).unwrap();
    assert!(blind.get(0).unwrap().vision.is_none() && blind.grid(0).is_none());

    let set = prepare(Some(reader())).unwrap();
    let expected = reader().read(&studio.path("film")).unwrap();
    assert_eq!(set.grid(0), Some((VisionKind::Video, expected.grid)));
    assert_eq!(set.grid(1), None);
    assert_eq!(*set.get(0).unwrap().vision.unwrap(), expected);
    let other = VisionReader {
        options: VideoOptions {
            max_frames: 2,
            ..VideoOptions::default()
        },
        ..reader()
    };
    let shorter = prepare(Some(other)).unwrap();
    assert_eq!(shorter.grid(0).unwrap().1.t, 1);

    // It comes from the cache: the film can change without harm, until the cache is gone.
    fs::remove_file(studio.path("film/0.png")).unwrap();
    assert_eq!(*set.get(0).unwrap().vision.unwrap(), expected);
    fs::remove_dir_all(studio.path("cache/vision")).unwrap();
    assert!(matches!(set.get(0), Err(DataError::Item { .. })));

    fs::remove_dir_all(studio.path("film")).unwrap();
    fs::write(studio.path("film"), "GIF89a and no more").unwrap();
    let Err(DataError::Defects(defects)) = prepare(Some(reader())) else {
        panic!("accepted");
    };
    assert_eq!(defects.counts(), [("unreadable_video", 1)].into());
}

#[test]
fn voices_come_from_other_recordings_of_the_speaker() {
    let studio = Studio::new();
    let mut lines = Vec::new();
    for (speaker, count) in [("ann", 5), ("bob", 2), ("cy", 1)] {
        for number in 0..count {
            let name = format!("{speaker}{number}");
            studio.tune(&format!("{name}.wav"), number, 0.1);
            let mut line = speech(&name, &format!("text {name}"), &format!("{name}.wav"));
            line["speaker"] = json!(speaker);
            lines.push(line);
        }
    }
    lines.push(music("m", "ann0.wav"));
    let original = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let (mut one, mut same, mut other) = (original.clone(), original.clone(), original.clone());
    assert_eq!(one.add_voices("speaker", 1), 1);
    same.add_voices("speaker", 1);
    other.add_voices("speaker", 2);
    assert_eq!(one, same);
    assert_ne!(one, other);
    let mut used = Vec::new();
    for record in &one.records[..7] {
        let voice = record.reference.as_ref().unwrap();
        assert_ne!(voice.audio, record.audio);
        let name = voice.audio.file_stem().unwrap().to_str().unwrap();
        assert_eq!(name[..3], record.id[..3]);
        assert_eq!(voice.text, format!("text {name}"));
        used.push(name.to_string());
    }
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 7);
    assert!(one.records[7].reference.is_none() && one.records[8].reference.is_none());
    assert_eq!(original.clone().add_voices("nobody", 1), 8);
}
