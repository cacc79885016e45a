//! `unimoe data prepare`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use dac_codec::DacCodec;
use serde_json::json;
use unimoe_model::find_codec;
use unimoe_train::{
    ClipSet, ClipSetOptions, CodeCache, CodecEncoder, Governance, GovernanceOptions, Manifest,
    Record,
};

use super::{Watch, check_output, failure, list, load, report};
use crate::{args::PrepareArgs, error::CliError, interrupt::Interrupt};

/// Largest file of rules, in bytes.
const MAX_RULES: u64 = 1 << 20;

/// Filters, drops duplicates, computes codes, and writes what is left.
///
/// # Errors
///
/// [`CliError`]; the manifest appears whole or not at all, and codes that were computed stay in the cache.
pub fn run(args: &PrepareArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let source = &args.source;
    check_output(&args.output, source)?;
    let report_path = report_path(&args.output);
    check_output(&report_path, source)?;
    let rules = rules(args)?;
    let device = args.device.resolve()?;
    let manifest = load(source)?;
    let encoder = codec(args, &device)?;
    let cache = CodeCache::open(&args.cache).map_err(failure("the cache"))?;

    let mut watch = Watch::new(source.json, interrupt);
    watch.start("measuring", manifest.records.len());
    let options = GovernanceOptions {
        policy: source.on_defect.into(),
        max_seconds: args.reading.longest,
        workers: args.reading.workers(),
    };
    let governed = rules.apply(manifest, &options, &mut |done, _| watch.step(done));
    let mut governed = governed.map_err(failure("the manifests"))?;
    // Of the clips that are left, so that no voice is one that was dropped.
    let without_voice = match &args.voices_by {
        Some(column) => governed.manifest.add_voices(column, args.seed),
        None => governed.manifest.count_without_voice(),
    };
    let emptied = governed.report.check();

    let mut written = report::PrepareReport {
        output: args.output.clone(),
        domains: Default::default(),
        total: Default::default(),
        unusable: Default::default(),
        without_voice,
        cached: 0,
        encoded_seconds: 0.0,
        encode_seconds: 0.0,
        codec: encoder.fingerprint(),
        dropped: Vec::new(),
        defects: Vec::new(),
    }
    .govern(governed.report);
    if let Err(error) = emptied {
        // What was dropped tells why.
        write_report(&report_path, &written)?;
        return Err(failure("the manifests")(error));
    }

    watch.start("encoding", 0);
    let start = Instant::now();
    let clips = ClipSetOptions {
        policy: options.policy,
        max_seconds: options.max_seconds,
        workers: options.workers,
        vision: None,
    };
    let mut begun = false;
    let set = ClipSet::prepare(
        governed.manifest,
        Arc::new(encoder),
        cache,
        clips,
        &mut |state| {
            if !begun {
                watch.start("encoding", state.total);
                begun = true;
            }
            written.cached = state.cached;
            written.encoded_seconds = state.seconds;
            watch.step(state.done)
        },
    );
    let set = set.map_err(failure("the sounds"))?;
    drop(watch);
    written.encode_seconds = start.elapsed().as_secs_f64();
    written.unusable = set.skipped().counts();
    written.defects = report::defects(set.skipped());
    written.total.kept = set.records().len();

    let manifest = Manifest {
        records: framed(&set),
        skipped: set.skipped().clone(),
    };
    manifest
        .write(&args.output)
        .map_err(failure("the manifests"))?;
    write_report(&report_path, &written)?;
    if source.json {
        return crate::report::json(&written);
    }
    list(set.skipped());
    crate::report::print(&written.text())
}

/// The records with their numbers of frames.
fn framed(set: &ClipSet) -> Vec<Arc<Record>> {
    let records = set.records().iter().enumerate();
    records
        .map(|(index, record)| {
            let mut record = Record::clone(record);
            record
                .extra
                .insert("frames".into(), json!(set.frames(index)));
            Arc::new(record)
        })
        .collect()
}

/// `a.jsonl` has its report in `a.report.json`.
fn report_path(output: &Path) -> PathBuf {
    output.with_extension("report.json")
}

fn write_report(path: &Path, report: &report::PrepareReport) -> Result<(), CliError> {
    let text = serde_json::to_vec_pretty(report).map_err(CliError::work("write the report"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let save = || {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut file, &text)?;
        file.persist(path).map_err(|error| error.error).map(drop)
    };
    save().map_err(CliError::output(path))
}

/// The rules of the file, with those of the options over them.
fn rules(args: &PrepareArgs) -> Result<Governance, CliError> {
    let mut rules = Governance::default();
    if let Some(path) = &args.rules {
        let name = || format!("the rules {}", path.display());
        let found = fs::metadata(path).map_err(CliError::input(name()))?;
        if !found.is_file() || found.len() > MAX_RULES {
            let expected = format!("a file of at most {MAX_RULES} bytes expected");
            return Err(CliError::input(name())(expected));
        }
        let text = fs::read_to_string(path).map_err(CliError::input(name()))?;
        rules = serde_json::from_str(&text).map_err(CliError::input(name()))?;
    }
    args.filter.over(&mut rules.filter);
    if args.keep_duplicates {
        (rules.duplicates.exact, rules.duplicates.near) = (false, false);
    }
    if args.keep_near_duplicates {
        rules.duplicates.near = false;
    }
    rules.validate().map_err(failure("the rules"))?;
    Ok(rules)
}

fn codec(args: &PrepareArgs, device: &burn::tensor::Device) -> Result<CodecEncoder, CliError> {
    let path = match (&args.codec, &args.model) {
        (Some(path), _) => path.clone(),
        (None, Some(model)) => find_codec(model).map_err(CliError::input("the model"))?,
        (None, None) => PathBuf::new(),
    };
    let codec = DacCodec::load(path, device).map_err(CliError::input("the codec"))?;
    Ok(CodecEncoder::new(codec, device))
}
