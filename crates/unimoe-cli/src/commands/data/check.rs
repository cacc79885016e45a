//! `unimoe data check`.

use std::path::Path;

use dac_codec::DacCodec;
use unimoe_model::{DeviceChoice, Tokenizer, UniMoeConfig, find_codec};
use unimoe_train::{
    CheckOptions, Defects, Manifest, ModelLimits, Policy, VisionReader, check_manifest,
};
use vision_encoder::{Preprocessor, VideoOptions};

use super::{
    Watch, failure, list,
    report::{self, CheckReport, Usable},
};
use crate::{
    args::{CheckArgs, OnDefect},
    error::CliError,
    interrupt::Interrupt,
};

/// Finds everything that is wrong, and reports it.
///
/// # Errors
///
/// [`CliError::Input`] where something is, unless it is only to be counted.
pub fn run(args: &CheckArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let source = &args.source;
    let model = args.model.as_deref().map(limits).transpose()?;
    let preprocessor = match &args.model {
        Some(folder) => Preprocessor::find(folder).map_err(CliError::input("the model"))?,
        None => None,
    };
    // Lines that are wrong do not hide what is wrong with the files of others.
    let manifest = Manifest::load(&source.manifests, Policy::Skip);
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(error) => return Err(first(args, error)),
    };
    let mut watch = Watch::new(source.json, interrupt);
    watch.start("checking", manifest.records.len());
    let options = CheckOptions {
        max_seconds: args.reading.longest,
        workers: args.reading.workers(),
        vision: Some(VisionReader {
            options: VideoOptions::default(),
            preprocessor: preprocessor.unwrap_or_default(),
        }),
        model,
        voices: !args.without_voices,
    };
    let outcome = check_manifest(&manifest, &options, &mut |done, _| watch.step(done));
    let outcome = outcome.map_err(failure("the manifests"))?;
    drop(watch);

    let mut report = CheckReport {
        domains: std::collections::BTreeMap::new(),
        counts: std::collections::BTreeMap::new(),
        defects: Vec::new(),
    };
    for (index, (record, seconds)) in manifest.records.iter().zip(outcome.seconds).enumerate() {
        let domain: &mut Usable = report.domains.entry(record.domain.clone()).or_default();
        if !outcome.faults.contains_key(&index) {
            domain.clips += 1;
            domain.hours += seconds / 3600.0;
        }
    }
    let mut all = manifest.skipped.clone();
    let kept = manifest.without(&outcome.faults, Policy::Fail);
    if let Err(unimoe_train::DataError::Defects(found)) = &kept {
        all.0.extend(found.0.iter().cloned());
    }
    all.0
        .sort_by(|a, b| (&a.manifest, a.line).cmp(&(&b.manifest, b.line)));
    report.counts = all.counts();
    report.defects = report::defects(&all);
    let empty = report.domains.iter().find(|(_, usable)| usable.clips == 0);
    let empty = empty.map(|(domain, _)| domain.clone());
    let missing = source
        .domains
        .iter()
        .find(|domain| !report.domains.contains_key(*domain));
    let empty = empty.or(missing.cloned());

    if source.json {
        crate::report::json(&report)?;
    } else {
        list(&all);
        crate::report::print(&report.text())?;
    }
    conclude(all, empty, source.on_defect)
}

/// What a manifest that is wholly unusable comes to: all of its lines are told.
fn first(args: &CheckArgs, error: unimoe_train::DataError) -> CliError {
    match Manifest::load(&args.source.manifests, Policy::Fail) {
        Err(all @ unimoe_train::DataError::Defects(_)) => failure("the manifests")(all),
        _ => failure("the manifests")(error),
    }
}

/// Success, or the failure that the findings are.
fn conclude(all: Defects, empty: Option<String>, on_defect: OnDefect) -> Result<(), CliError> {
    if !all.0.is_empty() && on_defect == OnDefect::Fail {
        return Err(CliError::input("the manifests")(all));
    }
    match empty {
        None => Ok(()),
        Some(domain) => Err(CliError::input("the manifests")(format!(
            "domain `{domain}` has no usable clip"
        ))),
    }
}

/// What the clips of a model must fit.
fn limits(folder: &Path) -> Result<ModelLimits, CliError> {
    let unusable = || format!("the model {}", folder.display());
    let config =
        UniMoeConfig::load(folder.join("config.json")).map_err(CliError::input(unusable()))?;
    let tokenizer = Tokenizer::from_dir(folder).map_err(CliError::input(unusable()))?;
    let weights = find_codec(folder).map_err(CliError::input(unusable()))?;
    let codec = DacCodec::load(weights, &DeviceChoice::Auto.resolve()?);
    let codec = codec.map_err(CliError::input(unusable()))?;
    let frame_rate = codec.config().frame_rate();
    Ok(ModelLimits::new(tokenizer, config, frame_rate))
}
