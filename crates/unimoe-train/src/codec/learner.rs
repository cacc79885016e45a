//! How a codec learns: by itself at first, then against discriminators.
//!
//! Descript Audio Codec (arXiv:2306.06546), sections 3.3 and 3.4.
//! Axes: `B` rows, `L` samples of a crop.

use std::collections::BTreeMap;

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use dac_codec::{DacCodec, DacConfig};

use super::{
    adversarial::{discriminator_loss, feature_matching_loss, generator_loss},
    config::{AdversarialConfig, CodecObjective, CodecTrainingConfig, EnvelopeObjective},
    crop::Crops,
    discriminator::Discriminators,
    error::CodecTrainingError,
    sounds::Sound,
};
use crate::{
    checkpoint::{StateReader, StateWriter},
    error::TrainError,
    learner::{Learner, StepContext, StepOutcome, ValidationOutcome},
    normal::Normal,
    optim::Optimized,
    spectral::{
        MelCepstrum, MultiScaleMelLoss, MultiScaleMelLossConfig, MultiScaleStftLoss,
        MultiScaleStftLossConfig, SpectralError,
    },
};

/// Sets the noise apart from the other random numbers of a step.
const NOISE: u64 = 0x6e6f_6973_6500;
/// Least energy that the distance of waveforms is relative to.
const ENERGY: f64 = 1e-8;
/// Where the codec's state lies in a checkpoint.
const CODEC: &str = "codec";
/// Where the discriminators' state lies.
const DISCRIMINATORS: &str = "discriminators";

/// A codec and its discriminators, each with an optimizer.
///
/// Both sides of the game are moved by one batch at once: the discriminators judge the reconstructions of the codec
/// as it was, and the codec is judged by the discriminators as they were. What an event calls the loss of a domain
/// is the mel distance plus the STFT distance, unweighted, of crops with as many codebooks as were drawn; in a
/// validation it is that of whole clips with all codebooks.
#[derive(Debug)]
pub struct CodecLearner {
    codec: Optimized<DacCodec>,
    adversary: Option<Adversary>,
    objective: CodecObjective,
    distances: Distances,
    envelope: Option<Envelope>,
    /// Where losses are computed, with gradients.
    device: Device,
    crop: usize,
}

#[derive(Debug)]
struct Adversary {
    discriminators: Optimized<Discriminators>,
    config: AdversarialConfig,
}

/// The distances of spectra.
#[derive(Debug)]
struct Distances {
    mel: MultiScaleMelLoss,
    stft: MultiScaleStftLoss,
}

/// What the first latent channels are to be.
#[derive(Debug)]
struct Envelope {
    cepstrum: MelCepstrum,
    objective: EnvelopeObjective,
}

/// The losses of a batch.
struct Losses {
    /// What the codec makes small.
    total: Tensor<1>,
    /// Mel distance plus STFT distance of each row, `[B]`.
    rows: Tensor<1>,
    terms: Vec<(&'static str, Tensor<1>)>,
    /// What the discriminators make small.
    discriminators: Option<Tensor<1>>,
}

impl CodecLearner {
    /// Makes a learner of a codec; it is trained where it is. `config.run` says for how many steps.
    ///
    /// # Errors
    ///
    /// A [`TrainError`] where a setting makes no sense.
    pub fn new(codec: DacCodec, config: &CodecTrainingConfig) -> Result<Self, TrainError> {
        config.validate()?;
        let device = codec.encoder.conv_in.weight.val().device();
        let device = match device.is_autodiff() {
            true => device,
            false => device.autodiff(),
        };
        let (objective, steps) = (config.objective.clone(), config.run.steps);
        let sample_rate = codec.config().sample_rate;
        let crop = objective.crop(codec.config());
        // A transform would see more silence than sound, and could not be mirrored.
        let windows = objective.mel_windows.iter().chain(&objective.stft_windows);
        let longest = windows.copied().max().unwrap_or(0);
        if crop <= longest / 2 {
            return Err(CodecTrainingError::Setting {
                setting: "crop_seconds",
                expected: format!("more than half of the longest window, {longest} samples"),
                found: format!("{crop} samples"),
            }
            .into());
        }
        let adversary = match &config.adversarial {
            Some(adversarial) if adversarial.start < steps => {
                let discriminators = adversarial.discriminators.init(config.run.seed, &device)?;
                let optimizer = &adversarial.optimizer;
                let steps = steps - adversarial.start;
                Some(Adversary {
                    discriminators: Optimized::new(discriminators, optimizer, steps)?,
                    config: adversarial.clone(),
                })
            }
            _ => None,
        };
        let envelope = (objective.envelope)
            .map(|envelope| Envelope::new(envelope, codec.config(), objective.mel_floor, &device))
            .transpose()?;
        Ok(Self {
            distances: Distances::new(&objective, sample_rate, &device)?,
            envelope,
            codec: Optimized::new(codec, &config.optimizer, steps)?,
            adversary,
            objective,
            device,
            crop,
        })
    }

