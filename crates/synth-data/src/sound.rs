//! Sounds of one channel: silence, level, files.

use std::{fs::File, io::BufWriter, path::Path};

use crate::error::SynthError;

/// Samples per second of all sounds that are written.
pub const SAMPLE_RATE: u32 = 16_000;

/// Windows in which silence is looked for, in seconds.
const WINDOW: f64 = 0.005;
/// Windows below this share of the loudest one are silent: -40 dB.
const SILENT: f64 = 0.01;
/// Loudest sample after [`amplify`], in dBFS.
const PEAK: f64 = -1.0;

/// Cuts silence at both ends down to `margin` seconds.
pub(crate) fn trim(x: &[f32], rate: u32, margin: f64) -> &[f32] {
    let window = ((f64::from(rate) * WINDOW) as usize).max(1);
    let margin = (f64::from(rate) * margin) as usize;
    let levels: Vec<f64> = x.chunks(window).map(rms).collect();
    let threshold = SILENT * levels.iter().copied().fold(0.0, f64::max);
    let loud = |level: &f64| *level > threshold;
    match (levels.iter().position(loud), levels.iter().rposition(loud)) {
        (Some(first), Some(last)) => {
            let start = (first * window).saturating_sub(margin);
            let end = ((last + 1) * window + margin).min(x.len());
            &x[start..end]
        }
        _ => &[],
    }
}

/// Scales by a factor, or less where the loudest sample would pass -1 dBFS.
pub(crate) fn amplify(x: &mut [f32], gain: f32) {
    let loudest = x.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let most = 10f64.powf(PEAK / 20.0) as f32;
    let gain = if gain * loudest > most {
        most / loudest
    } else {
        gain
    };
    x.iter_mut().for_each(|v| *v *= gain);
}

/// The factor that brings a sound to an RMS of `level` dBFS; 1 for silence.
pub(crate) fn gain_to(x: &[f32], level: f64) -> f32 {
    match rms(x) {
        rms if rms > 0.0 => (10f64.powf(level / 20.0) / rms) as f32,
        _ => 1.0,
    }
}

/// Root mean square.
pub(crate) fn rms(x: &[f32]) -> f64 {
    let sum: f64 = x.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    (sum / x.len().max(1) as f64).sqrt()
}

/// Writes a WAV file of 16 bits.
pub(crate) fn write_wav(path: &Path, x: &[f32]) -> Result<(), SynthError> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let write = || -> Result<(), hound::Error> {
        let file = BufWriter::new(File::create(path)?);
        let mut writer = hound::WavWriter::new(file, spec)?;
        for v in x {
            let sample = (v * 32767.0).round().clamp(-32768.0, 32767.0);
            writer.write_sample(sample as i16)?;
        }
        writer.finalize()
    };
    write().map_err(|error| {
        let source = match error {
            hound::Error::IoError(source) => source,
            other => std::io::Error::other(other),
        };
        SynthError::write(path)(source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_goes_down_to_the_margin() {
        let mut x = vec![0.0; 1600];
        x.extend([0.5; 800]);
        x.extend([0.0; 1600]);
        let kept = trim(&x, SAMPLE_RATE, 0.03);
        assert_eq!(kept.len(), 480 + 800 + 480);
        assert!(trim(&[0.0; 100], SAMPLE_RATE, 0.03).is_empty());
    }

    #[test]
    fn sound_is_scaled_by_the_factor_unless_the_peak_forbids_it() {
        let mut square = [0.2, -0.2].repeat(100);
        amplify(&mut square, 0.5);
        assert!((rms(&square) - 0.1).abs() < 1e-6);

        let mut click = vec![0.0; 100];
        click[7] = -0.3;
        amplify(&mut click, 100.0);
        assert!((f64::from(click[7]) + 10f64.powf(-0.05)).abs() < 1e-6);
        amplify(&mut [], 2.0);

        assert!((gain_to(&[0.2, -0.2], -20.0) - 0.5).abs() < 1e-6);
        assert_eq!(gain_to(&[0.0; 8], -20.0), 1.0);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = write_wav(folder.path(), &[0.0]).expect_err("a folder is no file");
        assert!(matches!(error, SynthError::Write { path, .. } if path == folder.path()));
    }
}
