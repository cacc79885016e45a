//! `unimoe init`.

use burn::tensor::Device;
use serde::Serialize;
use unimoe_model::{DeviceChoice, init_model_folder};

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
        seed: u64,
    }
    let (preset, name) = match args.preset {
        Preset::Tiny => (unimoe_model::Preset::Tiny, "tiny"),
        Preset::Small => (unimoe_model::Preset::Small, "small"),
        Preset::Released => (unimoe_model::Preset::Released, "released"),
    };
    let device: Device = DeviceChoice::Auto.resolve()?;
    init_model_folder(preset, args.seed, &args.out, &device)
        .map_err(CliError::output(&args.out))?;
    if args.json {
        return report::json(&Report {
            path: &args.out,
            preset: name.to_owned(),
            seed: args.seed,
        });
    }
    report::print(&format!(
        "{}: preset {name}, seed {}\n",
        args.out.display(),
        args.seed
    ))
}
