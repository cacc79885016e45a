//! What can be wrong with the settings of a spectrum.

use thiserror::Error;

/// A setting of a spectrum is out of its range.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("spectrum: {field} is {found}, expected {expected}")]
#[non_exhaustive]
pub struct SpectralError {
    /// The setting.
    pub field: &'static str,
    /// Its allowed values.
    pub expected: String,
    /// Its value.
    pub found: String,
}

/// Fails unless `low <= found <= high`; a NaN fails.
pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    found: T,
    low: T,
    high: T,
) -> Result<(), SpectralError> {
    if low <= found && found <= high {
        return Ok(());
    }
    Err(SpectralError {
        field,
        expected: format!("{low} to {high}"),
        found: found.to_string(),
    })
}
