//! Arithmetic that compilers turn into vector instructions: the exponential, and sums side by side.
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
/// How many sums or maxima are kept side by side: as many as a vector register may hold.
const LANES: usize = 16;

/// `e^x`: 0 below -87.3, and no more than `e^88.3`.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let inside = x.clamp(LIMITS.0, LIMITS.1);
    let shifted = inside * std::f32::consts::LOG2_E + ROUNDER;
    let n = shifted - ROUNDER;
    let r = (inside - n * LN_2[0]) - n * LN_2[1];
    let mut series = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        series = series * r + coefficient;
    }
    // The whole number stands in the last bits of the shifted one.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let value = (1.0 + r + r * r * series) * power;
    if x < LIMITS.0 { 0.0 } else { value }
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// The largest value; negative infinity of none. Passes over NaN.
#[inline(always)]
pub(crate) fn largest(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    let all = lanes.iter().chain(rest);
    all.fold(f32::NEG_INFINITY, |largest, value| largest.max(*value))
}

/// Sum of `f` over the values.
#[inline(always)]
pub(crate) fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += f(*value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|value| f(*value)).sum::<f32>()
}

/// Replaces each value by `f` of it and returns the sum of the new ones.
#[inline(always)]
pub(crate) fn map_sum(values: &mut [f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks_mut::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = f(*value);
            *lane += *value;
        }
    }
    let mut total = lanes.iter().sum::<f32>();
    for value in rest {
        *value = f(*value);
        total += *value;
    }
    total
}

/// Sum of the products.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let n = a.len().min(b.len());
    let ((a, rest_a), (b, rest_b)) = (a[..n].as_chunks::<LANES>(), b[..n].as_chunks::<LANES>());
    let mut lanes = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| a * b);
    lanes.iter().sum::<f32>() + rest.sum::<f32>()
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
            assert!(error < 2e-7 || x < LIMITS.0, "{x}: {error}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!((exp(-1e30), exp(f32::NEG_INFINITY)), (0.0, 0.0));
        assert_eq!(exp(1e30), exp(88.3));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_side_by_side_count_every_value_once() {
        let values: Vec<f32> = (1..=37).map(|n| n as f32).collect();
        assert_eq!(sum(&values, |x| x), 703.0);
        assert_eq!(dot(&values, &values), 17_575.0);
        assert_eq!(largest(&values), 37.0);
        assert_eq!(largest(&[]), f32::NEG_INFINITY);
        let mut twice = values;
        assert_eq!(map_sum(&mut twice, |x| 2.0 * x), 1_406.0);
        assert_eq!(twice[36], 74.0);
    }
}
