//! What training minimises: cross entropy of every channel, and the routers' auxiliary losses.
//!
//! `L = sum_k w_k CE_k + a(t) * balance + z * router_z + g * guided` (UniMoE-Audio, section 3.2, eq. 4 and its training, where all
//! `w_k` are 1; the z-loss is that of ST-MoE, and like [guided attention](GuidedAttention) off by default).
//!
//! Axes: `B` rows, `S` positions, `T = B * S` tokens, `K` codec channels.

use std::{collections::BTreeMap, sync::Arc};

use burn::tensor::{DType, Tensor, TensorData};
use moe_router::{LinearAnnealing, LoadBalance, RouterZ, Routing, RoutingLoss};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use unimoe_model::{CodecLoss, IGNORED, UniMoe, UniMoeConfig, codec_cross_entropy};

use crate::{batch::Batch, guided_attention::GuidedAttention};

/// Settings of the objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// Weight of the balance loss in the first step. Default: 0.025
    pub balance_start: f64,
    /// Its weight once it is annealed. Default: 0.001
    pub balance_end: f64,
    /// Steps that the anneal takes. Default: 10,000
    pub balance_steps: u64,
    /// What a token of the prompt (text, voice, pictures) counts in the auxiliary losses. Default: 1
    pub prompt_weight: f64,
    /// What a position of the sound to learn counts in them. Default: 1
    pub sound_weight: f64,
    /// Weight of the router's z-loss; 0 leaves it out. Default: 0
    pub z_weight: f64,
    /// Probability that a prompt is replaced by the one that guidance leads away from. Default: 0.1
    pub unconditional: f64,
    /// Probability that a position's codes are hidden from the model, which still has to predict them: what comes next must
    /// then be known from the text, not from the sound so far. Default: 0, as published
    pub code_dropout: f64,
    /// Probability that a code which the model reads is replaced by one of the same channel at another place of the sound: a
    /// model that only ever reads right codes knows nothing more once it has written a wrong one. Default: 0, as published
    pub code_noise: f64,
    /// Probability that all codes of a clip are hidden from the model, those of its voice excepted: every frame then has to follow from
    /// the prompt. A prompt tells when the second beat of a piece falls, but the first two tell all that come after; where they
    /// are hidden, each beat asks the prompt. Default: 0, as published
    pub history_dropout: f64,
    /// How many channels, the first ones, are predicted where all codes of a clip are hidden. The last ones are hardly known from a
    /// prompt alone and drown the others there. Default: 0, all of them
    pub history_channels: usize,
    /// What each channel's cross entropy counts, `[K]`. The first channels carry most of what is said, the last ones mostly
    /// noise. Default: empty, all count 1, as published
    pub channel_weights: Vec<f64>,
    /// Whether the codes of a voice's recording are learnt too, behind the text that the prompt has of it: twice as much
    /// speech in a batch. Default: false, as published
    pub learn_voice: bool,
    /// Tells heads of a layer to look at the word that is being spoken. Default: none, as published
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guided_attention: Option<GuidedAttention>,
}

/// Settings that make no objective.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("objective: {field} must be {expected}, found {found}")]
pub struct ObjectiveError {
    /// The setting.
    pub field: &'static str,
    /// What it must be.
    pub expected: &'static str,
    /// What it is.
    pub found: f64,
}

/// The objective of a batch.
#[derive(Debug, Clone)]
pub struct Objective {
    /// What is minimised, `[1]`.
    pub total: Tensor<1>,
    /// The codes' part of it.
    pub codes: CodecLoss,
    /// Load balance, unweighted, `[1]`; `None` where no layer has a choice.
    pub balance: Option<Tensor<1>>,
    /// Router z-loss, unweighted, `[1]`; `None` where it is left out.
    pub z: Option<Tensor<1>>,
    /// Guided attention, unweighted, `[1]`; `None` where no layer was observed or nothing is spoken.
    pub guided: Option<Tensor<1>>,
    /// The routing decision of each layer over `[T, E]`.
    pub routings: Vec<Routing>,
}

