//! One mixture of width 2048 with 8 experts of 2752: `moe_topk_512`, `moe_topk_2`, `moe_padded_512`.
#![allow(missing_docs)]

use benches::{criterion, device, noise, wait};
use burn::{module::Initializer, tensor::Device};
use criterion::{Criterion, criterion_group, criterion_main};
use moe_router::{DynamicCapacityMoe, DynamicCapacityMoeConfig, Gating, RoutingContext};

const D_MODEL: usize = 2048;

/// Weights as the other side draws them, so that Top-P finds the same spread of probabilities.
fn layer(gating: Gating, n_null: usize, device: &Device) -> DynamicCapacityMoe {
    DynamicCapacityMoeConfig::new(D_MODEL, 8, 2752)
        .with_n_null(n_null)
        .with_gating(gating)
        .with_initializer(Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        })
        .init(device)
}

fn moe(criterion: &mut Criterion) {
    let device = device();
    let mut case = |name: &str, layer: &DynamicCapacityMoe, tokens: usize| {
        let x = noise([1, tokens, D_MODEL], 1.0, &device);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| wait(layer.forward(x.clone(), RoutingContext::new()).hidden));
        });
    };
    let top_k = layer(Gating::TopK { k: 4 }, 0, &device);
    case("moe_topk_512", &top_k, 512);
    case("moe_topk_2", &top_k, 2);
    drop(top_k);
    // Ours groups the tokens by expert; what it is measured against pads every expert to the busiest one.
    let top_p = layer(Gating::TopP { p: 0.7 }, 1, &device);
    case("moe_padded_512", &top_p, 512);
}

criterion_group! { name = cases; config = criterion(); targets = moe }
criterion_main!(cases);
