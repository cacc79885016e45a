//! The commands, one file each.

mod chosen;
mod codec;
mod completions;
mod data;
mod eval;
mod export;
mod generation;
mod init;
mod inspect;
mod music;
mod report;
mod reproduce;
mod speech;
mod train;
mod train_codec;
mod video_music;
mod voices;

use crate::{
    args::{Cli, CodecCommand, Command},
    error::CliError,
    interrupt::Interrupt,
};

/// Runs what the user asked for.
///
/// # Errors
///
/// [`CliError`], whose [`code`](CliError::code) the program ends with.
pub fn run(cli: &Cli) -> Result<(), CliError> {
    match &cli.command {
        Command::Speech(args) => speech::run(args, &Interrupt::listen()?),
        Command::Music(args) => music::run(args, &Interrupt::listen()?),
        Command::VideoMusic(args) => video_music::run(args, &Interrupt::listen()?),
        Command::Codec(CodecCommand::Encode(args)) => codec::encode(args, &Interrupt::listen()?),
        Command::Codec(CodecCommand::Decode(args)) => codec::decode(args, &Interrupt::listen()?),
        Command::Data(command) => data::run(command, &Interrupt::listen()?),
        Command::Train(command) => train::run(command),
        Command::Report(args) => report::run(args),
        Command::Eval(command) => eval::run(command, &Interrupt::listen()?),
        Command::Reproduce(args) => reproduce::run(args),
        Command::Init(args) => init::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Voices(args) => voices::run(args),
        Command::Export(args) => export::run(args),
        Command::Completions { shell } => completions::run(*shell),
    }
}
