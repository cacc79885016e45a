//! Whole data sets, with a test voice and a test SoundFont in the place of espeak-ng and FluidR3.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Mutex,
};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::{
    SAMPLE_RATE,
    speech::Speaker,
    text::{TWENTY_FIVE, Texts},
    text_key,
};

/// Hums: a tone for each speaker, the longer the more characters. English of more than 30 is too long for a sentence.
struct Hum;

impl Speak for Hum {
    fn speak(
        &self,
        text: &str,
        speaker: Speaker,
        language: Language,
    ) -> Result<Vec<f32>, SynthError> {
        let each = match language {
            Language::English => 0.1,
            Language::Mandarin => 0.22,
        };
        let seconds = 0.3 + each * text.chars().count() as f64;
        let step = 0.02 * (speaker as u8 + 1) as f32;
        let samples = (seconds * f64::from(SAMPLE_RATE)) as usize;
        Ok((0..samples)
            .map(|i| 0.1 * (i as f32 * step).sin())
            .collect())
    }
}

/// Few enough for a test; all speakers as often, one sentence too long for the voice among them.
const COUNTS: [Counts; 4] = [[8, 48], [8, 120], [3, 4], [2, 2]];

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn make(seed: u64) -> (TempDir, Summary) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = SynthConfig {
        seed,
        ..SynthConfig::default()
    };
    let staging = Staging::beside(&folder.path().join("out")).expect("free");
    let player = crate::music::tests::synthesizer();
    let summary = config
        .make_with(COUNTS, staging, &Hum, &player, &go_on)
        .expect("made");
    (folder, summary)
}

fn manifest(folder: &TempDir, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join("out").join(name)).expect("a manifest");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn text<'a>(clip: &'a Value, field: &str) -> &'a str {
    clip[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {clip}"))
}

/// Every file below a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let relative = |folder: &TempDir| -> BTreeMap<PathBuf, Vec<u8>> {
        let all = files(folder.path()).into_iter();
        all.map(|(path, bytes)| {
            (
                path.strip_prefix(folder.path())
                    .expect("below")
                    .to_path_buf(),
                bytes,
            )
        })
        .collect()
    };
    let [one, two, other] = [5, 5, 6].map(|seed| relative(&make(seed).0));
    assert!(one == two);
    assert!(one.keys().eq(other.keys()));
    assert!(one != other);
}

#[test]
fn the_imbalance_is_the_papers_at_every_scale() {
    for scale in [0.001, 0.02, 1.0] {
        let config = SynthConfig {
            scale,
            ..SynthConfig::default()
        };
        let [zh, en, music, video] = Domain::ALL.map(|domain| config.train_clips(domain));
        // 180 : 100 : 128 : 20.
        assert_eq!([zh * 5, music * 25, video * 5], [en * 9, en * 32, en]);
    }
}

#[test]
fn a_domain_may_have_another_number_of_clips_but_no_nonsense() {
    let config = |clips| SynthConfig {
        clips: BTreeMap::from([(Domain::SpeechEn, clips)]),
        ..SynthConfig::default()
    };
    assert_eq!(
        Domain::ALL.map(|domain| config(7).train_clips(domain)),
        [3600, 7, 2560, 400]
    );
    let folder = tempfile::tempdir().expect("a folder");
    for clips in [0, Domain::MOST_CLIPS + 1, usize::MAX] {
        let made = config(clips).make(&folder.path().join("out"), &go_on);
        let error = made.expect_err("nonsense").to_string();
        assert!(error.contains("speech-en") && error.contains(&clips.to_string()));
    }
}

