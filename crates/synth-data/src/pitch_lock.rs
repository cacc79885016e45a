//! Speech whose pitch is a whole number of periods in each frame of a codec.
//!
//! A codec of 50 frames a second hears a steady vowel of 113 Hz at another point of its period in each frame: as many different
//! frames as there are phases, and no text tells which. With 100, 150, 200 ... Hz and periods that begin where frames do, a vowel is
//! the same frame again and again, and what is said decides all of its codes.
//!
//! Periods are moved by pitch-synchronous overlap and add (TD-PSOLA; Moulines and Charpentier, Speech Communication 9, 1990): voiced
//! sound is cut into grains of two periods around the peaks of its fundamental, and each peak of the new pitch gets the grain nearest
//! to it in time. Unvoiced sound stays as it is, and so do all durations.

use std::f64::consts::PI;

use crate::{attributes::TICK, sound::SAMPLE_RATE};

/// Samples of a frame.
const FRAME: usize = (SAMPLE_RATE as f64 * TICK) as usize;
/// Periods of a frame that are possible: 100 to 400 Hz.
const PERIODS: std::ops::RangeInclusive<usize> = 2..=8;
/// Samples between two looks at the pitch.
const HOP: usize = 40;
/// Correlation of a period with the next from which sound is voiced.
const VOICED: f64 = 0.7;
/// Sound below this share of the loudest look's energy is not voiced: -40 dB.
const QUIET: f64 = 1e-4;
/// How much nearer the pitch must be to another number of periods before the number changes.
const HYSTERESIS: f64 = 0.15;
/// What a lag that is as long as the usual period is preferred by.
const USUAL: f64 = 0.05;

/// Speech with periods that divide frames; `hertz` is about its pitch.
pub(crate) fn lock(x: &[f32], hertz: f64) -> Vec<f32> {
    let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let usual = f64::from(SAMPLE_RATE) / hertz;
    let mut out = x.clone();
    for voiced in voiced(&track(&x, usual)) {
        let marks = marks(&x, &voiced);
        if marks.len() >= 3 {
            move_periods(&x, &marks, &voiced, &mut out);
        }
    }
    out.into_iter().map(|v| v as f32).collect()
}

/// A stretch of voiced sound: its first look, and the period in samples at each look.
struct Voiced {
    first: usize,
    periods: Vec<f64>,
}

impl Voiced {
    /// The period at a sample; beyond the ends that of the end.
    fn period(&self, at: f64) -> f64 {
        let last = self.periods.len() - 1;
        let look = (at / HOP as f64 - self.first as f64).clamp(0.0, last as f64);
        let (i, part) = (look as usize, look.fract());
        let next = self.periods[(i + 1).min(last)];
        self.periods[i] + part * (next - self.periods[i])
    }
}

/// The period in samples at each look, where there is one.
fn track(x: &[f64], usual: f64) -> Vec<Option<f64>> {
    let (shortest, longest) = ((usual / 1.9) as usize, (usual * 1.9) as usize);
    // A look is the middle of two windows that are a lag apart.
    let mut padded = vec![0.0f32; longest];
    padded.extend(x.iter().map(|v| *v as f32));
    padded.resize(padded.len() + longest + HOP, 0.0);
    let mut sums = vec![0.0];
    for v in &padded {
        sums.push(sums[sums.len() - 1] + f64::from(*v) * f64::from(*v));
    }
    let energy = |from: usize, n: usize| sums[from + n] - sums[from];
    let looks: Vec<usize> = (0..=x.len()).step_by(HOP).collect();
    let around = |look: usize| energy(look, 2 * longest);
    let loudest = looks.iter().map(|look| around(*look)).fold(0.0, f64::max);
    let period = |look: usize| {
        if around(look) <= QUIET * loudest {
            return None;
        }
        let likeness = |lag: usize| {
            let first = look + longest - (longest + lag) / 2;
            let product = dot(
                &padded[first..first + longest],
                &padded[first + lag..first + lag + longest],
            );
            product
                / (energy(first, longest) * energy(first + lag, longest))
                    .sqrt()
                    .max(1e-12)
        };
        let found: Vec<f64> = (shortest..=longest).map(likeness).collect();
        let preferred = |i: usize| {
            let octaves = ((shortest + i) as f64 / usual).log2();
            found[i] - USUAL * octaves * octaves
        };
        let best = (0..found.len()).max_by(|a, b| preferred(*a).total_cmp(&preferred(*b)))?;
        let lag = (shortest + best) as f64;
        if found[best] < VOICED {
            return None;
        }
        if best == 0 || best + 1 == found.len() {
            return Some(lag);
        }
        let (left, middle, right) = (found[best - 1], found[best], found[best + 1]);
        let bend = left - 2.0 * middle + right;
        Some(
            lag + if bend < 0.0 {
                0.5 * (left - right) / bend
            } else {
                0.0
            },
        )
    };
    looks.into_iter().map(period).collect()
}

