//! `unimoe eval codec`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use dac_codec::DacCodec;
use unimoe_model::find_codec;
use unimoe_train::{CodecEvaluation, CodecGroup, CodecReport, EvalClip, RoundTrips};

use super::{
    judged,
    table::{Table, number},
    unusable,
};
use crate::{
    args::EvalCodecArgs, error::CliError, interrupt::Interrupt, output::MadeFolders,
    progress::Progress, report,
};

/// Sends sounds through a codec and back, and compares what comes of it.
///
/// # Errors
///
/// [`CliError`] that names what can't be used; round trips that were made before it stay.
pub fn run(args: &EvalCodecArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let device = args.device.resolve()?;
    let mut groups = Vec::new();
    for source in &args.sources {
        groups.extend(self::groups(source)?);
    }
    if let Some(limit) = args.limit {
        for group in &mut groups {
            group.clips = judged::spread(&group.clips, limit as usize);
        }
    }
    let path = find_codec(&args.codec).unwrap_or_else(|_| args.codec.clone());
    let codec = DacCodec::load(path, &device).map_err(CliError::input("the codec"))?;
    let rate = codec.config().sample_rate as u32;
    let _folders = MadeFolders::make(&args.output).map_err(CliError::output(&args.output))?;
    let trips = RoundTrips::new(codec, &args.output, &device).map_err(unusable("the output"))?;
    let evaluation = CodecEvaluation::new(trips, rate, &device).map_err(unusable("the codec"))?;
    let mut progress = Progress::new(args.json);
    progress.count(
        "codec round trips",
        groups.iter().map(|group| group.clips.len()).sum(),
    );
    let found = evaluation
        .run(&groups, interrupt.flag(), &mut |done| progress.set(done))
        .map_err(unusable("the sounds"))?;
    progress.finish();
    if args.json {
        return report::json(&found);
    }
    report::print(&text(&found))
}

/// The groups of `[NAME=]PATH`.
fn groups(source: &str) -> Result<Vec<CodecGroup>, CliError> {
    let (name, path) = match source.split_once('=') {
        // A path may have the sign in it.
        Some((name, path)) if !name.is_empty() && !Path::new(source).exists() => (Some(name), path),
        _ => (None, source),
    };
    let path = Path::new(path);
    if path.is_dir() {
        let clips = EvalClip::in_folder(path).map_err(unusable("the sounds"))?;
        let own = path
            .file_name()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        return Ok(vec![CodecGroup {
            name: name.unwrap_or(&own).to_owned(),
            clips: clips.into_iter().map(|clip| (clip.id, clip.path)).collect(),
        }]);
    }
    let records = judged::records(&[path], None, |_| true)?;
    let mut domains: BTreeMap<&str, CodecGroup> = BTreeMap::new();
    for record in &records {
        let group = domains.entry(name.unwrap_or(&record.domain)).or_default();
        group.clips.push((record.id.clone(), record.audio.clone()));
    }
    let named = domains.into_iter().map(|(name, group)| CodecGroup {
        name: name.to_owned(),
        ..group
    });
    Ok(named.collect())
}

fn text(found: &CodecReport) -> String {
    let columns = [
        "group",
        "clips",
        "seconds",
        "mel distance",
        "stft distance",
        "si_sdr (dB)",
    ];
    let mut table = Table::new(&columns);
    for group in &found.figures.groups {
        table.row([
            group.name.clone(),
            group.mel_distance.count.to_string(),
            format!("{:.1}", group.seconds),
            number(group.mel_distance.mean),
            number(group.stft_distance.mean),
            number(group.si_sdr.mean),
        ]);
    }
    let mut text = table.text();
    if !found.skipped.is_empty() {
        // Nothing keeps a String from growing.
        let _ = writeln!(text, "\nleft out: {}", found.skipped.len());
        for skipped in &found.skipped {
            let _ = writeln!(text, "  {}: {}", skipped.id, skipped.reason);
        }
    }
    text
}
