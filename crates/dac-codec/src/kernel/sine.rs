//! Snake over a row of samples, in arithmetic that compilers turn into vector instructions.
//!
//! `sin^2` has period pi, so the argument is brought to `[-pi/2, pi/2]` by subtracting whole multiples of pi
//! (in three parts, so that the product of each with the multiple is exact: Cody and Waite, 1980), where the Taylor
//! series up to degree 11 is within 6e-8 of the sine, and that up to degree 12 within 7e-9 of the cosine.

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

/// `1 / (2n)!` with alternating signs, for degrees 4 to 12.
const COSINE_TAYLOR: [f32; 5] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
];
/// How many sums are kept side by side: as many as a vector register may hold.
const LANES: usize = 16;

/// `y` less a multiple of pi, in `[-pi/2, pi/2]`, for `|y| <= LIMIT`.
#[inline(always)]
fn reduce(y: f32) -> f32 {
    let multiple = (y * std::f32::consts::FRAC_1_PI + ROUNDER) - ROUNDER;
    ((y - multiple * PI_PARTS[0]) - multiple * PI_PARTS[1]) - multiple * PI_PARTS[2]
}

/// The sine of a reduced argument.
#[inline(always)]
fn sine(r: f32) -> f32 {
    let r2 = r * r;
    let mut series = TAYLOR[4];
    for coefficient in [TAYLOR[3], TAYLOR[2], TAYLOR[1], TAYLOR[0]] {
        series = series * r2 + coefficient;
    }
    r + r * r2 * series
}

/// The cosine of a reduced argument.
#[inline(always)]
fn cosine(r: f32) -> f32 {
    let r2 = r * r;
    let mut series = COSINE_TAYLOR[4];
    for coefficient in COSINE_TAYLOR[..4].iter().rev() {
        series = series * r2 + coefficient;
    }
    (1.0 - 0.5 * r2) + r2 * r2 * series
}

/// `sin(y)^2` for `|y| <= LIMIT`.
#[inline(always)]
fn sin_squared(y: f32) -> f32 {
    let sine = sine(reduce(y));
    sine * sine
}

/// `sin(y)^2` and `sin(2y)` for `|y| <= LIMIT`: an odd multiple of pi turns the signs of sine and cosine, not of these.
#[inline(always)]
fn sin_squared_and_double(y: f32) -> (f32, f32) {
    let r = reduce(y);
    let (sine, cosine) = (sine(r), cosine(r));
    (sine * sine, 2.0 * sine * cosine)
}

/// Whether all arguments are numbers that can be reduced.
#[inline(always)]
fn reducible(input: &[f32], alpha: f32) -> bool {
    let within = |all: bool, x: &f32| all & ((alpha * x).abs() <= LIMIT);
    input.iter().fold(true, within)
}

/// `output = input + sin(alpha * input)^2 / (alpha + 1e-9)`.
#[inline(always)]
pub(super) fn snake_row(input: &[f32], output: &mut [f32], alpha: f32) {
    let inverse = 1.0 / (alpha + SNAKE_EPSILON);
    for (input, output) in input.chunks(BLOCK).zip(output.chunks_mut(BLOCK)) {
        if reducible(input, alpha) {
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

/// Multiplies the gradient of the output by the slope for each input and returns that of `alpha`.
#[inline(always)]
pub(super) fn snake_gradient_row(input: &[f32], gradient: &mut [f32], alpha: f32) -> f32 {
    let inverse = 1.0 / (alpha + SNAKE_EPSILON);
    let share = alpha * inverse;
    let slope = |x: f32, gradient: &mut f32, (squared, double): (f32, f32)| {
        let for_alpha = *gradient * (x * double - squared * inverse);
        *gradient *= 1.0 + share * double;
        for_alpha
    };
    let mut lanes = [0.0; LANES];
    let mut rest = 0.0;
    for (input, gradient) in input.chunks(BLOCK).zip(gradient.chunks_mut(BLOCK)) {
        if reducible(input, alpha) {
            let (inputs, input) = input.as_chunks::<LANES>();
            let (gradients, gradient) = gradient.as_chunks_mut::<LANES>();
            for (x, gradient) in inputs.iter().zip(gradients) {
                for lane in 0..LANES {
                    let terms = sin_squared_and_double(alpha * x[lane]);
                    lanes[lane] += slope(x[lane], &mut gradient[lane], terms);
                }
            }
            for (&x, gradient) in input.iter().zip(gradient) {
                rest += slope(x, gradient, sin_squared_and_double(alpha * x));
            }
        } else {
            for (&x, gradient) in input.iter().zip(gradient) {
                let (sine, cosine) = (alpha * x).sin_cos();
                rest += slope(x, gradient, (sine * sine, 2.0 * sine * cosine));
            }
        }
    }
    (lanes.iter().sum::<f32>() + rest) * inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_squared_sine_and_that_of_the_double_are_within_4e_7_over_the_whole_range() {
        let mut worst = (0.0, 0.0);
        let mut check = |y: f32| {
            let exact = f64::from(y).sin().powi(2);
            let (squared, double) = sin_squared_and_double(y);
            assert_eq!(squared, sin_squared(y));
            let error = (f64::from(squared) - exact).abs();
            let error = error.max((f64::from(double) - (2.0 * f64::from(y)).sin()).abs());
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
