//! The results as the report shows them.

use super::{
    Claim, Figure, Method, ReproductionResults,
    results::{BUDGET_HEAD, SeedOutcome},
    task::DOMAINS,
};
use crate::report::{Comparison, ComparisonLine, ComparisonTable};

pub(super) fn comparison(results: &ReproductionResults, outcomes: &[SeedOutcome]) -> Comparison {
    let settings = &results.settings;
    let table = |caption: &str, head: Vec<String>, rows: Vec<Vec<String>>| ComparisonTable {
        caption: caption.to_string(),
        head,
        rows,
    };
    let (head, rows) = results.table();
    let budgets = results.methods.iter().map(|one| {
        let name = one.method.name().to_string();
        vec![name, one.parameters.to_string(), one.tokens.to_string()]
    });
    let strings = |head: [&str; 3]| head.map(String::from).to_vec();
    let bars = |figures: Vec<Option<&Figure>>| {
        let bar = |figure: Option<&Figure>| match figure {
            Some(figure) => (figure.mean, figure.spread.unwrap_or(0.0)),
            None => (f64::NAN, 0.0),
        };
        figures.into_iter().map(bar).collect()
    };
    let methods = results.methods.iter().map(|one| {
        let mut figures: Vec<Option<&Figure>> = (DOMAINS.iter())
            .map(|kind| one.loss.get(kind.name))
            .collect();
        figures.push(Some(&one.mean_loss));
        ComparisonLine {
            name: one.method.name().to_string(),
            bars: bars(figures),
            curves: curves(one.method, outcomes),
        }
    });
    let mut categories: Vec<String> = DOMAINS.iter().map(|kind| kind.name.to_string()).collect();
    categories.push("mean".to_string());
    Comparison {
        introduction: format!(
            "Four methods with the same number of optimizer steps ({}) on batches of {} clips of {} frames, over {} \
             seeds. Losses are validation cross entropies in nats, summed over the channels; spreads are sample \
             standard deviations. The runs below are those of the first seed.",
            settings.steps, settings.batch_size, settings.frames, settings.seeds
        ),
        categories,
        lines: methods.collect(),
        marks: vec![
            (settings.steps as f64 / 2.0, "warm-up".to_string()),
            (settings.steps as f64 * 0.75, "joint".to_string()),
        ],
        tables: vec![
            table("Validation loss and routing", head, rows),
            table("Budgets", strings(BUDGET_HEAD), budgets.collect()),
            table(
                "What the paper shows",
                strings(Claim::HEAD),
                results.claims.iter().map(Claim::row).collect(),
            ),
        ],
    }
}

/// The curve of each seed.
fn curves(method: Method, outcomes: &[SeedOutcome]) -> Vec<Vec<(f64, f64)>> {
    let own = outcomes.iter().filter_map(|one| one.of(method));
    own.map(|outcome| outcome.curve.clone()).collect()
}
