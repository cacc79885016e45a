//! The sections of a report, one file each.

mod conflict;
mod expert;
mod loss;
mod optimization;
mod overview;
mod routing;

use std::collections::{BTreeMap, BTreeSet};

use plotters::prelude::RGBColor;

use super::{
    curve::thin,
    error::ReportError,
    history::History,
    page::Section,
    plot::{LinePlot, Series, Stroke, color, label},
};

/// Most domains that are drawn: more can't be told apart.
const DOMAINS: usize = 24;

/// What all sections draw from.
pub(super) struct Material<'a> {
    pub runs: Vec<History<'a>>,
    /// The domains of all runs, in the order of their names and colours.
    pub domains: Vec<&'a str>,
    /// How many domains there are beyond those.
    pub further: usize,
}

impl<'a> Material<'a> {
    pub fn new(runs: Vec<History<'a>>) -> Self {
        let mut domains = BTreeSet::new();
        for run in &runs {
            domains.extend(run.domains());
            for validation in &run.validations {
                domains.extend(validation.routing.keys().map(String::as_str));
            }
        }
        let further = domains.len().saturating_sub(DOMAINS);
        Self {
            runs,
            domains: domains.into_iter().take(DOMAINS).collect(),
            further,
        }
    }

    /// Every section that has something to say.
    pub fn sections(&self) -> Result<Vec<Section>, ReportError> {
        let mut sections = vec![overview::section(self)];
        sections.push(loss::section(self)?);
        sections.extend(routing::sections(self)?);
        sections.push(conflict::section(self)?);
        sections.push(optimization::section(self)?);
        sections.push(optimization::speed(self)?);
        Ok(sections)
    }

    /// What of each domain is in `values`, with its colour.
    fn of<'m, T>(
        &'m self,
        values: &'m BTreeMap<String, T>,
    ) -> impl Iterator<Item = (String, RGBColor, &'m T)> {
        let domains = self.domains.iter().enumerate();
        domains
            .filter_map(|(index, domain)| Some((label(domain), color(index), values.get(*domain)?)))
    }

    /// One line per run over its steps; runs without a value are left out.
    fn by_run(
        &self,
        title: &str,
        y: &str,
        curve: impl Fn(&History<'a>) -> Vec<(f64, f64)>,
    ) -> LinePlot {
        let runs = self.runs.iter().enumerate();
        let lines = runs.filter_map(|(index, run)| {
            let points = curve(run);
            let any = points.iter().any(|point| point.1.is_finite());
            any.then(|| line(label(run.name), color(index), &points))
        });
        LinePlot {
            title: title.to_string(),
            x: "step".to_string(),
            y: y.to_string(),
            series: lines.collect(),
            ..LinePlot::default()
        }
    }
}

/// A full line, thinned; with dots where it has few points.
fn line(name: String, color: RGBColor, points: &[(f64, f64)]) -> Series {
    let few = points.len() <= 40;
    Series {
        name,
        color,
        stroke: if few { Stroke::Dotted } else { Stroke::Line },
        points: thin(points),
    }
}

/// Mean of what is a number; NaN where nothing is.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut number) = (0.0, 0.0);
    for value in values.filter(|value| value.is_finite()) {
        sum += value;
        number += 1.0;
    }
    sum / number
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
