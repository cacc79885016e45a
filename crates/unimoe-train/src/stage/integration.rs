//! Integration: four dense specialists become one mixture of experts (UniMoE-Audio, section 4.2, stage 2).
//!
//! ```text
//! specialist 0   FFN [D, F]  -> routed 0, 1      attention, norms, embeddings, heads: the mean of all
//! specialist 1   FFN [D, F]  -> routed 2, 3      vision encoder: one specialist's
//! ...                                            gate, shared experts: fresh
//! ```
//!
//! Axes: `D` model width, `F` inner width of a specialist.

use std::path::{Path, PathBuf};

use burn::{
    module::Module,
    tensor::{DType, Device},
};
use moe_router::{UpcycleError, average, scale_swiglu, split_swiglu};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use unimoe_model::{LoadOptions, MoeConfig, UniMoe, UniMoeConfig};

use crate::{error::TrainError, folder::write_model_folder};

/// Largest factor of the experts' outputs.
const MAX_SCALE: f64 = 1e3;

/// Makes a mixture of experts of dense specialists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Integration {
    /// Parts that each specialist's feed-forward block is split into; a divisor of its inner width. The paper
    /// splits in two, the released model's experts have the width of quarters. Default: 2
    pub parts: usize,
    /// How many of the parts become routed experts; the others are left out. Default: all
    pub experts_per_specialist: Option<usize>,
    /// What the routed experts' outputs are multiplied by. In a specialist the parts of a block add up; in the mixture a
    /// fresh gate gives each of those that it takes about one of `routed + shared + null` equal shares, so that the
    /// block's part of the sum shrinks to a fraction. With specialists of one origin a factor of about 3 (8 routed, 1
    /// null, 2 shared experts) keeps what they had learnt. Default: 1, as in the paper
    pub expert_scale: f64,
    /// Null experts. Default: 1
    pub n_null: usize,
    /// Shared experts. Default: 2
    pub n_shared: usize,
    /// Inner width of a shared expert. Default: half of a routed expert's
    pub d_shared: Option<usize>,
    /// Mass that Top-P routing gathers. Default: 0.7
    pub top_p: f64,
    /// Whether training uses the sparse mixer's random picks and its own gradient. Default: `true`
    pub differentiable: bool,
    /// Seed of the gates and the shared experts. Default: 0
    pub seed: u64,
}

