use std::{collections::BTreeMap, fs, ops::ControlFlow};

use dac_codec::AudioClip;
use serde_json::{Value, json};
use unimoe_train::{
    Balance, DataError, DuplicateRules, Filter, Governance, GovernanceOptions, Governed, Limits,
    Manifest, Policy,
};

use crate::studio::{RATE, Studio, load, music, speech, tune};

fn govern(rules: &Governance, manifest: Manifest) -> Result<Governed, DataError> {
    let options = GovernanceOptions {
        workers: 2,
        ..GovernanceOptions::default()
    };
    rules.apply(manifest, &options, &mut |_, _| ControlFlow::Continue(()))
}

fn reasons(governed: &Governed) -> BTreeMap<&str, &str> {
    let dropped = governed.report.dropped.iter();
    dropped
        .map(|dropped| (dropped.id.as_str(), dropped.reason.as_str()))
        .collect()
}

fn scaled(clip: &AudioClip, factor: f32) -> AudioClip {
    AudioClip {
        samples: clip.samples.iter().map(|sample| sample * factor).collect(),
        sample_rate: clip.sample_rate,
    }
}

#[test]
fn each_rule_drops_what_breaks_it_and_nothing_else() {
    let studio = Studio::new();
    let good = tune(1, 2.0);
    studio.clip("good.wav", &good);
    studio.tune("short.wav", 2, 0.3);
    studio.clip("quiet.wav", &scaled(&tune(3, 2.0), 0.001));
    studio.clip("loud.wav", &scaled(&tune(4, 2.0), 9.0));
    let mut hollow = tune(5, 1.0);
    hollow.samples.resize(4 * RATE as usize, 0.0);
    studio.clip("hollow.wav", &hollow);
    for index in 6..13 {
        studio.tune(&format!("{index}.wav"), index, 2.0);
    }
    let scored = |id: &str, audio: &str, score: Value| {
        let mut line = speech(id, "Twenty letters in here", audio);
        line["mos"] = score;
        line
    };
    let lines = [
        scored("good", "good.wav", json!(4)),
        scored("short", "short.wav", json!(4)),
        scored("quiet", "quiet.wav", json!(4)),
        scored("clipped", "loud.wav", json!(4)),
        scored("hollow", "hollow.wav", json!(4)),
        scored("poor", "6.wav", json!(2.9)),
        scored("unscored", "7.wav", Value::Null),
        speech("fast", &"Very many letters. ".repeat(9), "8.wav"),
        speech("slow", "Hm", "9.wav"),
        speech("foreign", "Twenty букв in here. Yes", "10.wav"),
        speech("advert", "Subscribe to the channel", "11.wav"),
        speech("shouted", "NO LOWER CASE LETTERS", "12.wav"),
    ];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let rules = Governance {
        filter: Filter {
            seconds: Limits::new(1.0, 10.0),
            silence: Limits::new(None, 0.5),
            clipping: Limits::new(None, 0.01),
            loudness: Limits::new(-40.0, None),
            speech_rate: Limits::new(2.0, 25.0),
            characters: Limits::new(None, 500.0),
            scripts: vec!["Latin".into()],
            pattern: Some("[a-z]".into()),
            forbidden: Some("(?i)subscribe".into()),
            columns: BTreeMap::from([("mos".to_string(), Limits::new(3.0, None))]),
        },
        ..Governance::default()
    };
    let governed = govern(&rules, manifest).unwrap();
    let expected = [
        ("short", "duration"),
        ("quiet", "loudness"),
        ("clipped", "clipping"),
        ("hollow", "silence"),
        ("poor", "column mos"),
        ("unscored", "column mos"),
        ("fast", "speech_rate"),
        ("slow", "speech_rate"),
        ("foreign", "script"),
        ("advert", "forbidden_text"),
        ("shouted", "pattern"),
    ];
    assert_eq!(reasons(&governed), expected.into());
    let domain = &governed.report.domains["speech-en"];
    assert_eq!((domain.clips, domain.kept), (12, 1));
    assert_eq!(domain.dropped["column mos"], 2);
    assert!((domain.kept_hours * 3600.0 - 2.0).abs() < 1e-9);
    assert_eq!(governed.report.total, *domain);

    let kept = &governed.manifest.records[0];
    assert_eq!(kept.duration, Some(2.0));
    // 19 letters in 2 s
    assert_eq!(kept.column("characters_per_second"), Some(9.5));
    assert_eq!(kept.column("clipping_share"), Some(0.0));
    assert!((-30.0..-5.0).contains(&kept.column("loudness_lufs").unwrap()));
}

