//! Runs the layer on random tokens and prints what it decided.
//!
//! `cargo run -p moe-router --example quickstart`

use burn::tensor::{Device, Distribution, Tensor};
use moe_router::{DynamicCapacityMoeConfig, Gating, RoutingContext, RoutingStats};

fn main() {
    let device = Device::flex();
    let moe = DynamicCapacityMoeConfig::new(64, 8, 128)
        .with_n_null(1)
        .with_n_shared(2)
        .with_d_shared(64)
        .with_gating(Gating::TopP { p: 0.5 })
        .init(&device);

    let x = Tensor::random([2, 10, 64], Distribution::Normal(0.0, 1.0), &device);
    // The last three tokens of the second row are padding.
    let real = [
        [true; 10],
        [
            true, true, true, true, true, true, true, false, false, false,
        ],
    ];
    let context = RoutingContext::new().with_token_mask(Tensor::from_data(real, &device));
    let output = moe.forward(x, context);

    println!("output {:?}", output.hidden.dims());
    println!("experts per token {:?}", output.routing.experts_per_token());
    println!("tokens per expert {:?}", output.routing.load());
    println!(
        "load balancing loss {}",
        output.routing.balance_loss(None).into_scalar::<f32>()
    );

    let mut stats = RoutingStats::default();
    stats.record(&[output.routing]);
    let layer = &stats.layers[0];
    println!(
        "{} tokens, {:.2} experts each, {:.0} % of the visits to null experts",
        layer.tokens,
        layer.mean_experts_per_token(),
        100.0 * layer.null_share()
    );
}
