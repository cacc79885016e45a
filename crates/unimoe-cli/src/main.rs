//! The program `unimoe`: speech, music, music for videos and the codec from the command line.
//!
//! Thin: it reads arguments, calls the libraries, and says what came of it. See `unimoe --help`.

use std::process::ExitCode;

use clap::Parser;

mod args;
mod commands;
mod drawing;
mod error;
mod frames;
mod interrupt;
mod mux;
mod output;
mod progress;
mod report;
mod spectrogram;
mod training;
mod video;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && !error.to_string().starts_with("error:") => {
            error.exit()
        }
        Err(error) if error.use_stderr() => {
            eprintln!("{}", error::usage_line(&error.to_string()));
            return ExitCode::from(error::USAGE);
        }
        Err(help) => help.exit(),
    };
    match commands::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error::chain(&error));
            if cli.command.wants_json() {
                report::failure(&error);
            }
            error.exit_code()
        }
    }
}
