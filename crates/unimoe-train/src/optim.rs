//! Optimisation of a model: AdamW, schedule, clipping, freezing, adapters, averages.
//!
//! [`Optimized`] holds a model and all that its optimisation needs. Its values are float32 whatever the type
//! that the model computes in.

mod adapter;
mod config;
mod error;
mod optimized;
mod schedule;
mod select;
mod state;
mod variable;
mod walk;

pub use config::{LoraConfig, OptimizerConfig, Precision};
pub use error::OptimError;
pub use optimized::{Optimized, StepReport, autodiff_device};
pub use schedule::Schedule;
