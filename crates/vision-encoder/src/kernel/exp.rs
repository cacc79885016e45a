//! The exponential function in arithmetic that compilers turn into vector instructions.
//!
//! `e^x = 2^n e^r` with `n` the whole number nearest to `x / ln 2` and `|r| <= ln(2) / 2`, subtracted in two parts so that
//! the product of the first with `n` is exact (Cody and Waite, 1980); there the Taylor series up to degree 7 is within
//! 6e-9 of the exponential.

/// Beyond these the result is no normal float32.
const LIMITS: (f32, f32) = (-87.3, 88.3);
/// Adding and subtracting 1.5 * 2^23 rounds a float32 to a whole number.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2: its first bits, and the rest.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// `1 / n!` from degree 7 down to 2.
const TAYLOR: [f32; 6] = [
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];

/// `e^x`, of an argument brought to between -87.3 and 88.3 first.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(LIMITS.0, LIMITS.1);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (x - n * LN_2[0]) - n * LN_2[1];
    let mut series = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        series = series * r + coefficient;
    }
    // The whole number stands in the last bits of the shifted one.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    (1.0 + r + r * r * series) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_within_2e_7_of_itself_over_the_whole_range() {
        for i in -873_000..=883_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2e-7, "{x}: {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1e30), exp(-87.3));
        assert_eq!(exp(1e30), exp(88.3));
    }
}
