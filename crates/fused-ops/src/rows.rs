//! Rows of memory: written on all threads, with the widest vectors that the processor has.

use pulp::{Arch, WithSimd};
use rayon::prelude::*;

/// Values that are worth a thread's attention; less than two such parts stay on the caller's thread.
pub const SPLIT: usize = 1 << 14;

/// Runs a loop compiled for the widest vectors that the processor has.
#[inline(always)]
pub fn vectorised<F: WithSimd>(f: F) -> F::Output {
    // Without its feature, pulp's own choice passes over AVX2.
    #[cfg(target_arch = "x86_64")]
    if matches!(Arch::new(), Arch::Scalar)
        && let Some(avx2) = pulp::x86::V3::try_new()
    {
        return pulp::Simd::vectorize(avx2, f);
    }
    Arch::new().dispatch(f)
}

/// Calls `f(row, values)` for each row of `width` values; `cost` is how many values a row makes the processor touch.
///
/// # Panics
///
/// Panics if `width` is 0.
pub fn each_row(out: &mut [f32], width: usize, cost: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    let together = rows_together(cost);
    let f = &f;
    let run = |first: usize, rows: &mut [f32]| {
        vectorised(|| {
            for (row, values) in rows.chunks_exact_mut(width).enumerate() {
                f(first + row, values);
            }
        });
    };
    if out.len() / width < 2 * together {
        return run(0, out);
    }
    out.par_chunks_mut(together * width)
        .enumerate()
        .for_each(|(part, rows)| run(part * together, rows));
}

/// [`each_row`] over two lists of as many rows.
pub fn each_row_of_two(
    outs: [&mut [f32]; 2],
    widths: [usize; 2],
    cost: usize,
    f: impl Fn(usize, &mut [f32], &mut [f32]) + Sync,
) {
    let together = rows_together(cost);
    let f = &f;
    let run = |first: usize, a: &mut [f32], b: &mut [f32]| {
        vectorised(|| {
            let rows = a
                .chunks_exact_mut(widths[0])
                .zip(b.chunks_exact_mut(widths[1]));
            for (row, (a, b)) in rows.enumerate() {
                f(first + row, a, b);
            }
        });
    };
    let [a, b] = outs;
    if a.len() / widths[0] < 2 * together {
        return run(0, a, b);
    }
    a.par_chunks_mut(together * widths[0])
        .zip(b.par_chunks_mut(together * widths[1]))
        .enumerate()
        .for_each(|(part, (a, b))| run(part * together, a, b));
}

/// How many rows of `cost` values make a part.
pub fn rows_together(cost: usize) -> usize {
    (SPLIT / cost.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_on_one_thread_and_on_many() {
        for (rows, width) in [(1, 3), (7, 5), (9_000, 8)] {
            let mut out = vec![0.0; rows * width];
            let mut second = vec![0.0; rows];
            each_row(&mut out, width, width, |row, values| {
                values.iter_mut().for_each(|value| *value += row as f32);
            });
            each_row_of_two([&mut out, &mut second], [width, 1], width, |row, a, b| {
                a[0] += 1.0;
                b[0] = row as f32;
            });
            for row in 0..rows {
                assert_eq!(out[row * width], row as f32 + 1.0);
                assert_eq!(out[row * width + width - 1], row as f32);
                assert_eq!(second[row], row as f32);
            }
        }
    }
}
