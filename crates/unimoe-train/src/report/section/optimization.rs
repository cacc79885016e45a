//! Learning rate, gradient norm, speed.

use super::Material;
use crate::report::{curve::smooth, error::ReportError, page::Section, plot::LinePlot};

pub(super) fn section(material: &Material<'_>) -> Result<Section, ReportError> {
    let mut section = Section::new("Optimization");
    if without_steps(material, &mut section) {
        return Ok(section);
    }
    let rate = material.by_run("Learning rate", "learning rate", |run| {
        run.curve(|step| step.learning_rate)
    });
    section.plot(rate.draw()?);
    let norm = material.by_run("Gradient norm", "norm (logarithmic)", |run| {
        run.curve(|step| step.gradient_norm)
    });
    section.plot(
        LinePlot {
            caption: "Of all gradients together, before clipping.".to_string(),
            logarithmic: true,
            ..norm
        }
        .draw()?,
    );
    Ok(section)
}

pub(super) fn speed(material: &Material<'_>) -> Result<Section, ReportError> {
    let mut section = Section::new("Speed");
    if without_steps(material, &mut section) {
        return Ok(section);
    }
    let plots = [
        material.by_run("Tokens per second", "tokens per second", |run| {
            smooth(&run.curve(|step| ratio(step.tokens as f64, step.seconds)))
        }),
        material.by_run("Waiting for data", "share of the step (%)", |run| {
            smooth(&run.curve(|step| ratio(step.waited, step.seconds) * 100.0))
        }),
        material.by_run("Time of a step", "seconds", |run| {
            smooth(&run.curve(|step| step.seconds))
        }),
    ];
    for plot in plots {
        section.plot(
            LinePlot {
                caption: "Moving average.".to_string(),
                show: Some((0.0, 0.0)),
                ..plot
            }
            .draw()?,
        );
    }
    Ok(section)
}

fn without_steps(material: &Material<'_>, section: &mut Section) -> bool {
    let none = material.runs.iter().all(|run| run.steps.is_empty());
    if none {
        section.text("No step was logged, so there is nothing to show.");
    }
    none
}

/// NaN where nothing can be divided by.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { f64::NAN }
}
