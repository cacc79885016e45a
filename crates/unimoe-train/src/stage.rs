//! The stages of the curriculum.
