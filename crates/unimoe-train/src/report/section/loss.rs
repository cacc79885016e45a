//! Loss per domain and stage (the paper's figure 3), per channel, and the objective's other terms.

use std::collections::BTreeSet;

use super::{Material, line, mean};
use crate::report::{
    curve::{smooth, tail_mean, thin},
    error::ReportError,
    page::{Section, Table},
    plot::{LinePlot, Series, Stroke, color, count, label, loss},
};

const LOSS: &str = "loss (nats, summed over channels)";

pub(super) fn section(material: &Material<'_>) -> Result<Section, ReportError> {
    let mut section = Section::new("Loss");
    if material.runs.iter().all(|run| run.steps.is_empty()) {
        section.text("No step was logged, so the curves of the training loss are left out.");
    } else {
        section.text(
            "The loss is the cross entropy of every codec channel, summed. Pale lines are single steps, full \
             lines their moving average over a fortieth of the run.",
        );
    }
    match &material.runs[..] {
        [_] => section.plot(together(material).draw()?),
        _ => {
            for domain in &material.domains {
                section.plot(one_after_another(material, domain).draw()?);
            }
        }
    }
    for plot in validation(material) {
        section.plot(plot.draw()?);
    }
    let runs = material.runs.iter();
    if runs.clone().all(|run| run.validations.is_empty()) {
        section.text("No validation was logged, so its curves are left out.");
    }
    section.table(table(material));
    section.plot(channels(material).draw()?);
    let objective =
        |run: &crate::report::history::History<'_>| smooth(&run.curve(|step| step.loss));
    section.plot(
        LinePlot {
            caption: "Auxiliary terms included; moving average.".to_string(),
            ..material.by_run("Objective", "objective", objective)
        }
        .draw()?,
    );
    let terms: BTreeSet<&String> = runs
        .flat_map(|run| &run.steps)
        .flat_map(|step| step.terms.keys())
        .take(100_000)
        .collect();
    for term in terms.into_iter().take(16) {
        let curve = material.by_run(
            &format!("Term {}", label(term)),
            "unweighted value",
            |run| smooth(&run.curve(|step| step.terms.get(term).copied().unwrap_or(f64::NAN))),
        );
        section.plot(curve.draw()?);
    }
    Ok(section)
}

/// All domains of the only run.
fn together(material: &Material<'_>) -> LinePlot {
    let mut series = Vec::new();
    for (index, domain) in material.domains.iter().enumerate() {
        for run in &material.runs {
            series.extend(curves(label(domain), index, &run.domain_curve(domain)));
        }
    }
    LinePlot {
        title: "Training loss by domain".to_string(),
        x: "step".to_string(),
        y: LOSS.to_string(),
        series,
        ..LinePlot::default()
    }
}

/// One domain through all runs that train on it, in the order given.
fn one_after_another(material: &Material<'_>, domain: &str) -> LinePlot {
    let (mut series, mut marks, mut before) = (Vec::new(), Vec::new(), 0.0);
    for (number, run) in material.runs.iter().enumerate() {
        let points: Vec<_> = run.domain_curve(domain);
        let Some(last) = points.last().map(|point| point.0) else {
            continue;
        };
        let shifted: Vec<_> = points.iter().map(|&(x, y)| (x + before, y)).collect();
        series.extend(curves(label(run.name), number, &shifted));
        if before > 0.0 {
            marks.push((before, String::new()));
        }
        before += last;
    }
    LinePlot {
        title: format!("Training loss: {}", label(domain)),
        caption: "Runs that train on it stand one behind the other, in the order given."
            .to_string(),
        x: "steps since the first of these runs".to_string(),
        y: LOSS.to_string(),
        series,
        marks,
        ..LinePlot::default()
    }
}

/// Single values and their moving average.
fn curves(name: String, index: usize, points: &[(f64, f64)]) -> Vec<Series> {
    if points.is_empty() {
        return Vec::new();
    }
    let faint = Series {
        name: name.clone(),
        color: color(index),
        stroke: Stroke::Faint,
        points: thin(points),
    };
    vec![faint, line(name, color(index), &smooth(points))]
}

/// Validation loss: all domains of one run, or all runs for each domain.
fn validation(material: &Material<'_>) -> Vec<LinePlot> {
    let plot = |title: String, series| LinePlot {
        title,
        x: "step".to_string(),
        y: LOSS.to_string(),
        series,
        ..LinePlot::default()
    };
    let domains = material.domains.iter();
    if let [run] = &material.runs[..] {
        let series = domains
            .enumerate()
            .map(|(index, domain)| (index, domain, run.validation_curve(domain)))
            .filter(|(_, _, points)| !points.is_empty())
            .map(|(index, domain, points)| line(label(domain), color(index), &points));
        return vec![plot(
            "Validation loss by domain".to_string(),
            series.collect(),
        )];
    }
    domains
        .map(|domain| {
            let title = format!("Validation loss: {}", label(domain));
            let runs = material.by_run(&title, LOSS, |run| run.validation_curve(domain));
            plot(title.clone(), runs.series)
        })
        .collect()
}

fn table(material: &Material<'_>) -> Table {
    let mut rows = Vec::new();
    for run in &material.runs {
        for domain in &material.domains {
            let (training, validation) = (run.domain_curve(domain), run.validation_curve(domain));
            if training.is_empty() && validation.is_empty() {
                continue;
            }
            let finite = validation.iter().filter(|point| point.1.is_finite());
            let best = finite.min_by(|a, b| a.1.total_cmp(&b.1));
            let value = |point: Option<&(f64, f64)>| point.map_or(f64::NAN, |point| point.1);
            rows.push(vec![
                label(run.name),
                label(domain),
                loss(value(training.first())),
                loss(tail_mean(&training)),
                loss(value(validation.first())),
                loss(value(validation.last())),
                match best {
                    Some(best) => format!("{} at {}", loss(best.1), count(best.0 as u64)),
                    None => loss(f64::NAN),
                },
            ]);
        }
    }
    let head = [
        "run",
        "domain",
        "first training loss",
        "training loss, mean of the last tenth",
        "first validation loss",
        "last validation loss",
        "best validation loss",
    ];
    Table {
        caption: "Losses by run and domain".to_string(),
        head: head.map(String::from).to_vec(),
        rows,
    }
}

/// Loss of each channel at the end of each run.
fn channels(material: &Material<'_>) -> LinePlot {
    let runs = material.runs.iter().enumerate();
    let series = runs.filter_map(|(index, run)| {
        let tail = &run.steps[run.steps.len() - run.steps.len().div_ceil(10)..];
        let channels = tail.iter().map(|step| step.channels.len()).max()?;
        let at = |channel: usize| {
            let losses = tail.iter().filter_map(|step| step.channels.get(channel));
            (channel as f64, mean(losses.copied()))
        };
        let points: Vec<_> = (0..channels).map(at).collect();
        (!points.is_empty()).then(|| line(label(run.name), color(index), &points))
    });
    LinePlot {
        title: "Loss by codec channel".to_string(),
        caption: "Mean of the last tenth of each run.".to_string(),
        x: "channel".to_string(),
        y: "loss (nats)".to_string(),
        series: series.collect(),
        ..LinePlot::default()
    }
}
