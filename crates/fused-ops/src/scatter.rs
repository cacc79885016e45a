//! Rows that are weighted and added to others: `S[r_i] += w_i Y[i]`.
//!
//! Axes: `T` rows of the sums, `V` rows to add, `D` their width.

use burn::tensor::{IndexingUpdateOp, Int, Tensor};

/// Adds each row of `y`, times its weight, to the row of `sums` that `rows` names.
///
/// On the CPU, outside graphs, this is one pass over `y`, in place where nobody else holds `sums`. The sum is in float32 and
/// rounded once.
///
/// # Shapes
///
/// - sums, output: `[T, D]`
/// - rows: `[V]`, each below `T`
/// - y: `[V, D]`
/// - weights: `[V, 1]`
///
/// # Panics
///
/// Panics if the shapes don't fit or a row is none of `sums`.
pub fn add_rows(
    sums: Tensor<2>,
    rows: Tensor<1, Int>,
    y: Tensor<2>,
    weights: Option<Tensor<2>>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    let sums = match flex::add_rows(sums, &rows, &y, weights.as_ref()) {
        Ok(sums) => return sums,
        Err(sums) => sums,
    };
    portable(sums, rows, y, weights)
}

fn portable(
    sums: Tensor<2>,
    rows: Tensor<1, Int>,
    y: Tensor<2>,
    weights: Option<Tensor<2>>,
) -> Tensor<2> {
    let y = match weights {
        Some(weights) => y * weights,
        None => y,
    };
    sums.select_assign(0, rows, y, IndexingUpdateOp::Add)
}

#[cfg(feature = "flex")]
mod flex {
    use burn::{
        backend::Flex,
        tensor::{DType, Int, Tensor, bf16, f16},
    };
    use burn_flex::FlexTensor;

    use crate::{graph::memory, number::Number, rows::vectorised};

    /// The sums, or what they were where this isn't for them.
    // A tensor goes in and out: a box of it would be one more allocation for each expert.
    #[allow(clippy::result_large_err)]
    pub(super) fn add_rows(
        sums: Tensor<2>,
        rows: &Tensor<1, Int>,
        y: &Tensor<2>,
        weights: Option<&Tensor<2>>,
    ) -> Result<Tensor<2>, Tensor<2>> {
        let dtype = sums.dtype();
        let [height, width] = sums.dims();
        let [count] = rows.dims();
        let of_type = |tensor: &Tensor<2>| tensor.dtype() == dtype;
        let fits = y.dims() == [count, width]
            && weights.is_none_or(|weights| weights.dims() == [count, 1] && of_type(weights))
            && of_type(y)
            && !sums.device().is_autodiff();
        let weights = match weights {
            Some(weights) => memory(weights).map(Some),
            None => Some(None),
        };
        let (true, Some(y), Some(weights), Some(places)) =
            (fits, memory(y), weights, places(rows, height))
        else {
            return Err(sums);
        };
        let add = match dtype {
            DType::F32 => run::<f32>,
            DType::BF16 => run::<bf16>,
            DType::F16 => run::<f16>,
            _ => return Err(sums),
        };
        let copy = sums.clone();
        let Ok(memory) = sums.try_into_primitive::<Flex>() else {
            return Err(copy);
        };
        // The only other one, so that the sums can be written over.
        drop(copy);
        let output = add(memory, width, &places, &y, weights.as_ref());
        Ok(Tensor::from_primitive::<Flex>(output))
    }

    /// The rows' places, where all of them are below `height`.
    fn places(rows: &Tensor<1, Int>, height: usize) -> Option<Vec<usize>> {
        let data = rows.clone().into_data();
        let place = |row: i64| usize::try_from(row).ok().filter(|row| *row < height);
        data.iter::<i64>().map(place).collect()
    }

    fn run<E: Number>(
        sums: FlexTensor,
        width: usize,
        places: &[usize],
        y: &FlexTensor,
        weights: Option<&FlexTensor>,
    ) -> FlexTensor {
        let whole = sums.storage::<E>().len() == sums.layout().num_elements();
        let mut sums = if sums.is_contiguous() && whole && sums.is_unique() {
            sums
        } else {
            let mut copy = FlexTensor::empty(sums.layout().shape().clone(), sums.dtype());
            let from = sums.to_contiguous();
            let from = &from.storage::<E>()[from.layout().start_offset()..];
            let to = copy.storage_mut::<E>();
            to.copy_from_slice(&from[..to.len()]);
            copy
        };
        let y = &y.storage::<E>()[y.layout().start_offset()..];
        let weights =
            weights.map(|weights| &weights.storage::<E>()[weights.layout().start_offset()..]);
        let out = sums.storage_mut::<E>();
        vectorised(|| {
            for (v, (place, y)) in places.iter().zip(y.chunks_exact(width.max(1))).enumerate() {
                let weight = weights.map_or(1.0, |weights| weights[v].widened());
                let row = &mut out[place * width..][..width];
                for (sum, y) in row.iter_mut().zip(y) {
                    *sum = E::narrowed(sum.widened() + weight * y.widened());
                }
            }
        });
        sums
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::testing::{devices, random};

    fn rows(places: &[i32], device: &Device) -> Tensor<1, Int> {
        Tensor::from_data(places, device)
    }

    #[test]
    fn rows_are_added_as_the_tensor_api_adds_them() {
        for device in devices() {
            let on = |tensor: Tensor<2>| Tensor::<2>::from_data(tensor.into_data(), &device);
            let places = rows(&[4, 0, 4, 2], &device);
            for dtype in [DType::F32, DType::BF16, DType::F16] {
                let sums = on(random([5, 37], 1)).cast(dtype);
                let y = on(random([37, 4], 2)).swap_dims(0, 1).cast(dtype);
                for weights in [None, Some(on(random([4, 1], 3)).cast(dtype))] {
                    let wide = |tensor: Tensor<2>| tensor.cast(DType::F32);
                    let expected = portable(
                        wide(sums.clone()),
                        places.clone(),
                        wide(y.clone()),
                        weights.clone().map(wide),
                    );
                    let found = add_rows(sums.clone(), places.clone(), y.clone(), weights);
                    assert_eq!(found.dtype(), dtype);
                    let error = (wide(found) - expected).abs().max().into_scalar::<f32>();
                    // Two roundings of the sum's last bits.
                    let bound = match dtype {
                        DType::BF16 => 2.0 / 128.0,
                        DType::F16 => 2.0 / 1024.0,
                        _ => 1e-6,
                    };
                    assert!(error <= bound, "{dtype:?}: off by {error}");
                }
            }
        }
    }

    #[test]
    fn sums_that_somebody_else_holds_stay_as_they_are() {
        let device = Device::flex();
        let sums = random([3, 8], 1);
        let before = sums.clone().into_data();
        let view = sums.clone().narrow(0, 1, 2);
        let added = add_rows(view, rows(&[1], &device), random([1, 8], 2), None);
        assert_eq!(added.dims(), [2, 8]);
        assert_eq!(sums.into_data(), before);
    }
}
