//! Writes anew what the tests of the built-in model compare with, after another model took its place:
//! `cargo run --release -p embedded-model --example fixtures`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;

use burn::tensor::Device;
use common::{Expected, codes, fixture, round_trip};
use unimoe_model::Batching;

/// Seeds that are tried.
const SEEDS: u64 = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = embedded_model::pipeline(&Device::flex())?;
    let (seed, [speech, music]) = (0..SEEDS)
        .map(|seed| (seed, codes(&pipeline, Batching::Isolated, seed)))
        // Sums in another order must not change a code, or another processor would.
        .find(|(seed, found)| codes(&pipeline, Batching::Joint, *seed) == *found)
        .ok_or("with every seed a code hangs on the rounding of a sum")?;
    let [round_trip_mel_distance, silence] = round_trip(&pipeline);
    println!("mel distance {round_trip_mel_distance:.4}, from silence {silence:.4}");
    let expected = Expected {
        seed,
        speech,
        music,
        round_trip_mel_distance,
    };
    let text = serde_json::to_string(&expected)? + "\n";
    fs::write(fixture("expected.json"), text)?;
    Ok(())
}
