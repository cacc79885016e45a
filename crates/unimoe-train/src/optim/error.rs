//! What can go wrong in optimisation.

use thiserror::Error;

use crate::checkpoint::CheckpointError;

/// Why a model can't be optimised, or a step not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OptimError {
    /// A setting is impossible.
    #[error("{setting} should be {expected}, found {found}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A pattern is no regular expression.
    #[error("the pattern `{pattern}` in {setting} can't be understood: {source}")]
    Pattern {
        /// The setting that holds it.
        setting: &'static str,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// A pattern matches no parameter.
    #[error(
        "the pattern `{pattern}` in {setting} matches no {kind} of the model; the first is called `{example}`"
    )]
    NoMatch {
        /// The setting that holds it.
        setting: &'static str,
        /// The pattern.
        pattern: String,
        /// What it should match: `parameter` or `matrix`.
        kind: &'static str,
        /// Path of the model's first parameter, to show how they are called.
        example: String,
    },
    /// The settings leave nothing to train.
    #[error("none of the model's {parameters} parameters is to be trained: all are frozen")]
    NothingTrained {
        /// Number of parameters, as tensors.
        parameters: usize,
    },
    /// A parameter is to be trained and to be adapted.
    #[error("`{parameter}` matches both `trained` and the targets of LoRA; only one is possible")]
    Overlap {
        /// Its path.
        parameter: String,
    },
    /// An adapter would be larger than what it adapts.
    #[error(
        "the rank of LoRA should be at most {limit} for `{parameter}` {shape:?}, found {found}"
    )]
    Rank {
        /// Path of the adapted parameter.
        parameter: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Largest possible rank.
        limit: usize,
        /// The rank.
        found: usize,
    },
    /// The device can't compute in the wanted type.
    #[error("{device} can't compute in {dtype}; use the precision f32")]
    Precision {
        /// The device.
        device: String,
        /// The type.
        dtype: String,
    },
    /// No loss reached a trained parameter since the last step.
    #[error("no gradient reached any of the {trained} trained parameters since the last step")]
    NoGradient {
        /// Number of trained parameters, as tensors.
        trained: usize,
    },
    /// A gradient holds a NaN or an infinity, or its norm is beyond float32.
    #[error("step {step}: the gradient of `{parameter}` has the norm {norm}; nothing was changed")]
    NotFinite {
        /// Number of the step that was not done, from 1.
        step: u64,
        /// Path of the first such parameter.
        parameter: String,
        /// The norm.
        norm: f64,
    },
    /// A parameter is no number any more: the learning rate is too high.
    #[error(
        "after step {step} `{parameter}` should be finite, found NaN or an infinity; it is not saved"
    )]
    ValueNotFinite {
        /// Steps done.
        step: u64,
        /// Path of the first such parameter.
        parameter: String,
    },
    /// The checkpoint is of a model with other trained parameters.
    #[error("the checkpoint holds no state of `{parameter}`, which is trained here")]
    StateMissing {
        /// The first parameter without state.
        parameter: String,
    },
    /// The checkpoint is of a model with other trained parameters.
    #[error("the checkpoint holds state of `{parameter}`, which is not trained here")]
    StateExtra {
        /// The first superfluous parameter.
        parameter: String,
    },
    /// The checkpoint is of a model of other sizes.
    #[error("`{parameter}` is {found:?} in the checkpoint, expected {expected:?}")]
    StateShape {
        /// The parameter.
        parameter: String,
        /// Shape here.
        expected: Vec<usize>,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
    /// The parameters that are not trained are others than in the checkpoint's run.
    #[error(
        "the frozen parameters have the checksum {found:08x}, in the checkpoint's run {expected:08x}: \
         another model was loaded"
    )]
    Frozen {
        /// Checksum in the checkpoint.
        expected: u32,
        /// Checksum here.
        found: u32,
    },
    /// The checkpoint can't be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
