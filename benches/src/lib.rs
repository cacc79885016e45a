//! Criterion benchmarks and the comparison with PyTorch (unpublished).
