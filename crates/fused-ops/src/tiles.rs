//! Products of large matrices in the processor's tiles, where it has some (Intel AMX).
//!
//! ```text
//! for each chunk of K
//!   pack the left matrix                      all threads, once
//!   for each panel of columns                 one thread each
//!     pack the chunk of the right matrix      stays in the cache
//!     for each block of 32 x 32 sums          in tiles over the whole chunk
//! ```
//!
//! Tiles multiply bfloat16. A float32 goes in as the sum of three; of the nine products those six are added up that float32's
//! own rounding doesn't swallow. So the result is as near to the exact one as a product in float32, in a fraction of its time.
//! Numbers below 1e-38 count as zero.
//!
//! Every sum adds its products in the order of `K`, whatever the number of threads.

mod pack;
mod unit;

use std::{
    cell::RefCell,
    sync::atomic::{AtomicBool, Ordering},
};

use rayon::prelude::*;

use self::{
    pack::padded,
    unit::{DEPTH, Pair, SIDE, Sums, Terms, ZERO},
};
pub(crate) use self::{
    pack::{Matrix, Source},
    unit::Unit,
};
use crate::rows::vectorised;

/// Columns of a panel.
const PANEL: usize = 128;
/// Pairs of tiles of a block's columns in a chunk: with [`PANEL`] what a core's cache keeps.
const CHUNK: usize = 48;
/// Rows of the left matrix that are packed at a time: bounds the memory.
const ROWS: usize = 4096;

/// Sizes of a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// `M`.
    pub(crate) rows: usize,
    /// `K`.
    pub(crate) depth: usize,
    /// `N`.
    pub(crate) columns: usize,
}

/// A number has no parts: it is infinite, none, or nearly too large.
#[derive(Debug)]
pub(crate) struct Special;

/// Adds `left`, `[M, K]`, times `right`, `[K, N]`, to `out`, `[M, N]` row by row.
///
/// `parts` tells how many bfloat16 hold a number of each side: one, two or three.
///
/// # Errors
///
/// [`Special`] where a number of more than one part has none; `out` is then of no use.
///
/// # Panics
///
/// Panics if `out` or a matrix is smaller than `size` says.
pub(crate) fn add_product(
    unit: Unit,
    left: Matrix<'_>,
    right: impl Source,
    parts: [usize; 2],
    size: Size,
    out: &mut [f32],
) -> Result<(), Special> {
    let Size {
        rows,
        depth,
        columns,
    } = size;
    assert_eq!(out.len(), rows * columns);
    if out.is_empty() {
        return Ok(());
    }
    let special = AtomicBool::new(false);
    let check = |fine: bool| {
        if !fine {
            special.store(true, Ordering::Relaxed);
        }
    };
    let chunk = CHUNK / parts[1] * DEPTH;
    let mut packed = Vec::new();
    for (first, out) in (0..rows).step_by(ROWS).zip(out.chunks_mut(ROWS * columns)) {
        let rows = ROWS.min(rows - first);
        let mut tasks = tasks(out, columns);
        for start in (0..depth).step_by(chunk) {
            let depth = chunk.min(depth - start);
            let steps = depth.div_ceil(DEPTH);
            let terms = Terms::new(steps, parts);
            let stride = steps * parts[0];
            packed.resize(rows.div_ceil(SIDE) * stride, ZERO);
            packed
                .par_chunks_mut(stride)
                .enumerate()
                .for_each(|(block, pairs)| {
                    let row = block * SIDE;
                    let size = [SIDE.min(rows - row), depth];
                    let corner = [first + row, start];
                    check(match parts[0] {
                        1 => vectorised(|| pack::left::<1>(left, corner, size, pairs)),
                        2 => vectorised(|| pack::left::<2>(left, corner, size, pairs)),
                        _ => vectorised(|| pack::left::<3>(left, corner, size, pairs)),
                    });
                });
            let run = |task: &mut Task<'_>, scratch: &mut Scratch| {
                let pairs = scratch.pairs(padded(task.width) / SIDE * steps * parts[1]);
                let mut buffers = [(); 2].map(|()| vec![0.0; padded(task.width)]);
                let (corner, size) = ([start, task.column], [depth, task.width]);
                let rows = &mut buffers;
                check(match parts[1] {
                    1 => vectorised(|| pack::right::<1>(right, corner, size, rows, pairs)),
                    2 => vectorised(|| pack::right::<2>(right, corner, size, rows, pairs)),
                    _ => vectorised(|| pack::right::<3>(right, corner, size, rows, pairs)),
                });
                let left = &packed[task.row / SIDE * stride..];
                task.add(unit, left, pairs, &terms, [stride, steps * parts[1]]);
            };
            tasks.par_iter_mut().for_each(|task| {
                SCRATCH.with_borrow_mut(|scratch| run(task, scratch));
            });
        }
    }
    if special.into_inner() {
        Err(Special)
    } else {
        Ok(())
    }
}

