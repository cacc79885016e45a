//! Optimisation of a model: AdamW, schedule, clipping, freezing, adapters, averages.
