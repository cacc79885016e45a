//! `unimoe voices`: the reference voices of a model.

use std::fmt::Write;

use serde::Serialize;

use super::chosen::Chosen;
use crate::{args::VoicesArgs, error::CliError, report};

/// A recording of a voice.
#[derive(Debug, Serialize)]
struct Line {
    name: String,
    description: String,
    text: String,
    seconds: f64,
}

/// Lists the voices that a model brings along.
///
/// # Errors
///
/// [`CliError::Input`] that names the file and what is wrong with it.
pub fn run(args: &VoicesArgs) -> Result<(), CliError> {
    let chosen = Chosen::new(args.model.as_deref());
    let voices = chosen.companions()?.voices;
    let lines: Vec<Line> = (voices.iter())
        .map(|voice| Line {
            name: voice.name.clone(),
            description: voice.description.clone(),
            text: voice.text.clone(),
            seconds: voice.seconds(),
        })
        .collect();
    if args.json {
        return report::json(&lines);
    }
    let mut out = String::new();
    if lines.is_empty() {
        out = format!("{} has no voices\n", chosen.name);
    }
    let longest = |text: fn(&Line) -> &str| {
        let lengths = lines.iter().map(|line| text(line).chars().count());
        lengths.max().unwrap_or(0)
    };
    let (name, description) = (
        longest(|line| &line.name),
        longest(|line| &line.description),
    );
    for line in &lines {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:name$}  {:description$}  {:.1} s: {}",
            line.name, line.description, line.seconds, line.text
        );
    }
    report::print(&out)
}
