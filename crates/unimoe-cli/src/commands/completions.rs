//! `unimoe completions`.

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{args::Cli, error::CliError, report};

/// Prints the completion script of `shell`.
///
/// # Errors
///
/// [`CliError::Stdout`] where standard output can't be written.
pub fn run(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "unimoe", &mut script);
    report::print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_completes_every_command() {
        for shell in [
            Shell::Bash,
            Shell::Zsh,
            Shell::Fish,
            Shell::PowerShell,
            Shell::Elvish,
        ] {
            let mut script = Vec::new();
            generate(shell, &mut Cli::command(), "unimoe", &mut script);
            let script = String::from_utf8(script).expect("text");
            for command in ["speech", "music", "video-music", "codec", "init", "inspect"] {
                assert!(script.contains(command), "{shell}: {command}");
            }
        }
    }
}
