//! Four domains of codes that contradict each other.
//!
//! In each domain `d` a prompt is the domain's id and a word `w`. The first channel walks through a table of the domain
//! and the word, the other channels follow it through tables of the domain; a share of all codes is replaced by any:
//!
//! ```text
//! c[0] = start[d, w]      c[t + 1] = next[d, w, c[t]]      channel k: other[d, k, c[t]]
//! ```
//!
//! All domains use the same codes and words with tables of their own: after the same codes, each goes on otherwise.
//!
//! Axes: `T` frames, `K` channels, `V` real codes.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use unimoe_model::{CodeGrid, CodecConfig, DelayPattern, UniMoeConfig, UniMoeError};

use crate::{
    data::{DataError, Dataset},
    error::TrainError,
    example::Example,
};

/// A domain: its name, its part of the raw mixture, the share of its codes that are noise.
pub(super) struct Kind {
    pub name: &'static str,
    pub share: usize,
    pub noise: f64,
}

/// The paper's domains and numbers of clips in thousands (section 4.1); music is noisier, so harder, by construction.
pub(super) const DOMAINS: [Kind; 4] = [
    kind("speech-zh", 180, 0.1),
    kind("speech-en", 100, 0.1),
    kind("music", 128, 0.25),
    kind("video-music", 20, 0.2),
];

/// Each domain's part of the balanced set, for the 20 of the scarcest domain (section 4.1).
pub(super) const BALANCED: usize = 15;

const N_CODES: u32 = 24;
const N_CHANNELS: usize = 3;
const N_WORDS: usize = 2;
/// Id that fills rows.
pub(super) const PAD: u32 = 0;
const PLACEHOLDER: u32 = 1;
const FIRST_DOMAIN: u32 = 2;
const FIRST_WORD: u32 = FIRST_DOMAIN + DOMAINS.len() as u32;

const fn kind(name: &'static str, share: usize, noise: f64) -> Kind {
    Kind { name, share, noise }
}

/// The tables of a domain.
struct Tables {
    start: [u32; N_WORDS],
    next: [Vec<u32>; N_WORDS],
    other: [Vec<u32>; N_CHANNELS - 1],
}

/// The four domains of a seed.
pub(super) struct Task {
    seed: u64,
    frames: usize,
    tables: Vec<Tables>,
    delay: DelayPattern,
    codec: CodecConfig,
}

/// Clips in memory.
pub(super) struct Clips(pub Vec<Example>);

/// Whether clips are learnt from or measured on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Training,
    Validation,
}

/// The codec's and the texts' side of the models.
pub(super) fn vocabulary(config: &mut UniMoeConfig) {
    config.text.vocab_size = FIRST_WORD as usize + N_WORDS;
    config.codec = CodecConfig {
        n_channels: N_CHANNELS,
        vocab_size: N_CODES as usize + 3,
        eos: N_CODES,
        pad: N_CODES + 1,
        bos: N_CODES + 2,
        delay_pattern: (0..N_CHANNELS).collect(),
        placeholder: PLACEHOLDER,
    };
    config.vision = None;
}

impl Task {
    /// Draws the tables of a seed, for clips of `frames` frames.
    pub fn new(seed: u64, frames: usize) -> Result<Self, TrainError> {
        let mut config = UniMoeConfig::tiny();
        vocabulary(&mut config);
        let mut generator = generator(seed, 0);
        let mut permutation = || {
            let mut table: Vec<u32> = (0..N_CODES).collect();
            table.shuffle(&mut generator);
            table
        };
        let tables = DOMAINS.iter().map(|_| Tables {
            start: std::array::from_fn(|_| permutation()[0]),
            next: std::array::from_fn(|_| permutation()),
            other: std::array::from_fn(|_| permutation()),
        });
        let tables = tables.collect();
        let delay = DelayPattern::new(config.codec.delay_pattern.clone());
        Ok(Self {
            seed,
            frames,
            tables,
            delay: delay.map_err(UniMoeError::from)?,
            codec: config.codec,
        })
    }

    /// `count` clips of each of the `domains`, given by their place.
    pub fn clips(
        &self,
        part: Part,
        domains: impl Iterator<Item = (usize, usize)>,
    ) -> Result<Clips, TrainError> {
        let mut clips = Vec::new();
        for (domain, count) in domains {
            let stream = 1 + 2 * domain as u64 + u64::from(matches!(part, Part::Validation));
            let mut generator = generator(self.seed, stream);
            for number in 0..count {
                clips.push(self.clip(domain, number, &mut generator)?);
            }
        }
        Ok(Clips(clips))
    }

