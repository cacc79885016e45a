//! What the evaluations of models have in common: their clips, the model, its sounds, pictures of them.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use burn::tensor::Device;
use unimoe_model::{GenerationDefaults, Pipeline, PipelineOptions};
use unimoe_train::{
    Confusion, GenerationFacts, GenerationPlan, JudgedClip, KeptSound, Manifest, MetricError,
    ModelFingerprint, Policy, Record, RoundTrips, Versions,
};

use super::{table::Table, unusable};
use crate::{
    args::{Dtype, EvalModelArgs},
    commands::{chosen::Chosen, generation::dtype},
    error::CliError,
    interrupt::Interrupt,
    output::MadeFolders,
    progress::Progress,
    spectrogram::Spectrogram,
};

/// Longest real clip in seconds.
const MAX_SECONDS: f64 = 120.0;

/// Clips that are ready to be judged, and how they were generated.
pub struct Judged {
    /// The records with their sounds.
    pub clips: Vec<JudgedClip>,
    /// How they were generated, for each task.
    pub facts: BTreeMap<String, GenerationFacts>,
}

/// The model's own settings.
///
/// # Errors
///
/// [`CliError::Input`] where there is no such model, or its settings can't be used.
pub fn defaults(args: &EvalModelArgs) -> Result<GenerationDefaults, CliError> {
    Ok(Chosen::new(Some(&args.model)).companions()?.defaults)
}

/// The records of manifests for which `wanted` holds, at most `limit` of each domain.
///
/// # Errors
///
/// [`CliError::Input`] that names what is wrong with a manifest.
pub fn records<P: AsRef<Path>>(
    manifests: &[P],
    limit: Option<u32>,
    wanted: impl Fn(&Record) -> bool,
) -> Result<Vec<Arc<Record>>, CliError> {
    let manifest =
        Manifest::load(manifests, Policy::Fail).map_err(CliError::input("the manifest"))?;
    let records: Vec<Arc<Record>> = (manifest.records.into_iter())
        .filter(|record| wanted(record))
        .collect();
    let Some(limit) = limit else {
        return Ok(records);
    };
    let mut domains: Vec<&str> = records
        .iter()
        .map(|record| record.domain.as_str())
        .collect();
    domains.sort_unstable();
    domains.dedup();
    let mut kept = Vec::new();
    for domain in domains {
        let own: Vec<&Arc<Record>> = records
            .iter()
            .filter(|record| record.domain == domain)
            .collect();
        kept.extend(spread(&own, limit as usize).into_iter().map(Arc::clone));
    }
    Ok(kept)
}

/// At most `limit` items, spread evenly.
pub fn spread<T: Clone>(items: &[T], limit: usize) -> Vec<T> {
    let count = items.len().min(limit);
    (0..count)
        .map(|number| items[number * items.len() / count].clone())
        .collect()
}

