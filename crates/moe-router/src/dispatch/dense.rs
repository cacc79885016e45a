//! Dense dispatch: every expert computes every token.

use burn::tensor::Tensor;

use super::DispatchInput;
use crate::expert::Expert;

pub(super) fn run<E: Expert>(input: DispatchInput<'_, E>) -> Tensor<2> {
    let weights = input.weights.clone().cast(input.x.dtype());
    let mut sum = input.x.zeros_like();
    for (expert, column) in input.seats() {
        let y = expert.forward(input.x.clone());
        sum = sum
            + match column {
                Some(column) => y * weights.clone().narrow(1, column, 1),
                None => y,
            };
    }
    sum
}
