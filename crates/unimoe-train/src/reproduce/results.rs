//! What came out, over all seeds.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};

use super::{
    Claim, Method, Reproduction, claims,
    method::Outcome,
    task::{BALANCED, DOMAINS},
};
use crate::{
    event::{LayerLoad, RoutingSummary},
    report::{dead_experts, mutual_information},
};

/// An expert with a smaller share of every domain's tokens counts as dead.
pub(super) const DEAD: f64 = 0.01;

/// A value over the seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Mean over the seeds.
    pub mean: f64,
    /// Sample standard deviation over the seeds; `None` for a single one.
    pub spread: Option<f64>,
    /// The value of each seed.
    pub values: Vec<f64>,
}

/// What came of a method.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodResult {
    /// The method.
    pub method: Method,
    /// Validation loss of each domain: cross entropy summed over the channels, in nats.
    pub loss: BTreeMap<String, Figure>,
    /// Mean of them.
    pub mean_loss: Figure,
    /// Routed and null experts that a token takes, mean over layers and domains; `None` without a choice.
    pub experts_per_token: Option<Figure>,
    /// Mutual information between expert and domain in nats, mean over layers.
    pub mutual_information: Option<Figure>,
    /// Routed experts in all layers that no domain sends 1 % of its tokens to.
    pub dead_experts: Option<Figure>,
    /// Parameters of one model.
    pub parameters: u64,
    /// Tokens that it learnt from with each seed.
    pub tokens: u64,
    /// Mean validation loss before the warm-up, after it, and after joint training.
    pub stages: Option<Vec<Figure>>,
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReproductionResults {
    /// What was compared.
    pub settings: Reproduction,
    /// Clips of each domain in the raw mixture.
    pub raw_clips: BTreeMap<String, usize>,
    /// Clips of each domain in the balanced set.
    pub balanced_clips: usize,
    /// The least loss that any model can have on each domain in the mean.
    pub bound: BTreeMap<String, f64>,
    /// The methods.
    pub methods: Vec<MethodResult>,
    /// What the paper shows, and whether it shows here.
    pub claims: Vec<Claim>,
}

/// What came of all methods with one seed.
#[derive(Debug, Clone)]
pub(super) struct SeedOutcome {
    pub bound: Vec<f64>,
    pub methods: Vec<Outcome>,
}

impl SeedOutcome {
    pub fn of(&self, method: Method) -> Option<&Outcome> {
        self.methods.iter().find(|outcome| outcome.method == method)
    }
}

impl Figure {
    /// Mean and spread of one value per seed.
    pub fn new(values: Vec<f64>) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|value| (value - mean).powi(2));
        let spread = (values.len() > 1).then(|| (squares.sum::<f64>() / (n - 1.0)).sqrt());
        Self {
            mean,
            spread,
            values,
        }
    }

    /// `1.234 ± 0.056`.
    pub fn text(&self) -> String {
        match self.spread {
            Some(spread) => format!("{:.3} ± {spread:.3}", self.mean),
            None => format!("{:.3}", self.mean),
        }
    }
}

impl ReproductionResults {
    pub(super) fn new(settings: &Reproduction, outcomes: &[SeedOutcome]) -> Self {
        let named = |value: &dyn Fn(usize) -> f64| -> BTreeMap<String, f64> {
            let domains = DOMAINS.iter().enumerate();
            domains
                .map(|(index, kind)| (kind.name.to_string(), value(index)))
                .collect()
        };
        let bound = named(&|domain| {
            outcomes
                .first()
                .and_then(|one| one.bound.get(domain).copied())
                .unwrap_or(f64::NAN)
        });
        let raw_clips = DOMAINS
            .iter()
            .map(|kind| (kind.name.to_string(), kind.share * settings.clips));
        let methods: Vec<MethodResult> = Method::ALL
            .into_iter()
            .map(|method| of_method(method, outcomes))
            .collect();
        Self {
            settings: settings.clone(),
            raw_clips: raw_clips.collect(),
            balanced_clips: BALANCED * settings.clips,
            bound,
            claims: claims::judge(&methods, outcomes),
            methods,
        }
    }

    /// Names of the columns, and the rows.
    pub(super) fn table(&self) -> (Vec<String>, Vec<Vec<String>>) {
        let mut head = vec!["method".to_string()];
        head.extend(DOMAINS.iter().map(|kind| kind.name.to_string()));
        let more = [
            "mean loss",
            "experts per token",
            "expert-domain information (nats)",
            "dead experts",
        ];
        head.extend(more.map(String::from));
        let none = || "n/a".to_string();
        let optional = |figure: &Option<Figure>| figure.as_ref().map_or_else(none, Figure::text);
        let mut rows: Vec<Vec<String>> = (self.methods.iter())
            .map(|result| {
                let mut row = vec![result.method.name().to_string()];
                for kind in &DOMAINS {
                    let figure = result.loss.get(kind.name);
                    row.push(figure.map_or_else(none, Figure::text));
                }
                row.push(result.mean_loss.text());
                row.push(optional(&result.experts_per_token));
                row.push(optional(&result.mutual_information));
                row.push(optional(&result.dead_experts));
                row
            })
            .collect();
        let mut bound = vec!["least possible".to_string()];
        let values: Vec<f64> = (DOMAINS.iter())
            .filter_map(|kind| self.bound.get(kind.name).copied())
            .collect();
        bound.extend(values.iter().map(|value| format!("{value:.3}")));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        bound.push(format!("{mean:.3}"));
        bound.extend([none(), none(), none()]);
        rows.push(bound);
        (head, rows)
    }

