//! Parity with the published code, case by case.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "parity/metrics.rs"]
mod metrics;

#[path = "parity/optim.rs"]
mod optim;

#[path = "parity/objective.rs"]
mod objective;
