//! Dynamic-Capacity Mixture of Experts for Burn: Top-P routing over routed, shared and null experts.
