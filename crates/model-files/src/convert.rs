//! Stored bytes to values: element type, transposition, and the check that every value is finite.

use burn::tensor::{DType, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;

/// How the stored bytes of a tensor turn into ours.
pub(crate) struct Layout {
    /// Columns of the stored matrix where it is to be transposed.
    pub(crate) columns: Option<usize>,
    /// Element type in the file.
    pub(crate) dtype: Dtype,
}

/// A float type that parameters are kept in.
trait Target: Copy {
    const ZERO: Self;
    fn from_f32(value: f32) -> Self;
    fn finite(self) -> bool;
}

macro_rules! target {
    ($type:ty, $zero:expr, $from:expr) => {
        impl Target for $type {
            const ZERO: Self = $zero;
            fn from_f32(value: f32) -> Self {
                $from(value)
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
    /// The stored values in `dtype` and our `shape`; the first that is not finite there is an error with its
    /// place.
    pub(crate) fn data(
        &self,
        bytes: &[u8],
        dtype: DType,
        shape: Vec<usize>,
    ) -> Result<TensorData, (usize, f32)> {
        Ok(match dtype {
            DType::F16 => TensorData::new(self.convert::<f16>(bytes)?, shape),
            DType::BF16 => TensorData::new(self.convert::<bf16>(bytes)?, shape),
            _ => TensorData::new(self.convert::<f32>(bytes)?, shape),
        })
    }

    fn convert<T: Target>(&self, bytes: &[u8]) -> Result<Vec<T>, (usize, f32)> {
        match self.dtype {
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
        let mut values = vec![T::ZERO; stored.len()];
        let mut finite = true;
        match self.columns {
            None => {
                for (value, &bytes) in values.iter_mut().zip(stored) {
                    *value = T::from_f32(decode(bytes));
                    finite &= value.finite();
                }
            }
            Some(columns) => {
                let rows = stored.len().checked_div(columns).unwrap_or(0);
                for row_block in (0..rows).step_by(BLOCK) {
                    for column_block in (0..columns).step_by(BLOCK) {
                        for column in column_block..columns.min(column_block + BLOCK) {
                            for row in row_block..rows.min(row_block + BLOCK) {
                                let value = T::from_f32(decode(stored[row * columns + column]));
                                finite &= value.finite();
                                values[column * rows + row] = value;
                            }
                        }
                    }
                }
            }
        }
        if finite {
            return Ok(values);
        }
        let bad = stored
            .iter()
            .map(|&bytes| decode(bytes))
            .enumerate()
            .find(|(_, value)| !T::from_f32(*value).finite());
        Err(bad.unwrap_or((0, f32::NAN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_matrix_is_read_by_columns() {
        // [[1, 2, 3], [4, 5, 6]] stored row by row becomes [[1, 4], [2, 5], [3, 6]].
        let bytes: Vec<u8> = (1..=6).flat_map(|v| (v as f32).to_le_bytes()).collect();
        let layout = Layout {
            columns: Some(3),
            dtype: Dtype::F32,
        };
        assert_eq!(
            layout.convert::<f32>(&bytes),
            Ok(vec![1.0, 4.0, 2.0, 5.0, 3.0, 6.0])
        );
    }

    #[test]
    fn a_value_too_large_for_the_target_is_found() {
        let bytes: Vec<u8> = [1.0f32, 1e6].iter().flat_map(|v| v.to_le_bytes()).collect();
        let layout = Layout {
            columns: None,
            dtype: Dtype::F32,
        };
        assert_eq!(layout.convert::<f16>(&bytes), Err((1, 1e6)));
        assert!(layout.convert::<bf16>(&bytes).is_ok());
    }
}
