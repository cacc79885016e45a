//! Training of the codec.
