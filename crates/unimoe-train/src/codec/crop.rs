//! What is random in a step: where clips are cut, and how many codebooks each row keeps.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::sounds::Sound;

/// Pieces of clips.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Crops {
    /// One piece after another; zeros follow a clip that is shorter.
    pub samples: Vec<f32>,
    /// How many codebooks each row keeps.
    pub n_quantizers: Vec<usize>,
}

impl Crops {
    /// Draws a piece of `length` samples of each clip, from a multiple of `step` on, and with probability `dropout` a number of
    /// codebooks from one to `n_codebooks`, else all of them. A seed gives the same ones always.
    pub(super) fn draw(
        sounds: &[Sound],
        length: usize,
        step: usize,
        n_codebooks: usize,
        dropout: f64,
        seed: u64,
    ) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut samples = Vec::with_capacity(sounds.len() * length);
        let mut n_quantizers = Vec::with_capacity(sounds.len());
        for sound in sounds {
            let sound = &sound.samples;
            let start = step * rng.random_range(0..=sound.len().saturating_sub(length) / step);
            let piece = &sound[start..sound.len().min(start + length)];
            samples.extend_from_slice(piece);
            samples.resize(samples.len() + length - piece.len(), 0.0);
            let is_cut = rng.random_bool(dropout);
            let kept = rng.random_range(1..=n_codebooks);
            n_quantizers.push(if is_cut { kept } else { n_codebooks });
        }
        Self {
            samples,
            n_quantizers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(samples: Vec<f32>) -> Sound {
        Sound {
            id: String::new(),
            domain: "speech".into(),
            samples: samples.into(),
        }
    }

    #[test]
    fn pieces_are_runs_of_the_clip_and_reach_both_of_its_ends() {
        let clip = sound((0..10).map(|n| n as f32).collect());
        let mut starts = [false; 7];
        for seed in 0..200 {
            let crops = Crops::draw(std::slice::from_ref(&clip), 4, 1, 3, 0.5, seed);
            let start = crops.samples[0];
            assert_eq!(
                crops.samples,
                [start, start + 1.0, start + 2.0, start + 3.0]
            );
            starts[start as usize] = true;
        }
        assert_eq!(starts, [true; 7]);
    }

    #[test]
    fn pieces_begin_where_frames_do_if_they_are_to() {
        let clip = sound((0..11).map(|n| n as f32).collect());
        let start = |seed| Crops::draw(std::slice::from_ref(&clip), 4, 3, 1, 0.0, seed).samples[0];
        let starts: std::collections::BTreeSet<u32> =
            (0..100).map(|seed| start(seed) as u32).collect();
        assert_eq!(Vec::from_iter(starts), [0, 3, 6]);
    }

    #[test]
    fn a_short_clip_is_followed_by_silence() {
        let sounds = [sound(vec![1.0, 2.0]), sound(vec![3.0, 4.0, 5.0])];
        let crops = Crops::draw(&sounds, 3, 1, 2, 0.0, 1);
        assert_eq!(crops.samples, [1.0, 2.0, 0.0, 3.0, 4.0, 5.0]);
        assert_eq!(crops.n_quantizers, [2, 2]);
    }

    #[test]
    fn half_of_the_rows_keep_all_codebooks_and_the_others_any_number() {
        let sounds: Vec<Sound> = (0..4000).map(|_| sound(vec![0.0])).collect();
        let crops = Crops::draw(&sounds, 1, 1, 4, 0.5, 7);
        let share =
            |n| crops.n_quantizers.iter().filter(|&&kept| kept == n).count() as f64 / 4000.0;
        // 1/8 each, and 1/2 more for all four; four standard errors are 0.032 at most.
        for (n, expected) in [(1, 0.125), (2, 0.125), (3, 0.125), (4, 0.625)] {
            assert!((share(n) - expected).abs() < 0.032, "{n}: {}", share(n));
        }
        assert_eq!(crops, Crops::draw(&sounds, 1, 1, 4, 0.5, 7));
        assert_ne!(crops, Crops::draw(&sounds, 1, 1, 4, 0.5, 8));
    }
}
