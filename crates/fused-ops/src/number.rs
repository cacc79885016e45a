//! Numbers of 16 and 32 bits.

use burn::tensor::{Element, bf16, f16};
use pulp::bytemuck::Pod;

/// A number that float32 holds.
pub(crate) trait Number: Element + Pod + Send + Sync {
    /// How many bfloat16 it takes to hold one.
    const PARTS: usize;

    /// The nearest number; ties go to the even one.
    fn narrowed(value: f32) -> Self;

    /// The number, without branches, so that a loop of it becomes vectors.
    fn widened(self) -> f32;
}

impl Number for f32 {
    const PARTS: usize = 3;

    #[inline(always)]
    fn narrowed(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn widened(self) -> f32 {
        self
    }
}

impl Number for bf16 {
    const PARTS: usize = 1;

    /// Without branches, so that a loop of it becomes vectors.
    #[inline(always)]
    fn narrowed(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
        // What is no number stays none.
        let kept = bits >> 16 | 0x40;
        let upper = if value.is_nan() { kept } else { rounded };
        Self::from_bits(upper as u16)
    }

    #[inline(always)]
    fn widened(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Number for f16 {
    const PARTS: usize = 2;

    #[inline(always)]
    fn narrowed(value: f32) -> Self {
        Self::from_f32(value)
    }

    /// Exponent and fraction move to their places in float32, then a power of two mends the exponent, of subnormal numbers too.
    #[inline(always)]
    fn widened(self) -> f32 {
        /// 2^112: the difference of the exponents' biases.
        const MEND: f32 = f32::from_bits((127 + 112) << 23);
        /// Below this are numbers, from it on infinity and what is no number.
        const INFINITY: u32 = 0x7C00;
        let bits = u32::from(self.to_bits());
        let magnitude = bits & 0x7FFF;
        let number = f32::from_bits(magnitude << 13) * MEND;
        let special = f32::from_bits((magnitude << 13) | 0x7F80_0000);
        let value = if magnitude < INFINITY {
            number
        } else {
            special
        };
        f32::from_bits(value.to_bits() | (bits & 0x8000) << 16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_16_bits_is_widened_as_it_is() {
        for bits in 0..=u16::MAX {
            let (half, brain) = (f16::from_bits(bits), bf16::from_bits(bits));
            for (found, expected) in [
                (half.widened(), half.to_f32()),
                (brain.widened(), brain.to_f32()),
            ] {
                let same = found.to_bits() == expected.to_bits();
                assert!(same || found.is_nan() && expected.is_nan(), "{bits:#06x}");
            }
        }
    }

    #[test]
    fn every_size_of_number_is_narrowed_to_the_nearest() {
        let mut bits = 1u32;
        let drawn = (0..100_000).map(|_| {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bits
        });
        // Ties, the largest numbers, infinities and what is no number.
        let chosen = [
            0x3F80_8000,
            0x3F81_8000,
            0x7F7F_FFFF,
            0x7F80_0000,
            0xFF80_0001,
            0x7FFF_FFFF,
        ];
        for bits in drawn.chain(chosen) {
            let value = f32::from_bits(bits);
            let (found, expected) = (bf16::narrowed(value), bf16::from_f32(value));
            let same = found == expected || found.is_nan() && expected.is_nan();
            assert!(same, "{bits:#010x}");
        }
    }
}