#[test]
fn copies_are_found_whatever_was_done_to_them_and_others_are_kept() {
    let studio = Studio::new();
    let original = tune(1, 2.0);
    studio.clip("original.wav", &original);
    fs::copy(studio.path("original.wav"), studio.path("copied.wav")).unwrap();
    // The same samples in another file: a chunk more in front of them.
    let bytes = fs::read(studio.path("original.wav")).unwrap();
    let extra = [&b"LIST\x04\0\0\0abcd"[..]].concat();
    let mut other = [&bytes[..36], &extra, &bytes[36..]].concat();
    let size = (other.len() as u32 - 8).to_le_bytes();
    other[4..8].copy_from_slice(&size);
    fs::write(studio.path("repacked.wav"), other).unwrap();

    studio.clip("quieter.wav", &scaled(&original, 0.2));
    studio.clip("resampled.wav", &original.resampled(11_025).unwrap());
    let coarse = |sample: &f32| (sample * 60.0).round() / 60.0;
    let mut noisy = scaled(&original, 0.9);
    noisy.samples = noisy.samples.iter().map(coarse).collect();
    studio.clip("coarse.wav", &noisy);
    let mut delayed = original.clone();
    delayed.samples.splice(0..0, vec![0.0; 1000]);
    studio.clip("delayed.wav", &delayed);

    let mut excerpt = original.clone();
    excerpt.samples.truncate(RATE as usize);
    studio.clip("excerpt.wav", &excerpt);
    studio.tune("another.wav", 2, 2.0);

    let names = [
        "original",
        "copied",
        "repacked",
        "quieter",
        "resampled",
        "coarse",
        "delayed",
        "excerpt",
        "another",
    ];
    let lines: Vec<Value> = names
        .iter()
        .map(|name| music(name, &format!("{name}.wav")))
        .collect();
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let governed = govern(&Governance::default(), manifest.clone()).unwrap();
    let expected = [
        ("copied", "exact_duplicate"),
        ("repacked", "exact_duplicate"),
        ("quieter", "near_duplicate"),
        ("resampled", "near_duplicate"),
        ("coarse", "near_duplicate"),
        ("delayed", "near_duplicate"),
    ];
    assert_eq!(reasons(&governed), expected.into());
    for dropped in &governed.report.dropped {
        assert!(dropped.detail.contains("`original`"), "{dropped:?}");
    }

    let rules = Governance {
        duplicates: DuplicateRules {
            exact: false,
            near: false,
            ..DuplicateRules::default()
        },
        ..Governance::default()
    };
    assert_eq!(govern(&rules, manifest).unwrap().manifest.records.len(), 9);
}

#[test]
fn one_sound_in_two_domains_is_a_duplicate_only_where_it_is_asked_for() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 1.0);
    let mut second = music("b", "a.wav");
    second["domain"] = json!("other");
    let manifest = load(&studio.manifest("x.jsonl", &[music("a", "a.wav"), second])).unwrap();
    let mut rules = Governance::default();
    assert!(
        govern(&rules, manifest.clone())
            .unwrap()
            .report
            .dropped
            .is_empty()
    );
    rules.duplicates.across_domains = true;
    let governed = govern(&rules, manifest).unwrap();
    assert_eq!(reasons(&governed), [("b", "exact_duplicate")].into());
    assert!(
        matches!(governed.report.check(), Err(DataError::Emptied { domain, clips: 1, .. }) if domain == "other")
    );
}

#[test]
fn domains_can_have_rules_of_their_own() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.5);
    studio.tune("b.wav", 2, 0.5);
    let lines = [music("m", "a.wav"), speech("s", "Hello", "b.wav")];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let rules: Governance = serde_json::from_value(json!({
        "filter": {"seconds": {"min": 0.1}},
        "domains": {"music": {"seconds": {"min": 1}}},
    }))
    .unwrap();
    let governed = govern(&rules, manifest.clone()).unwrap();
    assert_eq!(reasons(&governed), [("m", "duration")].into());

    let unknown: Governance = serde_json::from_value(json!({"domains": {"musik": {}}})).unwrap();
    assert!(matches!(
        govern(&unknown, manifest),
        Err(DataError::EmptyDomain { .. })
    ));
    for wrong in [
        json!({"filters": {}}),
        json!({"filter": {"second": {}}}),
        json!({"filter": {"seconds": {"most": 1}}}),
    ] {
        assert!(serde_json::from_value::<Governance>(wrong).is_err());
    }
}

