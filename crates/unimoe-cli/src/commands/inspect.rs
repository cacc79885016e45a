//! `unimoe inspect`: what a model folder holds, without loading it.

use std::{collections::BTreeMap, fmt::Write};

use serde::Serialize;
use unimoe_model::{Companions, Shards, UniMoeConfig, VisionConfig};

use super::chosen::Chosen;
use crate::{args::InspectArgs, error::CliError, report};

/// Number types and their bytes.
const NUMBER_TYPES: [(&str, usize); 3] = [("f32", 4), ("f16", 2), ("bf16", 2)];

/// What is shown.
#[derive(Debug, Serialize)]
struct Inspection {
    config: UniMoeConfig,
    parameters: Parameters,
    /// Bytes of the parameters in memory, by number type.
    memory_bytes: BTreeMap<&'static str, usize>,
    /// Bytes of the key and value cache per position and row, by number type.
    cache_bytes_per_position: BTreeMap<&'static str, usize>,
    /// Number of tensors in the files, by their number type there.
    stored: BTreeMap<String, usize>,
    /// Names of the voices that it brings along.
    voices: Vec<String>,
    /// Words that it says it has learnt, of speech and of captions.
    words: [usize; 2],
}

/// Numbers of parameters.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Parameters {
    /// All that the files hold.
    total: usize,
    /// Of the vision encoder, which tokens of text and sound don't visit.
    vision: usize,
    /// Of one routed expert in all layers.
    per_routed_expert: usize,
    /// That a token uses where it visits no routed expert.
    active_least: usize,
    /// That a token uses where it visits as many routed experts as it may.
    active_most: usize,
}

impl Parameters {
    fn new(config: &UniMoeConfig, total: usize) -> Self {
        let (text, moe) = (&config.text, &config.moe);
        // A SwiGLU expert has three matrices.
        let expert = 3 * text.d_model * moe.d_routed * text.n_layers;
        let most = if moe.top_p > 0.0 {
            moe.n_routed
        } else {
            moe.top_k.min(moe.n_routed)
        };
        let encoder = config.vision.as_ref().map(|vision| &vision.encoder);
        let vision = encoder.map_or(0, |encoder| encoder.n_parameters() as usize);
        let least = total.saturating_sub(moe.n_routed * expert + vision);
        Self {
            total,
            vision,
            per_routed_expert: expert,
            active_least: least,
            active_most: least + most * expert,
        }
    }
}

/// Shows configuration, parameters and memory of a model folder.
///
/// # Errors
///
/// [`CliError::Input`] that names the file and what is wrong with it.
pub fn run(args: &InspectArgs) -> Result<(), CliError> {
    let chosen = Chosen::new(args.model.as_deref());
    let config = chosen.config()?;
    let shards = Shards::open(&chosen.folder).map_err(CliError::input(&chosen.name))?;
    let Companions { voices, words, .. } = chosen.companions()?;
    let mut stored = BTreeMap::new();
    for tensor in shards.tensors().values() {
        *stored.entry(format!("{:?}", tensor.dtype)).or_default() += 1;
    }
    let total = shards
        .tensors()
        .values()
        .map(|tensor| tensor.elements())
        .sum();
    let text = &config.text;
    let cached = 2 * text.n_layers * text.n_kv_heads * text.d_head;
    let by_type = |count: usize| {
        NUMBER_TYPES
            .into_iter()
            .map(|(name, bytes)| (name, count * bytes))
            .collect()
    };
    let inspection = Inspection {
        parameters: Parameters::new(&config, total),
        memory_bytes: by_type(total),
        cache_bytes_per_position: by_type(cached),
        stored,
        config,
        voices: voices.names().into_iter().map(String::from).collect(),
        words: [words.speech, words.music].map(|list| list.words().len()),
    };
    if args.json {
        report::json(&inspection)
    } else {
        report::print(&inspection.text())
    }
}

