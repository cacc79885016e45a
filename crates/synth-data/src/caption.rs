//! Captions of music, from its attributes.

use rand::{Rng, RngExt};

use crate::{
    attributes::{Attributes, pick},
    text::Spelling,
};

/// Captions that name everything.
const FULL: &[&str] = &[
    "a {mood} {tempo} {instrument} melody in {key} {mode}, {density}.",
    "a {tempo} {mood} {instrument} melody in {key} {mode}, {density}.",
    "{mood} {instrument} music in {key} {mode}, {tempo} and {density}.",
    "{tempo}, {mood} {instrument} music in {key} {mode}, {density}.",
    "{instrument} playing a {tempo} {mood} tune in {key} {mode}, {density}.",
];

/// Captions that leave something open.
const SHORT: &[&str] = &[
    "a {mood} {tempo} {instrument} melody.",
    "{instrument} music, {tempo} and {mood}.",
    "a {tempo} {instrument} melody in {key} {mode}.",
    "a {mood} {instrument} tune, {tempo}.",
    "{mood}, {tempo} {instrument} music.",
];

/// Captions of music for a video: the tempo is in the picture alone.
const VIDEO: &[&str] = &[
    "{instrument} music for this video.",
    "music for this video, played by {instrument}.",
    "a {instrument} soundtrack for this video.",
];

/// One caption in this many leaves something open.
const SHORT_EVERY: u32 = 4;

/// A caption of a piece of music; a full one names all attributes.
pub(crate) fn music(attributes: &Attributes, full: bool, rng: &mut impl Rng) -> String {
    let short = !full && rng.random_ratio(1, SHORT_EVERY);
    fill(pick(if short { SHORT } else { FULL }, rng), attributes, rng)
}

/// A caption of the music of a video.
pub(crate) fn video(attributes: &Attributes, rng: &mut impl Rng) -> String {
    fill(pick(VIDEO, rng), attributes, rng)
}

fn fill(template: &str, a: &Attributes, rng: &mut impl Rng) -> String {
    let words = [
        ("{mood}", a.mode.moods()),
        ("{tempo}", a.tempo_class.words()),
        ("{instrument}", a.instrument.words()),
        ("{key}", a.key.words()),
        ("{mode}", a.mode.words()),
        ("{density}", a.density.words()),
    ];
    let caption = words
        .iter()
        .fold(template.to_string(), |text, (slot, words)| {
            text.replace(slot, pick(words, rng))
        });
    Spelling::English.write(&caption)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        attributes::{COMBINATIONS, Instrument, Mode, TempoClass},
        random,
    };

    /// Which of `words` are in the caption, as whole words.
    fn named(caption: &str, words: &[&str]) -> bool {
        let caption = caption.to_lowercase().replace([',', '.'], " ");
        let caption = format!(
            " {} ",
            caption.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        words
            .iter()
            .any(|word| caption.contains(&format!(" {} ", word.to_lowercase())))
    }

    #[test]
    fn what_a_caption_names_is_what_the_piece_is() {
        for i in 0..4 * COMBINATIONS {
            let mut rng = random::stream(5, "test", i);
            let a = Attributes::draw(i, &mut rng);
            let full = i % 2 == 0;
            let caption = music(&a, full, &mut rng);
            for other in Instrument::ALL {
                assert_eq!(
                    named(&caption, other.words()),
                    *other == a.instrument,
                    "{caption}"
                );
            }
            for other in TempoClass::ALL {
                assert_eq!(
                    named(&caption, other.words()),
                    *other == a.tempo_class,
                    "{caption}"
                );
            }
            for other in Mode::ALL {
                if *other != a.mode {
                    assert!(!named(&caption, other.moods()), "{caption}");
                    assert!(!named(&caption, other.words()), "{caption}");
                }
            }
            assert!(
                named(&caption, a.mode.moods()) || named(&caption, a.mode.words()),
                "{caption}"
            );
            if full {
                assert!(named(&caption, a.mode.moods()), "{caption}");
                assert!(named(&caption, a.density.words()), "{caption}");
                let key = format!("{} {}", a.key.name(), a.mode.words()[0]);
                assert!(caption.contains(&key), "{caption}");
            }
        }
    }

    #[test]
    fn a_videos_caption_names_the_instrument_alone() {
        for i in 0..COMBINATIONS {
            let mut rng = random::stream(5, "test", i);
            let a = Attributes::draw(i, &mut rng);
            let caption = video(&a, &mut rng);
            assert!(named(&caption, a.instrument.words()), "{caption}");
            for tempo in TempoClass::ALL {
                assert!(!named(&caption, tempo.words()), "{caption}");
            }
            for mode in Mode::ALL {
                assert!(
                    !named(&caption, mode.moods()) && !named(&caption, mode.words()),
                    "{caption}"
                );
            }
        }
    }
}
