//! The two sides of the game: discriminators that tell recordings from reconstructions, and a codec that makes them
//! fail.
//!
//! Least squares (LSGAN, arXiv:1611.04076) and feature matching (arXiv:1910.06711), as the Descript Audio Codec
//! (arXiv:2306.06546), section 3.4, uses them. All sums run over the discriminators.

use burn::tensor::Tensor;

use super::discriminator::Judgement;

/// What the discriminators make small: `sum of mean((D(x) - 1)^2) + mean(D(y)^2)`, `x` recorded, `y` reconstructed.
///
/// # Panics
///
/// Panics without a judgement.
pub fn discriminator_loss(recorded: &[Judgement], reconstructed: &[Judgement]) -> Tensor<1> {
    sum(recorded
        .iter()
        .zip(reconstructed)
        .map(|(x, y)| (x.score.clone() - 1.0).square().mean() + y.score.clone().square().mean()))
}

/// What the codec makes small: `sum of mean((D(y) - 1)^2)`, `y` reconstructed.
///
/// # Panics
///
/// Panics without a judgement.
pub fn generator_loss(reconstructed: &[Judgement]) -> Tensor<1> {
    let scores = reconstructed.iter().map(|y| y.score.clone());
    sum(scores.map(|score| (score - 1.0).square().mean()))
}

/// `sum over layers of mean |h(x) - h(y)|`, `x` recorded, `y` reconstructed; no gradient flows to `x`.
///
/// # Panics
///
/// Panics without a layer.
pub fn feature_matching_loss(recorded: &[Judgement], reconstructed: &[Judgement]) -> Tensor<1> {
    let pairs = recorded.iter().zip(reconstructed);
    let layers = pairs.flat_map(|(x, y)| x.features.iter().zip(&y.features));
    sum(layers.map(|(x, y)| (x.clone().detach() - y.clone()).abs().mean()))
}

fn sum(terms: impl Iterator<Item = Tensor<1>>) -> Tensor<1> {
    terms.reduce(|a, b| a + b).expect("at least one term")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use burn::tensor::Device;

    fn judgement(score: [f32; 2], features: [f32; 2], device: &Device) -> Judgement {
        Judgement {
            score: Tensor::<1>::from_data(score, device).unsqueeze(),
            features: vec![Tensor::<1>::from_data(features, device).unsqueeze()],
        }
    }

    #[test]
    fn losses_are_what_the_equations_say() {
        let device = Device::flex();
        let x = [
            judgement([1.0, 0.0], [1.0, 2.0], &device),
            judgement([0.5, 0.5], [0.0, 0.0], &device),
        ];
        let y = [
            judgement([0.0, 2.0], [0.0, 4.0], &device),
            judgement([1.0, 1.0], [3.0, 0.0], &device),
        ];
        // (0 + 1) / 2 + (0 + 4) / 2 = 2.5 and 0.25 + 1 = 1.25
        assert_eq!(discriminator_loss(&x, &y).into_scalar::<f32>(), 3.75);
        // (1 + 1) / 2 and 0
        assert_eq!(generator_loss(&y).into_scalar::<f32>(), 1.0);
        // (1 + 2) / 2 and (3 + 0) / 2
        assert_eq!(feature_matching_loss(&x, &y).into_scalar::<f32>(), 3.0);
    }
}
