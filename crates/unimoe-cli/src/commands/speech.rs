//! `unimoe speech`.

use dac_codec::AudioClip;
use unimoe_model::{Pipeline, Prompt, Request, RequestOptions, SpeechRequest, Voice};

use super::generation::Job;
use crate::{args::SpeechArgs, error::CliError, interrupt::Interrupt};

/// Speaks each text with the voice of the recording.
///
/// # Errors
///
/// [`CliError`]; no file is left half-written.
pub fn run(args: &SpeechArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    for (number, text) in (1..).zip(&args.texts) {
        Prompt::speech(text, &args.voice_text, 1)
            .map_err(CliError::input(format!("text {number}")))?;
    }
    let voice = format!("the voice {}", args.voice.display());
    let clip = AudioClip::read(&args.voice, Pipeline::MAX_VOICE_SECONDS)
        .map_err(CliError::input("the voice"))?;
    let job = Job {
        task: "speech",
        texts: &args.texts,
        args: &args.generation,
        defaults: RequestOptions::speech(),
        vision: false,
    };
    job.run(interrupt, |pipeline, options| {
        // Once for all texts.
        let codes = pipeline
            .encode_voice(&clip)
            .map_err(CliError::input(&voice))?;
        let requests = args.texts.iter().zip(options).map(|(text, options)| {
            Request::Speech(SpeechRequest {
                text: text.clone(),
                voice: Voice::Codes(codes.clone()),
                voice_text: args.voice_text.clone(),
                options,
            })
        });
        Ok(requests.collect())
    })
}
