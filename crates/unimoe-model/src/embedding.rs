//! Embeddings of text and of codec codes, and how they merge into one sequence with images and videos.
//!
//! A position that takes audio holds the placeholder id in the text; its embedding is the sum of one
//! row per codec channel (UniMoE-Audio, section 3.1).
//!
//! ```text
//! ids       [ 7, V, V, P, P, 9 ]      V: video token, P: placeholder
//! video         [u][v]                one row of the vision encoder for each V, in order
//! codes               [a][b]          one row of K codes for each P, in order
//! embedded  [ t7, u, v, ca, cb, t9 ]
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

/// Rows that stand in for the places where the text holds `token`, in order.
#[derive(Debug)]
pub(crate) struct StandIn {
    /// The token's id.
    pub token: u32,
    /// `[P, D]`, as many rows as there are such tokens.
    pub rows: Tensor<2>,
}

/// Embeds `ids`, with the rows of `others` in the places of their tokens.
///
/// Differentiable in all. The caller has checked that there are as many rows as places.
///
/// # Shapes
///
/// - ids: `[B, S]` in row-major order
/// - output: `[B, S, D]`
pub(crate) fn merge(
    text: &Embedding,
    ids: &[u32],
    batch: usize,
    others: Vec<StandIn>,
) -> Tensor<3> {
    let weight = text.weight.val();
    let (device, [_, d_model]) = (weight.device(), weight.dims());
    let tokens = ids.len();
    let index = |values: Vec<i32>| {
        let length = values.len();
        Tensor::<1, Int>::from_data(TensorData::new(values, [length]), &device)
    };
    let dtype = weight.dtype();
    let rows = weight.select(0, index(ids.iter().map(|&id| id as i32).collect()));
    if others.is_empty() {
        return rows.reshape([batch, tokens / batch, d_model]);
    }
    // The other rows stand behind the text rows; picking them by index keeps all gradients.
    let mut first = tokens;
    let mut order: Vec<i32> = (0..tokens as i32).collect();
    let mut parts = vec![rows];
    for StandIn { token, rows } in others {
        let places = ids.iter().zip(&mut order).filter(|(id, _)| **id == token);
        for (row, (_, place)) in (first..).zip(places) {
            *place = row as i32;
        }
        first += rows.dims()[0];
        parts.push(rows.cast(dtype));
    }
    let merged = Tensor::cat(parts, 0).select(0, index(order));
    merged.reshape([batch, tokens / batch, d_model])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_for_their_tokens_in_order() {
        let device = Device::flex();
        let mut text = EmbeddingConfig::new(3, 1).init(&device);
        text.weight = text
            .weight
            .map(|_| Tensor::from_data([[10.0f32], [20.0], [30.0]], &device));
        let rows = |values: &[f32]| Tensor::<1>::from_data(values, &device).unsqueeze_dim(1);
        let (audio, video) = (rows(&[1.0, 2.0]), rows(&[3.0]));
        let others = [(2, audio), (1, video)].map(|(token, rows)| StandIn { token, rows });
        let merged = merge(&text, &[0, 2, 1, 2, 0, 0], 2, others.into());
        assert_eq!(merged.dims(), [2, 3, 1]);
        let values = merged.into_data().try_into_vec::<f32>().expect("f32");
        assert_eq!(values, [10.0, 1.0, 3.0, 2.0, 10.0, 10.0]);
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
