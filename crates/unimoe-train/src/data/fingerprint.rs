//! Fingerprints of sounds: bits that stay when a sound is made louder, encoded again or given another rate.
//!
//! Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002), eq. 1: with the energies `E(n, m)` of
//! band `m` in frame `n`,
//!
//! ```text
//! bit(n, m) = 1 where E(n, m) - E(n, m + 1) > E(n - 1, m) - E(n - 1, m + 1)
//! ```
//!
//! for 33 bands, spaced logarithmically from 300 Hz, so that a frame has 32 bits. Ours differ in what suits clips: bands up
//! to 3,400 Hz, frames of 128 ms every 16 ms, and frames that are nearly silent have no bits, as theirs are noise. The first 6.4 s that can be heard
//! are kept.

use dac_codec::{AudioClip, DacError};
use realfft::RealFftPlanner;

/// Rate at which sounds are compared, in Hz.
const RATE: u32 = 8000;
/// Samples of a frame.
const FRAME: usize = 1024;
/// Samples from one frame to the next.
const HOP: usize = 128;
/// Bands, one more than bits.
const BANDS: usize = 33;
/// Lowest and highest frequency of the bands, in Hz.
const BAND_HERTZ: [f64; 2] = [300.0, 3400.0];
/// Frames that are kept: 6.4 s of sound.
const MAX_FRAMES: usize = 400;
/// A frame so far below the loudest has no bits, in dB.
const SILENT_DB: f64 = 40.0;
/// Bits of a frame that may be wrong easiest, and are tried both ways when looking it up.
const WEAK_BITS: usize = 3;

/// The fingerprint of a sound.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fingerprint {
    /// Bits of each frame; `None` where it is silent. Silence at both ends is left out.
    frames: Vec<Option<u32>>,
}

/// A frame's bits with those that are near to tipping over.
pub(super) struct Probe {
    pub(super) place: usize,
    /// The bits, and with each combination of the weak ones tipped.
    pub(super) values: [u32; 1 << WEAK_BITS],
}

impl Fingerprint {
    /// Of a sound at any rate. A sound without two frames that can be heard has an empty one.
    ///
    /// # Errors
    ///
    /// A [`DacError`] where it can't be resampled.
    pub fn of(clip: &AudioClip) -> Result<Self, DacError> {
        Ok(Self::with_probes(clip)?.0)
    }

    pub(super) fn with_probes(clip: &AudioClip) -> Result<(Self, Vec<Probe>), DacError> {
        let clip = clip.resampled(RATE)?;
        let energies = band_energies(&clip.samples);
        let total = |bands: &[f64; BANDS]| bands.iter().sum::<f64>();
        let loudest = energies.iter().map(total).fold(0.0, f64::max);
        let limit = loudest * 10f64.powf(-SILENT_DB / 10.0);
        let heard = |pair: &[[f64; BANDS]]| pair.iter().all(|bands| total(bands) > limit);
        let Some(first) = energies.windows(2).position(heard) else {
            return Ok((Self { frames: Vec::new() }, Vec::new()));
        };
        let mut frames = Vec::new();
        let mut probes = Vec::new();
        for pair in energies.windows(2).skip(first).take(MAX_FRAMES) {
            frames.push(heard(pair).then(|| {
                let differences = differences(&pair[0], &pair[1]);
                let place = frames.len();
                let values = tipped(&differences);
                probes.push(Probe { place, values });
                values[0]
            }));
        }
        while frames.last().is_some_and(Option::is_none) {
            frames.pop();
        }
        Ok((Self { frames }, probes))
    }

    /// Frames, silent ones included.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bits of each frame.
    pub(super) fn frames(&self) -> impl Iterator<Item = (usize, u32)> {
        let frames = self.frames.iter().enumerate();
        frames.filter_map(|(place, bits)| Some((place, (*bits)?)))
    }

    /// Share of the bits that differ where `other` begins `offset` frames after this one, and the share of the longer one's
    /// frames that are compared; `None` where no frames meet.
    pub fn compare(&self, other: &Self, offset: isize) -> Option<Comparison> {
        let mut compared = 0u64;
        let mut wrong = 0u64;
        for (place, bits) in self.frames() {
            let there = place as isize - offset;
            let met = usize::try_from(there)
                .ok()
                .and_then(|there| other.frames.get(there));
            if let Some(Some(theirs)) = met {
                compared += 1;
                wrong += u64::from((bits ^ theirs).count_ones());
            }
        }
        let longer = self.frames().count().max(other.frames().count());
        (compared > 0).then(|| Comparison {
            bit_errors: wrong as f64 / (32 * compared) as f64,
            overlap: compared as f64 / longer as f64,
        })
    }
}

/// How alike two fingerprints are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Share of the compared bits that differ: near 0.5 for sounds that have nothing in common.
    pub bit_errors: f64,
    /// Share of the longer one's frames that are compared.
    pub overlap: f64,
}

/// Differences whose signs are the bits.
fn differences(before: &[f64; BANDS], now: &[f64; BANDS]) -> [f64; BANDS - 1] {
    std::array::from_fn(|m| (now[m] - now[m + 1]) - (before[m] - before[m + 1]))
}

fn tipped(differences: &[f64; BANDS - 1]) -> [u32; 1 << WEAK_BITS] {
    let bits = differences.iter().enumerate();
    let bits = bits.fold(0, |bits, (m, value)| bits | u32::from(*value > 0.0) << m);
    let mut order: [usize; BANDS - 1] = std::array::from_fn(|m| m);
    order.sort_by(|&a, &b| differences[a].abs().total_cmp(&differences[b].abs()));
    std::array::from_fn(|combination| {
        let weak = (0..WEAK_BITS).filter(|bit| combination >> bit & 1 == 1);
        weak.fold(bits, |bits, bit| bits ^ 1 << order[bit])
    })
}

/// Energies of all frames. Half a frame of silence is put at both ends, so that short sounds have frames too.
fn band_energies(samples: &[f32]) -> Vec<[f64; BANDS]> {
    let mut padded = vec![0.0f32; FRAME / 2];
    let most = (MAX_FRAMES + 2) * HOP * 4;
    padded.extend(samples.iter().take(most));
    padded.extend([0.0; FRAME / 2]);
    let fft = RealFftPlanner::<f32>::new().plan_fft_forward(FRAME);
    let window: Vec<f32> = (0..FRAME)
        .map(|i| {
            let angle = std::f64::consts::TAU * i as f64 / FRAME as f64;
            (0.5 - 0.5 * angle.cos()) as f32
        })
        .collect();
    let edges: Vec<usize> = (0..=BANDS)
        .map(|m| {
            let ratio = BAND_HERTZ[1] / BAND_HERTZ[0];
            let hertz = BAND_HERTZ[0] * ratio.powf(m as f64 / BANDS as f64);
            (hertz * FRAME as f64 / f64::from(RATE)).round() as usize
        })
        .collect();
    let mut spectrum = fft.make_output_vec();
    let frames = padded.windows(FRAME).step_by(HOP);
    frames
        .map(|frame| {
            let mut input: Vec<f32> = frame.iter().zip(&window).map(|(x, w)| x * w).collect();
            // It fails on buffers of another length alone.
            let _ = fft.process(&mut input, &mut spectrum);
            std::array::from_fn(|m| {
                let band = &spectrum[edges[m]..edges[m + 1]];
                band.iter().map(|value| f64::from(value.norm_sqr())).sum()
            })
        })
        .collect()
}
