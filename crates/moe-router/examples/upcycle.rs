//! Turns a dense feed-forward block into a mixture of experts that starts from its weights.
//!
//! `cargo run -p moe-router --example upcycle`

use burn::tensor::{Device, Distribution, Tensor};
use moe_router::{DynamicCapacityMoeConfig, Gating, RoutingContext, SwiGluConfig, split_swiglu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::flex();
    let dense = SwiGluConfig::new(32, 96).init(&device);

    let mut moe = DynamicCapacityMoeConfig::new(32, 4, 24)
        .with_n_null(1)
        .with_gating(Gating::TopP { p: 1.0 })
        .init(&device);
    moe.routed = split_swiglu(&dense, 4)?;

    let x = Tensor::<2>::random([6, 32], Distribution::Normal(0.0, 1.0), &device);
    let whole = dense.forward(x.clone());
    let parts = moe.routed.iter().map(|expert| expert.forward(x.clone()));
    let sum = parts.reduce(|sum, part| sum + part).ok_or("no expert")?;
    println!(
        "largest difference {}",
        (whole - sum).abs().max().into_scalar::<f32>()
    );

    let output = moe.forward(x.unsqueeze(), RoutingContext::new());
    println!("tokens per expert {:?}", output.routing.load());
    Ok(())
}