/// Some columns of some rows of the output.
#[derive(Debug)]
struct Task<'a> {
    row: usize,
    column: usize,
    width: usize,
    /// The columns of each row.
    rows: Vec<&'a mut [f32]>,
}

/// Panels of columns, in as many groups of rows as it takes to keep the threads busy.
fn tasks(out: &mut [f32], columns: usize) -> Vec<Task<'_>> {
    let rows = out.len() / columns;
    let panels = columns.div_ceil(PANEL);
    let groups = (2 * rayon::current_num_threads()).div_ceil(panels);
    let group = rows.div_ceil(groups).next_multiple_of(SIDE);
    let mut tasks: Vec<Task<'_>> = (0..rows)
        .step_by(group)
        .flat_map(|row| (0..columns).step_by(PANEL).map(move |column| (row, column)))
        .map(|(row, column)| Task {
            row,
            column,
            width: PANEL.min(columns - column),
            rows: Vec::with_capacity(group),
        })
        .collect();
    for (row, values) in out.chunks_exact_mut(columns).enumerate() {
        for (panel, values) in values.chunks_mut(PANEL).enumerate() {
            tasks[row / group * panels + panel].rows.push(values);
        }
    }
    tasks
}

impl Task<'_> {
    /// Adds the products of the packed rows and columns; `strides` are the pairs from one block to the next.
    fn add(
        &mut self,
        unit: Unit,
        left: &[Pair],
        right: &[Pair],
        terms: &Terms,
        strides: [usize; 2],
    ) {
        let mut sums = Sums([[0.0; SIDE]; SIDE]);
        for (rows, left) in self.rows.chunks_mut(SIDE).zip(left.chunks(strides[0])) {
            for (block, right) in right.chunks(strides[1]).enumerate() {
                unit.sum(left, right, terms, &mut sums);
                let column = block * SIDE;
                let width = SIDE.min(self.width - column);
                vectorised(|| {
                    for (row, sums) in rows.iter_mut().zip(&sums.0) {
                        let row = row[column..column + width].iter_mut();
                        row.zip(sums).for_each(|(to, sum)| *to += sum);
                    }
                });
            }
        }
    }
}

/// Memory that a thread keeps: taking it anew for each task would fault its pages in each time.
#[derive(Debug)]
struct Scratch(Vec<Pair>);

