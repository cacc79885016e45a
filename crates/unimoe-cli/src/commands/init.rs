//! `unimoe init`.

use burn::tensor::Device;
use serde::Serialize;
use unimoe_model::{DeviceChoice, NewCodec, init_folder};

use crate::{
    args::{InitArgs, Preset},
    error::CliError,
    report,
};

/// Writes a randomly initialised model folder.
///
/// # Errors
///
/// [`CliError::Output`] where the folder can't be written or holds something.
pub fn run(args: &InitArgs) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Report<'a> {
        path: &'a std::path::Path,
        preset: String,
        dense: bool,
        seed: u64,
    }
    let (preset, name) = match args.preset {
        Preset::Tiny => (unimoe_model::Preset::Tiny, "tiny"),
        Preset::Small => (unimoe_model::Preset::Small, "small"),
        Preset::Released => (unimoe_model::Preset::Released, "released"),
    };
    let device: Device = DeviceChoice::Auto.resolve()?;
    let config = match args.dense {
        true => preset.dense(),
        false => preset.config(),
    };
    let codec = match &args.codec {
        Some(path) => NewCodec::From(path.clone()),
        None => NewCodec::Random(preset.codec()),
    };
    init_folder(&config, &codec, args.seed, &args.out, &device)
        .map_err(CliError::output(&args.out))?;
    if args.json {
        return report::json(&Report {
            path: &args.out,
            preset: name.to_owned(),
            dense: args.dense,
            seed: args.seed,
        });
    }
    report::print(&format!(
        "{}: preset {name}{}, seed {}\n",
        args.out.display(),
        if args.dense { ", dense" } else { "" },
        args.seed
    ))
}