/// Sums of cross entropies by domain and channel, over any number of batches.
#[derive(Debug, Clone, Default)]
pub struct DomainLosses {
    /// Sum and number of labels of each channel.
    sums: BTreeMap<Arc<str>, Vec<(f64, u64)>>,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            balance_start: 0.025,
            balance_end: 0.001,
            balance_steps: 10_000,
            prompt_weight: 1.0,
            sound_weight: 1.0,
            z_weight: 0.0,
            unconditional: 0.1,
            code_dropout: 0.0,
            code_noise: 0.0,
            history_dropout: 0.0,
            history_channels: 0,
            channel_weights: Vec::new(),
            learn_voice: false,
            guided_attention: None,
        }
    }
}

impl ObjectiveConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// An [`ObjectiveError`] that names the first setting that is not finite, negative, or no probability.
    pub fn validate(&self) -> Result<(), ObjectiveError> {
        let weights = [
            ("balance_start", self.balance_start),
            ("balance_end", self.balance_end),
            ("prompt_weight", self.prompt_weight),
            ("sound_weight", self.sound_weight),
            ("z_weight", self.z_weight),
        ];
        for (field, found) in weights {
            if !(found.is_finite() && found >= 0.0) {
                return Err(ObjectiveError {
                    field,
                    expected: "a finite number, 0 or more",
                    found,
                });
            }
        }
        if let Some(guided) = &self.guided_attention {
            let is_size = |size: f64| size.is_finite() && size > 0.0;
            let sizes = [
                ("guided_attention.weight", guided.weight),
                ("guided_attention.width", guided.width),
                ("guided_attention.heads", guided.heads as f64),
            ];
            if let Some((field, found)) = sizes.into_iter().find(|&(_, size)| !is_size(size)) {
                return Err(ObjectiveError {
                    field,
                    expected: "a finite number above 0",
                    found,
                });
            }
        }
        let is_weight = |weight: &&f64| weight.is_finite() && **weight >= 0.0;
        if let Some(&found) = self
            .channel_weights
            .iter()
            .find(|weight| !is_weight(weight))
        {
            return Err(ObjectiveError {
                field: "channel_weights",
                expected: "finite numbers, 0 or more",
                found,
            });
        }
        let probabilities = [
            ("unconditional", self.unconditional),
            ("code_dropout", self.code_dropout),
            ("code_noise", self.code_noise),
            ("history_dropout", self.history_dropout),
        ];
        for (field, found) in probabilities {
            if !(0.0..=1.0).contains(&found) {
                return Err(ObjectiveError {
                    field,
                    expected: "a probability",
                    found,
                });
            }
        }
        Ok(())
    }

    /// Checks the settings against a model.
    ///
    /// # Errors
    ///
    /// An [`ObjectiveError`] where there are channel weights, but not one for each codec channel, or where the layer or the heads that are
    /// told where to look are none of the model's.
    pub fn check_model(&self, config: &UniMoeConfig) -> Result<(), ObjectiveError> {
        if let Some(guided) = &self.guided_attention {
            let counts = [
                (
                    "guided_attention.layer",
                    "a layer of the model, counted from 0",
                    guided.layer,
                    config.text.n_layers.saturating_sub(1),
                ),
                (
                    "guided_attention.heads",
                    "at most the model's attention heads",
                    guided.heads,
                    config.text.n_heads,
                ),
            ];
            for (field, expected, found, limit) in counts {
                if found > limit {
                    return Err(ObjectiveError {
                        field,
                        expected,
                        found: found as f64,
                    });
                }
            }
        }
        let channels = config.codec.n_channels;
        match self.channel_weights.len() {
            0 => Ok(()),
            found if found == channels => Ok(()),
            found => Err(ObjectiveError {
                field: "channel_weights",
                expected: "a weight for each codec channel of the model, or none",
                found: found as f64,
            }),
        }
    }

    /// The channels' cross entropies, `[K]`, as they count: their weighted sum, `[1]`.
    fn weighted(&self, codes: &CodecLoss) -> Tensor<1> {
        if self.channel_weights.is_empty() {
            return codes.total.clone();
        }
        let device = codes.channels.device();
        let weights =
            Tensor::<1>::from_data(self.channel_weights.as_slice(), (&device, DType::F32));
        (codes.channels.clone() * weights).sum()
    }

    /// Weight of the balance loss in the step that `step` others have gone before.
    pub fn balance_weight(&self, step: u64) -> f64 {
        let anneal = LinearAnnealing {
            start: self.balance_start,
            end: self.balance_end,
            steps: self.balance_steps as usize,
        };
        anneal.at(step as usize)
    }

    /// Computes the objective of a batch whose images and videos are encoded, in step `step`.
    ///
    /// # Errors
    ///
    /// An [`InputError`](unimoe_model::InputError) where the batch doesn't fit the model.
    pub fn compute(
        &self,
        model: &UniMoe,
        batch: &Batch,
        step: u64,
    ) -> Result<Objective, unimoe_model::InputError> {
        let output = model.forward(&batch.input)?;
        let codes = codec_cross_entropy(model.codec_logits(output.hidden), &batch.labels);
        let mut total = self.weighted(&codes);
        let (mut balance, mut z) = (None, None);
        let guided = (self.guided_attention.as_ref().zip(output.attention))
            .and_then(|(guided, attention)| guided.loss(attention, batch));
        let choosing = (output.routings.first()).is_some_and(|routing| routing.pool() > 1);
        if choosing {
            let weights = token_weights(batch, model);
            balance = LoadBalance.mean_over_layers(&output.routings, weights.clone());
            if self.z_weight > 0.0 {
                z = RouterZ.mean_over_layers(&output.routings, weights);
            }
        }
        if let Some(balance) = &balance {
            total = total + balance.clone() * self.balance_weight(step);
        }
        if let Some(z) = &z {
            total = total + z.clone() * self.z_weight;
        }
        if let Some((config, guided)) = self.guided_attention.as_ref().zip(guided.as_ref()) {
            total = total + guided.clone() * config.weight;
        }
        Ok(Objective {
            total,
            codes,
            balance,
            z,
            guided,
            routings: output.routings,
        })
    }

    /// Gives the tokens of a batch their weights in the routers' losses; padding gets none.
    pub fn weigh(&self, batch: &mut Batch) {
        let channels = (batch.labels.len() / batch.input.ids.len().max(1)).max(1);
        let weight = |labels: &[i64]| match labels.iter().any(|&label| label != IGNORED) {
            true => self.sound_weight as f32,
            false => self.prompt_weight as f32,
        };
        batch.token_weights = Some(batch.labels.chunks(channels).map(weight).collect());
    }
}

