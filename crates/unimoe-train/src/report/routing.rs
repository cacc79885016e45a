//! Where the tokens of each domain went, gathered over batches.
//!
//! Axes: `B` rows of a batch, `S` positions, `T = B * S` tokens, `E` experts of the pool (routed, then null).

use std::collections::BTreeMap;

use moe_router::{ExpertMask, LayerStats, Routing, RoutingStats};
use serde::{Deserialize, Serialize};

use crate::event::{LayerLoad, RoutingSummary};

/// Routing statistics of each domain; padding doesn't count.
///
/// Sums on the host: what several batches or processes gathered can be merged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DomainRouting {
    /// The sums of each domain.
    pub domains: BTreeMap<String, RoutingStats>,
}

impl DomainRouting {
    /// Adds the decisions of one pass over rows of these domains, one decision per layer.
    ///
    /// # Shapes
    ///
    /// - routings: each over `T = B * S` tokens, row by row
    /// - domains: `B`
    ///
    /// # Panics
    ///
    /// Panics if the tokens of a layer aren't a multiple of the rows.
    pub fn record(&mut self, routings: &[Routing], domains: &[impl AsRef<str>]) {
        for (index, routing) in routings.iter().enumerate() {
            let (tokens, rows) = (routing.tokens(), domains.len());
            assert!(
                rows > 0 && tokens.is_multiple_of(rows),
                "layer {index} routed {tokens} tokens, which {rows} rows can't have"
            );
            let length = tokens / rows;
            let parts = Decision::new(routing);
            for (row, domain) in domains.iter().enumerate() {
                let layer = self.layer(domain.as_ref(), index);
                layer.n_routed = layer.n_routed.max(routing.n_routed());
                for token in row * length..(row + 1) * length {
                    parts.add(token, layer);
                }
            }
        }
    }

    /// Adds what was gathered elsewhere.
    pub fn merge(&mut self, other: &Self) {
        for (domain, stats) in &other.domains {
            self.domains.entry(domain.clone()).or_default().merge(stats);
        }
    }

    /// The shares and means of each domain. Domains without real tokens are left out.
    pub fn summaries(&self) -> BTreeMap<String, RoutingSummary> {
        let seen = |stats: &RoutingStats| stats.layers.iter().any(|layer| layer.tokens > 0);
        self.domains
            .iter()
            .filter(|(_, stats)| seen(stats))
            .map(|(domain, stats)| (domain.clone(), RoutingSummary::from(stats)))
            .collect()
    }

    fn layer(&mut self, domain: &str, index: usize) -> &mut LayerStats {
        let layers = &mut self.domains.entry(domain.to_string()).or_default().layers;
        if layers.len() <= index {
            layers.resize_with(index + 1, LayerStats::default);
        }
        &mut layers[index]
    }
}

/// One layer's decision, with what is computed for all tokens at once.
struct Decision<'a> {
    routing: &'a Routing,
    counts: Vec<usize>,
    entropy: Vec<f64>,
    requested: ExpertMask,
}

impl<'a> Decision<'a> {
    fn new(routing: &'a Routing) -> Self {
        Self {
            routing,
            counts: routing.experts_per_token(),
            entropy: routing.entropy(),
            requested: routing.requested(),
        }
    }

    /// Adds one token to a layer's sums, if it is no padding.
    fn add(&self, token: usize, layer: &mut LayerStats) {
        if !self.routing.is_real(token) {
            return;
        }
        layer.tokens += 1;
        let pool = self.routing.pool();
        let visits = &self.routing.visits.row(token)[..pool];
        layer.load.resize(layer.load.len().max(pool), 0);
        layer.drops.resize(layer.drops.len().max(pool), 0);
        for (expert, (&visits, &asked)) in visits.iter().zip(self.requested.row(token)).enumerate()
        {
            layer.load[expert] += u64::from(visits);
            layer.drops[expert] += u64::from(asked && !visits);
        }
        let count = self.counts[token];
        let histogram = layer.experts_per_token.len().max(count + 1);
        layer.experts_per_token.resize(histogram, 0);
        layer.experts_per_token[count] += 1;
        if self.entropy[token].is_finite() {
            layer.entropy_sum += self.entropy[token];
        }
    }
}