/// The sum of products, in sixteen sums that a compiler makes vectors of.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a
        .remainder()
        .iter()
        .zip(b.remainder())
        .map(|(a, b)| a * b)
        .sum();
    for (a, b) in a.zip(b) {
        for k in 0..16 {
            sums[k] += a[k] * b[k];
        }
    }
    f64::from(sums.iter().sum::<f32>() + rest)
}

/// The stretches of a track.
fn voiced(track: &[Option<f64>]) -> Vec<Voiced> {
    let mut all: Vec<Voiced> = Vec::new();
    let mut last = None;
    for (look, period) in track.iter().enumerate() {
        let Some(period) = *period else { continue };
        match all.last_mut() {
            Some(stretch) if last == Some(look - 1) => stretch.periods.push(period),
            _ => all.push(Voiced {
                first: look,
                periods: vec![period],
            }),
        }
        last = Some(look);
    }
    all
}

/// The peaks of the fundamental in a stretch.
fn marks(x: &[f64], voiced: &Voiced) -> Vec<f64> {
    let start = voiced.first * HOP;
    let end = ((voiced.first + voiced.periods.len() - 1) * HOP).min(x.len().saturating_sub(1));
    // Amplitude and phase of the fundamental at a sample, by two periods around it.
    let fundamental = |at: f64| {
        let period = voiced.period(at);
        let (mut re, mut im) = (0.0, 0.0);
        let first = (at - period).ceil().max(0.0) as usize;
        let last = ((at + period).floor() as usize).min(x.len() - 1);
        for (i, v) in x.get(first..=last).unwrap_or_default().iter().enumerate() {
            let t = (first + i) as f64 - at;
            let angle = 2.0 * PI * t / period;
            let weight = 0.5 + 0.5 * (PI * t / period).cos();
            re += v * weight * angle.cos();
            im -= v * weight * angle.sin();
        }
        im.atan2(re)
    };
    let mut marks: Vec<f64> = Vec::new();
    let mut at = start as f64;
    loop {
        // Where the phase is nought next to here, twice: the first step may come from far.
        for _ in 0..2 {
            at -= fundamental(at) / (2.0 * PI) * voiced.period(at);
        }
        let period = voiced.period(at);
        if let Some(last) = marks.last()
            && at < last + 0.5 * period
        {
            at = last + period;
        }
        if at > end as f64 {
            return marks;
        }
        if at >= 0.0 {
            marks.push(at);
        }
        at += period;
    }
}

/// Takes the grains of a stretch out of `out` and puts them where the periods of the frames are.
fn move_periods(x: &[f64], marks: &[f64], voiced: &Voiced, out: &mut [f64]) {
    // To the neighbours on both sides; the first and the last mark have one.
    let gap = |i: usize| {
        let (left, right) = (i.max(1), i.min(marks.len() - 2));
        (
            marks[left] - marks[left - 1],
            marks[right + 1] - marks[right],
        )
    };
    let weight = |i: usize, t: f64| {
        let (left, right) = gap(i);
        let part = if t < 0.0 { -t / left } else { t / right };
        if part < 1.0 {
            0.5 + 0.5 * (PI * part).cos()
        } else {
            0.0
        }
    };
    for (i, mark) in marks.iter().enumerate() {
        let (left, right) = gap(i);
        let first = (mark - left).ceil().max(0.0) as usize;
        let last = ((mark + right).floor() as usize).min(x.len() - 1);
        for at in first..=last {
            out[at] -= x[at] * weight(i, at as f64 - mark);
        }
    }

    let (first, last) = (marks[0], marks[marks.len() - 1]);
    let mut periods = None;
    for frame in first as usize / FRAME..=last as usize / FRAME {
        let start = (frame * FRAME) as f64;
        let wanted = FRAME as f64 / voiced.period((start + FRAME as f64 / 2.0).clamp(first, last));
        let n = match periods {
            Some(n) if (wanted - n as f64).abs() < 0.5 + HYSTERESIS => n,
            _ => (wanted.round() as usize).clamp(*PERIODS.start(), *PERIODS.end()),
        };
        periods = Some(n);
        let step = FRAME as f64 / n as f64;
        for k in 0..n {
            let to = start + k as f64 * step;
            if to < first - 0.5 * step || to > last + 0.5 * step {
                continue;
            }
            let nearest = marks.partition_point(|mark| *mark < to);
            let nearest = match nearest {
                0 => 0,
                i if i == marks.len() => i - 1,
                i if to - marks[i - 1] < marks[i] - to => i - 1,
                i => i,
            };
            let (left, right) = gap(nearest);
            let begin = (to - left).ceil().max(0.0) as usize;
            let end = ((to + right).floor() as usize).min(x.len() - 1);
            for (at, sum) in out.iter_mut().enumerate().take(end + 1).skip(begin) {
                let t = at as f64 - to;
                *sum += read(x, marks[nearest] + t) * weight(nearest, t);
            }
        }
    }
}

