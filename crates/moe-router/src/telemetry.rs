//! Routing statistics over batches and layers.

use serde::{Deserialize, Serialize};

use crate::routing::Routing;

/// Sums of routing decisions, layer by layer; padding doesn't count.
///
/// Accumulates on the host, can be merged across processes and serialised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RoutingStats {
    /// One entry per layer, first to last.
    pub layers: Vec<LayerStats>,
}

/// Sums of one layer's routing decisions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerStats {
    /// Number of real tokens.
    pub tokens: u64,
    /// Number of routed experts; the pool's other places are null experts.
    pub n_routed: usize,
    /// Tokens that visited each expert of the pool, after capacity.
    pub load: Vec<u64>,
    /// Visits that capacity dropped from each expert of the pool.
    pub drops: Vec<u64>,
    /// Number of tokens that asked for `i` experts, null experts included, at index `i`.
    pub experts_per_token: Vec<u64>,
    /// Sum of the tokens' entropies over the pool, in nats; entropies without a value are left out.
    pub entropy_sum: f64,
}

impl RoutingStats {
    /// Adds the decisions of one pass, one per layer.
    pub fn record(&mut self, routings: &[Routing]) {
        for (layer, routing) in routings.iter().enumerate() {
            self.layer(layer).record(routing);
        }
    }

    /// Adds what another process or batch has gathered.
    pub fn merge(&mut self, other: &Self) {
        for (layer, stats) in other.layers.iter().enumerate() {
            self.layer(layer).merge(stats);
        }
    }

    fn layer(&mut self, layer: usize) -> &mut LayerStats {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, LayerStats::default);
        }
        &mut self.layers[layer]
    }
}

impl LayerStats {
    /// Adds one decision.
    pub fn record(&mut self, routing: &Routing) {
        self.n_routed = self.n_routed.max(routing.n_routed());
        add(&mut self.load, routing.load().into_iter().map(|n| n as u64));
        add(
            &mut self.drops,
            routing.drops().into_iter().map(|n| n as u64),
        );
        let counts = routing.experts_per_token();
        let entropy = routing.entropy();
        for token in (0..routing.tokens()).filter(|&token| routing.is_real(token)) {
            self.tokens += 1;
            let count = counts[token];
            if self.experts_per_token.len() <= count {
                self.experts_per_token.resize(count + 1, 0);
            }
            self.experts_per_token[count] += 1;
            if entropy[token].is_finite() {
                self.entropy_sum += entropy[token];
            }
        }
    }

    /// Adds the sums of another.
    pub fn merge(&mut self, other: &Self) {
        self.tokens += other.tokens;
        self.n_routed = self.n_routed.max(other.n_routed);
        add(&mut self.load, other.load.iter().copied());
        add(&mut self.drops, other.drops.iter().copied());
        add(
            &mut self.experts_per_token,
            other.experts_per_token.iter().copied(),
        );
        self.entropy_sum += other.entropy_sum;
    }

    /// Mean number of experts that a token asked for, null experts included.
    pub fn mean_experts_per_token(&self) -> f64 {
        let visits = self.experts_per_token.iter().zip(0u64..);
        let visits: u64 = visits.map(|(tokens, count)| tokens * count).sum();
        self.per_token(visits as f64)
    }

    /// Mean number of routed experts that computed a token.
    pub fn mean_active_experts(&self) -> f64 {
        let routed = self.load.iter().take(self.n_routed);
        self.per_token(routed.sum::<u64>() as f64)
    }

    /// Mean entropy of a token's probabilities over the pool, in nats.
    pub fn mean_entropy(&self) -> f64 {
        self.per_token(self.entropy_sum)
    }

    /// Each expert's share of all visits in the pool.
    pub fn load_shares(&self) -> Vec<f64> {
        let total = self.load.iter().sum::<u64>().max(1) as f64;
        self.load.iter().map(|&load| load as f64 / total).collect()
    }

    /// Share of the visits in the pool that went to null experts.
    pub fn null_share(&self) -> f64 {
        self.load_shares().iter().skip(self.n_routed).sum()
    }

    fn per_token(&self, sum: f64) -> f64 {
        sum / self.tokens.max(1) as f64
    }
}

fn add(sums: &mut Vec<u64>, values: impl ExactSizeIterator<Item = u64>) {
    if sums.len() < values.len() {
        sums.resize(values.len(), 0);
    }
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DynamicCapacityMoeConfig, Gating, RoutingContext};
    use burn::{
        module::Param,
        tensor::{Device, Tensor},
    };

    /// One routed and one null expert; the gate's logits are the tokens themselves.
    fn routing(tokens: [[f32; 2]; 3], real: [bool; 3]) -> Routing {
        let device = Device::flex();
        let mut moe = DynamicCapacityMoeConfig::new(2, 1, 4)
            .with_n_null(1)
            .with_gating(Gating::TopK { k: 1 })
            .init(&device);
        moe.gate.weight = Param::from_tensor(Tensor::eye(2, &device));
        let mask = Tensor::from_data([real], &device);
        let x = Tensor::<2>::from_data(tokens, &device).unsqueeze::<3>();
        let context = RoutingContext::new().with_token_mask(mask);
        moe.forward(x, context).routing
    }

    #[test]
    fn sums_match_the_decision_by_hand() {
        let tokens = [[1.0, 0.0], [0.0, 9.0], [0.0, 1.0]];
        let mut stats = RoutingStats::default();
        stats.record(&[routing(tokens, [true, true, false])]);
        let layer = &stats.layers[0];
        assert_eq!((layer.tokens, &layer.load[..]), (2, &[1, 1][..]));
        assert_eq!(layer.experts_per_token, [0, 2]);
        assert_eq!(layer.mean_experts_per_token(), 1.0);
        assert_eq!(layer.mean_active_experts(), 0.5);
        assert_eq!(layer.null_share(), 0.5);
        assert!(layer.mean_entropy() > 0.0 && layer.mean_entropy() < 2f64.ln());
    }

    #[test]
    fn merged_halves_equal_the_whole_also_through_serde() {
        let tokens = [[1.0, 0.0], [0.0, 9.0], [0.0, 1.0]];
        let one = routing(tokens, [true; 3]);
        let two = routing(tokens, [false, true, true]);
        let mut whole = RoutingStats::default();
        whole.record(std::slice::from_ref(&one));
        whole.record(std::slice::from_ref(&two));
        let mut first = RoutingStats::default();
        first.record(&[one]);
        let mut second = RoutingStats::default();
        second.record(&[two]);
        let text = serde_json::to_string(&second).expect("serialisable");
        first.merge(&serde_json::from_str(&text).expect("its own text"));
        assert_eq!(first, whole);
    }

    #[test]
    fn without_tokens_the_means_are_zero() {
        let layer = LayerStats::default();
        assert_eq!(layer.mean_experts_per_token(), 0.0);
        assert_eq!(layer.null_share(), 0.0);
    }
}
