//! The way of the data: manifests, codes on disk, order, batches, governance.
#![allow(clippy::unwrap_used)]

#[path = "data/cache.rs"]
mod cache;
#[path = "data/check.rs"]
mod check;
#[path = "data/clips.rs"]
mod clips;
#[path = "data/governance.rs"]
mod governance;
#[path = "data/loader.rs"]
mod loader;
#[path = "data/manifest.rs"]
mod manifest;
#[path = "data/order.rs"]
mod order;
#[path = "data/studio.rs"]
mod studio;
