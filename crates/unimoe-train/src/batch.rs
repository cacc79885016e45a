//! Examples side by side, as the model takes them.
//!
//! Axes: `B` rows, `S` positions, `K` codec channels.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use unimoe_model::{IGNORED, ModelInput, UniMoeConfig, VisionInput};

use crate::example::{Example, SpokenText};

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
    /// Where texts stand and where they are spoken, of each row, `[B]`; a row whose prompt is replaced has none.
    pub spoken: Vec<Vec<SpokenText>>,
    /// What each token counts in the routers' losses, `[B, S]`; padding counts nothing then. `None` counts all alike,
    /// padding too, as the published code does.
    pub token_weights: Option<Vec<f32>>,
}

/// What a batch is to teach beside the sounds of its examples. The default measures: whole prompts and codes, and labels for
/// what was asked for alone.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BatchSettings {
    /// Probability that a prompt is replaced by the one that guidance leads away from, so that the model knows both.
    pub unconditional: f64,
    /// Probability that a row of codes is hidden from the model, which reads padding in its place; labels stay.
    pub code_dropout: f64,
    /// Probability that all codes of an example's sound are hidden so; those of its voice stay.
    pub history_dropout: f64,
    /// Probability that a code of an example's sound is replaced, where the model reads it, by one of the same channel at another
    /// place; labels stay.
    pub code_noise: f64,
    /// How many channels, the first ones, have labels there; 0 stands for all.
    pub history_channels: usize,
    /// Whether the codes of the voices have labels too.
    pub learn_voice: bool,
    /// Seed of what is drawn.
    pub seed: u64,
}

