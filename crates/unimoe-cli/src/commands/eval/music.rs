//! `unimoe eval music`.

use std::fmt::Write as _;

use unimoe_train::{KeptSound, MetricError, MusicClassifiers, MusicReport, Task};

use super::{
    judged::{self, Judged, SHARES},
    table::Table,
    unusable,
};
use crate::{
    args::EvalMusicArgs, error::CliError, interrupt::Interrupt, progress::Progress, report,
};

/// Longest clip that classifiers are fitted on, in seconds.
const MAX_SECONDS: f64 = 120.0;

/// Generates the music of manifests and judges it.
///
/// # Errors
///
/// [`CliError`] that names what can't be used; batches that were complete before it stay.
pub fn run(args: &EvalMusicArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    let common = &args.model;
    let records = judged::records(&common.manifests, common.limit, MusicClassifiers::judges)?;
    let vision = records.iter().any(|record| record.task == Task::VideoMusic);
    let plan = common.plan(judged::defaults(common)?, true)?;
    let mut progress = Progress::new(common.json);
    let classifiers = fit(args, interrupt, &mut progress)?;
    classifiers.check(&records).map_err(unusable("the clips"))?;
    let judged = judged::clips(common, records, plan, vision, interrupt, &mut progress)?;
    let Judged { clips, facts } = judged;
    let found = classifiers
        .run(&clips, facts, interrupt.flag())
        .map_err(unusable("the clips"))?;
    progress.finish();
    if common.json {
        return report::json(&found);
    }
    report::print(&text(&found))
}

fn fit(
    args: &EvalMusicArgs,
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<MusicClassifiers, CliError> {
    progress.spin("fitting the classifiers");
    let records = judged::records(&args.fit, None, MusicClassifiers::judges)?;
    let records = judged::spread(&records, args.fit_limit as usize);
    let mut clips = Vec::new();
    for record in &records {
        interrupt.check()?;
        let sound = KeptSound::read(&record.audio, MAX_SECONDS);
        clips.push(sound.map_err(unusable("the clips to fit on"))?.clip);
    }
    let pairs = records.iter().map(|record| &**record).zip(&clips);
    let fitted = MusicClassifiers::fit(pairs).map_err(|error| match error {
        // Said before anything is generated.
        MetricError::Shape { .. } | MetricError::TooFew { .. } => {
            unusable("the clips to fit on")(error)
        }
        error => unusable("the manifest to fit on")(error),
    });
    progress.finish();
    fitted
}

fn text(found: &MusicReport) -> String {
    let mut text = format!(
        "clips: {}, classifiers fitted on {}\n",
        found.clips.len(),
        found.figures.fitted
    );
    for (task, figures) in &found.figures.tasks {
        let mut table = Table::new(&SHARES);
        for (name, tables) in &figures.attributes {
            judged::shares(&mut table, format!("{task}: {name}"), tables);
        }
        // Nothing keeps a String from growing.
        let _ = write!(text, "\n{}", table.text());
        for (name, tables) in &figures.attributes {
            for (version, table) in ["real", "round trip", "generated"]
                .iter()
                .zip(tables.as_array())
            {
                let title = format!("{task}, {version}, {name}");
                let _ = write!(text, "\n{}", judged::confusion(&title, table));
            }
        }
    }
    text
}
