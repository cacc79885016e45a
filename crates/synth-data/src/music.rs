//! Music: scores rendered with a SoundFont.
//!
//! Every beat fades, by its end to the same level at each tempo. So each moment tells how fast the music is, and when the next
//! beat is due: a model that reads a few frames need not count them.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustysynth::{SoundFont, Synthesizer, SynthesizerSettings};

use crate::{
    attributes::{Instrument, TICK},
    error::SynthError,
    resample::resample,
    score::{PIECE_SECONDS, Part, Score},
    sound::{self, SAMPLE_RATE},
    soundfont::{self, BASS, program},
};

/// Where Debian's package fluid-soundfont-gm puts FluidR3.
pub const DEFAULT_SOUNDFONT: &str = "/usr/share/sounds/sf2/FluidR3_GM.sf2";

/// Samples per second of the rendering: the synthesizer interpolates linearly, which at 16 kHz would fold what is above 8 kHz back.
const RENDER_RATE: u32 = 48_000;
/// RMS in dBFS of an instrument's melody that goes up and down, with its beats.
const LEVEL: f64 = -20.0;
/// The MIDI command that bends the pitch of a channel.
const PITCH_BEND: i32 = 0xE0;
/// Steps of a bend by a semitone: the full 8,192 are two of them.
const BEND: f64 = 4096.0;
/// Lengths of the fades at both ends, in seconds.
const FADES: [f64; 2] = [0.005, 0.05];
/// The MIDI command that chooses a channel's instrument.
const PROGRAM_CHANGE: i32 = 0xC0;
/// The MIDI command that sets a controller, and the controller of a channel's level.
const CONTROL_CHANGE: i32 = 0xB0;
const EXPRESSION: i32 = 11;
/// The full value of a controller, and the share of it that is gone at the end of a beat: some 30 dB.
const FULL: f64 = 127.0;
const FADE: f64 = 0.85;
/// The channels of the notes of the melody's beats, in turn, of the bass, and of percussion.
const MELODY: [[i32; 2]; 2] = [[0, 2], [3, 4]];
const BASS_CHANNEL: i32 = 1;
const PERCUSSION: i32 = 9;

/// Renders scores.
#[derive(Clone)]
pub struct MusicSynthesizer {
    font: Arc<SoundFont>,
    path: PathBuf,
    /// The factor that brings each instrument to its level: the same in all pieces.
    gains: BTreeMap<Instrument, f32>,
}

impl MusicSynthesizer {
    /// Reads a SoundFont with the instruments of General MIDI, in the format sf2.
    ///
    /// # Errors
    ///
    /// [`SynthError::Read`], [`SynthError::SoundFont`] or [`SynthError::SoundFontStructure`] where the file is absent, damaged or
    /// lacks an instrument.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SynthError> {
        let path = path.as_ref().to_path_buf();
        let mut synthesizer = Self {
            font: soundfont::open(&path)?,
            path,
            gains: BTreeMap::new(),
        };
        for &instrument in Instrument::ALL {
            let samples = synthesizer.render_parts(&Score::measure(instrument), &Part::ALL)?;
            let gain = sound::gain_to(&samples, LEVEL);
            synthesizer.gains.insert(instrument, gain);
        }
        Ok(synthesizer)
    }

    /// Renders a score: [`PIECE_SECONDS`] at [`SAMPLE_RATE`]. An instrument has the same level in all pieces, about -20 dBFS (RMS).
    ///
    /// # Errors
    ///
    /// [`SynthError::SoundFontStructure`] where the SoundFont's tables point at no sound.
    pub fn render(&self, score: &Score) -> Result<Vec<f32>, SynthError> {
        let samples = self.render_parts(score, &Part::ALL)?;
        let mut samples = resample(&samples, RENDER_RATE, SAMPLE_RATE);
        fade(&mut samples);
        let gain = self.gains.get(&score.attributes.instrument).copied();
        sound::amplify(&mut samples, gain.unwrap_or(1.0));
        Ok(samples)
    }

    /// Some of the parts, at the rendering's rate and level.
    fn render_parts(&self, score: &Score, parts: &[Part]) -> Result<Vec<f32>, SynthError> {
        // As in reading: a damaged SoundFont may send the library out of its bounds.
        let play = AssertUnwindSafe(|| play(&self.font, score, parts));
        match catch_unwind(play) {
            Ok(Some(samples)) if samples.iter().all(|v| v.is_finite()) => Ok(samples),
            _ => Err(soundfont::damaged(&self.path)),
        }
    }
}

impl std::fmt::Debug for MusicSynthesizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MusicSynthesizer")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What happens at a sample, in the order of what happens at the same one: a note ends before it can follow itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    NoteOff(i32, i32),
    /// The level of a channel.
    Expression(i32, i32),
    Tune(i32, i32),
    NoteOn(i32, i32, i32),
}