    /// The tables as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        let mut table = |head: &[String], rows: &[Vec<String>]| {
            // Writing to a string can't fail.
            let _ = writeln!(text, "| {} |", head.join(" | "));
            let _ = writeln!(text, "|{}", "---|".repeat(head.len()));
            for row in rows {
                let _ = writeln!(text, "| {} |", row.join(" | "));
            }
            let _ = writeln!(text);
        };
        let (head, rows) = self.table();
        table(&head, &rows);
        let rows: Vec<Vec<String>> = (self.methods.iter())
            .map(|one| {
                let name = one.method.name().to_string();
                vec![name, one.parameters.to_string(), one.tokens.to_string()]
            })
            .collect();
        table(&BUDGET_HEAD.map(String::from), &rows);
        let rows: Vec<Vec<String>> = self.claims.iter().map(Claim::row).collect();
        table(&Claim::HEAD.map(String::from), &rows);
        let settings = &self.settings;
        let _ = writeln!(
            text,
            "Losses are validation cross entropies in nats, summed over the channels; mean ± sample standard deviation \
             over {} seeds from {} on. Each method: {} steps of {} clips.",
            settings.seeds, settings.first_seed, settings.steps, settings.batch_size
        );
        text
    }
}

pub(super) const BUDGET_HEAD: [&str; 3] = [
    "method",
    "parameters of one model",
    "training tokens per seed",
];

fn of_method(method: Method, outcomes: &[SeedOutcome]) -> MethodResult {
    let own: Vec<&Outcome> = outcomes.iter().filter_map(|one| one.of(method)).collect();
    let each = |value: &dyn Fn(&Outcome) -> f64| {
        Figure::new(own.iter().map(|outcome| value(outcome)).collect())
    };
    let loss =
        |outcome: &Outcome, domain: &str| outcome.losses.get(domain).copied().unwrap_or(f64::NAN);
    let routed = |value: fn(&BTreeMap<String, RoutingSummary>) -> f64| {
        let values: Option<Vec<f64>> = (own.iter())
            .map(|outcome| outcome.routing.as_ref().map(value))
            .collect();
        values.map(Figure::new)
    };
    let stages: Option<Vec<[f64; 3]>> = own.iter().map(|outcome| outcome.stages).collect();
    MethodResult {
        method,
        loss: DOMAINS
            .iter()
            .map(|kind| {
                let figure = each(&|outcome| loss(outcome, kind.name));
                (kind.name.to_string(), figure)
            })
            .collect(),
        mean_loss: each(&|outcome| {
            let losses = DOMAINS.iter().map(|kind| loss(outcome, kind.name));
            losses.sum::<f64>() / DOMAINS.len() as f64
        }),
        experts_per_token: routed(|routing| {
            mean(loads(routing), LayerLoad::mean_experts_per_token)
        }),
        mutual_information: routed(|routing| {
            let layers = mutual_information(routing);
            layers.iter().sum::<f64>() / layers.len().max(1) as f64
        }),
        dead_experts: routed(|routing| {
            dead_experts(routing, DEAD)
                .iter()
                .map(Vec::len)
                .sum::<usize>() as f64
        }),
        parameters: own.first().map_or(0, |outcome| outcome.parameters),
        tokens: own.first().map_or(0, |outcome| outcome.tokens),
        stages: stages.map(|stages| {
            (0..3)
                .map(|place| Figure::new(stages.iter().map(|stage| stage[place]).collect()))
                .collect()
        }),
    }
}

fn loads(routing: &BTreeMap<String, RoutingSummary>) -> impl Iterator<Item = &LayerLoad> {
    routing.values().flat_map(|summary| &summary.layers)
}

fn mean<'a>(loads: impl Iterator<Item = &'a LayerLoad>, value: impl Fn(&LayerLoad) -> f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for load in loads {
        sum += value(load);
        count += 1.0;
    }
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_the_sample_deviation_and_one_seed_has_none() {
        let figure = Figure::new(vec![1.0, 2.0, 3.0]);
        assert_eq!((figure.mean, figure.spread), (2.0, Some(1.0)));
        assert_eq!(figure.text(), "2.000 ± 1.000");
        let one = Figure::new(vec![1.5]);
        assert_eq!(one.spread, None);
        assert_eq!(one.text(), "1.500");
    }
}
