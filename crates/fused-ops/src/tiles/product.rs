//! The product: panels of columns on all threads, blocks of sums in tiles.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicBool, Ordering},
};

use rayon::prelude::*;

use super::{
    Size, Source, Special,
    pack::{self, padded},
    unit::{DEPTH, Pair, SIDE, Sums, Terms, Unit, ZERO},
};
use crate::{number::Number, rows::vectorised};

/// Most columns of a panel: a packed row is read once for each panel.
const PANEL: usize = 512;
/// Pairs of tiles of 32 columns in a chunk: what a core's nearest cache keeps.
const CHUNK: usize = 12;
/// Most rows of a panel's sums, which stay in a core's own cache.
const GROUP: usize = 512;
/// Pairs of tiles of the left matrix that are packed at a time, 32 MB: bounds the memory.
const PACKED: usize = 1 << 14;

/// `out`, `[M, N]` row by row, becomes `left`, `[M, K]`, times `right`, `[K, N]`, plus `bias`, `[N]`.
///
/// # Errors
///
/// [`Special`] where a number of more than one part has none; `out` is then of no use.
///
/// # Panics
///
/// Panics if `out` or a matrix is smaller than `size` says.
pub(crate) fn multiply<L: Source, R: Source, E: Number>(
    unit: Unit,
    left: L,
    right: R,
    size: Size,
    bias: Option<&[f32]>,
    out: &mut [E],
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
    let parts = [L::PARTS, R::PARTS];
    let special = AtomicBool::new(false);
    let check = |fine: bool| {
        if !fine {
            special.store(true, Ordering::Relaxed);
        }
    };
    let chunk = CHUNK / parts[1];
    let steps = depth.div_ceil(DEPTH);
    let stride = steps * parts[0];
    let most = (PACKED / stride.max(1)).max(1) * SIDE;
    let mut packed = PACKING.take();
    for (first, out) in (0..rows).step_by(most).zip(out.chunks_mut(most * columns)) {
        let rows = most.min(rows - first);
        let blocks = scratch(&mut packed, rows.div_ceil(SIDE) * stride, ZERO);
        blocks
            .par_chunks_mut(stride.max(1))
            .enumerate()
            .for_each(|(block, pairs)| {
                let row = block * SIDE;
                let size = [SIDE.min(rows - row), depth];
                let corner = [first + row, 0];
                check(match parts[0] {
                    1 => unit
                        .simd
                        .vectorize(|| pack::left::<1>(unit.simd, left, corner, size, pairs)),
                    2 => unit
                        .simd
                        .vectorize(|| pack::left::<2>(unit.simd, left, corner, size, pairs)),
                    _ => unit
                        .simd
                        .vectorize(|| pack::left::<3>(unit.simd, left, corner, size, pairs)),
                });
            });
        let run = |task: &mut Task<'_, E>, memory: &mut Memory| {
            let wide = padded(task.width) / SIDE;
            let high = task.rows.len().div_ceil(SIDE);
            let sums = scratch(&mut memory.sums, wide * high, Sums::ZERO);
            if steps == 0 {
                sums.fill(Sums::ZERO);
            }
            let mut buffers = [(); 2].map(|()| vec![0.0; padded(task.width)]);
            for start in (0..steps).step_by(chunk) {
                let steps = chunk.min(steps - start);
                let terms = Terms::new(steps, parts);
                let pairs = scratch(&mut memory.pairs, wide * steps * parts[1], ZERO);
                let k = start * DEPTH;
                let corner = [k, task.column];
                let size = [(steps * DEPTH).min(depth - k), task.width];
                let rows = &mut buffers;
                check(match parts[1] {
                    1 => unit.simd.vectorize(|| {
                        pack::right::<1>(unit.simd, right, corner, size, rows, pairs)
                    }),
                    2 => unit.simd.vectorize(|| {
                        pack::right::<2>(unit.simd, right, corner, size, rows, pairs)
                    }),
                    _ => unit.simd.vectorize(|| {
                        pack::right::<3>(unit.simd, right, corner, size, rows, pairs)
                    }),
                });
                let left = &blocks[task.row / SIDE * stride + start * parts[0]..];
                let columns = pairs.chunks_exact(steps * parts[1]);
                for (right, sums) in columns.zip(sums.chunks_exact_mut(high)) {
                    unit.add(left, stride, right, &terms, sums, start == 0);
                }
            }
            task.store(sums, high, bias);
        };
        tasks(out, columns).par_iter_mut().for_each(|task| {
            MEMORY.with_borrow_mut(|memory| run(task, memory));
        });
    }
    PACKING.set(packed);
    if special.into_inner() {
        Err(Special)
    } else {
        Ok(())
    }
}

/// Some columns of some rows of the output.
#[derive(Debug)]
struct Task<'a, E> {
    row: usize,
    column: usize,
    width: usize,
    /// The columns of each row.
    rows: Vec<&'a mut [E]>,
}

