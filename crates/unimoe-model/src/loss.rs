//! Training objective over codes: cross entropy of each channel, summed.
//!
//! Axes: `B` rows, `S` positions, `K` channels, `V` codec vocabulary.

use burn::tensor::{DType, Tensor, TensorData};
use fused_ops::cross_entropy;

/// The label of a position that doesn't count.
pub const IGNORED: i64 = -100;

/// What [`codec_cross_entropy`] returns.
#[derive(Debug, Clone)]
pub struct CodecLoss {
    /// Mean cross entropy of each channel over its labels, `[K]`; 0 for a channel without any.
    pub channels: Tensor<1>,
    /// Sum over the channels, `[1]`.
    pub total: Tensor<1>,
    /// Cross entropy of each label but the first position's, `[B * (S - 1), K]`; 0 where the label is [`IGNORED`].
    pub each: Tensor<2>,
}

/// Cross entropy of the codes: position `s` predicts the label of position `s + 1`.
///
/// A channel without a label in the batch counts nothing; the published code gives NaN where that is
/// channel 0. Computed in f32, whatever the dtype of the logits.
///
/// # Shapes
///
/// - logits: `[B, S, K, V]`
/// - labels: `[B, S, K]` in row-major order, [`IGNORED`] where there is none
///
/// # Panics
///
/// Panics if there is no position, `labels` has another length, or it holds a label that is neither [`IGNORED`] nor below `V`.
pub fn codec_cross_entropy(logits: Tensor<4>, labels: &[i64]) -> CodecLoss {
    let [batch, length, channels, codes] = logits.dims();
    assert!(length > 0, "there must be a position to predict from");
    assert_eq!(
        labels.len(),
        batch * length * channels,
        "one label for each position and channel"
    );
    let mut counts = vec![0usize; channels];
    let mut target = |(place, &label): (usize, &i64)| {
        if label == IGNORED {
            return None;
        }
        let class = u32::try_from(label)
            .ok()
            .filter(|class| (*class as usize) < codes);
        assert!(class.is_some(), "label {label} is not below {codes}");
        counts[place % channels] += 1;
        class
    };
    // Shifted by one: the last position predicts nothing, the first is predicted by none.
    let mut targets = Vec::with_capacity(labels.len());
    for row in labels.chunks(length * channels) {
        targets.extend(row[channels..].iter().enumerate().map(&mut target));
        targets.extend(std::iter::repeat_n(None, channels));
    }
    let means: Vec<f32> = counts.iter().map(|&n| 1.0 / n.max(1) as f32).collect();
    let device = logits.device();
    let means =
        Tensor::<2>::from_data(TensorData::new(means, [1, channels]), (&device, DType::F32));

    let each = cross_entropy(logits.reshape([labels.len(), codes]), &targets)
        .reshape([batch, length, channels])
        .narrow(1, 0, length - 1)
        .reshape([batch * (length - 1), channels]);
    let channels = (each.clone().sum_dim(0) * means).reshape([channels]);
    CodecLoss {
        total: channels.clone().sum(),
        channels,
        each,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn logits_in_half_precision_give_a_loss_in_f32() {
        let logits = Tensor::<4>::zeros([1, 2, 1, 4], (&Device::flex(), DType::F16));
        let loss = codec_cross_entropy(logits, &[0, 3]);
        assert_eq!(loss.total.dtype(), DType::F32);
        assert!((loss.total.into_scalar::<f32>() - 4f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn uniform_logits_cost_the_logarithm_of_the_vocabulary_per_labelled_channel() {
        let logits = Tensor::<4>::zeros([1, 3, 2, 5], &Device::flex());
        // Channel 1 has no label after the first position.
        let labels = [0, 4, 1, IGNORED, 2, IGNORED];
        let loss = codec_cross_entropy(logits, &labels);
        let channels = loss
            .channels
            .into_data()
            .try_into_vec::<f32>()
            .expect("f32");
        assert!((channels[0] - 5f32.ln()).abs() < 1e-6);
        assert_eq!(channels[1], 0.0);
    }
}