/// Plays a score, both channels together; `None` where the synthesizer refuses its settings.
fn play(font: &Arc<SoundFont>, score: &Score, parts: &[Part]) -> Option<Vec<f32>> {
    let mut settings = SynthesizerSettings::new(RENDER_RATE as i32);
    settings.enable_reverb_and_chorus = false;
    let mut synthesizer = Synthesizer::new(font, &settings).ok()?;
    let melody = program(score.attributes.instrument);
    for channel in MELODY.concat() {
        synthesizer.process_midi_message(channel, PROGRAM_CHANGE, melody, 0);
    }
    synthesizer.process_midi_message(BASS_CHANNEL, PROGRAM_CHANGE, BASS, 0);

    let total = samples(PIECE_SECONDS);
    let (mut left, mut right) = (vec![0.0f32; total], vec![0.0f32; total]);
    let mut done = 0;
    for (at, event) in events(score, parts) {
        let at = at.min(total);
        synthesizer.render(&mut left[done..at], &mut right[done..at]);
        done = at;
        match event {
            Event::NoteOff(channel, key) => synthesizer.note_off(channel, key),
            Event::Expression(channel, value) => {
                synthesizer.process_midi_message(channel, CONTROL_CHANGE, EXPRESSION, value);
            }
            Event::Tune(channel, bend) => {
                let (low, high) = (bend & 0x7F, bend >> 7);
                synthesizer.process_midi_message(channel, PITCH_BEND, low, high);
            }
            Event::NoteOn(channel, key, velocity) => synthesizer.note_on(channel, key, velocity),
        }
    }
    synthesizer.render(&mut left[done..], &mut right[done..]);
    Some(
        left.iter()
            .zip(&right)
            .map(|(l, r)| 0.5 * (l + r))
            .collect(),
    )
}

/// What happens in a score, by time.
fn events(score: &Score, parts: &[Part]) -> Vec<(usize, Event)> {
    let mut events = Vec::new();
    let beat = score.attributes.beat();
    let mut last = None;
    for note in score.notes.iter().filter(|note| parts.contains(&note.part)) {
        let channel = match note.part {
            // What the beat before left must not come back with this one; a second note has a tuning of its own.
            Part::Melody => {
                let second = last.replace(note.start) == Some(note.start);
                MELODY[(note.start / beat) as usize % 2][usize::from(second)]
            }
            Part::Bass => BASS_CHANNEL,
            Part::Click => PERCUSSION,
        };
        if note.part != Part::Click {
            events.push((samples(note.start), Event::Tune(channel, bend(note.key))));
            let ticks = (beat / TICK).round() as usize;
            for tick in 0..ticks {
                let value = FULL * (1.0 - FADE * tick as f64 / ticks as f64);
                let at = samples(note.start + tick as f64 * TICK);
                events.push((at, Event::Expression(channel, value.round() as i32)));
            }
        }
        let on = Event::NoteOn(channel, note.key, note.velocity);
        events.push((samples(note.start), on));
        events.push((samples(note.end), Event::NoteOff(channel, note.key)));
    }
    events.sort_unstable();
    events.dedup();
    events
}

/// The frequency nearest to a key of which a whole number of periods fills eight frames of 20 ms (6.25 Hz apart; from 500 Hz on
/// four, from 1 kHz on two, below 250 Hz sixteen frames), in Hz: within 21 cents from C3 up. A long note is then the same few
/// frames again and again.
fn tuned(key: i32) -> f64 {
    let hertz = hertz(key);
    let grid = match hertz {
        h if h < 250.0 => 3.125,
        h if h < 500.0 => 6.25,
        h if h < 1000.0 => 12.5,
        _ => 25.0,
    };
    (hertz / grid).round().max(1.0) * grid
}

/// The frequency of a key in equal temperament, in Hz.
fn hertz(key: i32) -> f64 {
    440.0 * 2f64.powf(f64::from(key - 69) / 12.0)
}

/// The bend that tunes a key.
fn bend(key: i32) -> i32 {
    let semitones = 12.0 * (tuned(key) / hertz(key)).log2();
    8192 + (BEND * semitones.clamp(-1.9, 1.9)).round() as i32
}

fn samples(seconds: f64) -> usize {
    (seconds * f64::from(RENDER_RATE)).round() as usize
}