impl From<&RoutingStats> for RoutingSummary {
    fn from(stats: &RoutingStats) -> Self {
        Self {
            layers: stats.layers.iter().map(LayerLoad::from).collect(),
        }
    }
}

impl From<&LayerStats> for LayerLoad {
    fn from(stats: &LayerStats) -> Self {
        let tokens = stats.tokens.max(1) as f64;
        let shares = |counts: &[u64]| counts.iter().map(|&n| n as f64 / tokens).collect();
        Self {
            load: shares(&stats.load),
            routed: stats.n_routed,
            experts_per_token: shares(&stats.experts_per_token),
            entropy: stats.mean_entropy(),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Param,
        tensor::{Device, Tensor},
    };
    use moe_router::{DynamicCapacityMoeConfig, Gating, RoutingContext};

    use super::*;

    /// Two routed experts and a null expert; the gate's logits are the tokens themselves.
    fn routing(rows: [[[f32; 3]; 2]; 2], real: [[bool; 2]; 2]) -> Routing {
        let device = Device::flex();
        let mut moe = DynamicCapacityMoeConfig::new(3, 2, 4)
            .with_n_null(1)
            .with_gating(Gating::TopP { p: 0.7 })
            .init(&device);
        moe.gate.weight = Param::from_tensor(Tensor::eye(3, &device));
        let mask = Tensor::from_data(real, &device);
        let x = Tensor::<3>::from_data(rows, &device);
        moe.forward(x, RoutingContext::new().with_token_mask(mask))
            .routing
    }

    const ROWS: [[[f32; 3]; 2]; 2] = [
        [[9.0, 0.0, 0.0], [9.0, 9.0, 0.0]],
        [[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]],
    ];

    #[test]
    fn each_row_counts_for_its_domain_and_padding_for_none() {
        let mut gathered = DomainRouting::default();
        gathered.record(
            &[routing(ROWS, [[true, true], [true, false]])],
            &["speech", "music"],
        );
        let summaries = gathered.summaries();
        let speech = &summaries["speech"].layers[0];
        assert_eq!(speech.load, [1.0, 0.5, 0.0]);
        assert_eq!(speech.experts_per_token, [0.0, 0.5, 0.5]);
        assert_eq!(speech.routed, 2);
        let music = &summaries["music"].layers[0];
        assert_eq!(music.load, [0.0, 0.0, 1.0]);
        assert_eq!(music.experts_per_token, [0.0, 1.0]);
    }

    #[test]
    fn one_domain_alone_has_the_sums_of_routing_stats() {
        let decision = routing(ROWS, [[true, true], [true, false]]);
        let mut gathered = DomainRouting::default();
        gathered.record(std::slice::from_ref(&decision), &["all", "all"]);
        let mut stats = RoutingStats::default();
        stats.record(&[decision]);
        assert_eq!(gathered.domains["all"], stats);
    }

    #[test]
    fn merged_parts_equal_the_whole_and_domains_of_padding_are_left_out() {
        let one = routing(ROWS, [[true, true], [true, true]]);
        let two = routing(ROWS, [[true, false], [false, false]]);
        let mut whole = DomainRouting::default();
        whole.record(std::slice::from_ref(&one), &["a", "b"]);
        whole.record(std::slice::from_ref(&two), &["b", "c"]);
        let mut first = DomainRouting::default();
        first.record(&[one], &["a", "b"]);
        let mut second = DomainRouting::default();
        second.record(&[two], &["b", "c"]);
        first.merge(&second);
        assert_eq!(first, whole);
        let names: Vec<_> = whole.summaries().into_keys().collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    #[should_panic(expected = "4 tokens, which 3 rows")]
    fn rows_that_do_not_divide_the_tokens_are_a_mistake() {
        let decision = routing(ROWS, [[true; 2]; 2]);
        DomainRouting::default().record(&[decision], &["a", "b", "c"]);
    }
}
