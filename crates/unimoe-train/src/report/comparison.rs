//! Methods side by side, in front of the report of their runs.

use std::path::Path;

use super::{
    error::ReportError,
    page::{Section, Table, page},
    plot::{GroupedBars, LinePlot, Series, Stroke, color, label},
    run::RunLog,
    save, sections,
};

/// What was measured of several methods.
#[derive(Debug, Clone, Default)]
pub(crate) struct Comparison {
    /// What was compared.
    pub introduction: String,
    /// Names of what each method was measured on.
    pub categories: Vec<String>,
    /// The methods.
    pub lines: Vec<ComparisonLine>,
    /// Steps with a name.
    pub marks: Vec<(f64, String)>,
    /// Figures as text.
    pub tables: Vec<ComparisonTable>,
}

/// A method.
#[derive(Debug, Clone, Default)]
pub(crate) struct ComparisonLine {
    /// What it is called.
    pub name: String,
    /// Mean and spread in each category.
    pub bars: Vec<(f64, f64)>,
    /// Loss over steps, a curve for each repetition.
    pub curves: Vec<Vec<(f64, f64)>>,
}

/// Figures as text.
#[derive(Debug, Clone, Default)]
pub(crate) struct ComparisonTable {
    /// What it shows.
    pub caption: String,
    /// Names of its columns.
    pub head: Vec<String>,
    /// Its rows; the first cell of each names it.
    pub rows: Vec<Vec<String>>,
}

/// Writes the report of a comparison and of `runs` to the file `path`.
///
/// # Errors
///
/// A [`ReportError`] where a plot can't be drawn or the file can't be written; nothing is left then.
pub(crate) fn write_comparison(
    path: &Path,
    title: &str,
    comparison: &Comparison,
    runs: &[RunLog],
) -> Result<(), ReportError> {
    let mut all = vec![section(comparison)?];
    all.extend(sections(runs)?);
    save(path, &page(&label(title), &comparison.introduction, &all))
}

fn section(comparison: &Comparison) -> Result<Section, ReportError> {
    let mut section = Section::new("Comparison");
    let bars = GroupedBars {
        title: "Validation loss".to_string(),
        caption: "Mean over the seeds; whiskers: one standard deviation.".to_string(),
        y: "loss (nats)".to_string(),
        categories: comparison.categories.clone(),
        groups: (comparison.lines.iter().enumerate())
            .map(|(index, line)| (line.name.clone(), color(index), line.bars.clone()))
            .collect(),
    };
    section.plot(bars.draw()?);
    let mut series = Vec::new();
    for (index, line) in comparison.lines.iter().enumerate() {
        let one = |stroke, points| Series {
            name: line.name.clone(),
            color: color(index),
            stroke,
            points,
        };
        series.extend((line.curves.iter()).map(|curve| one(Stroke::Faint, curve.clone())));
        series.push(one(Stroke::Dotted, mean(&line.curves)));
    }
    let curves = LinePlot {
        title: "Mean validation loss over the steps of each method".to_string(),
        caption: "Mean over the domains; pale: each seed. Specialists are drawn at the steps of all together."
            .to_string(),
        x: "optimizer steps".to_string(),
        y: "loss (nats)".to_string(),
        series,
        marks: comparison.marks.clone(),
        ..LinePlot::default()
    };
    section.plot(curves.draw()?);
    for table in &comparison.tables {
        section.table(Table {
            caption: table.caption.clone(),
            head: table.head.clone(),
            rows: table.rows.clone(),
        });
    }
    Ok(section)
}

/// Point by point, as far as all go.
fn mean(curves: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let shortest = curves.iter().map(Vec::len).min().unwrap_or(0);
    let n = curves.len() as f64;
    let sum = |place: usize| curves.iter().map(|curve| curve[place].1).sum::<f64>();
    (0..shortest)
        .map(|place| (curves[0][place].0, sum(place) / n))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_shows_each_method_and_the_mean_of_its_curves() {
        let line = ComparisonLine {
            name: "curriculum".to_string(),
            bars: vec![(1.0, 0.1), (f64::NAN, 0.0)],
            curves: vec![vec![(0.0, 1.0), (1.0, 3.0)], vec![(0.0, 2.0)]],
        };
        assert_eq!(mean(&line.curves), [(0.0, 1.5)]);
        let comparison = Comparison {
            categories: vec!["music".to_string(), "speech".to_string()],
            lines: vec![line],
            ..Comparison::default()
        };
        let page = page("t", "i", &[section(&comparison).expect("drawn")]);
        assert_eq!(page.matches("<figure>").count(), 2);
        assert!(page.contains("curriculum") && page.contains("music"));
    }
}
