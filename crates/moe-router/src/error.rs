//! What can be wrong with a configuration or an upcycling request.

/// A [`DynamicCapacityMoeConfig`](crate::DynamicCapacityMoeConfig) that describes no usable layer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MoeConfigError {
    /// A size that must be positive is zero.
    #[error("{field} must be positive, got 0")]
    Zero {
        /// Name of the field.
        field: &'static str,
    },
    /// A size beyond what the layer accepts, so that a wrong file can't ask for endless memory.
    #[error("{field} must be at most {limit}, got {found}")]
    TooLarge {
        /// Name of the field.
        field: &'static str,
        /// Largest accepted value.
        limit: usize,
        /// What the configuration says.
        found: usize,
    },
    /// A number outside its range.
    #[error("{field} must be in {expected}, got {found}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The range in interval notation.
        expected: &'static str,
        /// What the configuration says.
        found: f64,
    },
    /// Top-K with no expert, or with more than there are.
    #[error("k must be in 1..={pool} (routed and null experts), got {k}")]
    TopK {
        /// What the configuration says.
        k: usize,
        /// Number of routed and null experts.
        pool: usize,
    },
    /// A module list whose length differs from the configuration.
    #[error("expected {expected} {what} experts as configured, got {found}")]
    ExpertCount {
        /// Which experts.
        what: &'static str,
        /// Number in the configuration.
        expected: usize,
        /// Number of modules.
        found: usize,
    },
}

/// Modules that can't be split or averaged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UpcycleError {
    /// The inner width isn't a multiple of the number of parts.
    #[error("can't split an inner width of {d_hidden} into {parts} equal experts")]
    NotDivisible {
        /// Inner width of the dense block.
        d_hidden: usize,
        /// Number of parts asked for.
        parts: usize,
    },
    /// There is nothing to average.
    #[error("can't average an empty list of modules")]
    Empty,
    /// Two modules differ in their parameters.
    #[error("module {module}: parameter `{path}` expected {expected}, found {found}")]
    Mismatch {
        /// Place of the module in the list.
        module: usize,
        /// Path of the parameter.
        path: String,
        /// Kind and shape in the first module.
        expected: String,
        /// Kind and shape in this module.
        found: String,
    },
}
