//! Guided attention: some heads are told to look at the word that is being spoken.
//!
//! What a text says is a small part of what there is to predict in speech, so a model that has to find out by itself where in
//! the text it is takes long to follow it at all. Speech walks through its text from left to right at a fairly even pace; a head is told so:
//! `L = -mean log sum_k A[q, k] G[q, k]` over the positions `q` that predict the first channel's frames of a spoken text, where `A` are
//! the head's attention weights and `G[q, k] = exp(-d^2 / 2 w^2)` with the distance `d` between the frame's place in the sound
//! and the token's span in the text, as shares of the whole, less `w`: a token within `w` is as good as any. After Tachibana et al.,
//! *Efficiently trainable text-to-speech system based on deep convolutional networks with guided attention*, arXiv:1710.08969.
//!
//! Axes: `B` rows, `Q` heads, `S` positions, `H` heads that are told.

use burn::tensor::{DType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::{batch::Batch, example::SpokenText};

/// Attention outside of the window counts nothing below this.
const LEAST: f64 = 1e-6;

/// Which heads are told where to look, and how firmly.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuidedAttention {
    /// What the loss counts in the objective. Default: 1
    pub weight: f64,
    /// The layer of the heads, counted from 0. Default: 1
    pub layer: usize,
    /// How many heads of the layer are told, the first ones. Default: 1
    pub heads: usize,
    /// How far from an even pace is as good, as a share of the text. Default: 0.05
    pub width: f64,
}

impl Default for GuidedAttention {
    fn default() -> Self {
        Self {
            weight: 1.0,
            layer: 1,
            heads: 1,
            width: 0.05,
        }
    }
}

impl GuidedAttention {
    /// The loss of the observed layer's attention weights `[B, Q, S, S]`, `[1]`; `None` where the batch has no spoken text.
    pub fn loss(&self, attention: Tensor<4>, batch: &Batch) -> Option<Tensor<1>> {
        let [rows, heads, length, _] = attention.dims();
        let mut window = vec![0.0f32; rows * length * length];
        let mut counts = vec![0.0f32; rows * length];
        for (row, texts) in batch.spoken.iter().enumerate() {
            for text in texts {
                self.draw(
                    text,
                    length,
                    &mut window[row * length * length..],
                    &mut counts[row * length..],
                );
            }
        }
        let total: f32 = counts.iter().sum();
        if total == 0.0 {
            return None;
        }
        let device = attention.device();
        let told = self.heads.clamp(1, heads);
        let tensor = |values: Vec<f32>, shape: [usize; 4]| {
            Tensor::<4>::from_data(TensorData::new(values, shape), (&device, DType::F32))
        };
        let window = tensor(window, [rows, 1, length, length]);
        let counts = tensor(counts, [rows, 1, length, 1]);
        let seen = (attention.narrow(1, 0, told) * window).sum_dim(3);
        let each = (seen + LEAST).log() * counts;
        Some(each.sum() / (-f64::from(total) * told as f64))
    }

    /// Draws what a row's frames may look at, `[S, S]`, and which positions count, `[S]`.
    fn draw(&self, text: &SpokenText, length: usize, window: &mut [f32], counts: &mut [f32]) {
        let frames = text.frames.len().max(1) as f64;
        for (frame, position) in text.frames.clone().enumerate() {
            let place = (frame as f64 + 0.5) / frames;
            let mut start = 0.0;
            for (token, &end) in text.tokens.clone().zip(&text.ends) {
                let end = f64::from(end);
                let outside = (start - place).max(place - end).max(0.0);
                let distance = (outside / self.width - 1.0).max(0.0);
                window[position * length + token] = (-0.5 * distance * distance).exp() as f32;
                start = end;
            }
            counts[position] = 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// A text of two tokens at 1 and 2, the first three quarters of it, spoken by frames at 3 to 6.
    fn batch() -> Batch {
        let text = SpokenText {
            tokens: 1..3,
            ends: vec![0.75, 1.0],
            frames: 3..7,
        };
        Batch {
            input: Default::default(),
            vision: Vec::new(),
            labels: Vec::new(),
            domains: Vec::new(),
            spoken: vec![vec![text], Vec::new()],
            token_weights: None,
        }
    }

    /// Attention of two rows and heads over 8 positions: in the first row each position looks at its entry of `looks` alone.
    fn attention(looks: [usize; 8], device: &Device) -> Tensor<4> {
        let mut values = vec![0.0f32; 2 * 2 * 8 * 8];
        for (position, look) in looks.into_iter().enumerate() {
            values[position * 8 + look] = 1.0;
        }
        Tensor::from_data(TensorData::new(values, [2, 2, 8, 8]), device)
    }

    #[test]
    fn a_head_that_looks_at_the_spoken_word_has_nothing_to_learn() {
        let device = Device::flex();
        let config = GuidedAttention::default();
        let loss = |looks| {
            let loss = config.loss(attention(looks, &device), &batch());
            loss.expect("a spoken text").into_scalar::<f32>()
        };
        assert!(loss([0, 0, 0, 1, 1, 1, 2, 0]).abs() < 1e-5);
        // One of four frames looks at the wrong word: at 0.875 where the word ends at 0.75, (0.125 / 0.05 - 1)^2 / 2.
        let near = loss([0, 0, 0, 1, 1, 1, 1, 0]);
        assert!((near - 1.125 / 4.0).abs() < 1e-3, "{near}");
        // One looks beside the text.
        let beside = loss([0, 0, 0, 1, 1, 1, 5, 0]);
        assert!(
            (beside + (LEAST as f32).ln() / 4.0).abs() < 1e-3,
            "{beside}"
        );
    }

    #[test]
    fn its_gradient_leads_to_the_spoken_word() {
        let device = Device::flex().autodiff();
        let even = Tensor::<4>::full([2, 2, 8, 8], 0.125, &device).require_grad();
        let loss = GuidedAttention::default().loss(even.clone(), &batch());
        let gradients = loss.expect("a spoken text").backward();
        let gradient = even.grad(&gradients).expect("a gradient");
        let at = |row: usize, head: usize, query: usize, key: usize| {
            let one = [row..row + 1, head..head + 1, query..query + 1, key..key + 1];
            gradient.clone().slice(one).into_scalar::<f32>()
        };
        // Four frames: each has the gradient -1 / 4 / 0.125 where it should look.
        assert!((at(0, 0, 3, 1) + 2.0).abs() < 1e-3, "{}", at(0, 0, 3, 1));
        for other in [
            at(0, 0, 3, 4),
            at(0, 0, 7, 1),
            at(0, 1, 3, 1),
            at(1, 0, 3, 1),
        ] {
            assert_eq!(other, 0.0);
        }
    }

    #[test]
    fn a_batch_without_speech_has_none() {
        let device = Device::flex();
        let mut silent = batch();
        silent.spoken = vec![Vec::new(), Vec::new()];
        let loss = GuidedAttention::default().loss(attention([0; 8], &device), &silent);
        assert!(loss.is_none());
    }
}
