//! `unimoe init`.

use std::path::PathBuf;

use burn::tensor::Device;
use serde::Serialize;
use unimoe_model::{DeviceChoice, NewCodec, NewFolder, Prompt, UniMoeConfig, Vocabulary};
use unimoe_train::{Manifest, Policy, Task};

use crate::{
    args::{InitArgs, Preset},
    error::CliError,
    report,
};

/// Writes a randomly initialised model folder.
///
/// # Errors
///
/// [`CliError::Input`] where the configuration makes no model, [`CliError::Output`] where the folder can't be written or holds something.
pub fn run(args: &InitArgs) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Report<'a> {
        path: &'a std::path::Path,
        #[serde(skip_serializing_if = "Option::is_none")]
        preset: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        config: Option<&'a std::path::Path>,
        dense: bool,
        seed: u64,
    }
    let (preset, name) = match args.preset {
        Preset::Tiny => (unimoe_model::Preset::Tiny, "tiny"),
        Preset::Small => (unimoe_model::Preset::Small, "small"),
        Preset::Released => (unimoe_model::Preset::Released, "released"),
    };
    let device: Device = DeviceChoice::Auto.resolve()?;
    let (config, sizes) = match &args.config {
        Some(path) => {
            let config =
                UniMoeConfig::load(path).map_err(CliError::input(path.display().to_string()))?;
            let sizes = preset
                .codec()
                .with_n_codebooks(config.codec.n_channels)
                .with_codebook_size(config.codec.eos as usize);
            // Split in two, its blocks have the width of the routed experts, as those of the smaller presets.
            let width = 2 * config.moe.d_routed;
            let config = match args.dense {
                true => config.into_dense(width),
                false => config,
            };
            (config, sizes)
        }
        None if args.dense => (preset.dense(), preset.codec()),
        None => (preset.config(), preset.codec()),
    };
    let codec = match &args.codec {
        Some(path) => NewCodec::From(path.clone()),
        None => NewCodec::Random(sizes),
    };
    let vocabulary = match args.vocabulary.is_empty() {
        true => None,
        false => Some(learn_vocabulary(&args.vocabulary, args.merges)?),
    };
    let config = match &vocabulary {
        Some(vocabulary) => config.with_vocabulary(vocabulary),
        None => config,
    };
    let folder = NewFolder {
        config,
        codec,
        vocabulary,
        seed: args.seed,
    };
    folder
        .write(&args.out, &device)
        .map_err(CliError::output(&args.out))?;
    if args.json {
        return report::json(&Report {
            path: &args.out,
            preset: args.config.is_none().then_some(name),
            config: args.config.as_deref(),
            dense: args.dense,
            seed: args.seed,
        });
    }
    let sizes = match &args.config {
        Some(path) => path.display().to_string(),
        None => format!("preset {name}"),
    };
    report::print(&format!(
        "{}: {sizes}{}, seed {}\n",
        args.out.display(),
        if args.dense { ", dense" } else { "" },
        args.seed
    ))
}

/// Merges of the words that stand in the prompts of some clips.
fn learn_vocabulary(manifests: &[PathBuf], merges: usize) -> Result<Vocabulary, CliError> {
    let manifest = Manifest::load(manifests, Policy::Fail);
    let manifest = manifest.map_err(CliError::input("the manifests of the vocabulary"))?;
    let prompts = (manifest.records.iter())
        .map(|record| match (&record.reference, record.task) {
            // How many codes the voice has doesn't matter here.
            (Some(reference), Task::Speech) => Prompt::speech(&record.text, &reference.text, 1),
            _ => Prompt::music(&record.text),
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(CliError::input("the texts of the vocabulary"))?;
    Vocabulary::of_prompts(&prompts, merges).map_err(CliError::input("the texts of the vocabulary"))
}
