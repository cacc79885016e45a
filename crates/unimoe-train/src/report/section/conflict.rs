//! Gradient conflict between domains.

use super::{Material, line, list};
use crate::report::{
    error::ReportError,
    history::{Conflict, History},
    page::{Section, Table},
    plot::{HeatMap, LinePlot, Scale, color, label, number},
};

/// Most pairs of domains that have a line of their own.
const PAIRS: usize = 10;

/// Most rows of a run in the table; the plot shows all.
const ROWS: usize = 8;

pub(super) fn section(material: &Material<'_>) -> Result<Section, ReportError> {
    let mut section = Section::new("Gradient conflict");
    let (mut silent, mut rows) = (Vec::new(), Vec::new());
    section.text(
        "Cosine between the domains' gradients on the parameters that they share. Below zero, a step that \
         helps one domain hurts the other.",
    );
    for run in &material.runs {
        let Some(last) = run.conflicts.last() else {
            silent.push(label(run.name));
            continue;
        };
        let map = matrix(run, last);
        match map.draw()? {
            Some(figure) => section.plot(Some(figure)),
            None => section.text(format!(
                "{}: no table of a size that can be drawn.",
                map.title
            )),
        }
        section.plot(over_time(run).draw()?);
        rows.extend(spread(&run.conflicts).map(|one| row(run, one)));
    }
    if !silent.is_empty() {
        section.text(format!(
            "Left out for {}: it was not measured.",
            list(&silent)
        ));
    }
    section.table(Table {
        caption: "Pairs of different domains".to_string(),
        head: ["run", "step", "mean cosine", "least cosine", "of"]
            .map(String::from)
            .to_vec(),
        rows,
    });
    Ok(section)
}

/// At most [`ROWS`] of them, the first and the last too.
fn spread<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let kept = all.len().min(ROWS);
    let place = move |index: usize| match kept {
        0 | 1 => index,
        _ => index * (all.len() - 1) / (kept - 1),
    };
    (0..kept).map(move |index| &all[place(index)])
}

fn matrix(run: &History<'_>, last: &Conflict<'_>) -> HeatMap {
    let names: Vec<String> = last.domains.iter().map(|domain| label(domain)).collect();
    HeatMap {
        title: format!("Cosine of gradients: {}", label(run.name)),
        caption: format!("After step {}.", number(last.step)),
        x: "domain".to_string(),
        y: "domain".to_string(),
        columns: names.clone(),
        rows: names,
        values: last.cosines.to_vec(),
        scale: Scale::Cosine,
    }
}

/// A line for each pair; where there are too many pairs, their mean and their least.
fn over_time(run: &History<'_>) -> LinePlot {
    let domains = run.conflicts.iter().max_by_key(|one| one.domains.len());
    let domains = domains.map_or(&[][..], |one| one.domains);
    let pairs: Vec<(&String, &String)> = domains
        .iter()
        .take(64)
        .enumerate()
        .flat_map(|(i, one)| {
            domains[i + 1..]
                .iter()
                .take(64)
                .map(move |other| (one, other))
        })
        .collect();
    let series = if run.conflicts.len() < 2 {
        Vec::new()
    } else if pairs.len() <= PAIRS {
        let pairs = pairs.iter().enumerate();
        pairs
            .map(|(index, (one, other))| {
                let points: Vec<_> = run
                    .conflicts
                    .iter()
                    .map(|conflict| (conflict.step, conflict.between(one, other)))
                    .collect();
                let name = format!("{} and {}", label(one), label(other));
                line(name, color(index), &points)
            })
            .collect()
    } else {
        let curve = |value: fn(&Conflict<'_>) -> f64| -> Vec<_> {
            let conflicts = run.conflicts.iter();
            conflicts.map(|one| (one.step, value(one))).collect()
        };
        vec![
            line(
                "mean of all pairs".to_string(),
                color(0),
                &curve(|one| one.mean()),
            ),
            line(
                "least of all pairs".to_string(),
                color(3),
                &curve(|one| one.least().map_or(f64::NAN, |(least, ..)| least)),
            ),
        ]
    };
    LinePlot {
        title: format!("Cosine of gradients over time: {}", label(run.name)),
        x: "step".to_string(),
        y: "cosine".to_string(),
        show: Some((0.0, 0.0)),
        series,
        ..LinePlot::default()
    }
}

fn row(run: &History<'_>, conflict: &Conflict<'_>) -> Vec<String> {
    let least = conflict.least();
    vec![
        label(run.name),
        number(conflict.step),
        number(conflict.mean()),
        number(least.map_or(f64::NAN, |(least, ..)| least)),
        least.map_or(String::new(), |(_, one, other)| {
            format!("{} and {}", label(one), label(other))
        }),
    ]
}

impl Conflict<'_> {
    /// Cosine of two domains; NaN where it wasn't measured.
    fn between(&self, one: &str, other: &str) -> f64 {
        let place = |name: &str| self.domains.iter().position(|domain| domain == name);
        let cosine = place(one)
            .and_then(|i| self.cosines.get(i))
            .zip(place(other))
            .and_then(|(row, j)| row.get(j));
        cosine.copied().unwrap_or(f64::NAN)
    }

    /// Cosines of all pairs of different domains that have one.
    fn pairs(&self) -> impl Iterator<Item = (f64, &str, &str)> {
        let rows = self.domains.iter().zip(self.cosines).enumerate();
        rows.flat_map(|(i, (one, row))| {
            let others = self.domains.iter().zip(row).skip(i + 1);
            others
                .filter(|(_, cosine)| cosine.is_finite())
                .map(move |(other, cosine)| (*cosine, one.as_str(), other.as_str()))
        })
    }

    fn mean(&self) -> f64 {
        super::mean(self.pairs().map(|pair| pair.0))
    }

    fn least(&self) -> Option<(f64, &str, &str)> {
        self.pairs().min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_goes_from_the_first_to_the_last() {
        let all: Vec<usize> = (0..100).collect();
        let kept: Vec<_> = spread(&all).copied().collect();
        assert_eq!(kept, [0, 14, 28, 42, 56, 70, 84, 99]);
        assert_eq!(spread(&all[..3]).count(), 3);
        assert_eq!(spread(&all[..1]).count(), 1);
        assert_eq!(spread(&all[..0]).count(), 0);
    }

    #[test]
    fn pairs_are_counted_once_and_missing_ones_left_out() {
        let domains = ["a", "b", "c"].map(String::from);
        let cosines = vec![vec![1.0, 0.5, -0.25], vec![0.5, 1.0, f64::NAN], vec![]];
        let conflict = Conflict {
            step: 1.0,
            domains: &domains,
            cosines: &cosines,
        };
        assert_eq!(conflict.mean(), 0.125);
        assert_eq!(conflict.least(), Some((-0.25, "a", "c")));
        assert_eq!(conflict.between("b", "a"), 0.5);
        assert!(conflict.between("c", "a").is_nan());
        assert!(conflict.between("a", "x").is_nan());
    }
}