#[test]
fn rules_that_are_none_are_errors() {
    for rules in [
        json!({"filter": {"seconds": {"min": 2, "max": 1}}}),
        json!({"filter": {"pattern": "("}}),
        json!({"filter": {"scripts": ["Elvish"]}}),
        json!({"filter": {"columns": {"mos": {"min": 2, "max": 1}}}}),
        json!({"domains": {"a": {"forbidden": "["}}}),
        json!({"duplicates": {"bit_errors": 0.5}}),
        json!({"duplicates": {"overlap": -0.1}}),
    ] {
        let parsed: Governance = serde_json::from_value(rules.clone()).unwrap();
        assert!(
            matches!(parsed.validate(), Err(DataError::Setting { .. })),
            "{rules}"
        );
    }
    let mut rules = Governance::default();
    rules.filter.loudness = Limits::new(f64::NAN, None);
    assert!(rules.validate().is_err());
}

#[test]
fn sounds_that_can_not_be_read_are_listed_or_left_out() {
    let studio = Studio::new();
    studio.tune("a.wav", 1, 0.5);
    fs::write(studio.path("b.wav"), "nothing").unwrap();
    let lines = [music("a", "a.wav"), music("b", "b.wav")];
    let manifest = load(&studio.manifest("x.jsonl", &lines)).unwrap();
    let result = govern(&Governance::default(), manifest.clone());
    assert!(matches!(result, Err(DataError::Defects(defects)) if defects.0[0].line == 2));
    let options = GovernanceOptions {
        policy: Policy::Skip,
        ..GovernanceOptions::default()
    };
    let mut seen = Vec::new();
    let governed = Governance::default().apply(manifest.clone(), &options, &mut |done, total| {
        seen.push((done, total));
        ControlFlow::Continue(())
    });
    let governed = governed.unwrap();
    assert_eq!(governed.manifest.records.len(), 1);
    assert_eq!(governed.manifest.skipped.counts()["unreadable_audio"], 1);
    assert_eq!(seen, [(1, 2), (2, 2)]);
    let stopped =
        Governance::default().apply(manifest, &options, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(DataError::Interrupted)));
}

fn collection(studio: &Studio, counts: &[(&str, usize)]) -> Manifest {
    studio.tune("a.wav", 1, 0.1);
    let mut lines = Vec::new();
    for (domain, count) in counts {
        for index in 0..*count {
            let mut line = music(&format!("{domain}-{index}"), "a.wav");
            line["domain"] = json!(domain);
            line["score"] = json!(index % 7);
            lines.push(line);
        }
    }
    load(&studio.manifest("x.jsonl", &lines)).unwrap()
}

fn ids(manifest: &Manifest) -> Vec<&str> {
    manifest
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect()
}

#[test]
fn a_balanced_draw_takes_as_many_of_each_domain_by_its_seed() {
    let studio = Studio::new();
    let manifest = collection(&studio, &[("zh", 18), ("en", 10), ("video", 5)]);
    let draw = Balance::new(5, 3).apply(&manifest).unwrap();
    assert_eq!(draw.domains(), [("zh", 5), ("en", 5), ("video", 5)].into());
    assert_eq!(
        ids(&draw),
        ids(&Balance::new(5, 3).apply(&manifest).unwrap())
    );
    assert_ne!(
        ids(&draw),
        ids(&Balance::new(5, 4).apply(&manifest).unwrap())
    );
    let smaller = Balance::new(3, 3).apply(&manifest).unwrap();
    assert!(ids(&smaller).iter().all(|id| ids(&draw).contains(id)));
}

#[test]
fn the_best_can_be_taken_and_too_few_are_an_error() {
    let studio = Studio::new();
    let manifest = collection(&studio, &[("zh", 18), ("en", 4)]);
    let few = Balance::new(5, 3);
    let result = few.apply(&manifest);
    assert!(matches!(
        result,
        Err(DataError::TooFew {
            found: 4,
            expected: 5,
            ..
        })
    ));
    let best = Balance {
        best: Some("score".into()),
        allow_fewer: true,
        ..few
    };
    let draw = best.apply(&manifest).unwrap();
    let of = |domain: &str| {
        let records = draw.records.iter().filter(|record| record.domain == domain);
        records
            .map(|record| record.score.unwrap())
            .collect::<Vec<_>>()
    };
    // 18 clips with scores 0 to 6 in turn: two each of 6, 5 and 4, of which one is left out.
    let mut scores = of("zh");
    scores.sort_by(f64::total_cmp);
    assert_eq!(scores, [4.0, 5.0, 5.0, 6.0, 6.0]);
    assert_eq!(of("en").len(), 4);
    let unknown = Balance {
        best: Some("mos".into()),
        ..Balance::new(1, 0)
    };
    assert!(matches!(
        unknown.apply(&manifest),
        Err(DataError::Setting { .. })
    ));
    assert!(Balance::new(0, 0).apply(&manifest).is_err());
}