impl Batch {
    /// Lays examples side by side. The codes of the sound have labels, those of the voice where the settings say so; BOS
    /// and padding have none.
    ///
    /// # Panics
    ///
    /// Panics if there is no example.
    pub fn new(
        examples: &[Example],
        config: &UniMoeConfig,
        pad_id: u32,
        settings: BatchSettings,
    ) -> Self {
        assert!(!examples.is_empty(), "a batch needs an example");
        let mut generator = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut spoken = Vec::with_capacity(examples.len());
        let mut prompts: Vec<&[u32]> = Vec::with_capacity(examples.len());
        for example in examples {
            let is_replaced = generator.random::<f64>() < settings.unconditional;
            let (prompt, texts) = match is_replaced {
                true => (&example.unconditional, Vec::new()),
                false => (&example.prompt, example.spoken.clone()),
            };
            prompts.push(prompt);
            spoken.push(texts);
        }
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
        let label = |&code: &u32| match code <= codec.eos {
            true => i64::from(code),
            false => IGNORED,
        };
        for (prompt, example) in prompts.iter().zip(examples) {
            let own = prompt.len() + rows(example);
            input.ids.extend_from_slice(prompt);
            input
                .ids
                .extend(std::iter::repeat_n(codec.placeholder, rows(example)));
            input.ids.extend(std::iter::repeat_n(pad_id, length - own));
            input.real.extend((0..length).map(|place| place < own));
            let history = settings.history_dropout;
            let is_forgotten = history > 0.0 && generator.random::<f64>() < history;
            let noisy = noisy(
                &example.target,
                channels,
                settings.code_noise,
                &mut generator,
            );
            let target = noisy.as_ref().unwrap_or(&example.target);
            for (rows, all) in [(&example.reference, false), (target, is_forgotten)] {
                let mut rows = rows.chunks(channels);
                input.codes.extend(rows.next().into_iter().flatten());
                for row in rows {
                    match all || generator.random::<f64>() < settings.code_dropout {
                        true => input
                            .codes
                            .extend(std::iter::repeat_n(codec.pad, row.len())),
                        false => input.codes.extend_from_slice(row),
                    }
                }
            }
            let mut voice = example.reference.chunks(channels).peekable();
            for &id in *prompt {
                match voice.next_if(|_| settings.learn_voice && id == codec.placeholder) {
                    Some(codes) => labels.extend(codes.iter().map(label)),
                    None => labels.extend(std::iter::repeat_n(IGNORED, channels)),
                }
            }
            let told = match settings.history_channels {
                1.. if is_forgotten => settings.history_channels,
                _ => channels,
            };
            let target = example.target.iter().enumerate();
            labels.extend(target.map(|(place, code)| match place % channels < told {
                true => label(code),
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
            spoken,
            token_weights: None,
        }
    }

    /// Tokens that are no padding.
    pub fn tokens(&self) -> u64 {
        self.input.real.iter().filter(|&&real| real).count() as u64
    }
}

/// Codes of which some are those of another place; `None` where none is to be.
fn noisy(
    codes: &[u32],
    channels: usize,
    share: f64,
    generator: &mut ChaCha8Rng,
) -> Option<Vec<u32>> {
    let rows = codes.len() / channels;
    if share <= 0.0 || rows == 0 {
        return None;
    }
    let mut noisy = codes.to_vec();
    // The first row is the begin's.
    for (place, code) in noisy.iter_mut().enumerate().skip(channels) {
        if generator.random::<f64>() < share {
            let other = generator.random_range(0..rows);
            *code = codes[other * channels + place % channels];
        }
    }
    Some(noisy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_channels() -> UniMoeConfig {
        let mut config = UniMoeConfig::tiny();
        config.codec.n_channels = 2;
        config.codec.delay_pattern = vec![0, 1];
        config
    }

    fn example(prompt: &[u32], target: &[u32]) -> Example {
        Example {
            id: "x".into(),
            domain: "music".into(),
            prompt: prompt.to_vec(),
            unconditional: vec![9],
            reference: Vec::new(),
            target: target.to_vec(),
            vision: Vec::new(),
            spoken: Vec::new(),
        }
    }

    #[test]
    fn labels_are_the_codes_and_the_end_where_they_are_predicted() {
        let config = two_channels();
        let (s, e, p) = (config.codec.bos, config.codec.eos, config.codec.pad);
        let place = config.codec.placeholder;
        let long = example(&[1, 2], &[s, s, 5, s, e, 6, p, e]);
        let short = example(&[3], &[s, s, 7, s]);
        let settings = BatchSettings::default();
        let batch = Batch::new(&[long.clone(), short], &config, 0, settings);
        let ids = [1, 2, place, place, place, place, 3, place, place, 0, 0, 0];
        assert_eq!(batch.input.ids, ids);
        assert_eq!(batch.tokens(), 9);
        let (i, e) = (IGNORED, i64::from(e));
        let first = [i, i, i, i, i, i, 5, i, e, 6, i, e];
        let second = [i, i, i, i, 7, i, i, i, i, i, i, i];
        assert_eq!(batch.labels, [first, second].concat());

        let always = BatchSettings {
            unconditional: 1.0,
            ..settings
        };
        let batch = Batch::new(&[long], &config, 0, always);
        assert_eq!(batch.input.ids[0], 9);
    }

    #[test]
    fn the_codes_of_a_voice_have_labels_where_they_are_to_be_learnt() {
        let config = two_channels();
        let (s, e, p) = (config.codec.bos, config.codec.eos, config.codec.pad);
        let place = config.codec.placeholder;
        let mut spoken = example(&[1, place, place, place, place, 2], &[s, s, 5, s]);
        spoken.reference = vec![s, s, 7, s, e, 8, p, e];
        let labels = |learn_voice| {
            let settings = BatchSettings {
                learn_voice,
                ..BatchSettings::default()
            };
            Batch::new(&[spoken.clone()], &config, 0, settings).labels
        };
        let (i, e) = (IGNORED, i64::from(e));
        let target = [i, i, 5, i];
        let voice = [i, i, i, i, 7, i, e, 8, i, e, i, i];
        assert_eq!(labels(true), [&voice[..], &target].concat());
        assert_eq!(labels(false), [&[i; 12][..], &target].concat());
    }

    #[test]
    fn hidden_codes_keep_their_labels_and_the_rows_of_bos() {
        let config = two_channels();
        let (s, p) = (config.codec.bos, config.codec.pad);
        let place = config.codec.placeholder;
        let mut spoken = example(&[1, place, place, 2], &[s, s, 5, s, 6, 5]);
        spoken.reference = vec![s, s, 7, s];
        let batch = |code_dropout| {
            let settings = BatchSettings {
                code_dropout,
                ..BatchSettings::default()
            };
            Batch::new(&[spoken.clone()], &config, 0, settings)
        };
        let forgetful = BatchSettings {
            history_dropout: 1.0,
            ..BatchSettings::default()
        };
        let sound = Batch::new(&[spoken.clone()], &config, 0, forgetful);
        assert_eq!(sound.input.codes, [s, s, 7, s, s, s, p, p, p, p]);
        let (all, none) = (batch(0.0), batch(1.0));
        assert_eq!(sound.labels, all.labels);
        let first = BatchSettings {
            history_channels: 1,
            ..forgetful
        };
        let first = Batch::new(&[spoken.clone()], &config, 0, first);
        assert_eq!(first.input.codes, sound.input.codes);
        let expected = sound.labels.iter().enumerate();
        let expected: Vec<i64> = expected
            .map(|(place, &label)| if place % 2 == 0 { label } else { IGNORED })
            .collect();
        assert_eq!(first.labels, expected);
        assert!(first.labels.iter().any(|&label| label != IGNORED));
        // Every code may be another of its channel; what is to be predicted stays.
        let noisy = BatchSettings {
            code_noise: 1.0,
            ..BatchSettings::default()
        };
        let noisy = Batch::new(&[spoken.clone()], &config, 0, noisy);
        assert_eq!(noisy.labels, all.labels);
        assert_eq!(noisy.input.codes[..6], all.input.codes[..6]);
        let of_the_channel = |place: usize, code: &u32| match place % 2 {
            0 => [s, 5, 6].contains(code),
            _ => [s, 5].contains(code),
        };
        let mut read = noisy.input.codes[6..].iter().enumerate();
        assert!(read.all(|(place, code)| of_the_channel(place, code)));
        // Where nothing is hidden all channels stay.
        let told = BatchSettings {
            history_channels: 1,
            ..BatchSettings::default()
        };
        assert_eq!(Batch::new(&[spoken], &config, 0, told).labels, all.labels);
        assert_eq!(all.input.codes, [s, s, 7, s, s, s, 5, s, 6, 5]);
        assert_eq!(none.input.codes, [s, s, p, p, s, s, p, p, p, p]);
        assert_eq!(all.labels, none.labels);
    }
}