/// Specialists that don't go together.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IntegrationError {
    /// There is none.
    #[error("integration needs a specialist at least")]
    NoSpecialist,
    /// A model has experts already.
    #[error(
        "{path}: a specialist must be dense (one routed expert, no null and no shared one), found {routed} routed, \
         {null} null and {shared} shared experts",
        path = path.display()
    )]
    NotDense {
        /// Its folder.
        path: PathBuf,
        /// Its routed experts.
        routed: usize,
        /// Its null experts.
        null: usize,
        /// Its shared experts.
        shared: usize,
    },
    /// Two specialists differ in structure.
    #[error(
        "{path}: its {part} settings differ from those of {first}",
        path = path.display(),
        first = first.display()
    )]
    Differs {
        /// The one that differs.
        path: PathBuf,
        /// The first one.
        first: PathBuf,
        /// Which settings: `text`, `experts`, `codec` or `vision`.
        part: &'static str,
    },
    /// The block can't be split like that.
    #[error("a feed-forward block {width} wide can't be split into {parts} equal parts")]
    Parts {
        /// Its inner width.
        width: usize,
        /// The parts asked for.
        parts: usize,
    },
    /// More experts than parts.
    #[error("{experts} experts of each specialist were asked for, the split gives {parts}")]
    TooManyExperts {
        /// The experts asked for.
        experts: usize,
        /// The parts.
        parts: usize,
    },
    /// No factor.
    #[error(
        "the factor of the experts' outputs must be above 0 and at most {limit}, found {found}"
    )]
    Scale {
        /// What was asked for.
        found: f64,
        /// The largest.
        limit: f64,
    },
    /// No share of a probability.
    #[error("the mass that routing gathers must be above 0 and at most 1, found {found}")]
    TopP {
        /// What was asked for.
        found: f64,
    },
    /// There is no such specialist.
    #[error(
        "the vision encoder of specialist {index} was asked for, there are {count} (counted from 0)"
    )]
    NoVisionSpecialist {
        /// Its place.
        index: usize,
        /// Number of specialists.
        count: usize,
    },
    /// The mixture that would come of it is no model.
    #[error("the integrated model: {0}")]
    Moe(#[from] moe_router::MoeConfigError),
    /// The weights don't go together.
    #[error("the specialists' weights: {0}")]
    Weights(#[from] UpcycleError),
}

impl Default for Integration {
    fn default() -> Self {
        Self {
            parts: 2,
            experts_per_specialist: None,
            expert_scale: 1.0,
            n_null: 1,
            n_shared: 2,
            d_shared: None,
            top_p: 0.7,
            differentiable: true,
            seed: 0,
        }
    }
}

impl Integration {
    /// Reads the specialists' folders and writes the integrated model's, with tokenizer and codec of the first
    /// and the vision encoder of the one at `vision`.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where a folder can't be read or written, or the specialists don't go together.
    pub fn run(
        &self,
        specialists: &[PathBuf],
        vision: usize,
        output: &Path,
        device: &Device,
    ) -> Result<(), TrainError> {
        let configs = specialists
            .iter()
            .map(|folder| UniMoeConfig::load(folder.join("config.json")))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unimoe_model::UniMoeError::from)?;
        // What is wrong with the numbers shows before any weight is read.
        self.config(&configs, specialists)?;
        if vision >= specialists.len() {
            let count = specialists.len();
            return Err(IntegrationError::NoVisionSpecialist {
                index: vision,
                count,
            }
            .into());
        }
        let options = LoadOptions {
            dtype: DType::F32,
            text_head: true,
            ..LoadOptions::default()
        };
        let models = specialists
            .iter()
            .map(|folder| UniMoe::load(folder, options, device))
            .collect::<Result<Vec<_>, _>>()?;
        let model = self.integrate(&models, specialists, vision)?;
        write_model_folder(&model, &specialists[0], output)
    }

    /// Makes the model in memory; `names` of the specialists are for errors.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where the specialists don't go together.
    pub fn integrate(
        &self,
        specialists: &[UniMoe],
        names: &[PathBuf],
        vision: usize,
    ) -> Result<UniMoe, TrainError> {
        let configs: Vec<UniMoeConfig> = (specialists.iter())
            .map(|model| model.config().clone())
            .collect();
        let config = self.config(&configs, names)?;
        let Some(eyes) = specialists.get(vision) else {
            let count = specialists.len();
            return Err(IntegrationError::NoVisionSpecialist {
                index: vision,
                count,
            }
            .into());
        };
        let device = specialists[0].text_embedding.weight.device();
        let options = LoadOptions {
            dtype: specialists[0].text_embedding.weight.dtype(),
            text_head: specialists[0].text_head.is_some(),
            ..LoadOptions::default()
        };
        let fresh = UniMoe::random(&config, self.seed, options, &device);
        let mut model = fresh.map_err(unimoe_model::UniMoeError::from)?;
        model.text_embedding = mean(specialists, |one| one.text_embedding.clone())?;
        model.codec_embedding = mean(specialists, |one| one.codec_embedding.clone())?;
        model.codec_head = mean(specialists, |one| one.codec_head.clone())?;
        model.decoder.norm = mean(specialists, |one| one.decoder.norm.clone())?;
        if model.text_head.is_some() {
            model.text_head = mean(specialists, |one| one.text_head.clone())?;
        }
        model.vision.clone_from(&eyes.vision);
        let experts = self.experts_per_specialist.unwrap_or(self.parts);
        for (index, layer) in model.decoder.layers.iter_mut().enumerate() {
            let own = |one: &UniMoe| one.decoder.layers[index].clone();
            layer.attention = mean(specialists, |one| own(one).attention)?;
            layer.attention_norm = mean(specialists, |one| own(one).attention_norm)?;
            layer.moe_norm = mean(specialists, |one| own(one).moe_norm)?;
            let mut routed = Vec::new();
            for one in specialists {
                let dense = &one.decoder.layers[index].moe.routed[0];
                let parts = split_swiglu(dense, self.parts).map_err(IntegrationError::from)?;
                let parts = parts.into_iter().take(experts);
                // A factor of 1 leaves the values as they are, bit for bit.
                match self.expert_scale {
                    1.0 => routed.extend(parts),
                    factor => routed.extend(parts.map(|part| scale_swiglu(part, factor))),
                }
            }
            layer.moe.routed = routed;
        }
        Ok(model)
    }

    /// The integrated model's structure.
    ///
    /// # Errors
    ///
    /// An [`IntegrationError`] where the specialists don't go together or can't be split like that; `names` of the
    /// specialists are for errors.
    pub fn config(
        &self,
        specialists: &[UniMoeConfig],
        names: &[PathBuf],
    ) -> Result<UniMoeConfig, IntegrationError> {
        let first = specialists.first().ok_or(IntegrationError::NoSpecialist)?;
        let name = |index: usize| names.get(index).cloned().unwrap_or_default();
        for (index, one) in specialists.iter().enumerate() {
            let moe = &one.moe;
            if !one.is_dense() {
                return Err(IntegrationError::NotDense {
                    path: name(index),
                    routed: moe.n_routed,
                    null: moe.n_null,
                    shared: moe.n_shared,
                });
            }
            let parts = [
                ("text", one.text == first.text),
                ("experts", one.moe == first.moe),
                ("codec", one.codec == first.codec),
                ("vision", one.vision == first.vision),
            ];
            if let Some((part, _)) = parts.into_iter().find(|(_, same)| !same) {
                return Err(IntegrationError::Differs {
                    path: name(index),
                    first: name(0),
                    part,
                });
            }
        }
        let (width, parts) = (first.moe.d_routed, self.parts);
        if parts == 0 || !width.is_multiple_of(parts) {
            return Err(IntegrationError::Parts { width, parts });
        }
        let experts = self.experts_per_specialist.unwrap_or(parts);
        if experts == 0 || experts > parts {
            return Err(IntegrationError::TooManyExperts { experts, parts });
        }
        if !(self.expert_scale > 0.0 && self.expert_scale <= MAX_SCALE) {
            return Err(IntegrationError::Scale {
                found: self.expert_scale,
                limit: MAX_SCALE,
            });
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(IntegrationError::TopP { found: self.top_p });
        }
        let d_routed = width / parts;
        let mut config = first.clone();
        config.moe = MoeConfig {
            n_routed: experts * specialists.len(),
            n_null: self.n_null,
            n_shared: self.n_shared,
            d_routed,
            d_shared: match self.n_shared {
                0 => 0,
                _ => self.d_shared.unwrap_or(d_routed / 2),
            },
            top_p: self.top_p,
            differentiable: self.differentiable,
            ..first.moe.clone()
        };
        config.decoder().moe.validate()?;
        Ok(config)
    }
}

/// The parameter-wise mean of a part that all specialists have.
fn mean<M: Module>(
    specialists: &[UniMoe],
    part: impl Fn(&UniMoe) -> M,
) -> Result<M, IntegrationError> {
    let parts: Vec<M> = specialists.iter().map(part).collect();
    Ok(average(&parts)?)
}
