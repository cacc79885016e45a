//! Preprocessing against the golden cases.
