//! `unimoe eval`: the metrics of unimoe-train over files.

mod card;
mod codec;
mod judged;
mod music;
mod speech;
mod table;

use std::path::Path;

use unimoe_train::{
    AudioComparison, AudioItem, AudioOptions, AudioReport, EmbeddingOptions, EmbeddingReport,
    ErrorRate, EvalClip, LengthRule, LogitOptions, LogitReport, MetricError, Pairing, Skipped,
    StoredFeatures, StoredTexts, Summary, TextNormalization, TextPair, TextReport, read_text_pairs,
};

use crate::{
    args::{
        EmbeddingMetric, EvalAudioArgs, EvalCommand, EvalEmbeddingsArgs, EvalLogitsArgs,
        EvalOutputArgs, EvalTextArgs, Lengths, Normalize,
    },
    error::CliError,
    interrupt::Interrupt,
    progress::Progress,
    report,
};
use table::{Table, number};

/// Columns of a metric over clips.
const SUMMARY: [&str; 6] = ["metric", "better", "mean", "std", "min", "max"];

/// Measures what the user asks for.
///
/// # Errors
///
/// [`CliError::Input`] that names the file or clip and what is wrong with it.
pub fn run(command: &EvalCommand, interrupt: &Interrupt) -> Result<(), CliError> {
    match command {
        EvalCommand::Text(args) => text(args),
        EvalCommand::Audio(args) => audio(args, interrupt),
        EvalCommand::Embeddings(args) => embeddings(args),
        EvalCommand::Logits(args) => logits(args),
        EvalCommand::Speech(args) => speech::run(args, interrupt),
        EvalCommand::Music(args) => music::run(args, interrupt),
        EvalCommand::Codec(args) => codec::run(args, interrupt),
        EvalCommand::Card(args) => card::run(args),
    }
}

/// Tells what a user can mend from what goes wrong within the work.
fn unusable(what: &'static str) -> impl FnOnce(MetricError) -> CliError {
    move |error| match error {
        MetricError::Stopped => CliError::Interrupted,
        MetricError::Write { path, source } => CliError::output(&path)(source),
        MetricError::ProgramFailed { .. } => CliError::work("recognise the speech")(error),
        error => CliError::input(what)(error),
    }
}

fn text(args: &EvalTextArgs) -> Result<(), CliError> {
    let (pairs, skipped) = text_pairs(args).map_err(unusable("the texts"))?;
    let mut normalization = match args.normalize {
        Normalize::None => TextNormalization::none(),
        Normalize::Basic => TextNormalization::basic(),
    };
    normalization.ignore_spaces = args.ignore_spaces;
    let found = TextReport::of(&pairs, normalization).map_err(unusable("the texts"))?;
    if args.output.json {
        #[derive(serde::Serialize)]
        struct Report {
            #[serde(flatten)]
            found: TextReport,
            skipped: Vec<String>,
        }
        return report::json(&Report { found, skipped });
    }
    let columns = [
        "metric",
        "better",
        "rate",
        "edits",
        "substitutions",
        "deletions",
        "insertions",
        "of",
    ];
    let mut table = Table::new(&columns);
    let mut row = |name: &str, rate: &ErrorRate| {
        let counts = &rate.counts;
        let edits = [
            counts.edits(),
            counts.substitutions,
            counts.deletions,
            counts.insertions,
        ];
        let mut cells = vec![name.to_owned(), "lower".into(), number(rate.rate)];
        cells.extend(edits.map(|count| count.to_string()));
        cells.push(counts.reference_length().to_string());
        table.row(cells);
    };
    row("wer", &found.wer);
    row("cer", &found.cer);
    let mut clips = Table::new(&["clip", "wer", "cer"]);
    for clip in &found.clips {
        clips.row([
            clip.id.clone(),
            number(clip.wer.rate),
            number(clip.cer.rate),
        ]);
    }
    print(
        &found.clips.len().to_string(),
        &table,
        &clips,
        &skipped,
        &args.output,
    )
}

