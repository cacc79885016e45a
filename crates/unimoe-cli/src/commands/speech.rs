//! `unimoe speech`.

use std::path::Path;

use dac_codec::AudioClip;
use unimoe_model::{
    Companions, NamedVoice, Pipeline, Prompt, Request, SpeechRequest, Voice, Voices,
};

use super::generation::{Job, companions};
use crate::{args::SpeechArgs, error::CliError, interrupt::Interrupt};

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker<'a> {
    /// A voice that the model brings along.
    Named(&'a str),
    /// The voice of a recording.
    Recorded { path: &'a str, said: &'a str },
}

/// Speaks each text with a voice of the model or that of the recording.
///
/// # Errors
///
/// [`CliError`]; no file is left half-written.
pub fn run(args: &SpeechArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let Companions {
        defaults,
        voices,
        words,
    } = companions(&args.generation)?;
    let (voice, said) = (args.voice.as_deref(), args.voice_text.as_deref());
    let speaker = choose(voice, said, &voices)?;
    let written = |text: &String| defaults.written(text).into_owned();
    let texts: Vec<String> = args.texts.iter().map(written).collect();
    for (number, text) in (1..).zip(&texts) {
        let said = match speaker {
            Speaker::Named(name) => &named(&voices, name, text)?.text,
            Speaker::Recorded { said, .. } => said,
        };
        Prompt::speech(text, said, 1).map_err(CliError::input(format!("text {number}")))?;
    }
    let (name, clip) = match speaker {
        Speaker::Named(name) => (name, None),
        Speaker::Recorded { path, .. } => {
            let clip = AudioClip::read(path, Pipeline::MAX_VOICE_SECONDS);
            (path, Some(clip.map_err(CliError::input("the voice"))?))
        }
    };
    let unknown = |text: &String| words.speech.unknown(text);
    let job = Job {
        task: "speech",
        texts: &args.texts,
        args: &args.generation,
        defaults: defaults.speech,
        voices: vec![name.to_string(); args.texts.len()],
        unknown: args.texts.iter().map(unknown).collect(),
        vision: false,
    };
    job.run(interrupt, |pipeline, options| {
        // Once for all texts.
        let codes = clip.as_ref().map(|clip| pipeline.encode_voice(clip));
        let codes = (codes.transpose()).map_err(CliError::input(format!("the voice {name}")))?;
        (texts.iter().zip(options))
            .map(|(text, options)| {
                let request = match (speaker, &codes) {
                    (Speaker::Recorded { said, .. }, Some(codes)) => SpeechRequest {
                        text: text.clone(),
                        voice: Voice::Codes(codes.clone()),
                        voice_text: said.to_string(),
                        options,
                    },
                    _ => named(&pipeline.companions().voices, name, text)?.speak(text, options),
                };
                Ok(Request::Speech(request))
            })
            .collect()
    })
}

/// What the user means by `--voice` and `--voice-text`.
fn choose<'a>(
    voice: Option<&'a str>,
    said: Option<&'a str>,
    voices: &'a Voices,
) -> Result<Speaker<'a>, CliError> {
    let names = voices.names();
    let wrong = |what, expected: String, found: String| CliError::Argument {
        what,
        expected,
        found,
    };
    match (voice, said) {
        (Some(path), Some(said)) => Ok(Speaker::Recorded { path, said }),
        (Some(name), None) if names.contains(&name) => Ok(Speaker::Named(name)),
        (Some(path), None) if Path::new(path).exists() => {
            let expected = format!("what is said in {path}");
            Err(wrong("--voice-text", expected, "missing".into()))
        }
        (Some(name), None) => {
            let mut expected = "a recording, with --voice-text".to_string();
            if !names.is_empty() {
                expected = format!("one of {}, or {expected}", names.join(", "));
            }
            Err(wrong("--voice", expected, name.to_string()))
        }
        (None, _) => names
            .first()
            .map(|name| Speaker::Named(name))
            .ok_or_else(|| {
                let expected = "a recording, with --voice-text: the model brings no voice along";
                wrong("--voice", expected.into(), "missing".into())
            }),
    }
}

/// The recording of a voice to speak `text` with.
fn named<'a>(voices: &'a Voices, name: &str, text: &str) -> Result<&'a NamedVoice, CliError> {
    voices
        .get(Some(name), text)
        .ok_or_else(|| CliError::Argument {
            what: "--voice",
            expected: format!("one of {}", voices.names().join(", ")),
            found: name.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_voice_of_the_model_unless_it_has_a_text() {
        let companions = embedded_model::companions().expect("the built-in model");
        let voices = companions.voices;
        let first = voices.names()[0];
        let chosen = |voice, said| choose(voice, said, &voices);
        assert_eq!(chosen(None, None).expect("first"), Speaker::Named(first));
        assert_eq!(
            chosen(Some(first), None).expect("by name"),
            Speaker::Named(first)
        );
        let recorded = Speaker::Recorded {
            path: first,
            said: "a",
        };
        assert_eq!(chosen(Some(first), Some("a")).expect("a file"), recorded);

        let error = chosen(Some("nobody"), None).expect_err("no such voice");
        assert!(error.to_string().contains(first), "{error}");
        let error = chosen(Some("Cargo.toml"), None).expect_err("no text");
        assert!(error.to_string().contains("--voice-text"), "{error}");
        let error = choose(None, None, &Voices::default()).expect_err("no voices");
        assert!(error.to_string().contains("--voice"), "{error}");
    }
}
