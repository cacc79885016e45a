//! What the paper shows (sections 5 and 6), and whether it shows in the miniature.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Figure, Method, MethodResult,
    results::{DEAD, SeedOutcome},
    task::DOMAINS,
};
use crate::event::{LayerLoad, RoutingSummary};

/// The domain that has the fewest clips.
const SCARCE: &str = "video-music";

/// Something that the paper shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// What should be seen.
    pub claim: String,
    /// Whether it is seen here.
    pub holds: bool,
    /// The numbers that it was judged by.
    pub numbers: String,
}

type Routings<'a> = Vec<&'a BTreeMap<String, RoutingSummary>>;

impl Claim {
    pub(super) const HEAD: [&'static str; 3] = ["claim", "in miniature", "numbers"];

    fn new(claim: &str, holds: bool, numbers: String) -> Self {
        Self {
            claim: claim.to_string(),
            holds,
            numbers,
        }
    }

    pub(super) fn row(&self) -> Vec<String> {
        let verdict = if self.holds { "holds" } else { "does not hold" };
        vec![
            self.claim.clone(),
            verdict.to_string(),
            self.numbers.clone(),
        ]
    }
}

/// Judges all claims; each by means over the seeds.
pub(super) fn judge(methods: &[MethodResult], outcomes: &[SeedOutcome]) -> Vec<Claim> {
    let of = |method: Method| methods.iter().find(|result| result.method == method);
    let (Some(specialists), Some(dense), Some(moe), Some(curriculum)) = (
        of(Method::Specialists),
        of(Method::Dense),
        of(Method::Moe),
        of(Method::Curriculum),
    ) else {
        return Vec::new();
    };
    let routings: Routings<'_> = (outcomes.iter())
        .filter_map(|one| one.of(Method::Curriculum)?.routing.as_ref())
        .collect();
    let mut claims = vec![
        better(
            "mean loss of the curriculum below the dense model's",
            curriculum,
            dense,
        ),
        better(
            "mean loss of the curriculum below that of the mixture of experts without it",
            curriculum,
            moe,
        ),
    ];
    claims.extend(scarce(specialists, dense, curriculum).into_iter().flatten());
    claims.extend(warm_up(curriculum));
    claims.extend(music(curriculum));
    claims.extend(middle(&routings));
    claims.push(used(curriculum));
    claims.push(own_domain(&routings));
    claims.extend(null(&routings));
    claims
}

fn better(claim: &str, one: &MethodResult, other: &MethodResult) -> Claim {
    let (one, other) = (&one.mean_loss, &other.mean_loss);
    let numbers = format!("{} against {}", one.text(), other.text());
    Claim::new(claim, one.mean < other.mean, numbers)
}

/// Suffering is a loss above the specialist's by more than the two spreads together.
fn scarce(
    specialists: &MethodResult,
    dense: &MethodResult,
    curriculum: &MethodResult,
) -> Option<[Claim; 2]> {
    let of = |result: &MethodResult| result.loss.get(SCARCE).cloned();
    let (specialist, dense, curriculum) = (of(specialists)?, of(dense)?, of(curriculum)?);
    let suffers = |one: &Figure| {
        let spread = one.spread.unwrap_or(0.0) + specialist.spread.unwrap_or(0.0);
        one.mean - specialist.mean > spread
    };
    let numbers = |one: &Figure| {
        format!(
            "{} on {SCARCE}, its specialist {}",
            one.text(),
            specialist.text()
        )
    };
    Some([
        Claim::new(
            "the scarce domain suffers in the dense model",
            suffers(&dense),
            numbers(&dense),
        ),
        Claim::new(
            "the scarce domain does not suffer in the curriculum",
            !suffers(&curriculum),
            numbers(&curriculum),
        ),
    ])
}

fn warm_up(curriculum: &MethodResult) -> Option<Claim> {
    let [before, between, after] = curriculum.stages.as_ref()?.as_slice() else {
        return None;
    };
    let (warm_up, joint) = (before.mean - between.mean, between.mean - after.mean);
    Some(Claim::new(
        "warm-up removes as much loss as joint training",
        warm_up >= joint,
        format!(
            "{} after integration, {} after warm-up (-{warm_up:.3}), {} after joint training (-{joint:.3})",
            before.text(),
            between.text(),
            after.text()
        ),
    ))
}

fn music(curriculum: &MethodResult) -> Option<Claim> {
    let of = |domain: &str| curriculum.loss.get(domain).cloned();
    let (music, zh, en) = (of("music")?, of("speech-zh")?, of("speech-en")?);
    Some(Claim::new(
        "music stays harder than speech (in this task by construction)",
        music.mean > zh.mean.max(en.mean),
        format!(
            "music {}, speech {} and {}",
            music.text(),
            zh.text(),
            en.text()
        ),
    ))
}

/// Mean of a value of one layer over seeds and domains.
fn layer(routings: &Routings<'_>, layer: usize, value: fn(&LayerLoad) -> f64) -> f64 {
    let loads = routings.iter().flat_map(|routing| routing.values());
    let values: Vec<f64> = loads
        .filter_map(|summary| summary.layers.get(layer).map(value))
        .collect();
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn depth(routings: &Routings<'_>) -> usize {
    let summaries = routings.iter().flat_map(|routing| routing.values());
    summaries
        .map(|summary| summary.layers.len())
        .max()
        .unwrap_or(0)
}

fn middle(routings: &Routings<'_>) -> Option<Claim> {
    let counts: Vec<f64> = (0..depth(routings))
        .map(|place| layer(routings, place, LayerLoad::mean_experts_per_token))
        .collect();
    let ([first, middle @ .., last], false) = (counts.as_slice(), counts.len() < 3) else {
        return None;
    };
    let most = middle.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shown: Vec<String> = counts.iter().map(|count| format!("{count:.2}")).collect();
    Some(Claim::new(
        "a token takes more experts in the middle layers",
        most > *first && most > *last,
        format!(
            "{} experts per token, first layer to last",
            shown.join(", ")
        ),
    ))
}

fn used(curriculum: &MethodResult) -> Claim {
    let dead = curriculum.dead_experts.as_ref();
    let numbers = dead.map_or_else(String::new, |dead| {
        format!(
            "{} routed experts in all layers with less than {} % of every domain's tokens",
            dead.text(),
            DEAD * 100.0
        )
    });
    let none = dead.is_some_and(|dead| dead.values.iter().all(|&count| count == 0.0));
    Claim::new("every expert is used", none, numbers)
}

/// The experts of a domain are those that its specialist was split into, one specialist after another.
fn own_domain(routings: &Routings<'_>) -> Claim {
    let shares: Vec<f64> = (DOMAINS.iter().enumerate())
        .map(|(domain, kind)| {
            let loads = routings.iter().filter_map(|routing| routing.get(kind.name));
            let shares: Vec<f64> = loads
                .flat_map(|summary| &summary.layers)
                .map(|load| {
                    let routed = &load.load[..load.routed.min(load.load.len())];
                    let each = routed.len() / DOMAINS.len();
                    let own: f64 = routed.iter().skip(domain * each).take(each).sum();
                    own / routed.iter().sum::<f64>().max(f64::MIN_POSITIVE)
                })
                .collect();
            shares.iter().sum::<f64>() / shares.len().max(1) as f64
        })
        .collect();
    let fair = 1.0 / DOMAINS.len() as f64;
    let shown: Vec<String> = (DOMAINS.iter().zip(&shares))
        .map(|(kind, share)| format!("{} {:.0} %", kind.name, share * 100.0))
        .collect();
    Claim::new(
        "experts keep their domain",
        shares.iter().all(|&share| share > fair),
        format!(
            "share of a domain's routed visits that go to its own specialist's experts: {}; by chance {:.0} %",
            shown.join(", "),
            fair * 100.0
        ),
    )
}

fn null(routings: &Routings<'_>) -> Option<Claim> {
    let depth = depth(routings);
    let share = |kind: &str, place: usize| {
        let layers = routings
            .iter()
            .filter_map(|routing| routing.get(kind)?.layers.get(place));
        let shares: Vec<f64> = layers.map(LayerLoad::null_share).collect();
        shares.iter().sum::<f64>() / shares.len().max(1) as f64
    };
    let cells = DOMAINS
        .iter()
        .flat_map(|kind| (0..depth).map(move |place| (kind.name, place, share(kind.name, place))));
    let (domain, place, most) = cells.max_by(|one, other| one.2.total_cmp(&other.2))?;
    Some(Claim::new(
        "the null expert is used most in deep layers on speech",
        domain.starts_with("speech") && 2 * place >= depth,
        format!(
            "most on {domain} in layer {} of {depth}: {:.1} % of the visits",
            place + 1,
            most * 100.0
        ),
    ))
}
