//! Examples side by side, as the model takes them.
//!
//! Axes: `B` rows, `S` positions, `K` codec channels.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unimoe_model::{IGNORED, ModelInput, UniMoeConfig, VisionInput};

use crate::example::Example;

/// Examples side by side, shorter ones padded at their end.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Ids and codes; images and videos are not encoded yet.
    pub input: ModelInput,
    /// The images and videos of all rows, in order.
    pub vision: Vec<VisionInput>,
    /// Labels `[B, S, K]`, [`IGNORED`] where nothing is to be predicted.
    pub labels: Vec<i64>,
    /// The domain of each row, `[B]`.
    pub domains: Vec<Arc<str>>,
    /// What each token counts in the routers' losses, `[B, S]`; padding counts nothing then. `None` counts all alike,
    /// padding too, as the published code does.
    pub token_weights: Option<Vec<f32>>,
}

/// How often a prompt is replaced by the one that guidance leads away from, so that the model knows both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unconditional {
    /// Probability for each example.
    pub probability: f64,
    /// Seed of the choice.
    pub seed: u64,
}

impl Batch {
    /// Lays examples side by side. Only the codes of the sound have labels; BOS and padding have none.
    ///
    /// # Panics
    ///
    /// Panics if there is no example.
    pub fn new(
        examples: &[Example],
        config: &UniMoeConfig,
        pad_id: u32,
        unconditional: Unconditional,
    ) -> Self {
        assert!(!examples.is_empty(), "a batch needs an example");
        let mut generator = ChaCha8Rng::seed_from_u64(unconditional.seed);
        let prompts: Vec<&[u32]> = (examples.iter())
            .map(
                |example| match generator.random::<f64>() < unconditional.probability {
                    true => example.unconditional.as_slice(),
                    false => example.prompt.as_slice(),
                },
            )
            .collect();
        let codec = &config.codec;
        let channels = codec.n_channels;
        let rows = |example: &Example| example.target.len() / channels;
        let length = (prompts.iter().zip(examples))
            .map(|(prompt, example)| prompt.len() + rows(example))
            .max()
            .unwrap_or_default();
        let mut input = ModelInput {
            batch: examples.len(),
            ..ModelInput::default()
        };
        let mut labels = Vec::with_capacity(examples.len() * length * channels);
        for (prompt, example) in prompts.iter().zip(examples) {
            let own = prompt.len() + rows(example);
            input.ids.extend_from_slice(prompt);
            input
                .ids
                .extend(std::iter::repeat_n(codec.placeholder, rows(example)));
            input.ids.extend(std::iter::repeat_n(pad_id, length - own));
            input.real.extend((0..length).map(|place| place < own));
            input.codes.extend_from_slice(&example.reference);
            input.codes.extend_from_slice(&example.target);
            labels.extend(std::iter::repeat_n(IGNORED, prompt.len() * channels));
            labels.extend(example.target.iter().map(|&code| match code <= codec.eos {
                true => i64::from(code),
                false => IGNORED,
            }));
            labels.extend(std::iter::repeat_n(IGNORED, (length - own) * channels));
        }
        let vision = (examples.iter().flat_map(|example| &example.vision))
            .map(|input| VisionInput::clone(input))
            .collect();
        Self {
            input,
            vision,
            labels,
            domains: examples
                .iter()
                .map(|example| example.domain.clone())
                .collect(),
            token_weights: None,
        }
    }

    /// Tokens that are no padding.
    pub fn tokens(&self) -> u64 {
        self.input.real.iter().filter(|&&real| real).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(prompt: &[u32], target: &[u32]) -> Example {
        Example {
            id: "x".into(),
            domain: "music".into(),
            prompt: prompt.to_vec(),
            unconditional: vec![9],
            reference: Vec::new(),
            target: target.to_vec(),
            vision: Vec::new(),
        }
    }

    #[test]
    fn labels_are_the_codes_and_the_end_where_they_are_predicted() {
        let mut config = UniMoeConfig::tiny();
        config.codec.n_channels = 2;
        config.codec.delay_pattern = vec![0, 1];
        let (s, e, p) = (config.codec.bos, config.codec.eos, config.codec.pad);
        let place = config.codec.placeholder;
        let long = example(&[1, 2], &[s, s, 5, s, e, 6, p, e]);
        let short = example(&[3], &[s, s, 7, s]);
        let never = Unconditional {
            probability: 0.0,
            seed: 1,
        };
        let batch = Batch::new(&[long.clone(), short], &config, 0, never);
        let ids = [1, 2, place, place, place, place, 3, place, place, 0, 0, 0];
        assert_eq!(batch.input.ids, ids);
        assert_eq!(batch.tokens(), 9);
        let (i, e) = (IGNORED, i64::from(e));
        let first = [i, i, i, i, i, i, 5, i, e, 6, i, e];
        let second = [i, i, i, i, 7, i, i, i, i, i, i, i];
        assert_eq!(batch.labels, [first, second].concat());

        let always = Unconditional {
            probability: 1.0,
            seed: 1,
        };
        let batch = Batch::new(&[long], &config, 0, always);
        assert_eq!(batch.input.ids[0], 9);
    }
}