    /// The codec as it is now.
    pub fn trained(&self) -> DacCodec {
        self.codec.trained()
    }

    /// The average over the steps, where one is kept.
    pub fn averaged(&self) -> Option<DacCodec> {
        self.codec.averaged()
    }

    /// The discriminators as they are now, where there are some.
    pub fn discriminators(&self) -> Option<Discriminators> {
        Some(self.adversary.as_ref()?.discriminators.trained())
    }

    /// The losses of random crops of `sounds`.
    fn losses(&self, sounds: &[Sound], step: u64, seed: u64) -> Result<Losses, TrainError> {
        let objective = &self.objective;
        let codec = self.codec.model();
        let n_codebooks = codec.config().n_codebooks;
        let dropout = objective.quantizer_dropout;
        let grid = objective.crop_step(codec.config());
        let crops = Crops::draw(sounds, self.crop, grid, n_codebooks, dropout, seed);
        let shape = [sounds.len(), 1, self.crop];
        let audio = Tensor::from_data(TensorData::new(crops.samples, shape), &self.device);
        let mut weighted = Vec::new();
        let y = match objective.quantized {
            true => {
                let heard = codec.forward_rows(audio.clone(), &crops.n_quantizers)?;
                let commitment = heard.encoded.commitment_loss;
                weighted.push(("commitment", commitment, objective.commitment));
                let codebook = heard.encoded.codebook_loss;
                weighted.push(("codebook", codebook, objective.codebook));
                heard.audio
            }
            false => {
                let z = codec.encoder.forward(audio.clone());
                if let Some(envelope) = &self.envelope {
                    let sound = audio.clone().squeeze_dim::<2>(1);
                    let distance = envelope.distance(z.clone(), sound);
                    weighted.push(("envelope", distance, envelope.objective.weight));
                }
                codec.decode(noisy(z, objective.latent_noise, seed))?
            }
        };
        let y = y.squeeze_dim::<2>(1);
        let [_, length] = y.dims();
        let x = audio.squeeze_dim::<2>(1).narrow(1, 0, length);

        let mel = self.distances.mel.per_row(y.clone(), x.clone());
        let stft = self.distances.stft.per_row(y.clone(), x.clone());
        let rows = mel.clone().detach() + stft.clone().detach();
        weighted.push(("mel", mel.mean(), objective.mel));
        weighted.push(("stft", stft.mean(), objective.stft));
        if objective.waveform > 0.0 {
            let energy = x.clone().square().mean().clamp_min(ENERGY);
            let waveform = (y.clone() - x.clone()).square().mean() / energy;
            weighted.push(("waveform", waveform, objective.waveform));
        }
        let mut discriminators = None;
        if let Some(adversary) = self.adversary.as_ref().filter(|a| step >= a.config.start) {
            let model = adversary.discriminators.model();
            let recorded = model.forward(x);
            let loss = discriminator_loss(&recorded, &model.forward(y.clone().detach()));
            discriminators = Some(loss);
            // What the codec does to the discriminators' own gradients is none of their business.
            let judged = model.no_grad().forward(y);
            let config = &adversary.config;
            weighted.push(("generator", generator_loss(&judged), config.generator));
            let features = feature_matching_loss(&recorded, &judged);
            weighted.push(("features", features, config.features));
        }
        let total = weighted
            .iter()
            .map(|(_, term, weight)| term.clone() * *weight);
        let total = total
            .reduce(|a, b| a + b)
            .expect("the mel distance at least");
        let terms = weighted.into_iter().map(|(name, term, _)| (name, term));
        let mut terms: Vec<_> = terms.collect();
        terms.extend(discriminators.clone().map(|loss| ("discriminators", loss)));
        Ok(Losses {
            total,
            rows,
            terms,
            discriminators,
        })
    }

