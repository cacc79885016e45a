//! Golden cases, tolerances and devices for the tests of the workspace (unpublished).
//!
//! A golden case is `NAME.json` (settings, notes, and the meaning of each tensor) beside
//! `NAME.safetensors`. [`cases`] walks a group of them below the crate's `tests/fixtures`, or below
//! the folder that the environment variable `UNIMOE_GOLDENS` names.
#![allow(clippy::missing_panics_doc, clippy::panic)]

mod case;
mod close;
mod device;

pub use case::{Case, cases, golden_root};
pub use close::{Tolerance, assert_close, assert_equal};
pub use device::devices;