/// The tokens' weights without those of padding, `[T]`.
fn token_weights(batch: &Batch, model: &UniMoe) -> Option<Tensor<1>> {
    let weights = batch.token_weights.as_ref()?.iter().zip(&batch.input.real);
    let weights: Vec<f32> = weights
        .map(|(&weight, &real)| if real { weight } else { 0.0 })
        .collect();
    let device = model.text_embedding.weight.device();
    let shape = [weights.len()];
    Some(Tensor::from_data(
        TensorData::new(weights, shape),
        (&device, DType::F32),
    ))
}

impl DomainLosses {
    /// Adds a batch's cross entropies.
    ///
    /// # Panics
    ///
    /// Panics if the device can't be read.
    pub fn add(&mut self, codes: &CodecLoss, batch: &Batch) {
        let [_, channels] = codes.each.dims();
        let each = codes.each.clone().detach().into_data();
        let each: Vec<f32> = each.iter::<f32>().collect();
        let row = batch.labels.len() / batch.domains.len().max(1);
        for (index, domain) in batch.domains.iter().enumerate() {
            let sums =
                (self.sums.entry(domain.clone())).or_insert_with(|| vec![(0.0, 0); channels]);
            // The first position of a row is predicted by none.
            let labels = &batch.labels[index * row + channels..(index + 1) * row];
            let each = &each[index * (row - channels)..];
            for (place, (&label, &loss)) in labels.iter().zip(each).enumerate() {
                if label != IGNORED {
                    let (sum, count) = &mut sums[place % channels];
                    *sum += f64::from(loss);
                    *count += 1;
                }
            }
        }
    }

