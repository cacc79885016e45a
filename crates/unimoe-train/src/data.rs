//! From manifests of clips to batches.
//!
//! ```text
//! Manifest -> (check, filters, duplicates, balance) -> ClipSet -> Loader -> batches
//!                                                       codec, cache ^
//! ```

mod balance;
mod cache;
mod check;
mod clips;
mod duplicates;
mod encode;
mod error;
mod field;
mod filter;
mod fingerprint;
mod governance;
mod hash;
mod loader;
mod manifest;
mod measure;
mod memo;
mod order;
mod parallel;
mod positions;
mod random;
mod record;
mod sounds;
mod text;
mod vision;
mod voices;

pub use balance::Balance;
pub use cache::{CodeCache, Key};
pub use check::{CheckOptions, CheckOutcome, check_manifest};
pub use clips::{Clip, ClipSet, ClipSetOptions, PrepareProgress};
pub use duplicates::DuplicateRules;
pub use encode::CodecEncoder;
pub use error::{DataError, Defect, Defects, Fault};
pub use filter::{Filter, Limits};
pub use fingerprint::{Comparison, Fingerprint};
pub use governance::{
    DomainReport, Dropped, Governance, GovernanceOptions, GovernanceReport, Governed,
};
pub use hash::ContentHash;
pub use loader::{Dataset, LoadedBatch, Loader};
pub use manifest::{Manifest, Policy};
pub use measure::AudioMeasures;
pub use order::{OrderConfig, Position, Sampling};
pub use positions::{ModelLimits, RecordLengths};
pub use record::{Origin, Record, Reference, Task};
pub use text::{normalized_text, spoken_characters};
pub use vision::VisionReader;
