//! Reports with plots, and what they are drawn from: routing statistics and gradient conflict.

mod conflict;
mod error;
mod routing;
mod run;
mod specialization;

pub use conflict::{GradientConflict, gradient_conflict, shared_parameters};
pub use error::ReportError;
pub use routing::DomainRouting;
pub use run::Run;
pub use specialization::{dead_experts, mutual_information};