impl Scratch {
    fn pairs(&mut self, count: usize) -> &mut [Pair] {
        if self.0.len() < count {
            self.0.resize(count, ZERO);
        }
        &mut self.0[..count]
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch(Vec::new())) };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers between -1 and 1.
    fn random(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed.wrapping_mul(2_654_435_761) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1u32 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn rows(values: &[f32], width: usize) -> Matrix<'_> {
        Matrix {
            values,
            strides: [width, 1],
        }
    }

    /// Exact sums, and those of the products' sizes.
    fn exact(left: &[f32], right: &[f32], size: Size) -> Vec<[f64; 2]> {
        let Size {
            rows,
            depth,
            columns,
        } = size;
        let places = (0..rows).flat_map(|m| (0..columns).map(move |n| (m, n)));
        let sums = places.map(|(m, n)| {
            let products = (0..depth)
                .map(|k| f64::from(left[m * depth + k]) * f64::from(right[k * columns + n]));
            products.fold([0.0; 2], |[sum, size], x| [sum + x, size + x.abs()])
        });
        sums.collect()
    }

    /// Around the sizes of tiles, blocks, panels and chunks.
    const SIZES: [[usize; 3]; 8] = [
        [1, 1, 1],
        [2, 33, 17],
        [16, 32, 16],
        [31, 31, 33],
        [33, 64, 129],
        [70, 700, 40],
        [40, 100, 300],
        [5, 1700, 257],
    ];

    #[test]
    fn float32_is_as_near_to_the_exact_product_as_float32_gets() {
        let Some(unit) = Unit::get() else { return };
        for [rows_of, depth, columns] in SIZES {
            let size = Size {
                rows: rows_of,
                depth,
                columns,
            };
            let (left, right) = (random(rows_of * depth, 1), random(depth * columns, 2));
            let mut out = random(rows_of * columns, 3);
            let before = out.clone();
            let (a, b) = (rows(&left, depth), rows(&right, columns));
            add_product(unit, a, b, [3, 3], size, &mut out).expect("finite numbers");
            for ((found, before), [sum, size]) in
                out.iter().zip(before).zip(exact(&left, &right, size))
            {
                let error = (f64::from(*found) - f64::from(before) - sum).abs();
                // Rounding of each product, of the sums, and of the last addition.
                let bound = 4.0 * f64::from(f32::EPSILON) * (size + 1.0);
                assert!(
                    error <= bound,
                    "{found} for {sum} in {rows_of} x {depth} x {columns}"
                );
            }
        }
    }

    #[test]
    fn bfloat16_and_mixed_numbers_are_multiplied_exactly() {
        let Some(unit) = Unit::get() else { return };
        // Whole numbers up to 16 in one part, up to 2,000 in two: all sums are exact.
        for [rows_of, depth, columns] in SIZES {
            let size = Size {
                rows: rows_of,
                depth,
                columns,
            };
            let whole = |values: Vec<f32>, scale: f32| -> Vec<f32> {
                values.into_iter().map(|x| (x * scale).round()).collect()
            };
            for (parts, scales) in [
                ([1, 1], [16.0, 16.0]),
                ([2, 1], [2e3, 2.0]),
                ([1, 3], [2.0, 2e3]),
            ] {
                let left = whole(random(rows_of * depth, 4), scales[0]);
                let right = whole(random(depth * columns, 5), scales[1]);
                let mut out = vec![0.0; rows_of * columns];
                let (a, b) = (rows(&left, depth), rows(&right, columns));
                add_product(unit, a, b, parts, size, &mut out).expect("finite numbers");
                let expected = exact(&left, &right, size);
                for (found, [sum, _]) in out.iter().zip(expected) {
                    assert_eq!(f64::from(*found), sum, "{parts:?}");
                }
            }
        }
    }

    #[test]
    fn transposed_matrices_are_read_as_they_lie() {
        let Some(unit) = Unit::get() else { return };
        let size = Size {
            rows: 35,
            depth: 70,
            columns: 45,
        };
        let (left, right) = (random(35 * 70, 1), random(70 * 45, 2));
        let turned = |values: &[f32], rows: usize, columns: usize| -> Vec<f32> {
            let places = (0..columns).flat_map(|n| (0..rows).map(move |m| m * columns + n));
            places.map(|at| values[at]).collect()
        };
        let (down, across) = (turned(&left, 35, 70), turned(&right, 70, 45));
        let run = |a: Matrix<'_>, b: Matrix<'_>| {
            let mut out = vec![0.0; 35 * 45];
            add_product(unit, a, b, [3, 3], size, &mut out).expect("finite numbers");
            out
        };
        let expected = run(rows(&left, 70), rows(&right, 45));
        let (down, across) = (
            Matrix {
                values: &down,
                strides: [1, 35],
            },
            Matrix {
                values: &across,
                strides: [1, 70],
            },
        );
        assert_eq!(run(down, across), expected);
    }

    #[test]
    fn special_numbers_are_found_wherever_they_are() {
        let Some(unit) = Unit::get() else { return };
        let size = Size {
            rows: 40,
            depth: 70,
            columns: 50,
        };
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            for place in [0, 69, 1_500, 2_799] {
                for side in 0..2 {
                    let mut sides = [random(40 * 70, 1), random(70 * 50, 2)];
                    sides[side][place] = special;
                    let mut out = vec![0.0; 40 * 50];
                    let (a, b) = (rows(&sides[0], 70), rows(&sides[1], 50));
                    assert!(add_product(unit, a, b, [3, 3], size, &mut out).is_err());
                }
            }
        }
    }

    #[test]
    fn tiny_numbers_are_their_product_or_zero() {
        let Some(unit) = Unit::get() else { return };
        let size = Size {
            rows: 3,
            depth: 5,
            columns: 4,
        };
        for scale in [1e-30f32, 1e-37, 1e-40, 1e-45] {
            let left: Vec<f32> = random(15, 1).into_iter().map(|x| x * scale).collect();
            let right = random(20, 2);
            let mut out = vec![0.0; 12];
            let (a, b) = (rows(&left, 5), rows(&right, 4));
            add_product(unit, a, b, [3, 3], size, &mut out).expect("finite numbers");
            for (found, [sum, _]) in out.iter().zip(exact(&left, &right, size)) {
                let error = (f64::from(*found) - sum).abs();
                assert!(error <= 1e-6 * sum.abs() + 1e-36, "{found} for {sum}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let Some(unit) = Unit::get() else { return };
        let size = Size {
            rows: 100,
            depth: 600,
            columns: 150,
        };
        let (left, right) = (random(100 * 600, 1), random(600 * 150, 2));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut out = vec![0.0; 100 * 150];
            let (a, b) = (rows(&left, 600), rows(&right, 150));
            pool.build().expect("threads").install(|| {
                add_product(unit, a, b, [3, 3], size, &mut out).expect("finite numbers");
            });
            out
        };
        let one = run(1);
        assert_eq!(run(2), one);
        assert_eq!(run(5), one);
    }
}
