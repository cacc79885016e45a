//! Snake over a row of samples, in arithmetic that compilers turn into vector instructions.
//!
//! `sin^2` has period pi, so the argument is brought to `[-pi/2, pi/2]` by subtracting whole multiples of pi
//! (in three parts, so that the product of each with the multiple is exact: Cody and Waite, 1980), where the Taylor
//! series up to degree 11 is within 6e-8 of the sine.

use super::SNAKE_EPSILON;

/// Largest argument that is reduced here: 2^13 times pi, less a little. Larger ones take the library's sine.
const LIMIT: f32 = 25_000.0;
/// Adding and subtracting 1.5 * 2^23 rounds a float32 to a whole number.
const ROUNDER: f32 = 12_582_912.0;
/// pi, its first 8 bits, its next 11 bits, and the rest.
const PI_PARTS: [f32; 3] = [3.140_625, 9.675_026e-4, 1.509_958e-7];
/// Samples between two looks at the arguments' size.
const BLOCK: usize = 512;

/// `1 / (2n + 1)!` with alternating signs, for degrees 3 to 11.
const TAYLOR: [f32; 5] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5_040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
];

/// `sin(y)^2` for `|y| <= LIMIT`.
#[inline(always)]
fn sin_squared(y: f32) -> f32 {
    let multiple = (y * std::f32::consts::FRAC_1_PI + ROUNDER) - ROUNDER;
    let r = ((y - multiple * PI_PARTS[0]) - multiple * PI_PARTS[1]) - multiple * PI_PARTS[2];
    let r2 = r * r;
    let mut series = TAYLOR[4];
    for coefficient in [TAYLOR[3], TAYLOR[2], TAYLOR[1], TAYLOR[0]] {
        series = series * r2 + coefficient;
    }
    let sine = r + r * r2 * series;
    sine * sine
}

/// `output = input + sin(alpha * input)^2 / (alpha + 1e-9)`.
pub(super) fn snake_row(input: &[f32], output: &mut [f32], alpha: f32) {
    let inverse = 1.0 / (alpha + SNAKE_EPSILON);
    for (input, output) in input.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
        let largest = input.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        if (largest * alpha).abs() <= LIMIT {
            for (y, &x) in output.iter_mut().zip(input) {
                *y = x + sin_squared(alpha * x) * inverse;
            }
        } else {
            for (y, &x) in output.iter_mut().zip(input) {
                let sine = (alpha * x).sin();
                *y = x + sine * sine * inverse;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_squared_sine_is_within_4e_7_over_the_whole_range() {
        let mut worst = (0.0, 0.0);
        let mut check = |y: f32| {
            let exact = f64::from(y).sin().powi(2);
            let error = (f64::from(sin_squared(y)) - exact).abs();
            if error > worst.0 {
                worst = (error, y);
            }
        };
        for i in -1_000_000..=1_000_000 {
            check(i as f32 * 0.025);
            check(i as f32 * 1e-5);
        }
        // The hard ones: multiples of pi/2, where the reduction cancels.
        for n in -15_900..=15_900 {
            let near = (f64::from(n) * std::f64::consts::FRAC_PI_2) as f32;
            check(near.next_down());
            check(near);
            check(near.next_up());
        }
        assert!(worst.0 < 4e-7, "off by {} at {}", worst.0, worst.1);
    }

    #[test]
    fn huge_and_undefined_arguments_are_not_made_up() {
        let input = [f32::NAN, f32::INFINITY, 1e30, 30_000.0, 0.5];
        let mut output = [0.0; 5];
        snake_row(&input, &mut output, 1.0);
        assert!(output[0].is_nan() && output[1].is_nan());
        assert_eq!(output[2], 1e30);
        for index in [3, 4] {
            let x = f64::from(input[index]);
            assert!((f64::from(output[index]) - x - x.sin().powi(2)).abs() < 0.01);
        }
        // alpha = 0 gives x, as the reference's epsilon makes it.
        snake_row(&input[3..], &mut output[3..], 0.0);
        assert_eq!(output[3..], input[3..]);
    }
}
