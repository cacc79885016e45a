//! Comparing with the reference.

use burn::tensor::{DType, Tensor};

use crate::Case;

/// How far a value may lie from the reference: `absolute + relative * |expected|`.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Allowed whatever the size of the value.
    pub absolute: f32,
    /// Allowed per unit of the expected value.
    pub relative: f32,
}

/// Compares a tensor with the case's tensor `name`: same shape, each value within `tolerance`.
///
/// # Panics
///
/// Panics with the worst value's place, or where shapes differ or a value is not finite.
pub fn assert_close<const D: usize>(
    case: &Case,
    name: &str,
    actual: Tensor<D>,
    tolerance: Tolerance,
) {
    assert_eq!(
        actual.dims().to_vec(),
        case.shape(name),
        "{}: shape of {name}",
        case.name
    );
    let actual = actual
        .into_data_dtype(DType::F32)
        .try_into_vec::<f32>()
        .expect("float32 data");
    let mut worst = (0.0, 0, 0.0, 0.0);
    for (index, (&a, e)) in actual.iter().zip(case.floats(name)).enumerate() {
        assert!(
            a.is_finite(),
            "{}: {name}[{index}] is {a}, expected {e}",
            case.name
        );
        let excess = (a - e).abs() - tolerance.relative * e.abs();
        if excess > worst.0 {
            worst = (excess, index, a, e);
        }
    }
    let (excess, index, a, e) = worst;
    assert!(
        excess <= tolerance.absolute,
        "{}: {name}[{index}] is {a}, expected {e}; allowed {tolerance:?}",
        case.name
    );
}

/// Compares integers with the case's tensor `name`, exactly.
///
/// # Panics
///
/// Panics with the first place where they differ.
pub fn assert_equal(case: &Case, name: &str, actual: &[i64]) {
    let expected = case.ints(name);
    assert_eq!(
        actual.len(),
        expected.len(),
        "{}: length of {name}",
        case.name
    );
    for (index, (a, e)) in actual.iter().zip(&expected).enumerate() {
        assert_eq!(a, e, "{}: {name}[{index}]", case.name);
    }
}
