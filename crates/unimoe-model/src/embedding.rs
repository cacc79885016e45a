//! Embeddings of text and of codec codes, and how they merge into one sequence.
//!
//! A position that takes audio holds the placeholder id in the text; its embedding is the sum of one
//! row per codec channel (UniMoE-Audio, section 3.1).
//!
//! ```text
//! ids       [ 7, P, P, 9 ]      P: placeholder
//! codes         [a][b]          one row of K codes for each P, in order
//! embedded  [ t7, ca, cb, t9 ]
//! ```
//!
//! Axes: `B` rows, `S` positions, `P` audio positions, `K` channels, `V` codec vocabulary, `D` width.

use burn::{
    config::Config,
    module::Module,
    nn::{Embedding, EmbeddingConfig},
    tensor::{Device, Int, Tensor, TensorData},
};

/// Configuration to create a [`CodecEmbedding`].
#[derive(Config, Debug)]
pub struct CodecEmbeddingConfig {
    /// Codec channels `K`.
    pub n_channels: usize,
    /// Codec vocabulary `V`: codes and their special values.
    pub n_codes: usize,
    /// Model width `D`.
    pub d_model: usize,
}

/// One table per channel; a row of codes is embedded as the sum of its channels.
#[derive(Module, Debug)]
pub struct CodecEmbedding {
    /// Tables `[V, D]`, one for each channel.
    pub channels: Vec<Embedding>,
}

impl CodecEmbeddingConfig {
    /// Initializes a [`CodecEmbedding`].
    pub fn init(&self, device: &Device) -> CodecEmbedding {
        let table = || EmbeddingConfig::new(self.n_codes, self.d_model).init(device);
        CodecEmbedding {
            channels: (0..self.n_channels).map(|_| table()).collect(),
        }
    }
}

impl CodecEmbedding {
    /// Sums the channels' embeddings.
    ///
    /// # Shapes
    ///
    /// - codes: `[P, K]`, each below `V`
    /// - output: `[P, D]`
    pub fn forward(&self, codes: Tensor<2, Int>) -> Tensor<2> {
        let rows = codes.dims()[0];
        let embed = |(channel, table): (usize, &Embedding)| {
            let column = codes.clone().narrow(1, channel, 1).reshape([rows]);
            table.weight.val().select(0, column)
        };
        let mut channels = self.channels.iter().enumerate();
        let first = channels.next().map(embed);
        let sum = channels.fold(first, |sum, channel| sum.map(|sum| sum + embed(channel)));
        sum.unwrap_or_else(|| Tensor::zeros([rows, 0], &codes.device()))
    }
}

/// Embeds `ids`, with the rows of `audio` in the places where `ids` holds `placeholder`, in order.
///
/// Differentiable in both. The caller has checked that there are as many rows as placeholders.
///
/// # Shapes
///
/// - ids: `[B, S]` in row-major order
/// - audio: `[P, D]`
/// - output: `[B, S, D]`
pub(crate) fn merge(
    text: &Embedding,
    ids: &[u32],
    batch: usize,
    placeholder: u32,
    audio: Option<Tensor<2>>,
) -> Tensor<3> {
    let weight = text.weight.val();
    let (device, [_, d_model]) = (weight.device(), weight.dims());
    let tokens = ids.len();
    let index = |values: Vec<i32>| {
        let length = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [length]), &device)
    };
    let rows = weight.select(0, index(ids.iter().map(|&id| id as i32).collect()));
    let merged = match audio {
        None => rows,
        Some(audio) => {
            // The audio rows stand behind the text rows; picking them by index keeps both gradients.
            let mut next_audio = tokens as i32;
            let order = (0..tokens as i32).zip(ids).map(|(place, &id)| {
                if id == placeholder {
                    next_audio += 1;
                    next_audio - 1
                } else {
                    place
                }
            });
            let order = order.collect();
            Tensor::cat(vec![rows, audio], 0).select(0, index(order))
        }
    };
    merged.reshape([batch, tokens / batch, d_model])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audio_rows_stand_in_for_placeholders_in_order() {
        let device = Device::flex();
        let mut text = EmbeddingConfig::new(3, 1).init(&device);
        text.weight = text
            .weight
            .map(|_| Tensor::from_data([[10.0f32], [20.0], [30.0]], &device));
        let audio = Tensor::<2>::from_data([[1.0f32], [2.0]], &device);
        let merged = merge(&text, &[0, 2, 2, 1], 2, 2, Some(audio));
        assert_eq!(merged.dims(), [2, 2, 1]);
        let values = merged.into_data().try_into_vec::<f32>().expect("f32");
        assert_eq!(values, [10.0, 1.0, 2.0, 20.0]);
    }

    #[test]
    fn a_row_of_codes_is_the_sum_of_its_channels() {
        let device = Device::flex();
        let mut embedding = CodecEmbeddingConfig::new(2, 2, 1).init(&device);
        for (table, values) in embedding
            .channels
            .iter_mut()
            .zip([[1.0f32, 2.0], [10.0, 20.0]])
        {
            table.weight = table
                .weight
                .clone()
                .map(|_| Tensor::<1>::from_data(values, &device).reshape([2, 1]));
        }
        let codes = Tensor::<2, Int>::from_data([[0, 1], [1, 0]], &device);
        let sums = embedding.forward(codes).into_data();
        assert_eq!(sums.try_into_vec::<f32>().expect("f32"), [21.0, 12.0]);
    }
}
