//! `unimoe data synth`.

use std::{sync::Mutex, time::Instant};

use synth_data::{Progress, SynthConfig, SynthError};

use super::{Watch, report::SynthReport};
use crate::{args::SynthArgs, error::CliError, interrupt::Interrupt};

/// Makes a data set from a seed.
///
/// # Errors
///
/// [`CliError::Input`] where espeak-ng or the SoundFont is unusable, [`CliError::Output`] where the folder can't be written or
/// holds something; nothing is left half-written.
pub fn run(args: &SynthArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let config = SynthConfig {
        scale: args.scale,
        clips: args.clips.iter().copied().collect(),
        seed: args.seed,
        soundfont: args.soundfont.clone(),
        ..SynthConfig::default()
    };
    let start = Instant::now();
    // Sounds are made by several threads; the bar belongs to one at a time.
    let watch: Mutex<(Watch, bool)> = Mutex::new((Watch::new(args.json, interrupt), false));
    let step = |Progress { done, total }: Progress| {
        let mut watch = watch
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let (watch, started) = &mut *watch;
        if !*started {
            watch.start("making", total);
            *started = true;
        }
        watch.step(done)
    };
    let summary = config.make(&args.output, &step).map_err(failure(args))?;
    drop(watch);
    let report = SynthReport {
        output: args.output.clone(),
        scale: args.scale,
        seed: args.seed,
        summary,
        make_seconds: start.elapsed().as_secs_f64(),
    };
    match args.json {
        true => crate::report::json(&report),
        false => crate::report::print(&report.text()),
    }
}

/// What becomes of an error: whose fault it is decides the exit code.
fn failure(args: &SynthArgs) -> impl FnOnce(SynthError) -> CliError {
    move |error| match error {
        SynthError::Interrupted => CliError::Interrupted,
        error @ (SynthError::Write { .. } | SynthError::NotEmpty { .. }) => {
            CliError::output(&args.output)(error)
        }
        error @ (SynthError::NoSpeaker { .. } | SynthError::Speaker { .. }) => {
            CliError::input("espeak-ng")(error)
        }
        error @ (SynthError::Scale { .. }
        | SynthError::Clips { .. }
        | SynthError::Exhausted { .. }) => CliError::input("the number of clips")(error),
        error => CliError::input("the SoundFont")(error),
    }
}
