//! Reports with plots.