#[test]
fn a_data_set_has_as_many_clips_as_it_should_and_its_summary_says_so() {
    let (folder, summary) = make(1);
    let mut counts: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for (i, name) in [TRAIN_MANIFEST, TEST_MANIFEST].into_iter().enumerate() {
        for clip in manifest(&folder, name) {
            counts.entry(text(&clip, "domain").to_string()).or_default()[i] += 1;
        }
    }
    let expected = [
        ("music", [4, 3]),
        ("speech-en", [120, 8]),
        ("speech-zh", [48, 8]),
        ("video_music", [2, 2]),
    ];
    assert!(
        counts
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
            .eq(expected),
        "{counts:?}"
    );
    for (name, domain) in summary.domains {
        assert_eq!(counts[name], [domain.train, domain.test]);
    }
}

#[test]
fn every_file_of_a_manifest_is_there_and_no_other() {
    let (folder, _) = make(2);
    let out = folder.path().join("out");
    let mut named = HashSet::from([out.join(TRAIN_MANIFEST), out.join(TEST_MANIFEST)]);
    let mut ids = HashSet::new();
    for clip in [TRAIN_MANIFEST, TEST_MANIFEST]
        .iter()
        .flat_map(|name| manifest(&folder, name))
    {
        assert!(ids.insert(text(&clip, "id").to_string()), "{clip}");
        for field in ["audio", "reference_audio", "video"] {
            if let Some(path) = clip[field].as_str() {
                assert!(out.join(path).is_file(), "{path}");
                named.insert(out.join(path));
            }
        }
        let sound = hound::WavReader::open(out.join(text(&clip, "audio"))).expect("a sound");
        assert_eq!(
            (sound.spec().sample_rate, sound.spec().channels),
            (SAMPLE_RATE, 1)
        );
        let seconds = f64::from(sound.duration()) / f64::from(SAMPLE_RATE);
        assert!((seconds - clip["duration"].as_f64().expect("seconds")).abs() < 1e-3);
    }
    // Reference recordings that no sentence happened to draw may be left over.
    for path in files(&out).into_keys() {
        let reference = path.to_string_lossy().contains("ref-");
        assert!(reference || named.contains(&path), "{}", path.display());
    }
}

#[test]
fn no_test_text_is_trained_on_and_all_speakers_speak_as_often() {
    let (folder, _) = make(3);
    let [train, test] = [TRAIN_MANIFEST, TEST_MANIFEST].map(|name| {
        let speech = manifest(&folder, name)
            .into_iter()
            .filter(|clip| clip["task"] == "speech");
        speech.collect::<Vec<_>>()
    });
    let mut trained: HashSet<String> = train
        .iter()
        .map(|clip| text_key(text(clip, "text")))
        .collect();
    trained.extend(
        train
            .iter()
            .map(|clip| text_key(text(clip, "reference_text"))),
    );
    for clip in &test {
        assert!(!trained.contains(&text_key(text(clip, "text"))), "{clip}");
        assert!(
            !trained.contains(&text_key(text(clip, "reference_text"))),
            "{clip}"
        );
    }
    for clips in [&train, &test] {
        let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
        for clip in clips {
            *counts
                .entry((text(clip, "domain"), text(clip, "speaker")))
                .or_default() += 1;
            check_reference(clip, clips);
            let length = text(clip, "text").chars().count();
            assert!(length <= 30, "too long for the test voice: {clip}");
        }
        assert_eq!(counts.len(), 8);
        let en = counts[&("speech-en", "dan")];
        let zh = counts[&("speech-zh", "dan")];
        for ((domain, _), count) in counts {
            assert_eq!(count, if domain == "speech-en" { en } else { zh });
        }
    }
}

/// A reference is a recording of the speaker in the language, or another text of the same clips.
fn check_reference(clip: &Value, clips: &[Value]) {
    let (speaker, reference) = (text(clip, "speaker"), text(clip, "reference_audio"));
    match clips.iter().find(|other| text(other, "audio") == reference) {
        None => assert!(
            reference.contains(speaker) && reference.contains(text(clip, "language")),
            "{clip}"
        ),
        Some(other) => {
            assert_eq!(text(other, "text"), text(clip, "reference_text"));
            assert_ne!(text(other, "text"), text(clip, "text"));
            for field in ["speaker", "language"] {
                assert_eq!(text(other, field), text(clip, field));
            }
        }
    }
}

