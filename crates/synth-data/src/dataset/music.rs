//! The clips of music, with and without an animation.

use std::path::Path;

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{
    Domain, Split, Ticker,
    clip::{Clip, Content},
};
use crate::{
    animation::Animation,
    attributes::{Attributes, COMBINATIONS},
    caption,
    error::SynthError,
    music::MusicSynthesizer,
    random,
    score::{PIECE_SECONDS, Score},
    sound::write_wav,
};

/// The clips of a domain and split.
pub(super) struct Batch {
    /// [`Domain::Music`] or [`Domain::VideoMusic`].
    pub domain: Domain,
    pub split: Split,
    pub count: usize,
    pub seed: u64,
}

impl Batch {
    /// Makes the files below `at`.
    pub fn make(
        &self,
        at: &Path,
        player: &MusicSynthesizer,
        ticker: &Ticker,
    ) -> Result<Vec<Clip>, SynthError> {
        let Self {
            domain,
            split,
            count,
            seed,
        } = *self;
        let name = format!("{}-{}", domain.name(), split.name());
        let combinations = combinations(seed, &name, count);
        let clip = |(place, combination): (usize, usize)| {
            let mut rng = random::stream(seed, &name, place);
            let attributes = Attributes::draw(combination, &mut rng);
            let score = Score::compose(attributes, &mut rng);
            let prefix = match domain {
                Domain::VideoMusic => "video",
                _ => "music",
            };
            let id = format!("{prefix}-{}-{place:05}", split.name());
            let audio = format!("music/{id}.wav");
            write_wav(&at.join(&audio), &player.render(&score)?)?;
            let (caption, video) = match domain {
                Domain::VideoMusic => {
                    let caption = caption::video(&attributes, &mut rng);
                    let video = format!("video/{id}.gif");
                    Animation::draw(&attributes, &mut rng).write(&at.join(&video))?;
                    (caption, Some(video))
                }
                _ => (
                    caption::music(&attributes, split == Split::Test, &mut rng),
                    None,
                ),
            };
            ticker.tick()?;
            let content = Content::Music {
                caption,
                attributes,
                mood: attributes.mode.mood(),
                video,
            };
            Ok(Clip {
                id,
                task: domain.name(),
                domain: domain.name(),
                audio,
                duration: PIECE_SECONDS,
                content,
            })
        };
        let work: Vec<(usize, usize)> = combinations.into_iter().enumerate().collect();
        work.into_par_iter().map(clip).collect()
    }
}

/// Which instrument, tempo class and mode each clip has: round by round each combination once, in a random order.
fn combinations(seed: u64, name: &str, count: usize) -> Vec<usize> {
    let mut drawn = Vec::with_capacity(count + COMBINATIONS);
    for round in 0.. {
        if drawn.len() >= count {
            break;
        }
        let mut all: Vec<usize> = (0..COMBINATIONS).collect();
        all.shuffle(&mut random::stream(
            seed,
            &format!("{name}-combinations"),
            round,
        ));
        // Either half of a round has each instrument at each tempo in two of the four modes.
        all.sort_by_key(|c| (c % 6 + c / 6 % 3 + c / 18) % 2);
        drawn.extend(all);
    }
    drawn.truncate(count);
    drawn
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn half_a_round_has_every_instrument_at_every_tempo() {
        let mut seen = BTreeMap::new();
        for (place, combination) in combinations(9, "test", 36).into_iter().enumerate() {
            let a = Attributes::draw(combination, &mut random::stream(9, "test", place));
            *seen.entry((a.instrument, a.tempo_class)).or_insert(0) += 1;
        }
        assert_eq!(seen.len(), 18);
        assert!(seen.values().all(|count| *count == 2));
    }

    #[test]
    fn whole_rounds_are_balanced_and_differ() {
        let drawn = combinations(9, "test", 2 * COMBINATIONS);
        for round in drawn.chunks(COMBINATIONS) {
            let mut sorted = round.to_vec();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..COMBINATIONS));
        }
        assert_ne!(drawn[..COMBINATIONS], drawn[COMBINATIONS..]);
    }
}
