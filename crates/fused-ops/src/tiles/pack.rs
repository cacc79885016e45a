//! Matrices in the order in which tiles read them, each number as the sum of one to three bfloat16.
//!
//! A float32 has 24 bits, a bfloat16 eight of them: three hold it exactly.

use std::arch::x86_64::__m512i;

use pulp::{bytemuck::cast, x86::V4};

use super::{
    source::Source,
    unit::{DEPTH, Line, Pair, SIDE, ZERO},
};

/// The bits from which on a number is none, or infinite.
const INFINITY: u32 = 0x7F80_0000;

/// Takes numbers apart.
#[derive(Debug, Clone, Copy)]
struct Splitter {
    simd: V4,
    /// The bits of the largest first parts so far, without their signs.
    largest: __m512i,
}

impl Splitter {
    #[inline(always)]
    fn new(simd: V4) -> Self {
        let largest = cast([0u32; 16]);
        Self { simd, largest }
    }

    /// The bits of the numbers' parts, each a bfloat16 in the upper half.
    #[inline(always)]
    fn parts<const P: usize>(&mut self, numbers: [f32; 16]) -> [__m512i; P] {
        let ops = self.simd.avx512f;
        let mut parts = [cast(numbers); P];
        if P > 1 {
            let half = ops._mm512_set1_epi32(0x8000);
            let upper = ops._mm512_set1_epi32(0xFFFF_0000_u32 as i32);
            let mut rest = cast(numbers);
            for part in &mut parts {
                let bits = ops._mm512_add_epi32(cast(rest), half);
                *part = ops._mm512_and_si512(bits, upper);
                rest = ops._mm512_sub_ps(rest, cast(*part));
            }
            let sizes = ops._mm512_and_si512(parts[0], ops._mm512_set1_epi32(i32::MAX));
            self.largest = ops._mm512_max_epu32(self.largest, sizes);
        }
        parts
    }

    /// Whether all numbers so far have parts.
    #[inline(always)]
    fn fine(self) -> bool {
        self.simd.avx512f._mm512_reduce_max_epu32(self.largest) < INFINITY
    }

    /// The words of 32 numbers that follow each other.
    #[inline(always)]
    fn along<const P: usize>(&mut self, numbers: &[f32; DEPTH]) -> [[u32; DEPTH / 2]; P] {
        /// The upper halves of two vectors.
        const UPPER: [u16; 32] = {
            let mut places = [0; 32];
            let mut place = 0;
            while place < 32 {
                places[place] = 2 * place as u16 + 1;
                place += 1;
            }
            places
        };
        let [first, second]: [[f32; 16]; 2] = cast(*numbers);
        let (first, second) = (self.parts::<P>(first), self.parts::<P>(second));
        let mut lines = [[0; 16]; P];
        for p in 0..P {
            let ops = self.simd.avx512bw;
            lines[p] = cast(ops._mm512_permutex2var_epi16(first[p], cast(UPPER), second[p]));
        }
        lines
    }

    /// The words of 16 numbers and those beside them.
    #[inline(always)]
    fn beside<const P: usize>(&mut self, first: &[f32; 16], second: &[f32; 16]) -> [[u32; 16]; P] {
        let (first, second) = (self.parts::<P>(*first), self.parts::<P>(*second));
        let mut lines = [[0; 16]; P];
        for p in 0..P {
            let ops = self.simd.avx512f;
            let lower = ops._mm512_srli_epi32::<16>(first[p]);
            lines[p] = cast(ops._mm512_or_si512(lower, second[p]));
        }
        lines
    }
}

