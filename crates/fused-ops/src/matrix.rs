//! Products of two matrices on the CPU's memory, outside graphs.

use burn::{
    backend::{Flex, ops::FloatTensorOps},
    tensor::{DType, Shape},
};
use burn_flex::FlexTensor;

use crate::tiles::{self, Matrix, Size, Unit};

/// Rows from which on the processor's tiles, whose six products make one of float32, are better than Burn's product.
pub(crate) const ROWS: usize = 64;
/// Values of the right matrix from which on they are.
pub(crate) const VALUES: usize = 1 << 18;

/// `left right` in float32.
///
/// # Shapes
///
/// - left: `[M, K]`, right: `[K, N]`
/// - output: `[M, N]`
///
/// # Panics
///
/// Panics if the shapes don't fit or a tensor isn't float32.
pub fn multiply(left: FlexTensor, right: FlexTensor) -> FlexTensor {
    in_tiles(&left, &right).unwrap_or_else(|| Flex::float_matmul(left, right))
}

fn in_tiles(left: &FlexTensor, right: &FlexTensor) -> Option<FlexTensor> {
    let unit = Unit::get()?;
    let ([rows, depth], [same, columns]) = (sides(left)?, sides(right)?);
    let across = right.layout().strides()[1];
    if depth != same || rows < ROWS || depth * columns < VALUES || across != 1 {
        return None;
    }
    let size = Size {
        rows,
        depth,
        columns,
    };
    let mut output = FlexTensor::empty(Shape::from([rows, columns]), DType::F32);
    let out = output.storage_mut::<f32>();
    tiles::multiply(unit, matrix(left)?, matrix(right)?, size, None, out).ok()?;
    Some(output)
}

fn sides(tensor: &FlexTensor) -> Option<[usize; 2]> {
    tensor.layout().shape().as_slice().try_into().ok()
}

/// The matrix, where its rows or columns follow each other in memory.
fn matrix(tensor: &FlexTensor) -> Option<Matrix<'_>> {
    let layout = tensor.layout();
    let &[down, across] = layout.strides() else {
        return None;
    };
    let strides = [usize::try_from(down).ok()?, usize::try_from(across).ok()?];
    let float32 = tensor.dtype() == DType::F32;
    (float32 && strides.contains(&1)).then(|| Matrix {
        values: &tensor.storage::<f32>()[layout.start_offset()..],
        strides,
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;
    use crate::testing::{assert_same, random};

    #[test]
    fn matrices_that_lie_anyhow_give_burns_product() {
        let (left, right) = (random([70, 600], 1), random([600, 500], 2));
        let whole = random([610, 520], 3);
        for (left, right) in [
            (left.clone(), right.clone()),
            (random([600, 70], 1).transpose(), right.clone()),
            (left.clone(), random([500, 600], 2).transpose()),
            (left.clone(), whole.narrow(0, 7, 600).narrow(1, 3, 500)),
            (left.clone().narrow(0, 0, 3), right.clone()),
            (left * f32::INFINITY, right * 0.0 + 1.0),
        ] {
            let memory = |tensor: &Tensor<2>| {
                let tensor = tensor.clone().try_into_primitive::<Flex>();
                tensor.expect("the CPU's")
            };
            let found = multiply(memory(&left), memory(&right));
            let found = Tensor::<2>::from_primitive::<Flex>(found);
            let expected = left.matmul(right);
            let special = |tensor: &Tensor<2>| tensor.clone().is_finite().bool_not();
            assert_eq!(
                special(&found).into_data(),
                special(&expected).into_data(),
                "what is no number"
            );
            let zero = |tensor: Tensor<2>| tensor.clone().mask_fill(special(&tensor), 0.0);
            assert_same(zero(found), zero(expected));
        }
    }
}