    /// Adds the gradients of a step's batches up.
    fn accumulate(
        &mut self,
        batches: &[Vec<Sound>],
        context: StepContext,
    ) -> Result<StepOutcome, TrainError> {
        let mut outcome = StepOutcome::default();
        let mut domains = DomainMeans::default();
        let share = 1.0 / batches.len().max(1) as f64;
        for (index, sounds) in batches.iter().enumerate() {
            let seed = context.seed.wrapping_add(index as u64);
            let losses = self.losses(sounds, context.step, seed)?;
            // One read for all numbers.
            let mut numbers = vec![losses.total.clone().detach(), losses.rows.clone()];
            numbers.extend(losses.terms.iter().map(|(_, term)| term.clone().detach()));
            let numbers: Vec<f64> = Tensor::cat(numbers, 0).into_data().iter::<f64>().collect();
            let (loss, rest) = (numbers[0], &numbers[1..]);
            let (rows, terms) = rest.split_at(sounds.len());
            if numbers.iter().any(|number| !number.is_finite()) {
                return Err(TrainError::LossNotFinite {
                    step: context.step + 1,
                    loss,
                    clips: sounds.iter().map(|sound| sound.id.clone()).collect(),
                });
            }
            self.codec.backward(losses.total, share);
            if let (Some(adversary), Some(loss)) = (&mut self.adversary, losses.discriminators) {
                adversary.discriminators.backward(loss, share);
            }
            outcome.loss += loss * share;
            outcome.tokens += (sounds.len() * self.crop) as u64;
            for ((name, _), value) in losses.terms.iter().zip(terms) {
                *outcome.terms.entry((*name).to_string()).or_default() += value * share;
            }
            for (sound, &distance) in sounds.iter().zip(rows) {
                domains.add(&sound.domain, distance);
            }
        }
        outcome.domains = domains.means();
        Ok(outcome)
    }

    /// Moves both sides, or neither.
    fn step(&mut self, mut outcome: StepOutcome, step: u64) -> Result<StepOutcome, TrainError> {
        let adversary = self.adversary.as_mut().filter(|a| step >= a.config.start);
        if let Some(adversary) = &adversary {
            adversary.discriminators.gradient_norm()?;
        }
        let report = self.codec.step()?;
        outcome.gradient_norm = report.gradient_norm;
        outcome.learning_rate = report.learning_rate;
        if let Some(adversary) = adversary {
            adversary.discriminators.step()?;
        }
        Ok(outcome)
    }
}

impl Learner for CodecLearner {
    type Item = Sound;

    fn learn(
        &mut self,
        batches: Vec<Vec<Sound>>,
        context: StepContext,
    ) -> Result<StepOutcome, TrainError> {
        let outcome = self.accumulate(&batches, context);
        let outcome = outcome.and_then(|outcome| self.step(outcome, context.step));
        if outcome.is_err() {
            self.codec.drop_gradients();
            if let Some(adversary) = &mut self.adversary {
                adversary.discriminators.drop_gradients();
            }
        }
        outcome
    }

    fn validate(
        &mut self,
        batches: &mut dyn Iterator<Item = Result<Vec<Sound>, TrainError>>,
    ) -> Result<ValidationOutcome, TrainError> {
        let codec = self.averaged().unwrap_or_else(|| self.trained());
        let device = self.device.clone().without_autodiff();
        let distances = Distances::new(&self.objective, codec.config().sample_rate, &device)?;
        let most = self.objective.measured(codec.config());
        let mut domains = DomainMeans::default();
        for batch in batches {
            // One clip at a time: their lengths differ.
            for sound in batch? {
                let length = sound.samples.len().min(most);
                let mut samples = sound.samples[..length].to_vec();
                samples.resize(length.max(codec.config().hop_length()), 0.0);
                let shape = [1, 1, samples.len()];
                let audio = Tensor::from_data(TensorData::new(samples, shape), &device);
                let y = match self.objective.quantized {
                    true => codec.forward(audio.clone(), None)?.audio,
                    false => {
                        let z = codec.encoder.forward(codec.preprocess(audio.clone()));
                        codec.decode(z)?
                    }
                };
                let y = y.squeeze_dim::<2>(1);
                let [_, decoded] = y.dims();
                let decoded = decoded.min(length);
                let y = y.narrow(1, 0, decoded);
                let x = audio.squeeze_dim::<2>(1).narrow(1, 0, decoded);
                let mel = distances.mel.forward(y.clone(), x.clone());
                let distance = mel + distances.stft.forward(y, x);
                domains.add(&sound.domain, distance.into_scalar::<f64>());
            }
        }
        let domains = domains.means();
        Ok(ValidationOutcome {
            loss: domains.values().sum::<f64>() / domains.len().max(1) as f64,
            domains,
            ..ValidationOutcome::default()
        })
    }