/// Packs `rows` rows of the left matrix, at most [`SIDE`], from `corner` (row, column) on, `depth` columns: `P` pairs for
/// each step of [`DEPTH`] columns. Returns whether all numbers have parts.
#[inline(always)]
pub(super) fn left<const P: usize>(
    simd: V4,
    matrix: impl Source,
    corner: [usize; 2],
    [rows, depth]: [usize; 2],
    pairs: &mut [Pair],
) -> bool {
    let mut splitter = Splitter::new(simd);
    for (step, pairs) in pairs.chunks_exact_mut(P).enumerate() {
        let column = step * DEPTH;
        let count = DEPTH.min(depth - column);
        let (row, column) = (corner[0], corner[1] + column);
        if rows < SIDE || count < DEPTH {
            pairs.fill(ZERO);
        }
        if matrix.column(0, 0, 0).is_none() {
            // Zeros stay behind the last column.
            let mut numbers = [0.0; DEPTH];
            for (r, row) in (row..row + rows).enumerate() {
                matrix.read(row, column, &mut numbers[..count]);
                let lines = splitter.along::<P>(&numbers);
                for p in 0..P {
                    pairs[p][r] = Line(lines[p]);
                }
            }
            continue;
        }
        let mut numbers = [[0.0; SIDE]; 2];
        for k in (0..count).step_by(2) {
            for (k, numbers) in (k..).zip(&mut numbers) {
                let real = (k < count).then(|| matrix.column(column + k, row, rows));
                match real.flatten() {
                    Some(column) => numbers[..rows].copy_from_slice(column),
                    None => numbers.fill(0.0),
                }
            }
            let [first, second] = numbers
                .each_ref()
                .map(|numbers| numbers.as_chunks::<16>().0);
            for half in 0..2 {
                let lines = splitter.beside::<P>(&first[half], &second[half]);
                for p in 0..P {
                    for n in 0..16 {
                        pairs[p][half * 16 + n].0[k / 2] = lines[p][n];
                    }
                }
            }
        }
    }
    splitter.fine()
}

/// Packs `depth` rows of the right matrix from `corner` on, `columns` columns: for each [`SIDE`] columns `P` pairs for each
/// step of [`DEPTH`] rows. Returns whether all numbers have parts.
#[inline(always)]
pub(super) fn right<const P: usize>(
    simd: V4,
    matrix: impl Source,
    corner: [usize; 2],
    [depth, columns]: [usize; 2],
    rows: &mut [Vec<f32>; 2],
    pairs: &mut [Pair],
) -> bool {
    let mut splitter = Splitter::new(simd);
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
            let lines = splitter.beside::<P>(first, second);
            let pair = (half / 2 * steps + step) * P;
            for p in 0..P {
                pairs[pair + p][half % 2 * 16 + line] = Line(lines[p]);
            }
        }
    }
    splitter.fine()
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
        let Some(simd) = V4::try_new() else { return };
        let mut bits = 1u32;
        for _ in 0..20_000 {
            let numbers = [(); 16].map(|()| {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(bits)
            });
            let parts = Splitter::new(simd).parts::<3>(numbers);
            let parts: [[u32; 16]; 3] = parts.map(cast);
            for (n, number) in numbers.into_iter().enumerate() {
                // Where the last part is a normal number too, and the first one finite.
                if (1e-28..3e38).contains(&number.abs()) {
                    let parts = parts.map(|part| part[n]);
                    assert!(parts.iter().all(|part| part & 0xFFFF == 0));
                    let sum: f64 = parts.into_iter().map(value).sum();
                    assert_eq!(sum, f64::from(number));
                }
            }
        }
    }

    #[test]
    fn numbers_that_have_no_parts_are_found() {
        let Some(simd) = V4::try_new() else { return };
        for (number, has) in [
            (1.0, true),
            (-3e38, true),
            (f32::MAX, false),
            (f32::INFINITY, false),
            (f32::NEG_INFINITY, false),
            (f32::NAN, false),
        ] {
            let mut splitter = Splitter::new(simd);
            let mut numbers = [0.5; 16];
            numbers[7] = number;
            splitter.parts::<3>(numbers);
            assert_eq!(splitter.fine(), has, "{number}");
        }
    }
}