/// The sound between its samples, by a cubic through four of them.
fn read(x: &[f64], at: f64) -> f64 {
    let (i, t) = (at.floor(), at - at.floor());
    let sample = |k: f64| {
        let k = i + k;
        if k < 0.0 || k >= x.len() as f64 {
            0.0
        } else {
            x[k as usize]
        }
    };
    let [a, b, c, d] = [-1.0, 0.0, 1.0, 2.0].map(sample);
    b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buzz of ten harmonics whose pitch goes from one frequency to another.
    fn buzz(from: f64, to: f64, seconds: f64) -> Vec<f32> {
        let n = (seconds * f64::from(SAMPLE_RATE)) as usize;
        let mut phase = 1.0;
        (0..n)
            .map(|i| {
                let hertz = from + (to - from) * i as f64 / n as f64;
                phase += 2.0 * PI * hertz / f64::from(SAMPLE_RATE);
                let sum: f64 = (1..=10)
                    .map(|k| (phase * f64::from(k)).cos() / f64::from(k))
                    .sum();
                0.1 * sum as f32
            })
            .collect()
    }

    fn likeness(a: &[f32], b: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    }

    #[test]
    fn a_steady_sound_is_the_same_frame_again_and_again() {
        for hertz in [93.0, 113.0, 157.0, 243.0] {
            let x = buzz(hertz, hertz, 0.5);
            let y = lock(&x, hertz);
            assert_eq!(y.len(), x.len());
            let frames: Vec<&[f32]> = y.chunks_exact(FRAME).collect();
            for pair in frames[3..frames.len() - 3].windows(2) {
                assert!(likeness(pair[0], pair[1]) > 0.98, "{hertz} Hz");
                // Whole periods, the nearest number.
                let n = (hertz / 50.0).round() as usize;
                let period = FRAME / n;
                assert!(
                    likeness(&pair[0][..period], &pair[0][period..2 * period]) > 0.97,
                    "{hertz} Hz"
                );
            }
        }
    }

    #[test]
    fn a_rising_pitch_goes_up_in_steps_and_never_back() {
        let y = lock(&buzz(140.0, 260.0, 1.0), 190.0);
        let periods = |frame: &[f32]| {
            (2..=6).max_by(|a, b| {
                let like = |n: usize| {
                    let p = FRAME / n;
                    likeness(&frame[..FRAME - p], &frame[p..])
                };
                like(*a).total_cmp(&like(*b))
            })
        };
        let found: Vec<_> = y
            .chunks_exact(FRAME)
            .skip(3)
            .take(44)
            .map(periods)
            .collect();
        assert!(found.is_sorted(), "{found:?}");
        assert_eq!((found[0], found[43]), (Some(3), Some(5)));
    }

    #[test]
    fn what_has_no_pitch_stays() {
        let mut state = 1u32;
        let noise: Vec<f32> = (0..8000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            })
            .collect();
        assert_eq!(lock(&noise, 120.0), noise);
        assert_eq!(lock(&[0.0; 500], 120.0), [0.0; 500]);
        assert!(lock(&[], 120.0).is_empty());
    }
}
