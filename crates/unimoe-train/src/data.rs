//! From manifests to batches.