#[test]
fn training_clips_follow_clips_and_test_clips_follow_recordings() {
    let (folder, _) = make(3);
    let followed = |name: &str| {
        let clips = manifest(&folder, name);
        let speech: Vec<&Value> = clips
            .iter()
            .filter(|clip| clip["task"] == "speech")
            .collect();
        let after = |clip: &&&Value| !text(clip, "reference_audio").contains("ref-");
        (speech.iter().filter(after).count(), speech.len())
    };
    let (others, all) = followed(TRAIN_MANIFEST);
    assert!(0 < others && others < all, "{others} of {all}");
    assert_eq!(followed(TEST_MANIFEST).0, 0);
}

#[test]
fn an_interruption_or_an_error_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("new/out");
    let player = crate::music::tests::synthesizer();
    let config = SynthConfig::default();
    let last = Mutex::new(None);
    let stop = |progress: Progress| {
        *last.lock().expect("unpoisoned") = Some(progress.total);
        match progress.done >= 50 {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    let staging = Staging::beside(&out).expect("free");
    let error = config
        .make_with(COUNTS, staging, &Hum, &player, &stop)
        .expect_err("stopped");
    assert!(matches!(error, SynthError::Interrupted));
    assert_eq!(*last.lock().expect("unpoisoned"), Some(195 + 144));
    assert!(files(folder.path()).is_empty());

    /// Fails on the last language.
    struct Mute;
    impl Speak for Mute {
        fn speak(
            &self,
            text: &str,
            speaker: Speaker,
            language: Language,
        ) -> Result<Vec<f32>, SynthError> {
            match language {
                Language::Mandarin => Hum.speak(text, speaker, language),
                Language::English => Err(SynthError::Exhausted {
                    language: "en",
                    wanted: 0,
                }),
            }
        }
    }
    let staging = Staging::beside(&out).expect("free");
    config
        .make_with(COUNTS, staging, &Mute, &player, &go_on)
        .expect_err("mute");
    assert!(files(folder.path()).is_empty());
}

#[test]
fn wrong_scales_and_taken_folders_are_refused_before_the_work() {
    let folder = tempfile::tempdir().expect("a folder");
    for scale in [0.0, -0.1, 1.5, f64::NAN, f64::INFINITY] {
        let config = SynthConfig {
            scale,
            ..SynthConfig::default()
        };
        let error = config
            .make(&folder.path().join("out"), &go_on)
            .expect_err("a wrong scale");
        assert!(matches!(error, SynthError::Scale { .. }), "{error}");
    }
    fs::write(folder.path().join("mine"), "words").expect("written");
    for out in [folder.path().to_path_buf(), folder.path().join("mine")] {
        let error = SynthConfig::default()
            .make(&out, &go_on)
            .expect_err("taken");
        assert!(matches!(error, SynthError::NotEmpty { .. }), "{error}");
    }
    assert_eq!(files(folder.path()).len(), 1);
    // An empty folder is free.
    fs::create_dir(folder.path().join("empty")).expect("made");
    Staging::beside(&folder.path().join("empty")).expect("free");
}

#[test]
fn more_sentences_than_the_grammar_has_are_refused_before_the_work() {
    let texts = Texts::of(Language::Mandarin, TWENTY_FIVE, 1);
    let plan = speech::Plan::draw(Language::Mandarin, texts, 1, [10, 40]);
    assert!(
        plan.is_ok(),
        "32 common ones, 4 of a word, 2 lists, 12 drawn"
    );
    let texts = Texts::of(Language::Mandarin, TWENTY_FIVE, 1);
    let error = speech::Plan::draw(Language::Mandarin, texts, 1, [10, 100]).err();
    let expected = Some(SynthError::Exhausted {
        language: "zh",
        wanted: 110,
    });
    assert_eq!(format!("{error:?}"), format!("{expected:?}"));
}