/// Panels of columns, in as many groups of rows as it takes to keep the threads busy.
fn tasks<E>(out: &mut [E], columns: usize) -> Vec<Task<'_, E>> {
    let rows = out.len() / columns;
    let threads = 2 * rayon::current_num_threads();
    let share = columns.div_ceil(threads).next_multiple_of(SIDE);
    let panel = share.clamp(2 * SIDE, PANEL);
    let panels = columns.div_ceil(panel);
    let groups = threads.div_ceil(panels);
    let group = rows.div_ceil(groups).next_multiple_of(SIDE).min(GROUP);
    let mut tasks: Vec<Task<'_, E>> = (0..rows)
        .step_by(group)
        .flat_map(|row| (0..columns).step_by(panel).map(move |column| (row, column)))
        .map(|(row, column)| Task {
            row,
            column,
            width: panel.min(columns - column),
            rows: Vec::with_capacity(group),
        })
        .collect();
    for (row, values) in out.chunks_exact_mut(columns).enumerate() {
        for (place, values) in values.chunks_mut(panel).enumerate() {
            tasks[row / group * panels + place].rows.push(values);
        }
    }
    tasks
}

impl<E: Number> Task<'_, E> {
    /// Stores the sums, column of blocks by column of blocks, `high` blocks each.
    fn store(&mut self, sums: &[Sums], high: usize, bias: Option<&[f32]>) {
        let mut added = vec![0.0; padded(self.width)];
        if let Some(bias) = bias {
            added[..self.width].copy_from_slice(&bias[self.column..][..self.width]);
        }
        vectorised(|| {
            for (place, row) in self.rows.iter_mut().enumerate() {
                let added = added.as_chunks::<16>().0;
                for (part, (values, added)) in row.chunks_mut(16).zip(added).enumerate() {
                    let sums = &sums[part / 2 * high + place / SIDE];
                    let sums = sums.half(place % SIDE, part % 2);
                    for ((to, sum), added) in values.iter_mut().zip(sums).zip(added) {
                        *to = E::narrowed(sum + added);
                    }
                }
            }
        });
    }
}

/// Memory that a thread keeps: taking it anew for each product would fault its pages in each time.
#[derive(Debug)]
struct Memory {
    pairs: Vec<Pair>,
    sums: Vec<Sums>,
}

thread_local! {
    /// Of a task.
    static MEMORY: RefCell<Memory> = const {
        RefCell::new(Memory {
            pairs: Vec::new(),
            sums: Vec::new(),
        })
    };
    /// Of a product.
    static PACKING: Cell<Vec<Pair>> = const { Cell::new(Vec::new()) };
}

/// The first `count` values of `memory`, whatever they are.
fn scratch<T: Copy>(memory: &mut Vec<T>, count: usize, value: T) -> &mut [T] {
    if memory.len() < count {
        memory.resize(count, value);
    }
    &mut memory[..count]
}

#[cfg(test)]
mod tests {
    use super::{super::Matrix, *};

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

    /// Numbers that so many bfloat16 hold.
    #[derive(Clone, Copy)]
    struct Short<'a, const P: usize>(Matrix<'a>);

    impl<const P: usize> Source for Short<'_, P> {
        const PARTS: usize = P;

        fn read(self, k: usize, first: usize, out: &mut [f32]) {
            self.0.read(k, first, out);
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
    const SIZES: [[usize; 3]; 9] = [
        [1, 0, 3],
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
            let mut out = vec![0.0; rows_of * columns];
            let bias = random(columns, 3);
            let (a, b) = (rows(&left, depth), rows(&right, columns));
            multiply(unit, a, b, size, Some(&bias), &mut out).expect("finite numbers");
            for ((found, bias), [sum, size]) in out
                .iter()
                .zip(bias.iter().cycle())
                .zip(exact(&left, &right, size))
            {
                let error = (f64::from(*found) - f64::from(*bias) - sum).abs();
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
        fn check<const L: usize, const R: usize>(size: Size, scales: [f32; 2]) {
            let Some(unit) = Unit::get() else { return };
            let whole = |values: Vec<f32>, scale: f32| -> Vec<f32> {
                values.into_iter().map(|x| (x * scale).round()).collect()
            };
            let left = whole(random(size.rows * size.depth, 4), scales[0]);
            let right = whole(random(size.depth * size.columns, 5), scales[1]);
            let mut out = vec![0.0; size.rows * size.columns];
            let (a, b) = (rows(&left, size.depth), rows(&right, size.columns));
            let (a, b) = (Short::<L>(a), Short::<R>(b));
            multiply(unit, a, b, size, None, &mut out).expect("finite numbers");
            for (found, [sum, _]) in out.iter().zip(exact(&left, &right, size)) {
                assert_eq!(f64::from(*found), sum, "{L} by {R} parts");
            }
        }
        // Whole numbers up to 16 in one part, up to 2,000 in two: all sums are exact.
        for [rows_of, depth, columns] in SIZES {
            let size = Size {
                rows: rows_of,
                depth,
                columns,
            };
            check::<1, 1>(size, [16.0, 16.0]);
            check::<2, 1>(size, [2e3, 2.0]);
            check::<1, 3>(size, [2.0, 2e3]);
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
            multiply(unit, a, b, size, None, &mut out).expect("finite numbers");
            out
        };
        let expected = run(rows(&left, 70), rows(&right, 45));
        let turned = |values, stride| Matrix {
            values,
            strides: [1, stride],
        };
        let (down, across) = (turned(&down[..], 35), turned(&across[..], 70));
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
                    assert!(multiply(unit, a, b, size, None, &mut out).is_err());
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
            multiply(unit, a, b, size, None, &mut out).expect("finite numbers");
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
                multiply(unit, a, b, size, None, &mut out).expect("finite numbers");
            });
            out
        };
        let one = run(1);
        assert_eq!(run(2), one);
        assert_eq!(run(5), one);
    }
}
