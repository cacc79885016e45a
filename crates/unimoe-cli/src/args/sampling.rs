//! How codes are drawn, and how long a result may be: what all commands that generate have in common.

use clap::Args;
use unimoe_model::RequestOptions;

use super::{non_negative, positive, probability};
use crate::error::CliError;

/// How codes are drawn; what is left open is the model's.
#[derive(Debug, Args)]
pub struct SamplingArgs {
    /// Divides the logits; higher is more varied [default: the model's, else 1]
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    pub temperature: Option<f64>,
    /// Draw from the likeliest codes that reach this probability together [default: the model's, else 1]
    #[arg(long, value_name = "NUMBER", value_parser = probability)]
    pub top_p: Option<f64>,
    /// Draw from this many likeliest codes [default: the model's, else 45]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
    /// Strength of guidance away from the unconditional result; 0 is off [default: the model's, else 1 for speech, 10
    /// for music]
    #[arg(long, value_name = "NUMBER", value_parser = non_negative)]
    pub cfg_scale: Option<f64>,
    /// Multiplies the end's logit on the first channel [default: the model's, else 1 for speech, 0.6 for music]
    #[arg(long, value_name = "NUMBER", value_parser = non_negative)]
    pub eos_factor: Option<f64>,
    /// Take the likeliest code always; the seed plays no part
    #[arg(long, conflicts_with_all = ["temperature", "top_p", "top_k"])]
    pub greedy: bool,
}

impl SamplingArgs {
    /// The settings of a result, where a user says something instead of `defaults`.
    ///
    /// # Errors
    ///
    /// [`CliError::Argument`] where the least length is above the largest.
    pub fn over(
        &self,
        defaults: RequestOptions,
        min_seconds: Option<f64>,
        max_seconds: Option<f64>,
    ) -> Result<RequestOptions, CliError> {
        let max_seconds = max_seconds.unwrap_or(defaults.max_seconds);
        // A largest length below the default least one says enough.
        let min_seconds = min_seconds.unwrap_or(defaults.min_seconds.min(max_seconds));
        if max_seconds == 0.0 || min_seconds > max_seconds {
            return Err(CliError::Argument {
                what: "--max-seconds",
                expected: format!("more than 0 and at least --min-seconds, {min_seconds}"),
                found: max_seconds.to_string(),
            });
        }
        let mut options = RequestOptions {
            min_seconds,
            max_seconds,
            ..defaults
        };
        let sampling = &mut options.sampling;
        sampling.temperature = self.temperature.unwrap_or(sampling.temperature);
        sampling.top_p = self.top_p.unwrap_or(sampling.top_p);
        sampling.top_k = self.top_k.map(|k| k as usize).or(sampling.top_k);
        sampling.greedy = self.greedy;
        if let Some(scale) = self.cfg_scale {
            options.guidance_scale = scale as f32;
        }
        if let Some(factor) = self.eos_factor {
            options.eos_factor = factor as f32;
        }
        Ok(options)
    }
}