/// The pairs, and the names of clips on one side only.
fn text_pairs(args: &EvalTextArgs) -> Result<(Vec<TextPair>, Vec<String>), MetricError> {
    let (Some(reference), Some(generated)) = (&args.reference, &args.generated) else {
        let manifest = args.manifest.as_deref().unwrap_or(Path::new(""));
        return Ok((read_text_pairs(manifest)?, Vec::new()));
    };
    let (reference, generated) = (StoredTexts::read(reference)?, StoredTexts::read(generated)?);
    let mut pairing = Pairing::by_id(reference.ids(), generated.ids());
    if !args.output.skip {
        pairing = pairing.complete()?;
    }
    let pair = |(place, _): &(usize, usize)| {
        let id = &reference.ids()[*place];
        Some(TextPair {
            id: id.clone(),
            reference: reference.text(id)?.to_owned(),
            hypothesis: generated.text(id)?.to_owned(),
        })
    };
    let pairs = pairing.pairs.iter().filter_map(pair).collect();
    Ok((pairs, names(pairing)))
}

fn names(pairing: Pairing) -> Vec<String> {
    pairing.unpaired.into_iter().map(|(_, id)| id).collect()
}

fn audio(args: &EvalAudioArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let device = args.device.resolve()?;
    let options = AudioOptions {
        sample_rate: args.sample_rate,
        lengths: match args.lengths {
            Lengths::Cut => LengthRule::Cut,
            Lengths::Pad => LengthRule::Pad,
            Lengths::Equal => LengthRule::Equal,
        },
        max_seconds: args.max_seconds,
    };
    let compare = AudioComparison::new(options, &device).map_err(unusable("the settings"))?;
    let SoundPairs { pairs, unpaired } = sounds(args).map_err(unusable("the sounds"))?;
    let reason = || "without counterpart".to_owned();
    let mut skipped: Vec<Skipped> = unpaired
        .into_iter()
        .map(|id| Skipped {
            id,
            reason: reason(),
        })
        .collect();

    let mut progress = Progress::new(args.output.json);
    progress.spin("comparing");
    let mut items: Vec<AudioItem> = Vec::new();
    for (reference, generated) in &pairs {
        interrupt.check()?;
        match compare.files(reference, generated) {
            Ok(item) => items.push(item),
            Err(error) if args.output.skip => skipped.push(Skipped {
                id: reference.id.clone(),
                reason: crate::error::chain(&error),
            }),
            Err(error) => return Err(unusable("the sounds")(error)),
        }
    }
    progress.finish();
    let found = AudioReport::new(options, items, skipped).map_err(unusable("the sounds"))?;
    if args.output.json {
        return report::json(&found);
    }
    let mut table = Table::new(&SUMMARY);
    for (name, better, summary) in [
        ("si_sdr (dB)", "higher", &found.si_sdr),
        ("mel_distance", "lower", &found.mel_distance),
        ("stft_distance", "lower", &found.stft_distance),
        (
            "multi_resolution_stft_distance",
            "lower",
            &found.multi_resolution_stft_distance,
        ),
    ] {
        table.row(summary_row(name, better, summary));
    }
    let columns = [
        "clip",
        "si_sdr",
        "mel",
        "stft",
        "mr_stft",
        "reference (s)",
        "generated (s)",
    ];
    let mut clips = Table::new(&columns);
    for clip in &found.clips {
        let spectra = &clip.spectra;
        let values = [
            clip.si_sdr,
            spectra.mel_distance,
            spectra.stft_distance,
            spectra.multi_resolution_stft_distance,
            clip.reference_seconds,
            clip.generated_seconds,
        ];
        clips.row(std::iter::once(clip.id.clone()).chain(values.map(number)));
    }
    let skipped: Vec<String> = found
        .skipped
        .iter()
        .map(|skipped| format!("{}: {}", skipped.id, skipped.reason))
        .collect();
    let count = format!(
        "{} at {} Hz, lengths differ by at most {} s",
        found.clips.len(),
        options.sample_rate,
        number(found.max_length_difference)
    );
    print(&count, &table, &clips, &skipped, &args.output)
}

/// Sounds that belong together.
struct SoundPairs {
    /// Reference and generated sound.
    pairs: Vec<(EvalClip, EvalClip)>,
    /// Names of sounds on one side only.
    unpaired: Vec<String>,
}

/// Two files are a pair whatever their names, two folders hold pairs of the same name.
fn sounds(args: &EvalAudioArgs) -> Result<SoundPairs, MetricError> {
    let (reference, generated) = (&args.reference, &args.generated);
    if !reference.is_dir() && !generated.is_dir() {
        return Ok(SoundPairs {
            pairs: vec![(EvalClip::file(reference), EvalClip::file(generated))],
            unpaired: Vec::new(),
        });
    }
    let reference = EvalClip::in_folder(reference)?;
    let generated = EvalClip::in_folder(generated)?;
    let [wanted, made] = [&reference, &generated].map(|clips| {
        clips
            .iter()
            .map(|clip| clip.id.as_str())
            .collect::<Vec<_>>()
    });
    let mut pairing = Pairing::by_id(&wanted, &made);
    if !args.output.skip {
        pairing = pairing.complete()?;
    }
    let pair =
        |&(first, second): &(usize, usize)| (reference[first].clone(), generated[second].clone());
    Ok(SoundPairs {
        pairs: pairing.pairs.iter().map(pair).collect(),
        unpaired: names(pairing),
    })
}

