//! From manifests of clips to batches.
//!
//! ```text
//! Manifest -> (check, filters, duplicates, balance) -> ClipSet -> Loader -> batches
//!                                                       codec, cache ^
//! ```

mod cache;
mod clips;
mod encode;
mod error;
mod field;
mod hash;
mod loader;
mod manifest;
mod order;
mod parallel;
mod random;
mod record;
mod vision;

pub use cache::{CodeCache, Key};
pub use clips::{Clip, ClipSet, ClipSetOptions, PrepareProgress};
pub use encode::CodecEncoder;
pub use error::{DataError, Defect, Defects, Fault};
pub use hash::ContentHash;
pub use loader::{Dataset, LoadedBatch, Loader};
pub use manifest::{Manifest, Policy};
pub use order::{OrderConfig, Position, Sampling};
pub use record::{Origin, Record, Reference, Task};
pub use vision::VisionReader;
