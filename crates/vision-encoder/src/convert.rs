//! Stored bytes to values: element type, transposition, and the check that every value is finite.

use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;

/// How the stored bytes of a tensor turn into ours.
pub(crate) struct Layout {
    /// Columns of the stored matrix where it is to be transposed.
    pub(crate) columns: Option<usize>,
    /// Element type in the file.
    pub(crate) stored: Dtype,
}

/// A float type that parameters are kept in.
trait Target: Copy {
    const ZERO: Self;
    fn of(value: f32) -> Self;
    fn finite(self) -> bool;
}

macro_rules! target {
    ($type:ty, $zero:expr, $of:expr) => {
        impl Target for $type {
            const ZERO: Self = $zero;
            fn of(value: f32) -> Self {
                $of(value)
            }
            fn finite(self) -> bool {
                self.is_finite()
            }
        }
    };
}
target!(f32, 0.0, |value| value);
target!(f16, f16::ZERO, f16::from_f32);
target!(bf16, bf16::ZERO, bf16::from_f32);

impl Layout {
    /// The stored values in `dtype` and our `shape`; the first that is not finite there is an error with its place.
    pub(crate) fn convert(
        &self,
        bytes: &[u8],
        dtype: DType,
        shape: Vec<usize>,
    ) -> Result<TensorData, (usize, f32)> {
        Ok(match dtype {
            DType::F16 => TensorData::new(self.values::<f16>(bytes)?, shape),
            DType::BF16 => TensorData::new(self.values::<bf16>(bytes)?, shape),
            _ => TensorData::new(self.values::<f32>(bytes)?, shape),
        })
    }

    fn values<T: Target>(&self, bytes: &[u8]) -> Result<Vec<T>, (usize, f32)> {
        match self.stored {
            Dtype::F16 => self.arrange(bytes.as_chunks().0, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.arrange(bytes.as_chunks().0, |b| bf16::from_le_bytes(b).to_f32()),
            _ => self.arrange(bytes.as_chunks().0, f32::from_le_bytes),
        }
    }

    fn arrange<T: Target, const N: usize>(
        &self,
        stored: &[[u8; N]],
        decode: impl Fn([u8; N]) -> f32,
    ) -> Result<Vec<T>, (usize, f32)> {
        /// Side of the square blocks that a transposition works on, to stay within the cache.
        const BLOCK: usize = 32;
        let bad = stored
            .iter()
            .map(|&bytes| decode(bytes))
            .enumerate()
            .find(|(_, value)| !T::of(*value).finite());
        if let Some(bad) = bad {
            return Err(bad);
        }
        let Some(columns) = self.columns.filter(|columns| *columns > 0) else {
            return Ok(stored.iter().map(|&bytes| T::of(decode(bytes))).collect());
        };
        let rows = stored.len() / columns;
        let mut values = vec![T::ZERO; stored.len()];
        for row_block in (0..rows).step_by(BLOCK) {
            for column_block in (0..columns).step_by(BLOCK) {
                for column in column_block..columns.min(column_block + BLOCK) {
                    for row in row_block..rows.min(row_block + BLOCK) {
                        values[column * rows + row] = T::of(decode(stored[row * columns + column]));
                    }
                }
            }
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn a_transposed_matrix_is_read_by_columns() {
        // [[1, 2, 3], [4, 5, 6]] stored row by row becomes [[1, 4], [2, 5], [3, 6]].
        let layout = Layout {
            columns: Some(3),
            stored: Dtype::F32,
        };
        let found = layout.values::<f32>(&bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(found, Ok(vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0]));
    }

    #[test]
    fn a_value_too_large_for_the_target_is_found() {
        let layout = Layout {
            columns: None,
            stored: Dtype::F32,
        };
        let bytes = bytes(&[1.0, 1e6]);
        assert_eq!(layout.values::<f16>(&bytes), Err((1, 1e6)));
        assert!(layout.values::<bf16>(&bytes).is_ok());
    }
}
