//! `unimoe export`: a model folder to hand on.

use burn::tensor::DType;
use serde::Serialize;
use unimoe_model::{
    DeviceChoice, ExportOptions, GenerationDefaults, LearntWords, RecordedVoice, RequestError,
    UniMoeError, export_folder,
};
use unimoe_train::{Manifest, Policy, Task};

use super::chosen::Chosen;
use crate::{
    args::{ExportArgs, StoredType},
    error::CliError,
    report,
};

/// What came of it.
#[derive(Debug, Serialize)]
struct Report<'a> {
    path: &'a std::path::Path,
    bytes: u64,
    voices: Vec<String>,
}

/// Writes a model with what goes with it to a new folder.
///
/// # Errors
///
/// [`CliError::Input`] where the model or a list can't be used, [`CliError::Output`] where the folder can't be written or
/// would be too large.
pub fn run(args: &ExportArgs) -> Result<(), CliError> {
    let chosen = Chosen::new(args.model.as_deref());
    let device = DeviceChoice::Auto.resolve()?;
    let voices = (args.voices.as_deref())
        .map(|list| RecordedVoice::read_list(list).map_err(CliError::input("--voices")))
        .transpose()?;
    let defaults = (args.generation.as_deref())
        .map(|file| GenerationDefaults::load(file).map_err(CliError::input("--generation")))
        .transpose()?;
    let words = (!args.learnt.is_empty())
        .then(|| words(&args.learnt))
        .transpose()?;
    let options = ExportOptions {
        dtype: match args.dtype {
            StoredType::F32 => DType::F32,
            StoredType::F16 => DType::F16,
            StoredType::Bf16 => DType::BF16,
        },
        codec: args.codec.clone(),
        max_bytes: args.max_bytes,
        voices: voices.unwrap_or_default(),
        defaults,
        words,
    };
    let exported = export_folder(&chosen.folder, &options, &args.output, &device).map_err(
        |error| match error {
            UniMoeError::Request(
                RequestError::FolderInUse { .. } | RequestError::ModelTooLarge { .. },
            ) => CliError::output(&args.output)(error),
            _ => CliError::input(&chosen.name)(error),
        },
    )?;
    let report = Report {
        path: &args.output,
        bytes: exported.bytes,
        voices: exported.voices,
    };
    if args.json {
        return report::json(&report);
    }
    report::print(&format!(
        "{}: {:.1} MB, voices: {}\n",
        report.path.display(),
        report.bytes as f64 / 1e6,
        match report.voices.is_empty() {
            true => "none".into(),
            false => report.voices.join(", "),
        }
    ))
}

/// The words of the texts and captions in manifests.
fn words(manifests: &[std::path::PathBuf]) -> Result<LearntWords, CliError> {
    let manifest = Manifest::load(manifests, Policy::Fail).map_err(CliError::input("--learnt"))?;
    let mut words = LearntWords::default();
    for record in &manifest.records {
        match record.task {
            Task::Speech => words.speech.learn(&record.text),
            Task::Music | Task::VideoMusic => words.music.learn(&record.text),
        }
    }
    Ok(words)
}