/// Generates what is missing, reads the three sounds of each record, and draws those that pictures are wanted of.
///
/// # Errors
///
/// [`CliError`]; batches that were complete before it stay.
pub fn clips(
    args: &EvalModelArgs,
    records: Vec<Arc<Record>>,
    plan: GenerationPlan,
    vision: bool,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Judged, CliError> {
    let _folders = MadeFolders::make(&args.output).map_err(CliError::output(&args.output))?;
    progress.spin("reading the clips");
    let real: Vec<KeptSound> = (records.iter())
        .map(|record| KeptSound::read(&record.audio, MAX_SECONDS))
        .collect::<Result<_, MetricError>>()
        .map_err(unusable("the clips"))?;
    progress.spin("loading the model");
    let device = args.device.device.resolve()?;
    let (pipeline, fingerprint) = load(args, vision, &device)?;
    interrupt.check()?;

    let trips = RoundTrips::new(pipeline.codec().clone(), &args.output, &device)
        .map_err(unusable("the output"))?;
    progress.count("codec round trips", records.len());
    let mut round_trips = Vec::new();
    for (number, (record, real)) in records.iter().zip(&real).enumerate() {
        interrupt.check()?;
        progress.set(number);
        round_trips.push(
            trips
                .of(&record.id, &real.clip)
                .map_err(unusable("the clips"))?,
        );
    }
    let lengths = real.iter().map(|sound| sound.clip.seconds());
    let wanted: Vec<(Arc<Record>, f64)> = records.iter().cloned().zip(lengths).collect();
    progress.count("generating", records.len());
    let made = plan
        .generate(
            &pipeline,
            fingerprint,
            &wanted,
            &args.output,
            interrupt.flag(),
            &mut |now| progress.set(now.done),
        )
        .map_err(unusable("the model or its requests"))?;
    progress.finish();
    let sounds = real.into_iter().zip(round_trips).zip(made);
    let tasks = records.iter().map(|record| record.task);
    let facts = tasks.map(|task| (task.name().to_owned(), plan.facts(fingerprint, task)));
    let facts = facts.collect();
    let clips = records.into_iter().zip(sounds);
    let clips = clips.map(|(record, ((real, round_trip), generated))| JudgedClip {
        record,
        sounds: Versions {
            real,
            round_trip,
            generated,
        },
    });
    let clips: Vec<JudgedClip> = clips.collect();
    pictures(args, &clips)?;
    progress.spin("listening");
    Ok(Judged { clips, facts })
}

fn load(
    args: &EvalModelArgs,
    vision: bool,
    device: &Device,
) -> Result<(Pipeline, ModelFingerprint), CliError> {
    let fingerprint = ModelFingerprint::of(&args.model, args.codec.as_deref())
        .map_err(unusable("the model folder"))?;
    let wanted: Dtype = args.device.dtype;
    let options = PipelineOptions {
        dtype: dtype(wanted, device)?,
        codec: args.codec.clone(),
        without_vision: !vision,
        ..PipelineOptions::default()
    };
    let pipeline = Pipeline::load(&args.model, &options, device).map_err(CliError::input(
        format!("the model {}", args.model.display()),
    ))?;
    Ok((pipeline, fingerprint))
}

/// Draws the first clips of each domain: `OUTPUT/pictures/ID.png`.
///
/// # Errors
///
/// [`CliError::Output`] where a picture can't be written.
fn pictures(args: &EvalModelArgs, clips: &[JudgedClip]) -> Result<(), CliError> {
    if args.pictures == 0 {
        return Ok(());
    }
    let folder = args.output.join("pictures");
    std::fs::create_dir_all(&folder).map_err(CliError::output(&folder))?;
    let mut drawn: Vec<(&str, u32)> = Vec::new();
    for JudgedClip { record, sounds } in clips {
        let domain = record.domain.as_str();
        let place = match drawn.iter().position(|(name, _)| *name == domain) {
            Some(place) => place,
            None => {
                drawn.push((domain, 0));
                drawn.len() - 1
            }
        };
        if drawn[place].1 == args.pictures {
            continue;
        }
        drawn[place].1 += 1;
        // Letters beyond ASCII can't be drawn.
        let title = match record.text.is_ascii() {
            true => format!("{}  {}", record.id, record.text),
            false => record.id.clone(),
        };
        let mut picture = Spectrogram::new(&title);
        for (title, sound) in [
            ("real", &sounds.real),
            ("codec round trip", &sounds.round_trip),
            ("generated", &sounds.generated),
        ] {
            picture
                .panel(title, &sound.clip)
                .map_err(CliError::work("draw a spectrogram"))?;
        }
        // The name that the sound has, whatever characters the id is of.
        let name = sounds.generated.path.file_stem().unwrap_or_default();
        let path =
            folder.join(format!("{domain}-{}.png", name.to_string_lossy()).replace('/', "_"));
        picture.write(&path).map_err(CliError::output(&path))?;
    }
    Ok(())
}

/// A share as it is printed.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// The row of a table of shares: real, round trip, generated, chance, clips.
pub fn shares(table: &mut Table, name: String, tables: &Versions<Confusion>) {
    let shares = tables.as_array().map(|table| percent(table.accuracy()));
    let end = [
        percent(tables.real.chance()),
        tables.real.total().to_string(),
    ];
    table.row([name].into_iter().chain(shares).chain(end));
}

/// Columns of [`shares`].
pub const SHARES: [&str; 6] = ["", "real", "round trip", "generated", "chance", "clips"];

/// A confusion table with a title.
pub fn confusion(title: &str, table: &Confusion) -> String {
    let mut columns = vec![title];
    columns.extend(table.classes.iter().map(String::as_str));
    columns.push("nothing");
    let mut rows = Table::new(&columns);
    for (class, counts) in table.classes.iter().zip(&table.counts) {
        rows.row(
            [class.clone()]
                .into_iter()
                .chain(counts.iter().map(usize::to_string)),
        );
    }
    rows.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_spread_from_the_first_on() {
        let items: Vec<u32> = (0..10).collect();
        assert_eq!(spread(&items, 3), [0, 3, 6]);
        assert_eq!(spread(&items, 20), items);
        assert!(spread(&[] as &[u32], 3).is_empty());
    }
}