impl Inspection {
    fn text(&self) -> String {
        let (text, moe, codec) = (&self.config.text, &self.config.moe, &self.config.codec);
        let routing = if moe.top_p > 0.0 {
            format!("Top-P {}", moe.top_p)
        } else {
            format!("Top-K {}", moe.top_k)
        };
        let parameters = &self.parameters;
        let rows = [
            (
                "layers",
                format!("{} of width {}", text.n_layers, text.d_model),
            ),
            (
                "attention",
                format!(
                    "{} query heads, {} key-value heads, head width {}",
                    text.n_heads, text.n_kv_heads, text.d_head
                ),
            ),
            (
                "experts",
                format!(
                    "{} routed ({} wide), {} null, {} shared ({} wide), {routing}",
                    moe.n_routed, moe.d_routed, moe.n_null, moe.n_shared, moe.d_shared
                ),
            ),
            (
                "codec",
                format!("{} channels of {} codes", codec.n_channels, codec.eos),
            ),
            (
                "vision",
                vision(self.config.vision.as_ref(), parameters.vision),
            ),
            ("vocabulary", text.vocab_size.to_string()),
            ("parameters", short(parameters.total, "")),
            (
                "active per token",
                format!(
                    "{} to {}, {} per routed expert",
                    short(parameters.active_least, ""),
                    short(parameters.active_most, ""),
                    short(parameters.per_routed_expert, "")
                ),
            ),
            ("memory", by_type(&self.memory_bytes)),
            (
                "cache per position",
                by_type(&self.cache_bytes_per_position),
            ),
            (
                "stored",
                list(
                    self.stored
                        .iter()
                        .map(|(name, count)| format!("{count} tensors in {name}")),
                ),
            ),
        ];
        let mut out = String::new();
        let [spoken, described] = self.words;
        let more = [
            ("voices", self.voices.join(", ")),
            (
                "words learnt",
                format!("{spoken} of speech, {described} of captions"),
            ),
        ];
        let told = [!self.voices.is_empty(), self.words != [0, 0]];
        let more = more.into_iter().zip(told).filter(|(_, told)| *told);
        for (name, value) in rows.into_iter().chain(more.map(|(row, _)| row)) {
            // Writing to a string does not fail.
            let _ = writeln!(out, "{name:<20}{value}");
        }
        out
    }
}

/// Side of the picture whose tokens are told, in pixels.
const PICTURE: usize = 224;

fn vision(config: Option<&VisionConfig>, parameters: usize) -> String {
    let Some(VisionConfig { encoder, .. }) = config else {
        return "none".into();
    };
    let side = PICTURE / (encoder.patch_size * encoder.merge_size);
    format!(
        "{} blocks of width {}, {} parameters, {} tokens for {PICTURE} x {PICTURE} pixels",
        encoder.n_blocks,
        encoder.d_model,
        short(parameters, ""),
        side * side
    )
}

fn by_type(bytes: &BTreeMap<&str, usize>) -> String {
    list(
        bytes
            .iter()
            .map(|(name, bytes)| format!("{} in {name}", short(*bytes, "B"))),
    )
}

fn list(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A number in thousands, millions or billions.
fn short(number: usize, unit: &str) -> String {
    let value = number as f64;
    let (value, scale) = match number {
        0..1_000 => return format!("{number} {unit}").trim_end().to_owned(),
        1_000..1_000_000 => (value / 1e3, "k"),
        1_000_000..1_000_000_000 => (value / 1e6, "M"),
        _ => (value / 1e9, "G"),
    };
    format!("{value:.1} {scale}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_parameters_are_all_but_the_experts_not_visited() {
        let mut config = UniMoeConfig::released();
        // 3 x 2048 x 2752 x 36 layers
        let expert = 608_698_368;
        let vision = 668_684_288;
        let total = 10 * expert + vision;
        let parameters = Parameters::new(&config, total);
        assert_eq!(
            parameters,
            Parameters {
                total,
                vision,
                per_routed_expert: expert,
                active_least: 2 * expert,
                active_most: 10 * expert,
            }
        );
        config.moe.top_p = 0.0;
        config.moe.top_k = 3;
        assert_eq!(Parameters::new(&config, total).active_most, 5 * expert);
    }

    #[test]
    fn a_vision_encoder_is_shown_with_its_tokens() {
        let mut config = UniMoeConfig::released();
        let text = vision(config.vision.as_ref(), 668_684_288);
        let expected =
            "32 blocks of width 1280, 668.7 M parameters, 64 tokens for 224 x 224 pixels";
        assert_eq!(text, expected);
        config.vision = None;
        assert_eq!(vision(config.vision.as_ref(), 0), "none");
        assert_eq!(Parameters::new(&config, 0).vision, 0);
    }

    #[test]
    fn numbers_are_shortened_to_three_digits() {
        assert_eq!(short(999, ""), "999");
        assert_eq!(short(1_500, "B"), "1.5 kB");
        assert_eq!(short(7_100_000_000, ""), "7.1 G");
    }
}
