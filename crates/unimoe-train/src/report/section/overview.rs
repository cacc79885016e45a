//! What ran, for how long, and how it ended.

use super::Material;
use crate::report::{
    history::History,
    page::{Section, Table},
    plot::{self, count, label, number, percent},
};

pub(super) fn section(material: &Material<'_>) -> Section {
    let mut section = Section::new("Runs");
    let head = [
        "run",
        "steps",
        "epochs",
        "parameters",
        "trained",
        "seed",
        "tokens",
        "time",
        "tokens per second",
        "waiting for data",
        "best validation loss",
        "checkpoints",
        "end",
    ];
    section.table(Table {
        caption: "What ran".to_string(),
        head: head.map(String::from).to_vec(),
        rows: material.runs.iter().map(row).collect(),
    });
    for run in &material.runs {
        if let Some((reason, message)) = run.end.filter(|(_, message)| !message.is_empty()) {
            section.text(format!(
                "{}: {}: {}",
                label(run.name),
                label(reason),
                plot::message(message)
            ));
        }
    }
    if material.further > 0 {
        section.text(format!(
            "Plots and tables show {} domains; {} more are left out.",
            material.domains.len(),
            material.further
        ));
    }
    section
}

fn row(run: &History<'_>) -> Vec<String> {
    let none = || "n/a".to_string();
    let begin = |value: fn(&crate::report::history::Begin) -> u64| {
        run.begin
            .as_ref()
            .map_or_else(none, |begin| count(value(begin)))
    };
    let last = run.steps.last();
    let done = last.map_or(0, |step| step.step as u64);
    let steps = match run.begin {
        Some(begin) => format!("{} of {}", count(done), count(begin.steps)),
        None => count(done),
    };
    let tokens = run
        .steps
        .iter()
        .fold(0u64, |sum, step| sum.saturating_add(step.tokens));
    let seconds = sum(run.steps.iter().map(|step| step.seconds));
    let waited = sum(run.steps.iter().map(|step| step.waited));
    let best = run.validations.iter().filter(|one| one.loss.is_finite());
    let best = best.min_by(|a, b| a.loss.total_cmp(&b.loss));
    let checkpoints = run.checkpoints.last().map_or_else(none, |last| {
        let best = run.checkpoints.iter().rev().find(|one| one.best);
        let best = best.map_or(String::new(), |best| {
            format!(", best at {}", count(best.step))
        });
        format!(
            "{}, last at {}{best}",
            run.checkpoints.len(),
            count(last.step)
        )
    });
    vec![
        label(run.name),
        steps,
        last.map_or_else(none, |step| count(step.epoch)),
        begin(|begin| begin.parameters),
        begin(|begin| begin.trained),
        run.begin.map_or_else(none, |begin| begin.seed.to_string()),
        count(tokens),
        duration(seconds),
        number(tokens as f64 / seconds),
        percent(waited / seconds),
        best.map_or_else(none, |best| {
            format!("{} at {}", plot::loss(best.loss), count(best.step as u64))
        }),
        checkpoints,
        run.end
            .map_or("not ended".to_string(), |(reason, _)| label(reason)),
    ]
}

/// Sum of what is a number.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.filter(|value| value.is_finite()).sum()
}

/// Seconds as hours, minutes and seconds.
fn duration(seconds: f64) -> String {
    if !(0.0..1e12).contains(&seconds) {
        return number(seconds);
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{} min {:02} s", whole / 60, whole % 60),
        hours => format!("{} h {:02} min", count(hours), whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_what_suits_them() {
        assert_eq!(duration(1.25), "1.2 s");
        assert_eq!(duration(61.0), "1 min 01 s");
        assert_eq!(duration(7265.0), "2 h 01 min");
        assert_eq!(duration(f64::NAN), "n/a");
    }
}
