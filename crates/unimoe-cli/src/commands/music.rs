//! `unimoe music`.

use unimoe_model::{MusicRequest, Prompt, Request};

use super::generation::{Job, companions};
use crate::{args::MusicArgs, error::CliError, interrupt::Interrupt};

/// Makes a piece of music from each caption.
///
/// # Errors
///
/// [`CliError`]; no file is left half-written.
pub fn run(args: &MusicArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    for (number, caption) in (1..).zip(&args.captions) {
        Prompt::music(caption).map_err(CliError::input(format!("caption {number}")))?;
    }
    let companions = companions(&args.generation)?;
    let words = &companions.words.music;
    let job = Job {
        task: "music",
        texts: &args.captions,
        args: &args.generation,
        defaults: companions.defaults.music,
        voices: Vec::new(),
        unknown: args
            .captions
            .iter()
            .map(|text| words.unknown(text))
            .collect(),
        vision: false,
    };
    job.run(interrupt, |_, options| {
        let requests = args.captions.iter().zip(options).map(|(caption, options)| {
            Request::Music(MusicRequest {
                caption: companions.defaults.written(caption).into_owned(),
                options,
            })
        });
        Ok(requests.collect())
    })
}
