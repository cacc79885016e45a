//! A sound without the silence around it.

/// Samples of a piece that is loud or not: 10 ms.
const PIECE: usize = 160;
/// What is quieter than the loudest piece by this factor of RMS, 40 dB, is silence.
const QUIET: f64 = 0.01;

/// The part from the first to the last piece of 10 ms within 40 dB of the loudest; empty for silence.
pub fn trimmed(samples: &[f32]) -> &[f32] {
    let power = |piece: &[f32]| {
        let squares = piece.iter().map(|&sample| f64::from(sample).powi(2));
        squares.sum::<f64>() / piece.len() as f64
    };
    let powers: Vec<f64> = samples.chunks(PIECE).map(power).collect();
    let least = powers.iter().copied().fold(0.0, f64::max) * QUIET.powi(2);
    let loud = |&power: &f64| power > 0.0 && power >= least;
    let (Some(first), Some(last)) = (powers.iter().position(loud), powers.iter().rposition(loud))
    else {
        return &[];
    };
    &samples[first * PIECE..samples.len().min((last + 1) * PIECE)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_goes_from_the_ends_and_stays_inside() {
        let mut samples = vec![0.001; 1600];
        samples[320..480].fill(0.5);
        samples[800..960].fill(0.5);
        assert_eq!(trimmed(&samples), &samples[320..960]);
        assert!(trimmed(&[0.0; 500]).is_empty());
        assert!(trimmed(&[]).is_empty());
        assert_eq!(trimmed(&[0.5; 170]).len(), 170);
    }
}