    fn save(&self, writer: &mut StateWriter) -> Result<(), TrainError> {
        self.codec.save(writer, CODEC)?;
        if let Some(adversary) = &self.adversary {
            adversary.discriminators.save(writer, DISCRIMINATORS)?;
        }
        Ok(())
    }

    fn load(&mut self, reader: &StateReader) -> Result<(), TrainError> {
        self.codec.load(reader, CODEC)?;
        if let Some(adversary) = &mut self.adversary {
            adversary.discriminators.load(reader, DISCRIMINATORS)?;
        }
        Ok(())
    }

    /// Those of the codec: discriminators are thrown away in the end.
    fn parameters(&self) -> (u64, u64) {
        self.codec.parameters()
    }
}

impl Distances {
    fn new(
        objective: &CodecObjective,
        sample_rate: usize,
        device: &Device,
    ) -> Result<Self, SpectralError> {
        Ok(Self {
            mel: MultiScaleMelLossConfig::new(sample_rate)
                .with_windows(objective.mel_windows.clone())
                .with_n_mels(objective.n_mels.clone())
                .with_floor(objective.mel_floor)
                .init(device)?,
            stft: MultiScaleStftLossConfig::new()
                .with_windows(objective.stft_windows.clone())
                .with_floor(objective.stft_floor)
                .init(device)?,
        })
    }
}

impl Envelope {
    fn new(
        objective: EnvelopeObjective,
        codec: &DacConfig,
        floor: f64,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let (channels, most) = (objective.channels, codec.latent_dim);
        if channels > most {
            return Err(CodecTrainingError::Setting {
                setting: "envelope.channels",
                expected: format!("at most the codec's {most} latent channels"),
                found: channels.to_string(),
            }
            .into());
        }
        let (rate, hop) = (codec.sample_rate, codec.hop_length());
        Ok(Self {
            cepstrum: MelCepstrum::new(rate, hop, channels, floor, device)?,
            objective,
        })
    }

    /// Mean squared difference of the first channels of `z`, `[B, D, T]`, from the cepstra of `audio`, `[B, L]`.
    fn distance(&self, z: Tensor<3>, audio: Tensor<2>) -> Tensor<1> {
        let wanted = self.cepstrum.forward(audio).detach() * self.objective.scale;
        let [_, channels, frames] = wanted.dims();
        let [_, _, steps] = z.dims();
        // Of a crop of one step the transform has a frame too many.
        let frames = frames.min(steps);
        let [z, wanted] = [z.narrow(1, 0, channels), wanted].map(|x| x.narrow(2, 0, frames));
        (z - wanted).square().mean()
    }
}

/// Adds normal noise, `share` of the spread of `z`, which counts as a constant.
fn noisy(z: Tensor<3>, share: f64, seed: u64) -> Tensor<3> {
    if share == 0.0 {
        return z;
    }
    let mut normal = Normal::new(seed ^ NOISE);
    let shape: [usize; 3] = z.dims();
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| normal.next() as f32).collect();
    let noise = Tensor::<3>::from_data(TensorData::new(values, shape), &z.device());
    let spread = z.clone().detach().square().mean().sqrt() * share;
    z + noise * spread.reshape([1, 1, 1])
}

/// Means by domain.
#[derive(Debug, Default)]
struct DomainMeans(BTreeMap<String, (f64, u64)>);

impl DomainMeans {
    fn add(&mut self, domain: &str, value: f64) {
        let (sum, count) = self.0.entry(domain.to_string()).or_default();
        *sum += value;
        *count += 1;
    }

    fn means(self) -> BTreeMap<String, f64> {
        let means = self.0.into_iter();
        means
            .map(|(domain, (sum, count))| (domain, sum / count as f64))
            .collect()
    }
}
