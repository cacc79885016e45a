//! Which of the twelve notes sound, counted from the bass.

use super::power::PowerSpectrogram;

/// Window and step in samples: 256 ms tell half tones apart from 70 Hz on.
const WINDOW: usize = 4096;
const HOP: usize = 1024;
/// Where the bass lies, and where the melody and its overtones, in Hz.
const BASS: [f64; 2] = [40.0, 230.0];
const NOTES: [f64; 2] = [250.0, 2000.0];
/// How far beside a note a frequency still counts, in half tones.
const WIDTH: f64 = 0.25;

/// The strength of the twelve notes in a sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BassChroma {
    /// The strongest note of the bass, in half tones above A.
    pub bass: usize,
    /// Share of each note in 250 to 2,000 Hz; the first is that of the bass, the next is half a tone above it.
    pub notes: [f64; 12],
}

/// The chroma of `samples` relative to their bass; `None` where nothing sounds.
pub fn bass_chroma(samples: &[f32]) -> Option<BassChroma> {
    let power = PowerSpectrogram::new(samples, WINDOW, HOP);
    let mut magnitudes = vec![0.0; WINDOW / 2 + 1];
    for frame in power.frames() {
        for (sum, power) in magnitudes.iter_mut().zip(frame) {
            *sum += power.sqrt();
        }
    }
    let fold = |[low, high]: [f64; 2]| {
        let mut notes = [0.0; 12];
        for (bin, magnitude) in magnitudes.iter().enumerate() {
            let hz = power.hz(bin);
            if (low..high).contains(&hz) {
                let half_tones = 12.0 * (hz / 440.0).log2();
                let nearest = half_tones.round();
                let weight = (-((half_tones - nearest) / WIDTH).powi(2) / 2.0).exp();
                notes[(nearest as i64).rem_euclid(12) as usize] += magnitude * weight;
            }
        }
        notes
    };
    let (low, mut notes) = (fold(BASS), fold(NOTES));
    let strongest = low.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let bass = strongest.map_or(0, |(note, _)| note);
    let sum: f64 = notes.iter().sum();
    if sum <= 0.0 {
        return None;
    }
    notes.rotate_left(bass);
    Some(BassChroma {
        bass,
        notes: notes.map(|note| note / sum),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chord_shows_its_notes_above_its_bass() {
        // D minor: D2 in the bass; D4, F4 and A4 above.
        let hz = [73.416, 293.665, 349.228, 440.0];
        let sample = |n: usize| {
            let tone = |hz: &f64| (n as f64 * hz / 16_000.0 * std::f64::consts::TAU).sin();
            (hz.iter().map(tone).sum::<f64>() / 4.0) as f32
        };
        let samples: Vec<f32> = (0..32_000).map(sample).collect();
        let found = bass_chroma(&samples).expect("notes");
        // D is five half tones above A.
        assert_eq!(found.bass, 5);
        let chord: f64 = [0, 3, 7].map(|note| found.notes[note]).iter().sum();
        assert!(chord > 0.8, "{:?}", found.notes);
        for (note, share) in found.notes.iter().enumerate() {
            assert_eq!(*share > 0.2, [0, 3, 7].contains(&note), "{:?}", found.notes);
        }
        assert!((found.notes.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn silence_has_no_notes() {
        assert_eq!(bass_chroma(&[0.0; 9000]), None);
        assert_eq!(bass_chroma(&[]), None);
    }
}