    /// Mean cross entropy of each channel over all domains.
    pub fn channels(&self) -> Vec<f64> {
        let channels = self.sums.values().map(Vec::len).max().unwrap_or(0);
        let mean = |channel: usize| {
            let own = self.sums.values().filter_map(|sums| sums.get(channel));
            let (sum, count) = own.fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            sum / (count.max(1) as f64)
        };
        (0..channels).map(mean).collect()
    }

    /// Cross entropy of each domain: the channels' means, summed.
    pub fn domains(&self) -> BTreeMap<String, f64> {
        let total =
            |sums: &Vec<(f64, u64)>| sums.iter().map(|&(sum, n)| sum / n.max(1) as f64).sum();
        (self.sums.iter())
            .map(|(domain, sums)| (domain.to_string(), total(sums)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_objective_are_named() {
        assert_eq!(ObjectiveConfig::default().validate(), Ok(()));
        let nan = ObjectiveConfig {
            z_weight: f64::NAN,
            ..ObjectiveConfig::default()
        };
        assert_eq!(nan.validate().expect_err("NaN").field, "z_weight");
        let much = ObjectiveConfig {
            unconditional: 1.5,
            ..ObjectiveConfig::default()
        };
        assert!(
            much.validate()
                .expect_err("1.5")
                .to_string()
                .contains("1.5")
        );
    }

    #[test]
    fn weights_that_fit_no_channels_are_named() {
        let weighing = |channel_weights: &[f64]| ObjectiveConfig {
            channel_weights: channel_weights.to_vec(),
            ..ObjectiveConfig::default()
        };
        let mut model = UniMoeConfig::tiny();
        model.codec.n_channels = 3;
        assert_eq!(weighing(&[]).check_model(&model), Ok(()));
        assert_eq!(weighing(&[1.0, 0.0, 2.0]).check_model(&model), Ok(()));
        let error = weighing(&[1.0, 2.0]).check_model(&model).expect_err("two");
        assert_eq!((error.field, error.found), ("channel_weights", 2.0));
        let error = weighing(&[1.0, -2.0]).validate().expect_err("negative");
        assert_eq!((error.field, error.found), ("channel_weights", -2.0));
    }

    #[test]
    fn heads_that_the_model_lacks_are_named() {
        let telling = |layer, heads, width| ObjectiveConfig {
            guided_attention: Some(GuidedAttention {
                layer,
                heads,
                width,
                ..GuidedAttention::default()
            }),
            ..ObjectiveConfig::default()
        };
        let model = UniMoeConfig::tiny();
        let (layers, heads) = (model.text.n_layers, model.text.n_heads);
        assert_eq!(telling(layers - 1, heads, 0.1).check_model(&model), Ok(()));
        let field =
            |config: ObjectiveConfig| config.check_model(&model).expect_err("too many").field;
        assert_eq!(field(telling(layers, 1, 0.1)), "guided_attention.layer");
        assert_eq!(field(telling(0, heads + 1, 0.1)), "guided_attention.heads");
        let field = |config: ObjectiveConfig| config.validate().expect_err("no size").field;
        assert_eq!(field(telling(0, 0, 0.1)), "guided_attention.heads");
        assert_eq!(field(telling(0, 1, f64::NAN)), "guided_attention.width");
    }

    #[test]
    fn channels_count_what_their_weights_say() {
        let device = burn::tensor::Device::flex();
        let channels = Tensor::<1>::from_data([1.0f32, 4.0], &device);
        let codes = CodecLoss {
            total: channels.clone().sum(),
            each: channels.clone().reshape([1, 2]),
            channels,
        };
        let weighted = |channel_weights: &[f64]| {
            let config = ObjectiveConfig {
                channel_weights: channel_weights.to_vec(),
                ..ObjectiveConfig::default()
            };
            config.weighted(&codes).into_scalar::<f32>()
        };
        assert_eq!(weighted(&[]), 5.0);
        assert_eq!(weighted(&[2.0, 0.5]), 4.0);
    }

    #[test]
    fn the_balance_weight_falls_from_start_to_end() {
        let config = ObjectiveConfig::default();
        assert_eq!(config.balance_weight(0), 0.025);
        // Half way: (0.025 + 0.001) / 2
        assert!((config.balance_weight(5_000) - 0.013).abs() < 1e-12);
        assert_eq!(config.balance_weight(1 << 40), 0.001);
    }
}
