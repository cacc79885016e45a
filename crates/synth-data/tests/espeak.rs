//! Speech by the real espeak-ng. Without it on the PATH these tests say that they are skipped; with `UNIMOE_REQUIRE_SYNTH=1` they fail.
#![allow(clippy::unwrap_used)]

use synth_data::{Language, SAMPLE_RATE, Speaker, SpeechSynthesizer, SynthError};

fn espeak() -> Option<SpeechSynthesizer> {
    match SpeechSynthesizer::open("espeak-ng") {
        Ok(synthesizer) => Some(synthesizer),
        Err(error @ SynthError::NoSpeaker { .. }) => {
            let required =
                std::env::var_os("UNIMOE_REQUIRE_SYNTH").is_some_and(|value| value == "1");
            assert!(!required, "UNIMOE_REQUIRE_SYNTH=1, but {error}");
            println!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The pitch in Hz: the median over 40 ms windows of the autocorrelation's best lag between 60 and 400 Hz.
fn pitch(x: &[f32]) -> f64 {
    let rate = SAMPLE_RATE as usize;
    let mut pitches = Vec::new();
    for window in x.windows(rate / 25).step_by(rate / 50) {
        let energy: f32 = window.iter().map(|v| v * v).sum();
        let at = |lag: usize| {
            window
                .iter()
                .zip(&window[lag..])
                .map(|(a, b)| a * b)
                .sum::<f32>()
        };
        let lags = rate / 400..=rate / 60;
        let best = lags.max_by(|a, b| at(*a).total_cmp(&at(*b))).unwrap();
        if energy > 0.25 && at(best) > 0.4 * energy {
            pitches.push(rate as f64 / best as f64);
        }
    }
    pitches.sort_by(f64::total_cmp);
    pitches[pitches.len() / 2]
}

#[test]
fn the_speakers_have_their_pitches_and_are_equal_in_level() {
    let Some(espeak) = espeak() else { return };
    let texts = [
        (Language::English, "The old house is near the river."),
        (Language::Mandarin, "我的朋友今天在学校看书。"),
    ];
    for (language, text) in texts {
        for speaker in Speaker::ALL {
            let mut phrases = Vec::new();
            for phrase in &language.references()[..4] {
                phrases.extend(espeak.speak(phrase, speaker, language).unwrap());
            }
            let energy: f64 = phrases.iter().map(|v| f64::from(v * v)).sum();
            let level = 10.0 * (energy / phrases.len() as f64).log10();
            assert!((level + 21.0).abs() < 0.5, "{speaker:?}: {level} dBFS");
        }
        for speaker in Speaker::ALL {
            let x = espeak.speak(text, speaker, language).unwrap();
            let seconds = x.len() as f64 / f64::from(SAMPLE_RATE);
            assert!((1.0..3.2).contains(&seconds), "{seconds} s");
            let rms = (x.iter().map(|v| f64::from(v * v)).sum::<f64>() / x.len() as f64).sqrt();
            assert!(
                (-25.5..-17.5).contains(&(20.0 * rms.log10())),
                "{} dBFS",
                20.0 * rms.log10()
            );
            assert!(x.iter().all(|v| v.abs() < 0.9));
            let hz = pitch(&x);
            // English keeps the pitch, lags being whole samples; in Mandarin most of a sentence may be a step beside it.
            let most = match language {
                Language::English => 0.02 * speaker.hertz(),
                Language::Mandarin => 55.0,
            };
            assert!(
                (hz - speaker.hertz()).abs() < most,
                "{speaker:?} at {hz} Hz"
            );
        }
    }
}

#[test]
fn the_same_sentence_has_the_same_samples() {
    let Some(espeak) = espeak() else { return };
    let say = || {
        espeak
            .speak("Hello, world.", Speaker::Bella, Language::English)
            .unwrap()
    };
    assert_eq!(say(), say());
}

#[test]
fn an_absent_program_is_named() {
    let error = SpeechSynthesizer::open("no-such-espeak")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no-such-espeak") && error.contains("espeak-ng"),
        "{error}"
    );
}

#[cfg(unix)]
mod wrong_programs {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    fn refused(script: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("speaker");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let error = SpeechSynthesizer::open(&path).unwrap_err();
        assert!(matches!(error, SynthError::Speaker { .. }), "{error:?}");
        error.to_string()
    }

    #[test]
    fn what_fails_or_makes_no_sound_is_refused() {
        assert!(refused("echo no such voice >&2; exit 3").contains("no such voice"));
        assert!(refused("cat").contains("no WAV file"));
        // A header of 44 bytes: PCM, one channel, 22,050 Hz, 16 bits, no samples.
        let header = r"printf 'RIFF\044\0\0\0WAVEfmt \020\0\0\0\001\0\001\0\042\126\0\0\104\254\0\0\002\0\020\0data\0\0\0\0'";
        assert!(refused(header).contains("silence"));
    }
}