fn embeddings(args: &EvalEmbeddingsArgs) -> Result<(), CliError> {
    let read = |path: &Path| StoredFeatures::read(path).map_err(unusable("the embeddings"));
    let (reference, generated) = (read(&args.reference)?, read(&args.generated)?);
    let options = EmbeddingOptions {
        cosine: args.metrics.contains(&EmbeddingMetric::Cosine),
        frechet: args.metrics.contains(&EmbeddingMetric::Frechet),
        skip: args.output.skip,
    };
    let found = EmbeddingReport::of(reference.named(), generated.named(), options)
        .map_err(unusable("the embeddings"))?;
    if args.output.json {
        return report::json(&found);
    }
    let mut table = Table::new(&SUMMARY);
    if let Some(cosine) = &found.cosine {
        table.row(summary_row("cosine", "higher", cosine));
    }
    if let Some(distance) = found.frechet {
        table.row(["frechet".into(), "lower".into(), number(distance)]);
    }
    let mut clips = Table::new(&["clip", "cosine"]);
    for clip in &found.clips {
        clips.row([clip.id.clone(), number(clip.cosine)]);
    }
    let count = format!(
        "{} generated, {} references, width {}",
        found.generated, found.references, found.width
    );
    print(&count, &table, &clips, &found.skipped, &args.output)
}

fn logits(args: &EvalLogitsArgs) -> Result<(), CliError> {
    let read = |path: &Path| StoredFeatures::read(path).map_err(unusable("the logits"));
    let reference = args.reference.as_deref().map(read).transpose()?;
    let generated = read(&args.generated)?;
    let options = LogitOptions {
        splits: args.splits as usize,
        epsilon: args.epsilon,
        skip: args.output.skip,
    };
    let reference = reference.as_ref().map(StoredFeatures::named);
    let found =
        LogitReport::of(reference, generated.named(), options).map_err(unusable("the logits"))?;
    if args.output.json {
        return report::json(&found);
    }
    let mut table = Table::new(&SUMMARY);
    table.row([
        "inception_score".into(),
        "higher".into(),
        number(found.inception_score),
        number(found.inception_score_std),
    ]);
    if let Some(kl) = &found.kl {
        for (name, summary) in [
            ("kl(reference|generated)", &kl.forward),
            ("kl(generated|reference)", &kl.reverse),
            ("kl_smoothed", &kl.smoothed),
            ("kl_sigmoid", &kl.sigmoid),
        ] {
            table.row(summary_row(name, "lower", summary));
        }
    }
    let mut clips = Table::new(&["clip", "kl(r|g)", "kl(g|r)", "smoothed", "sigmoid"]);
    for clip in &found.clips {
        let values = [clip.forward, clip.reverse, clip.smoothed, clip.sigmoid];
        clips.row(std::iter::once(clip.id.clone()).chain(values.map(number)));
    }
    let count = format!(
        "{} generated, {} classes, {} splits",
        found.generated, found.classes, found.splits
    );
    print(&count, &table, &clips, &found.skipped, &args.output)
}

fn summary_row(name: &str, better: &str, summary: &Summary) -> Vec<String> {
    let values = [summary.mean, summary.std, summary.min, summary.max];
    let mut row = vec![name.to_owned(), better.to_owned()];
    row.extend(values.map(number));
    row
}

/// Prints the table, each clip where it is asked for, and what was left out.
fn print(
    count: &str,
    table: &Table,
    clips: &Table,
    skipped: &[String],
    args: &EvalOutputArgs,
) -> Result<(), CliError> {
    let mut text = format!("clips: {count}\n{}", table.text());
    if args.per_clip {
        text.push_str(&format!("\n{}", clips.text()));
    }
    if !skipped.is_empty() {
        text.push_str(&format!("\nleft out: {}\n", skipped.len()));
        skipped
            .iter()
            .for_each(|name| text.push_str(&format!("  {name}\n")));
    }
    report::print(&text)
}
