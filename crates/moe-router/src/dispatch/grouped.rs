//! Grouped dispatch: each expert computes the tokens that visit it.
//!
//! ```text
//! visits   e0 e1 e2          e0 <- rows 0 2      e1 <- row 0      e2 not read
//! token 0   x  x
//! token 1                    out[rows] += weight * E(x[rows])
//! token 2   x
//! ```

use burn::tensor::{Device, Int, Tensor, TensorData};
use fused_ops::add_rows;

use super::DispatchInput;
use crate::{expert::Expert, mask::ExpertMask};

/// The tokens of one expert.
struct Group<'a, E> {
    expert: &'a E,
    /// Place of its rows in the plan's row list; `None` where all tokens visit in order.
    rows: Option<usize>,
    /// Place of its weights in the plan's weight list; `None` where it has none.
    weights: Option<usize>,
    len: usize,
}

/// All groups, with their indices joined so that they are uploaded together.
struct Plan<'a, E> {
    groups: Vec<Group<'a, E>>,
    rows: Vec<i32>,
    weights: Vec<i32>,
}

pub(super) fn run<E: Expert>(input: DispatchInput<'_, E>) -> Tensor<2> {
    let plan = Plan::new(&input);
    let device = input.x.device();
    let rows = upload(&plan.rows, &device);
    let weights = upload(&plan.weights, &device).map(|places| {
        let count = plan.weights.len();
        let flat = input.weights.clone().flatten::<1>(0, 1).select(0, places);
        flat.cast(input.x.dtype()).reshape([count, 1])
    });

    let mut sum: Option<Tensor<2>> = None;
    for group in &plan.groups {
        let rows = rows
            .as_ref()
            .zip(group.rows)
            .map(|(rows, start)| rows.clone().narrow(0, start, group.len));
        let x = match &rows {
            Some(rows) => input.x.clone().select(0, rows.clone()),
            None => input.x.clone(),
        };
        let y = group.expert.forward(x);
        let weights = weights
            .as_ref()
            .zip(group.weights)
            .map(|(weights, start)| weights.clone().narrow(0, start, group.len));
        sum = Some(match rows {
            Some(rows) => {
                let sum = sum.unwrap_or_else(|| input.x.zeros_like());
                add_rows(sum, rows, y, weights)
            }
            None => {
                let y = match weights {
                    Some(weights) => y * weights,
                    None => y,
                };
                match sum {
                    Some(sum) => sum + y,
                    None => y,
                }
            }
        });
    }
    sum.unwrap_or_else(|| input.x.zeros_like())
}

impl<'a, E> Plan<'a, E> {
    fn new(input: &DispatchInput<'a, E>) -> Self {
        let tokens = input.visits.tokens();
        let columns = input.visits.experts();
        let mut plan = Self {
            groups: Vec::new(),
            rows: Vec::new(),
            weights: Vec::new(),
        };
        for (expert, column) in input.seats() {
            let visitors = match column {
                Some(column) => visitors(input.visits, column),
                None => (0..tokens).collect(),
            };
            if visitors.is_empty() {
                continue;
            }
            let all = visitors.len() == tokens;
            plan.groups.push(Group {
                expert,
                rows: (!all).then_some(plan.rows.len()),
                weights: column.map(|_| plan.weights.len()),
                len: visitors.len(),
            });
            if let Some(column) = column {
                let places = visitors.iter().map(|token| token * columns + column);
                plan.weights.extend(places.map(index));
            }
            if !all {
                plan.rows.extend(visitors.into_iter().map(index));
            }
        }
        plan
    }
}

fn visitors(visits: &ExpertMask, column: usize) -> Vec<usize> {
    (0..visits.tokens())
        .filter(|&token| visits.visits(token, column))
        .collect()
}

fn upload(indices: &[i32], device: &Device) -> Option<Tensor<1, Int>> {
    let data = || TensorData::new(indices.to_vec(), [indices.len()]);
    (!indices.is_empty()).then(|| Tensor::from_data(data(), device))
}

fn index(place: usize) -> i32 {
    i32::try_from(place).expect("tokens x gate columns fit in 31 bits")
}
