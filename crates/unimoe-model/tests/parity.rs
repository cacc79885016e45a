//! Parity with the published code, case by case.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "parity/host.rs"]
mod host;

#[path = "parity/model.rs"]
mod model;

#[path = "parity/vision.rs"]
mod vision;
