//! How far experts belong to domains, and which experts nobody visits.
//!
//! Axes: `E` experts of the pool (routed, then null), `n` domains.

use std::collections::BTreeMap;

use crate::event::{LayerLoad, RoutingSummary};

impl LayerLoad {
    /// Mean number of experts of the pool that a token takes, null experts included.
    pub fn mean_experts_per_token(&self) -> f64 {
        let shares = self.experts_per_token.iter().enumerate();
        shares.map(|(count, share)| count as f64 * share).sum()
    }

    /// Mean number of routed experts that compute a token.
    pub fn mean_active_experts(&self) -> f64 {
        self.load.iter().take(self.routed).sum()
    }

    /// Share of all visits in the pool that go to null experts; 0 without visits.
    pub fn null_share(&self) -> f64 {
        let null: f64 = self.load.iter().skip(self.routed).sum();
        let all: f64 = self.load.iter().sum();
        if all > 0.0 { null / all } else { 0.0 }
    }

    /// How the visits are shared out over the pool; `None` without visits.
    fn distribution(&self) -> Option<Vec<f64>> {
        let total: f64 = self.load.iter().sum();
        (total.is_finite() && total > 0.0)
            .then(|| self.load.iter().map(|load| load / total).collect())
    }
}

/// Mutual information between expert and domain in each layer, in nats.
///
/// `I(E; D) = 1/n sum_d sum_e p(e|d) ln(p(e|d) / p(e))`, with `p(e|d)` the share of domain `d`'s visits in the
/// pool that go to expert `e`, null experts included, and `p(e)` its mean over the domains: every domain weighs
/// the same, however many tokens it has. 0 where all domains use the experts alike, `ln n` where no two
/// domains share one. Domains without visits in a layer are left out there.
pub fn mutual_information(routing: &BTreeMap<String, RoutingSummary>) -> Vec<f64> {
    layers(routing)
        .map(|loads| {
            let given: Vec<Vec<f64>> = loads.filter_map(LayerLoad::distribution).collect();
            let pool = given.iter().map(Vec::len).max().unwrap_or(0);
            let n = given.len() as f64;
            let at = |row: &[f64], expert: usize| row.get(expert).copied().unwrap_or(0.0);
            (0..pool)
                .map(|expert| {
                    let mean = given.iter().map(|row| at(row, expert)).sum::<f64>() / n;
                    let shares = given.iter().map(|row| at(row, expert));
                    shares
                        .filter(|&p| p > 0.0)
                        .map(|p| p * (p / mean).ln() / n)
                        .sum::<f64>()
                })
                .sum::<f64>()
                .max(0.0)
        })
        .collect()
}

/// The routed experts of each layer that no domain sends more than the share `threshold` of its tokens to.
pub fn dead_experts(routing: &BTreeMap<String, RoutingSummary>, threshold: f64) -> Vec<Vec<usize>> {
    layers(routing)
        .map(|loads| {
            let loads: Vec<&LayerLoad> = loads.collect();
            let routed = loads.iter().map(|load| load.routed).max().unwrap_or(0);
            let used = |expert: usize| {
                let shares = loads.iter().filter_map(|load| load.load.get(expert));
                shares.into_iter().any(|&share| share > threshold)
            };
            // A log may claim any number of experts; only those with a load are told.
            let listed = loads.iter().map(|load| load.load.len()).max().unwrap_or(0);
            (0..routed.min(listed)).filter(|&e| !used(e)).collect()
        })
        .collect()
}

/// For each layer, its load in the domains that have it.
fn layers<'a>(
    routing: &'a BTreeMap<String, RoutingSummary>,
) -> impl Iterator<Item = impl Iterator<Item = &'a LayerLoad> + 'a> + 'a {
    let summaries = routing.values();
    let depth = summaries.map(|summary| summary.layers.len()).max();
    (0..depth.unwrap_or(0)).map(move |layer| {
        routing
            .values()
            .filter_map(move |summary| summary.layers.get(layer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(load: &[f64], routed: usize) -> RoutingSummary {
        RoutingSummary {
            layers: vec![LayerLoad {
                load: load.to_vec(),
                routed,
                experts_per_token: vec![0.25, 0.25, 0.5],
                entropy: 0.5,
            }],
        }
    }

    fn routing(loads: &[&[f64]]) -> BTreeMap<String, RoutingSummary> {
        let named = loads.iter().enumerate();
        named
            .map(|(index, load)| (index.to_string(), summary(load, 2)))
            .collect()
    }

    #[test]
    fn information_is_zero_for_equal_use_and_ln_n_for_experts_of_ones_own() {
        let equal = routing(&[&[0.4, 0.8, 0.0], &[0.1, 0.2, 0.0]]);
        assert!(mutual_information(&equal)[0].abs() < 1e-12);
        let own = routing(&[&[0.9, 0.0, 0.0], &[0.0, 1.2, 0.0], &[0.0, 0.0, 0.1]]);
        assert!((mutual_information(&own)[0] - 3f64.ln()).abs() < 1e-12);
        // p(e|d) = (1, 0) and (1/2, 1/2), p(e) = (3/4, 1/4).
        let between = routing(&[&[1.0, 0.0], &[0.5, 0.5]]);
        let expected = 0.5 * ((4f64 / 3.0).ln() + 0.5 * (2f64 / 3.0).ln() + 0.5 * 2f64.ln());
        assert!((mutual_information(&between)[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn domains_without_visits_and_logs_without_domains_say_nothing() {
        assert!(mutual_information(&BTreeMap::new()).is_empty());
        let silent = routing(&[&[0.0, 0.0], &[f64::NAN, 1.0], &[1.0, 0.0]]);
        assert_eq!(mutual_information(&silent), [0.0]);
        assert_eq!(mutual_information(&routing(&[&[], &[]])), [0.0]);
    }

    #[test]
    fn an_expert_is_dead_where_no_domain_uses_it() {
        let loads = routing(&[&[0.0, 0.001, 0.0], &[0.5, 0.001, 0.0]]);
        assert_eq!(dead_experts(&loads, 0.001), [vec![1]]);
        assert_eq!(dead_experts(&loads, 0.0), [vec![]; 1] as [Vec<usize>; 1]);
        let huge = BTreeMap::from([("x".to_string(), summary(&[0.0], usize::MAX))]);
        assert_eq!(dead_experts(&huge, 0.0), [vec![0]]);
    }

    #[test]
    fn means_follow_from_the_shares() {
        let layer = &summary(&[0.5, 0.25, 0.25], 2).layers[0];
        assert_eq!(layer.mean_experts_per_token(), 1.25);
        assert_eq!(layer.mean_active_experts(), 0.75);
        assert_eq!(layer.null_share(), 0.25);
        assert_eq!(LayerLoad::default().null_share(), 0.0);
    }
}
