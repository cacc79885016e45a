//! What a piece of music is like: the fields of its manifest line, and the words that its caption may use.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

macro_rules! attribute {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal: [$($word:literal),+],)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The value as manifests write it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What captions may call it.
            pub fn words(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($word),+],)+ }
            }
        }
    };
}

attribute!(
    /// The melody's instrument.
    Instrument {
        /// Acoustic grand piano.
        Piano = "piano": ["piano"],
        /// Steel-string guitar.
        Guitar = "guitar": ["guitar"],
        /// Violin.
        Violin = "violin": ["violin"],
        /// Flute.
        Flute = "flute": ["flute"],
        /// Trumpet.
        Trumpet = "trumpet": ["trumpet"],
        /// Church organ.
        Organ = "organ": ["organ"],
    }
);

attribute!(
    /// The class of the tempo.
    TempoClass {
        /// About 60 beats per minute.
        Slow = "slow": ["slow", "unhurried"],
        /// About 90 beats per minute.
        Medium = "medium": ["moderate", "medium tempo"],
        /// About 140 beats per minute.
        Fast = "fast": ["fast", "quick"],
    }
);

attribute!(
    /// The scale, which makes the mood.
    Mode {
        /// Major: happy.
        Major = "major": ["major"],
        /// Natural minor: sad.
        Minor = "minor": ["minor"],
        /// Whole tone: dreamy.
        WholeTone = "whole_tone": ["whole tone"],
        /// Diminished chord with chromatic neighbours: tense.
        Diminished = "diminished": ["diminished"],
    }
);

attribute!(
    /// Notes at a time.
    Density {
        /// One.
        Sparse = "sparse": ["sparse", "with few notes"],
        /// One or two.
        Dense = "dense": ["dense", "with many notes"],
    }
);

attribute!(
    /// The tonic.
    Key {
        /// C.
        C = "C": ["C"],
        /// G.
        G = "G": ["G"],
    }
);

impl TempoClass {
    /// The middle of the class in beats per minute.
    pub fn beats_per_minute(self) -> f64 {
        match self {
            Self::Slow => 60.0,
            Self::Medium => 90.0,
            Self::Fast => 140.0,
        }
    }

    /// The length of a beat in [`TICK`]s: within 5 % of the class.
    ///
    /// One length for a class: where beats fall is then known from the class alone.
    fn beat(self) -> u32 {
        match self {
            Self::Slow => 48,
            Self::Medium => 32,
            Self::Fast => 22,
        }
    }
}

impl Mode {
    /// The mood's name in manifests.
    pub fn mood(self) -> &'static str {
        self.moods()[0]
    }

    /// What captions may call the mood.
    pub fn moods(self) -> &'static [&'static str] {
        match self {
            Self::Major => &["happy", "cheerful", "joyful"],
            Self::Minor => &["sad", "melancholic", "sorrowful"],
            Self::WholeTone => &["dreamy", "floating", "mysterious"],
            Self::Diminished => &["tense", "anxious", "dark"],
        }
    }

    /// Semitones above the tonic on the beats of a bar: the notes of the mode's chord in the mood's own way. Happy music rises, sad
    /// music falls, dreamy music sways, tense music leaps.
    pub(crate) fn figure(self) -> [i32; 4] {
        match self {
            Self::Major => [0, 4, 7, 12],
            Self::Minor => [12, 7, 3, 0],
            Self::WholeTone => [8, 4, 8, 12],
            Self::Diminished => [6, 0, 6, 3],
        }
    }

    /// Semitones above the tonic: the chord that melodies dwell on, tonic first.
    #[cfg(test)]
    pub(crate) fn chord(self) -> [i32; 3] {
        match self {
            Self::Major => [0, 4, 7],
            Self::Minor => [0, 3, 7],
            Self::WholeTone => [0, 4, 8],
            Self::Diminished => [0, 3, 6],
        }
    }
}

impl Key {
    /// Semitones above C.
    pub(crate) fn semitones(self) -> i32 {
        match self {
            Self::C => 0,
            Self::G => 7,
        }
    }
}

/// What a piece is like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Attributes {
    /// The melody's instrument.
    pub instrument: Instrument,
    /// Its tempo's class.
    pub tempo_class: TempoClass,
    /// Beats per minute, within 5 % of the class.
    pub bpm: f64,
    /// The scale.
    pub mode: Mode,
    /// The tonic.
    pub key: Key,
    /// Notes at a time.
    pub density: Density,
}

/// What beats are made of, in seconds: a frame of a codec of 50 frames a second. A note then begins in each frame where it began in
/// any other, and sounds the same there.
pub(crate) const TICK: f64 = 0.02;

/// Instruments times tempo classes times modes.
pub(crate) const COMBINATIONS: usize =
    Instrument::ALL.len() * TempoClass::ALL.len() * Mode::ALL.len();

impl Attributes {
    /// The combination of instrument, tempo class and mode of a number, the rest drawn.
    ///
    /// Numbers in a row go through all combinations, so that each is as frequent as the others.
    pub(crate) fn draw(combination: usize, rng: &mut impl Rng) -> Self {
        let c = combination % COMBINATIONS;
        let (instruments, tempos) = (Instrument::ALL.len(), TempoClass::ALL.len());
        let tempo_class = TempoClass::ALL[c / instruments % tempos];
        let beat = f64::from(tempo_class.beat()) * TICK;
        Self {
            instrument: Instrument::ALL[c % instruments],
            tempo_class,
            bpm: (6000.0 / beat).round() / 100.0,
            mode: Mode::ALL[c / instruments / tempos],
            key: pick(Key::ALL, rng),
            density: pick(Density::ALL, rng),
        }
    }

    /// Seconds of a beat: a whole number of [`TICK`]s.
    pub(crate) fn beat(&self) -> f64 {
        f64::from(self.tempo_class.beat()) * TICK
    }
}

pub(crate) fn pick<T: Copy>(of: &[T], rng: &mut impl Rng) -> T {
    of[rng.random_range(0..of.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::random;

    #[test]
    fn a_round_has_every_combination_once_and_tempos_within_five_percent() {
        let mut seen = BTreeMap::new();
        for combination in 0..COMBINATIONS {
            let mut rng = random::stream(1, "test", combination);
            let a = Attributes::draw(combination, &mut rng);
            *seen
                .entry((a.instrument, a.tempo_class, a.mode))
                .or_insert(0) += 1;
            let off = (a.bpm / a.tempo_class.beats_per_minute() - 1.0).abs();
            assert!(off <= 0.042, "{a:?}");
            let ticks = a.beat() / TICK;
            assert!((ticks - ticks.round()).abs() < 1e-9, "{a:?}");
            assert!((60.0 / a.beat() - a.bpm).abs() < 0.01, "{a:?}");
        }
        assert_eq!(seen.len(), 72);
        assert!(seen.values().all(|count| *count == 1));
    }

    #[test]
    fn the_chord_of_a_mode_is_no_other_modes() {
        for mode in Mode::ALL {
            let same = Mode::ALL
                .iter()
                .filter(|other| other.chord() == mode.chord());
            assert_eq!(same.count(), 1);
        }
    }

    #[test]
    fn manifests_write_the_names() {
        for instrument in Instrument::ALL {
            let written = serde_json::to_value(instrument).expect("a string");
            assert_eq!(written, instrument.name());
        }
        assert_eq!(
            serde_json::to_value(Mode::WholeTone).expect("a string"),
            "whole_tone"
        );
    }
}