    fn clip(
        &self,
        domain: usize,
        number: usize,
        generator: &mut ChaCha8Rng,
    ) -> Result<Example, TrainError> {
        let (kind, tables) = (&DOMAINS[domain], &self.tables[domain]);
        let word = generator.random_range(0..N_WORDS);
        let mut noisy = |code: u32| match generator.random::<f64>() < kind.noise {
            true => generator.random_range(0..N_CODES),
            false => code,
        };
        let mut codes = Vec::with_capacity(self.frames * N_CHANNELS);
        let mut wanted = tables.start[word];
        for _ in 0..self.frames {
            let code = noisy(wanted);
            codes.push(code);
            codes.extend(tables.other.iter().map(|table| noisy(table[code as usize])));
            wanted = tables.next[word][code as usize];
        }
        let sound = CodeGrid::new(N_CHANNELS, codes).map_err(UniMoeError::from)?;
        let target = (self.delay)
            .delay_reference(&sound, self.codec.special())
            .map_err(UniMoeError::from)?;
        let prompt = vec![FIRST_DOMAIN + domain as u32, FIRST_WORD + word as u32];
        Ok(Example {
            id: format!("{}-{number}", kind.name).into(),
            domain: kind.name.into(),
            unconditional: prompt.clone(),
            prompt,
            reference: Vec::new(),
            target: target.into_codes(),
            vision: Vec::new(),
            spoken: Vec::new(),
        })
    }

    /// The least loss that any model can have on each domain in the mean: the entropy of the codes, the end of a clip
    /// being certain; the last channel has no end.
    ///
    /// `((K - 1) T / (T + 1) + 1) H` with `H = -p ln p - (V - 1) q ln q`, `q = noise / V` and `p = 1 - (V - 1) q`.
    pub fn bound(&self) -> Vec<f64> {
        let codes = f64::from(N_CODES);
        let share = self.frames as f64 / (self.frames + 1) as f64;
        let entropy = |noise: f64| {
            let q = noise / codes;
            let p = 1.0 - (codes - 1.0) * q;
            -p * p.ln() - (codes - 1.0) * q * q.ln()
        };
        let channels = (N_CHANNELS - 1) as f64 * share + 1.0;
        let bound = |kind: &Kind| channels * entropy(kind.noise);
        DOMAINS.iter().map(bound).collect()
    }
}

impl Dataset for Clips {
    type Item = Example;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn length(&self, index: usize) -> usize {
        self.0[index].positions(N_CHANNELS)
    }

    fn domain(&self, index: usize) -> &str {
        &self.0[index].domain
    }

    fn get(&self, index: usize) -> Result<Example, DataError> {
        Ok(self.0[index].clone())
    }
}

/// All domains with clips in proportion to the paper's raw mixture.
pub(super) fn raw(clips: usize) -> impl Iterator<Item = (usize, usize)> {
    let domains = DOMAINS.iter().enumerate();
    domains.map(move |(domain, kind)| (domain, kind.share * clips))
}

/// A generator of its own for tables and for each domain's clips.
fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(seed: u64) -> Task {
        Task::new(seed, 10).expect("a task")
    }

    fn targets(task: &Task, part: Part, domain: usize) -> Vec<Vec<u32>> {
        let clips = task.clips(part, [(domain, 4)].into_iter()).expect("clips");
        clips.0.into_iter().map(|clip| clip.target).collect()
    }

    #[test]
    fn clips_follow_from_the_seed_and_nothing_is_measured_on_what_was_learnt() {
        let own = targets(&task(1), Part::Training, 0);
        assert_eq!(own, targets(&task(1), Part::Training, 0));
        assert_ne!(own, targets(&task(2), Part::Training, 0));
        assert_ne!(own, targets(&task(1), Part::Validation, 0));
        assert_ne!(own, targets(&task(1), Part::Training, 1));
    }

    #[test]
    fn the_raw_mixture_is_as_uneven_as_the_papers() {
        let counts: Vec<usize> = raw(2).map(|(_, count)| count).collect();
        assert_eq!(counts, [360, 200, 256, 40]);
    }

    #[test]
    fn domains_go_on_otherwise_after_the_same_codes() {
        let task = task(3);
        for one in 0..DOMAINS.len() {
            for two in 0..one {
                let (one, two) = (&task.tables[one].next, &task.tables[two].next);
                let pairs = one.iter().flatten().zip(two.iter().flatten());
                let same = pairs.filter(|(one, two)| one == two).count();
                // Two random permutations of V agree in one place in the mean; here are two pairs of them.
                assert!(same < 10, "{same} of {} agree", 2 * N_CODES);
            }
        }
    }

    #[test]
    fn the_bound_is_what_the_true_probabilities_lose() {
        // Replaced codes may be the right one: p = 0.9 + 0.1 / 24.
        let (p, q) = (0.9 + 0.1 / 24.0, 0.1 / 24.0f64);
        let entropy = -p * f64::ln(p) - 23.0 * q * q.ln();
        let bound = task(0).bound();
        assert!((bound[0] - (20.0 / 11.0 + 1.0) * entropy).abs() < 1e-12);
        assert!(bound[2] > bound[3] && bound[3] > bound[1]);
    }
}
