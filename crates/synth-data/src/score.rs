//! Scores: which notes are played when.

use rand::{Rng, RngExt};

use crate::{
    attributes::{Attributes, Density, Instrument, Key, Mode, TICK, TempoClass},
    random,
};

/// Seconds of a piece.
pub const PIECE_SECONDS: f64 = 5.0;
/// When the first beat falls, in seconds.
pub(crate) const FIRST_BEAT: f64 = TICK;
/// Beats of a bar.
const BAR: usize = 4;

/// Who plays a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The instrument of the caption.
    Melody,
    /// An acoustic bass: the tonic where a bar begins.
    Bass,
    /// A woodblock on every beat.
    Click,
}

/// A note.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Note {
    /// Who plays it.
    pub part: Part,
    /// MIDI key number.
    pub key: i32,
    /// MIDI velocity.
    pub velocity: i32,
    /// Its begin in seconds.
    pub start: f64,
    /// Its end in seconds.
    pub end: f64,
}

/// A piece of [`PIECE_SECONDS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// What it is like.
    pub attributes: Attributes,
    /// Its notes, by begin.
    pub notes: Vec<Note>,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Melody, Self::Bass, Self::Click];
}

impl Score {
    /// A piece by which an instrument's level is measured.
    pub(crate) fn measure(instrument: Instrument) -> Self {
        let attributes = Attributes {
            instrument,
            tempo_class: TempoClass::Medium,
            bpm: 93.75,
            mode: Mode::Major,
            key: Key::G,
            density: Density::Sparse,
        };
        Self::compose(attributes, &mut random::stream(0, "level", 0))
    }

    /// Composes a piece.
    ///
    /// Each bar has the figure of the mode's mood, which goes through its chord: even the six notes of a slow piece tell major from
    /// minor, and the first one tells which figure has begun. From the second bar on, the last two notes may change places. In dense
    /// pieces the tonic sounds with every other note.
    pub(crate) fn compose(attributes: Attributes, rng: &mut impl Rng) -> Self {
        let beat = attributes.beat();
        let tonic = lowest_key(attributes.instrument) + attributes.key.semitones();
        let bass = 48 + attributes.key.semitones();
        let mut notes = Vec::new();
        let mut turned = false;
        for i in 0.. {
            let start = FIRST_BEAT + i as f64 * beat;
            if start >= PIECE_SECONDS - 0.1 {
                break;
            }
            let mut play = |part, key, seconds: f64| {
                notes.push(Note {
                    part,
                    key,
                    velocity: if part == Part::Melody { 100 } else { 64 },
                    start,
                    end: start + seconds,
                });
            };
            if i % BAR == 0 {
                turned = i > 0 && rng.random_bool(0.5);
                play(Part::Bass, bass, 0.95 * beat);
            }
            play(Part::Click, 76, 0.1);
            let degree = figure_note(&attributes, i % BAR, turned);
            play(Part::Melody, tonic + degree, 0.95 * beat);
            let octave = degree % 12 == 0;
            if attributes.density == Density::Dense && !octave {
                play(Part::Melody, tonic, 0.95 * beat);
            }
        }
        Self { attributes, notes }
    }
}

/// The semitones above the tonic on a beat of a bar, whose last two notes may have changed places.
fn figure_note(attributes: &Attributes, beat: usize, turned: bool) -> i32 {
    let [one, two, three, four] = attributes.mode.figure();
    let notes: [i32; BAR] = if turned {
        [one, two, four, three]
    } else {
        [one, two, three, four]
    };
    notes[beat]
}

/// The MIDI key of the lowest C of an instrument's melodies.
fn lowest_key(instrument: Instrument) -> i32 {
    match instrument {
        Instrument::Flute => 72,
        Instrument::Piano
        | Instrument::Guitar
        | Instrument::Violin
        | Instrument::Trumpet
        | Instrument::Organ => 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::COMBINATIONS;

    fn scores() -> impl Iterator<Item = Score> {
        (0..2 * COMBINATIONS).map(|i| {
            let mut rng = random::stream(2, "test", i);
            Score::compose(Attributes::draw(i, &mut rng), &mut rng)
        })
    }

    fn part(score: &Score, part: Part) -> Vec<Note> {
        score
            .notes
            .iter()
            .filter(|note| note.part == part)
            .copied()
            .collect()
    }

    #[test]
    fn the_same_stream_composes_the_same_score() {
        assert!(scores().eq(scores()));
    }

    #[test]
    fn every_beat_has_a_click_and_as_many_notes_as_the_density_says() {
        for score in scores() {
            let beat = score.attributes.beat();
            let clicks = part(&score, Part::Click);
            for (i, click) in clicks.iter().enumerate() {
                assert!((click.start - FIRST_BEAT - i as f64 * beat).abs() < 1e-9);
            }
            let beats = ((PIECE_SECONDS - 0.1 - FIRST_BEAT) / beat).ceil() as usize;
            assert_eq!(clicks.len(), beats);
            assert_eq!(part(&score, Part::Bass).len(), beats.div_ceil(BAR));
            let second = match score.attributes.density {
                Density::Sparse => 0,
                Density::Dense => part(&score, Part::Melody)
                    .iter()
                    .filter(|note| (note.key - score.attributes.key.semitones()) % 12 != 0)
                    .count(),
            };
            assert_eq!(part(&score, Part::Melody).len(), beats + second);
        }
    }

    #[test]
    fn the_first_bar_has_the_chord_of_the_mode_and_no_note_leaves_it() {
        for score in scores() {
            let mode: Mode = score.attributes.mode;
            let beat = score.attributes.beat();
            let tonic = score.attributes.key.semitones();
            let degree = |note: &Note| (note.key - tonic).rem_euclid(12);
            let melody = part(&score, Part::Melody);
            assert!(
                melody
                    .iter()
                    .all(|note| mode.chord().contains(&degree(note)))
            );
            let bar: Vec<i32> = melody
                .iter()
                .filter(|n| n.start < FIRST_BEAT + 3.9 * beat)
                .map(degree)
                .collect();
            assert!(
                mode.chord().iter().all(|note| bar.contains(note)),
                "{bar:?}"
            );
            assert!(
                part(&score, Part::Bass)
                    .iter()
                    .all(|note| degree(note) == 0)
            );
        }
    }
}
