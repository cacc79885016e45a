//! Matrices in the order in which tiles read them, each number as the sum of one to three bfloat16.
//!
//! A float32 has 24 bits, a bfloat16 eight of them: three hold it exactly.

use super::unit::{DEPTH, Line, Pair, SIDE};

/// The bits from which on a number is none, or infinite.
const INFINITY: u32 = 0x7F80_0000;

/// Rows of numbers that lie anywhere.
pub(crate) trait Source: Copy + Sync {
    /// Writes the values of row `k` from column `first` on to `out`.
    fn read(self, k: usize, first: usize, out: &mut [f32]);
}

/// A matrix in float32.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    /// From one row to the next, and from one column to the next.
    pub(crate) strides: [usize; 2],
}

impl Source for Matrix<'_> {
    #[inline(always)]
    fn read(self, k: usize, first: usize, out: &mut [f32]) {
        let [down, across] = self.strides;
        let row = &self.values[k * down + first * across..];
        if across == 1 {
            out.copy_from_slice(&row[..out.len()]);
        } else {
            for (n, out) in out.iter_mut().enumerate() {
                *out = row[n * across];
            }
        }
    }
}

/// The bits of a number's parts, each a bfloat16 in the upper half, and of the largest of them so far.
#[inline(always)]
fn parts<const P: usize>(number: f32, largest: &mut u32) -> [u32; P] {
    let mut parts = [number.to_bits(); P];
    if P > 1 {
        let mut rest = number;
        for part in &mut parts {
            let rounded = rest.to_bits().wrapping_add(0x8000) & 0xFFFF_0000;
            rest -= f32::from_bits(rounded);
            *part = rounded;
        }
        *largest = (*largest).max(parts[0] & 0x7FFF_FFFF);
    }
    parts
}

/// Two numbers' parts side by side.
#[inline(always)]
fn words<const P: usize>(first: f32, second: f32, largest: &mut u32) -> [u32; P] {
    let (first, second) = (parts::<P>(first, largest), parts::<P>(second, largest));
    let mut words = [0; P];
    for p in 0..P {
        words[p] = first[p] >> 16 | second[p] & 0xFFFF_0000;
    }
    words
}

/// Packs `rows` rows of the left matrix, at most [`SIDE`], from `corner` (row, column) on, `depth` columns: `P` pairs for
/// each step of [`DEPTH`] columns. Returns whether all numbers have parts.
#[inline(always)]
pub(super) fn left<const P: usize>(
    matrix: Matrix<'_>,
    corner: [usize; 2],
    [rows, depth]: [usize; 2],
    pairs: &mut [Pair],
) -> bool {
    let mut largest = 0;
    let mut numbers = [0.0; DEPTH];
    for (step, pairs) in pairs.chunks_exact_mut(P).enumerate() {
        let column = step * DEPTH;
        let count = DEPTH.min(depth - column);
        numbers[count..].fill(0.0);
        for row in 0..rows {
            matrix.read(corner[0] + row, corner[1] + column, &mut numbers[..count]);
            let mut lines = [[0; DEPTH / 2]; P];
            for word in 0..DEPTH / 2 {
                let words = words::<P>(numbers[2 * word], numbers[2 * word + 1], &mut largest);
                for p in 0..P {
                    lines[p][word] = words[p];
                }
            }
            for (pair, line) in pairs.iter_mut().zip(lines) {
                pair[row] = Line(line);
            }
        }
        for pair in pairs {
            pair[rows..].fill(Line([0; 16]));
        }
    }
    largest < INFINITY
}

/// Packs `depth` rows of the right matrix from `corner` on, `columns` columns: for each [`SIDE`] columns `P` pairs for each
/// step of [`DEPTH`] rows. Returns whether all numbers have parts.
#[inline(always)]
pub(super) fn right<const P: usize>(
    matrix: impl Source,
    corner: [usize; 2],
    [depth, columns]: [usize; 2],
    rows: &mut [Vec<f32>; 2],
    pairs: &mut [Pair],
) -> bool {
    let mut largest = 0;
    let steps = depth.div_ceil(DEPTH);
    let [first, second] = rows;
    for k in (0..steps * DEPTH).step_by(2) {
        for (k, row) in [(k, &mut *first), (k + 1, &mut *second)] {
            let (real, rest) = row.split_at_mut(columns);
            rest.fill(0.0);
            if k < depth {
                matrix.read(corner[0] + k, corner[1], real);
            } else {
                real.fill(0.0);
            }
        }
        let (step, line) = (k / DEPTH, k % DEPTH / 2);
        let halves = first.as_chunks::<16>().0.iter();
        for (half, (first, second)) in halves.zip(second.as_chunks::<16>().0).enumerate() {
            let mut lines = [[0; 16]; P];
            for n in 0..16 {
                let words = words::<P>(first[n], second[n], &mut largest);
                for p in 0..P {
                    lines[p][n] = words[p];
                }
            }
            let pair = (half / 2 * steps + step) * P;
            for p in 0..P {
                pairs[pair + p][half % 2 * 16 + line] = Line(lines[p]);
            }
        }
    }
    largest < INFINITY
}

/// Columns of the packed right matrix: whole blocks.
pub(super) fn padded(columns: usize) -> usize {
    columns.next_multiple_of(SIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(part: u32) -> f64 {
        f64::from(f32::from_bits(part))
    }

    #[test]
    fn three_parts_are_the_number() {
        let mut bits = 1u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let number = f32::from_bits(bits);
            // Where the last part is a normal number too, and the first one finite.
            if !(1e-28..3e38).contains(&number.abs()) {
                continue;
            }
            let parts = parts::<3>(number, &mut 0);
            assert!(parts.iter().all(|part| part & 0xFFFF == 0));
            assert_eq!(
                parts.into_iter().map(value).sum::<f64>(),
                f64::from(number),
                "{number}"
            );
        }
    }

    #[test]
    fn numbers_that_have_no_parts_are_found() {
        for (number, has) in [
            (1.0, true),
            (-3e38, true),
            (f32::MAX, false),
            (f32::INFINITY, false),
            (f32::NEG_INFINITY, false),
            (f32::NAN, false),
        ] {
            let mut largest = 0;
            parts::<3>(number, &mut largest);
            assert_eq!(largest < INFINITY, has, "{number}");
        }
    }
}
