use std::{fs, ops::ControlFlow, sync::Arc};

use dac_codec::AudioClip;
use serde_json::json;
use unimoe_train::{
    ClipSet, ClipSetOptions, CodeCache, CodecEncoder, DataError, Dataset, Loader, Manifest,
    OrderConfig, Policy, Position, PrepareProgress,
};

use crate::studio::{Studio, encoder, load, music, speech};

fn prepare(
    studio: &Studio,
    manifest: Manifest,
    encoder: Arc<CodecEncoder>,
    policy: Policy,
) -> Result<(ClipSet, PrepareProgress), DataError> {
    let cache = CodeCache::open(studio.path("cache"))?;
    let options = ClipSetOptions {
        policy,
        workers: 2,
        ..ClipSetOptions::default()
    };
    let mut last = None;
    let set = ClipSet::prepare(manifest, encoder, cache, options, &mut |progress| {
        last = Some(*progress);
        ControlFlow::Continue(())
    })?;
    Ok((set, last.expect("progress")))
}

#[test]
fn codes_are_the_codecs_and_are_computed_once() {
    let studio = Studio::new();
    let manifest = studio.music(6);
    let encoder = encoder(1);
    let (set, first) = prepare(&studio, manifest.clone(), encoder.clone(), Policy::Fail).unwrap();
    assert_eq!((first.done, first.total, first.cached), (6, 6, 0));
    assert!((first.seconds - 1.35).abs() < 0.01, "{first:?}");
    let (_, second) = prepare(&studio, manifest, encoder.clone(), Policy::Fail).unwrap();
    assert_eq!((second.done, second.cached, second.seconds), (6, 6, 0.0));

    for index in 0..set.len() {
        let clip = set.get(index).unwrap();
        let sound = AudioClip::read(&clip.record.audio, 10.0).unwrap();
        let rate = encoder.config().sample_rate as u32;
        let audio = sound
            .resampled(rate)
            .unwrap()
            .to_tensor(&burn::tensor::Device::flex());
        let codes = encoder.codec().encode(audio, None).unwrap().codes;
        let expected: Vec<i64> = codes.swap_dims(1, 2).into_data().iter().collect();
        let found: Vec<i64> = clip
            .codes
            .as_slice()
            .iter()
            .map(|&code| code.into())
            .collect();
        assert_eq!(found, expected);
        assert_eq!(clip.codes.n_frames(), set.frames(index));
        assert_eq!(set.length(index), set.frames(index));
    }
}

#[test]
fn one_sound_is_encoded_once_whoever_uses_it() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.3);
    fs::copy(studio.path("a.wav"), studio.path("copy.wav")).unwrap();
    studio.tune("b.wav", 2, 0.2);
    let mut line = speech("s", "Hello", "b.wav");
    line["reference_audio"] = json!("copy.wav");
    line["reference_text"] = json!("Hi");
    let lines = [music("m", "a.wav"), line];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let (set, progress) = prepare(&studio, manifest, encoder(1), Policy::Fail).unwrap();
    assert!((progress.seconds - 0.5).abs() < 0.01, "{progress:?}");
    let (music, speech) = (set.get(0).unwrap(), set.get(1).unwrap());
    assert_eq!(speech.reference.as_ref(), Some(&music.codes));
    assert_eq!(set.reference_frames(1), Some(set.frames(0)));
    assert_eq!(set.length(1), set.frames(0) + set.frames(1));
    assert!(music.reference.is_none() && music.vision.is_none());
}

#[test]
fn another_codec_has_other_entries() {
    let studio = Studio::new();
    let manifest = studio.music(2);
    let [one, same, other] = [1, 1, 2].map(encoder);
    assert_eq!(one.fingerprint(), same.fingerprint());
    assert_ne!(one.fingerprint(), other.fingerprint());
    prepare(&studio, manifest.clone(), one, Policy::Fail).unwrap();
    let (_, progress) = prepare(&studio, manifest.clone(), other, Policy::Fail).unwrap();
    assert_eq!(progress.cached, 0);
    let (_, progress) = prepare(&studio, manifest, same, Policy::Fail).unwrap();
    assert_eq!(progress.cached, 2);
}

#[test]
fn sounds_that_can_not_be_read_are_all_listed_before_any_is_encoded() {
    let studio = Studio::new();
    studio.tune("good.wav", 1, 0.2);
    let whole = fs::read(studio.tune("whole.wav", 2, 2.0)).unwrap();
    fs::write(studio.path("half.wav"), &whole[..whole.len() / 2]).unwrap();
    fs::write(studio.path("header.wav"), &whole[..44]).unwrap();
    fs::write(studio.path("words.wav"), "no sound ".repeat(50)).unwrap();
    let mut voice = speech("v", "Hello", "good.wav");
    voice["reference_audio"] = json!("half.wav");
    voice["reference_text"] = json!("Hi");
    let lines = [
        music("good", "good.wav"),
        music("half", "half.wav"),
        music("header", "header.wav"),
        music("words", "words.wav"),
        voice,
        speech("fine", "Hello", "good.wav"),
    ];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let result = prepare(&studio, manifest.clone(), encoder(1), Policy::Fail);
    let Err(DataError::Defects(defects)) = result else {
        panic!("accepted");
    };
    let lines: Vec<usize> = defects.0.iter().map(|defect| defect.line).collect();
    assert_eq!(lines, [2, 3, 4, 5]);
    assert!(defects.to_string().contains("half.wav"), "{defects}");
    assert_eq!(fs::read_dir(studio.path("cache/codes")).unwrap().count(), 0);

    let (set, _) = prepare(&studio, manifest, encoder(1), Policy::Skip).unwrap();
    let ids: Vec<&str> = set
        .records()
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(ids, ["good", "fine"]);
    assert_eq!(set.skipped().counts()["unreadable_audio"], 4);
    set.get(1).unwrap();
}

#[test]
fn stopping_keeps_what_was_encoded() {
    let studio = Studio::new();
    let manifest = studio.music(5);
    let cache = CodeCache::open(studio.path("cache")).unwrap();
    let mut stop = |progress: &PrepareProgress| match progress.done {
        3 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let options = ClipSetOptions::default();
    let result = ClipSet::prepare(manifest.clone(), encoder(1), cache, options, &mut stop);
    assert!(matches!(result, Err(DataError::Interrupted)));
    let (_, progress) = prepare(&studio, manifest, encoder(1), Policy::Fail).unwrap();
    assert_eq!(progress.cached, 3);
}

#[test]
fn a_loader_gives_clips() {
    let studio = Studio::new();
    let (set, _) = prepare(&studio, studio.music(7), encoder(1), Policy::Fail).unwrap();
    let mut loader = Loader::new(
        Arc::new(set),
        OrderConfig::new(3, 1),
        Position::default(),
        2,
    )
    .unwrap();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let batch = loader.next_batch().unwrap();
        ids.extend(batch.items.iter().map(|clip| clip.record.id.clone()));
    }
    ids.sort();
    assert_eq!(ids, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"]);
}
