//! Writes anew what the tests of the built-in model compare with, after another model took its place:
//! `cargo run --release -p embedded-model --example fixtures`.
#![allow(clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;

use burn::tensor::Device;
use common::{Expected, codes, fixture, round_trip};
use unimoe_model::Batching;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pipeline = embedded_model::pipeline(&Device::flex())?;
    let [speech, music] = codes(&pipeline, Batching::Isolated);
    // Sums in another order must not change a code, or another processor would.
    if codes(&pipeline, Batching::Joint) != [speech.clone(), music.clone()] {
        return Err("a code hangs on the rounding of a sum: take another text or seed".into());
    }
    let [round_trip_mel_distance, silence] = round_trip(&pipeline);
    println!("mel distance {round_trip_mel_distance:.4}, from silence {silence:.4}");
    let expected = Expected {
        speech,
        music,
        round_trip_mel_distance,
    };
    let text = serde_json::to_string(&expected)? + "\n";
    fs::write(fixture("expected.json"), text)?;
    Ok(())
}
