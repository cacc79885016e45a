//! Dynamic-Capacity Mixture of Experts for Burn: Top-P routing over routed, shared and null experts.
//!
//! Start at [`DynamicCapacityMoe`]. The layer of UniMoE-Audio (arXiv:2510.13344), as the paper has it
//! and as the released code has it, without anything about audio.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use moe_router::{DynamicCapacityMoeConfig, RoutingContext};
//!
//! let device = Device::flex();
//! let moe = DynamicCapacityMoeConfig::new(16, 4, 24)
//!     .with_n_null(1)
//!     .init(&device);
//! let output = moe.forward(Tensor::ones([2, 3, 16], &device), RoutingContext::new());
//! assert_eq!(output.hidden.dims(), [2, 3, 16]);
//! assert_eq!(output.routing.experts_per_token().len(), 6);
//! ```
//!
//! The decision which expert a token visits is made on the host from one read of the router's logits
//! per layer; weights and outputs are tensors on the device and carry gradients.
//!
//! # Departures from the released code
//!
//! [`Gating::SparseMixer`] with [`Weighting::Released`] reproduces the published layer, values and
//! gradients, except that
//!
//! - a token takes at most the whole pool: there, rounding near `p = 1` can ask for one expert more
//!   than there are, and the token then gets none;
//! - a token that capacity leaves with nothing gets zeros, not NaN;
//! - weights are zero where the mask excludes an expert (there they may stay, but are never used);
//! - the experts never see the input jitter (there they do in f32, not in bf16);
//! - the gate always computes in f32 (there in evaluation in the model's dtype);
//! - noise is drawn per token, not per group of tokens with the same number of experts.

mod balance;
mod capacity;
mod context;
mod dispatch;
mod error;
mod expert;
mod gate;
mod mask;
mod moe;
mod router;
mod routing;
mod telemetry;
mod upcycle;
mod weighting;

pub use balance::{LinearAnnealing, LoadBalance, RouterEntropy, RouterZ, RoutingLoss};
pub use capacity::{Capacity, DropPolicy};
pub use context::{RoutingContext, RoutingNoise};
pub use dispatch::Dispatch;
pub use error::{MoeConfigError, UpcycleError};
pub use expert::{Expert, SwiGlu, SwiGluConfig};
pub use gate::Gate;
pub use mask::ExpertMask;
pub use moe::{DynamicCapacityMoe, DynamicCapacityMoeConfig, MoeOutput};
pub use router::{Choice, ExpertCount, Gating, PoolLogits, Router, SparseMixer, TopK, TopP};
pub use routing::Routing;
pub use telemetry::{LayerStats, RoutingStats};
pub use upcycle::{average, scale_swiglu, split_swiglu};
pub use weighting::Weighting;

/// Runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
