//! Where there are no tiles.

use super::{Size, Source, Special};
use crate::number::Number;

/// Leave to use the tiles: there is none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {}

impl Unit {
    /// Nothing.
    pub(crate) fn get() -> Option<Self> {
        None
    }
}

/// Is never reached.
pub(crate) fn multiply<L: Source, R: Source, E: Number>(
    unit: Unit,
    _: L,
    _: R,
    _: Size,
    _: Option<&[f32]>,
    _: &mut [E],
) -> Result<(), Special> {
    match unit {}
}