fn fade(x: &mut [f32]) {
    let [first, last] = FADES.map(|seconds| (seconds * f64::from(SAMPLE_RATE)) as usize);
    let n = x.len();
    for (i, v) in x.iter_mut().enumerate() {
        let rise = (i as f32 / first as f32).min(1.0);
        let fall = ((n - i) as f32 / last as f32).min(1.0);
        *v *= rise * fall;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{attributes::Attributes, random, test_font::test_font};

    pub(crate) fn score(combination: usize) -> Score {
        let mut rng = random::stream(1, "test", combination);
        let attributes = Attributes::draw(combination, &mut rng);
        Score::compose(attributes, &mut rng)
    }

    pub(crate) fn synthesizer() -> MusicSynthesizer {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("test.sf2");
        std::fs::write(&path, test_font()).expect("written");
        MusicSynthesizer::open(&path).expect("a SoundFont")
    }

    /// Begins of sounds in samples: the first sample above a tenth of the loudest after 50 ms below it.
    fn begins(x: &[f32]) -> Vec<usize> {
        let loudest = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let quiet = RENDER_RATE as usize / 20;
        let mut begins = Vec::new();
        let mut last = None;
        for (i, v) in x.iter().enumerate() {
            if v.abs() > 0.1 * loudest {
                if last.is_none_or(|last| i > last + quiet) {
                    begins.push(i);
                }
                last = Some(i);
            }
        }
        begins
    }

    #[test]
    fn the_clicks_that_are_heard_have_the_tempo_of_the_manifest() {
        let synthesizer = synthesizer();
        for combination in (0..72).step_by(5) {
            let score = score(combination);
            let x = synthesizer
                .render_parts(&score, &[Part::Click])
                .expect("rendered");
            let begins = begins(&x);
            let gaps = begins.len() - 1;
            let seconds = (begins[gaps] - begins[0]) as f64 / f64::from(RENDER_RATE);
            let bpm = 60.0 * gaps as f64 / seconds;
            // The synthesizer works in blocks of 64 samples: 1.3 ms of some 4 s.
            assert!(
                (bpm / score.attributes.bpm - 1.0).abs() < 1e-3,
                "{bpm}, {:?}",
                score.attributes
            );
        }
    }

    #[test]
    fn a_piece_has_its_length_level_and_pitch() {
        let x = synthesizer().render(&score(3)).expect("rendered");
        assert_eq!(x.len(), 80_000);
        assert!((20.0 * sound::rms(&x).log10() + 20.0).abs() < 2.0);
        assert!(x.iter().all(|v| v.abs() < 0.9));
        // The piece that the level is taken from has it; resampling and fades take a little.
        let measured = Score::measure(score(3).attributes.instrument);
        let x = synthesizer().render(&measured).expect("rendered");
        assert!((20.0 * sound::rms(&x).log10() - LEVEL).abs() < 0.2);

        // The first note alone: whole periods of its key fit between its zero crossings.
        let mut first = score(3);
        first.notes.retain(|note| note.part == Part::Melody);
        first.notes.truncate(1);
        first.notes[0].end = 1.0;
        let x = synthesizer()
            .render_parts(&first, &[Part::Melody])
            .expect("rendered");
        let x = &x[samples(0.2)..samples(0.7)];
        let rising = x
            .windows(2)
            .filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0)
            .count();
        let hz = 441.0 / 440.0 * tuned(first.notes[0].key);
        assert!(
            (rising as f64 / 0.5 - hz).abs() < 3.0,
            "{rising} periods, {hz} Hz"
        );
    }

    #[test]
    fn notes_are_near_their_keys_and_fill_whole_frames() {
        for key in 48..=108 {
            let cents = 1200.0 * (tuned(key) / hertz(key)).log2();
            assert!(cents.abs() < 21.0, "key {key}: {cents} cents");
            let periods = tuned(key) * 16.0 * 0.02;
            assert_eq!(periods, periods.round(), "key {key}");
        }
        assert_eq!(
            bend(69),
            8192 + (BEND * 12.0 * (437.5f64 / 440.0).log2()).round() as i32
        );
    }

    #[test]
    fn a_note_sounds_the_same_wherever_it_is_played() {
        let synthesizer = synthesizer();
        let mut one = score(3);
        one.notes.retain(|note| note.part == Part::Melody);
        one.notes.truncate(1);
        one.notes[0].end = one.notes[0].start + 0.4;
        let mut later = one.clone();
        later.notes[0].start += 37.0 * 0.02;
        later.notes[0].end += 37.0 * 0.02;
        let [one, later] = [one, later].map(|score| synthesizer.render(&score).expect("rendered"));
        let moved = 37 * 320;
        for i in 400..8000 {
            assert!((one[i] - later[i + moved]).abs() < 1e-3, "sample {i}");
        }
    }

    #[test]
    fn the_same_score_has_the_same_samples() {
        let synthesizer = synthesizer();
        let render = || synthesizer.render(&score(11)).expect("rendered");
        assert_eq!(render(), render());
    }
}
