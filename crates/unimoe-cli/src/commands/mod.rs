//! The commands, one file each.

mod completions;

use crate::{
    args::{Cli, Command},
    error::CliError,
};

/// Runs what the user asked for.
///
/// # Errors
///
/// [`CliError`], whose [`code`](CliError::code) the program ends with.
pub fn run(cli: &Cli) -> Result<(), CliError> {
    match &cli.command {
        Command::Completions { shell } => completions::run(*shell),
        _ => Ok(()),
    }
}
