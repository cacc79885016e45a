//! Figures in a model card: tables between marks, the rest of the text stays as it is.
//!
//! ```text
//! <!-- figures: speech -->
//! (replaced)
//! <!-- end of figures -->
//! ```

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    codec::CodecFigures, confusion::Confusion, music::MusicFigures, sounds::Versions,
    speech::SpeechFigures,
};
use crate::metrics::ErrorRate;

const BEGIN: &str = "<!-- figures: ";
const CLOSE: &str = " -->";
const END: &str = "<!-- end of figures -->";

/// Figures of a model, as its card shows them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// What `unimoe eval speech` found.
    pub speech: SpeechFigures,
    /// What `unimoe eval music` found.
    pub music: MusicFigures,
    /// What `unimoe eval codec` found.
    pub codec: CodecFigures,
}

/// A card can't be filled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CardError {
    /// There is no such block of figures.
    #[error("line {line}: figures `{found}`, expected one of {}", NAMES.join(", "))]
    Unknown {
        /// The line, from 1.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A block doesn't end.
    #[error("line {line}: figures without an end, expected `{END}` after it")]
    Open {
        /// The line where it begins, from 1.
        line: usize,
    },
    /// There is nothing to fill.
    #[error("no line `{BEGIN}NAME{CLOSE}`, expected one or more, with names of {}", NAMES.join(", "))]
    Empty,
}

/// Names of the blocks.
const NAMES: [&str; 7] = [
    "recognition",
    "voices",
    "sentences",
    "music",
    "video",
    "codec",
    "generation",
];

/// The card with what stands between its marks replaced by the figures' tables. The same card and figures give the same text.
///
/// # Errors
///
/// A [`CardError`] for marks that are unknown, without end, or not there at all.
pub fn fill_card(card: &str, figures: &Figures) -> Result<String, CardError> {
    let mut filled = String::new();
    let mut open = None;
    let mut any = false;
    for (line, text) in (1..).zip(card.lines()) {
        if let Some(begin) = open {
            if text.trim() == END {
                open = None;
            } else if text.trim().starts_with(BEGIN) {
                return Err(CardError::Open { line: begin });
            } else {
                continue;
            }
        }
        filled.push_str(text);
        filled.push('\n');
        let name = text
            .trim()
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(CLOSE));
        if let Some(name) = name {
            let table = block(name.trim(), figures).ok_or_else(|| CardError::Unknown {
                line,
                found: name.trim().to_owned(),
            })?;
            let _ = write!(filled, "\n{}\n\n", table.trim_end());
            (open, any) = (Some(line), true);
        }
    }
    match (open, any) {
        (Some(line), _) => Err(CardError::Open { line }),
        (None, false) => Err(CardError::Empty),
        (None, true) => Ok(filled),
    }
}

fn block(name: &str, figures: &Figures) -> Option<String> {
    Some(match name {
        "recognition" => recognition(&figures.speech),
        "voices" => voices(&figures.speech),
        "sentences" => sentences(&figures.speech),
        "music" => music(&figures.music, "music"),
        "video" => music(&figures.music, "video_music"),
        "codec" => codec(&figures.codec),
        "generation" => generation(figures),
        _ => return None,
    })
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<String> = cells.into_iter().collect();
    // Nothing keeps a String from growing.
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn header(text: &mut String, first: &str, others: &[&str]) {
    let cells = std::iter::once(first).chain(others.iter().copied());
    row(text, cells.map(str::to_owned));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(others.len()));
}

fn recognition(figures: &SpeechFigures) -> String {
    let Some(found) = &figures.recognition else {
        return "Not measured: no English, or no recogniser.\n".into();
    };
    let mut text = String::new();
    header(
        &mut text,
        "word error rate",
        &["espeak-ng itself", "codec round trip", "generated", "words"],
    );
    let mut rates = |name: String, rates: &Versions<ErrorRate>| {
        let cells = rates.as_array().map(|rate| percent(rate.rate));
        let words = rates.real.counts.reference_length().to_string();
        row(&mut text, [name].into_iter().chain(cells).chain([words]));
    };
    rates(format!("all {} sentences", found.sentences), &found.wer);
    for (name, speaker) in &found.speakers {
        rates(format!("voice `{name}`"), speaker);
    }
    let apart = found.wer.generated.rate - found.wer.round_trip.rate;
    let _ = writeln!(
        text,
        "\nThe generated sentences lie {:+.1} points from the codec's round trip. The recogniser knows {} words and {} texts \
         that tell how they follow each other.",
        100.0 * apart,
        found.vocabulary,
        found.texts
    );
    text
}

fn voices(figures: &SpeechFigures) -> String {
    let mut text = String::new();
    header(
        &mut text,
        "nearest to its own reference voice",
        &["real", "codec round trip", "generated", "chance", "clips"],
    );
    for (language, voices) in &figures.voices {
        for (name, tables) in [("pitch", &voices.pitch), ("embedding", &voices.embedding)] {
            accuracy(&mut text, &format!("{language}, {name}"), tables);
        }
    }
    for (language, voices) in &figures.voices {
        for (name, tables) in [("pitch", &voices.pitch), ("embedding", &voices.embedding)] {
            let title = format!("Generated, {language}, by {name}: speaker, then nearest voice");
            confusion(&mut text, &title, &tables.generated);
        }
    }
    text
}

fn accuracy(text: &mut String, name: &str, tables: &Versions<Confusion>) {
    let shares = tables.as_array().map(|table| percent(table.accuracy()));
    let end = [
        percent(tables.real.chance()),
        tables.real.total().to_string(),
    ];
    row(text, [name.to_owned()].into_iter().chain(shares).chain(end));
}

fn confusion(text: &mut String, title: &str, table: &Confusion) {
    let _ = writeln!(text, "\n{title}:\n");
    let silent = table.counts.iter().any(|row| row.last() != Some(&0));
    let mut columns: Vec<&str> = table.classes.iter().map(String::as_str).collect();
    if silent {
        columns.push("nothing");
    }
    header(text, "", &columns);
    for (class, counts) in table.classes.iter().zip(&table.counts) {
        let counts = counts.iter().take(columns.len()).map(usize::to_string);
        row(text, [class.clone()].into_iter().chain(counts));
    }
}

fn sentences(figures: &SpeechFigures) -> String {
    let mut text = String::new();
    let columns = [
        "codec round trip",
        "generated",
        "chance",
        "sentences to choose from",
        "clips",
        "length by the real one's",
    ];
    header(
        &mut text,
        "most like the real clip of its sentence",
        &columns,
    );
    for (language, found) in &figures.content {
        let ratio = &found.duration_ratio;
        row(
            &mut text,
            [
                language.clone(),
                percent(found.round_trip),
                percent(found.generated),
                percent(found.chance),
                format!("{:.1}", found.candidates),
                found.clips.to_string(),
                format!("{:.2} +- {:.2}", ratio.mean, ratio.std),
            ],
        );
    }
    text
}

fn music(figures: &MusicFigures, task: &str) -> String {
    let Some(found) = figures.tasks.get(task) else {
        return format!("Not measured: no clips of `{task}`.\n");
    };
    let mut text = String::new();
    let columns = ["real", "codec round trip", "generated", "chance", "clips"];
    header(&mut text, "recovered from the sound", &columns);
    for (name, tables) in &found.attributes {
        accuracy(&mut text, &name.replace('_', " "), tables);
    }
    for (name, tables) in &found.attributes {
        let name = name.replace('_', " ");
        confusion(
            &mut text,
            &format!("Real held-out clips, {name}: right, then found"),
            &tables.real,
        );
        confusion(
            &mut text,
            &format!("Generated, {name}: asked for, then found"),
            &tables.generated,
        );
    }
    let _ = writeln!(
        text,
        "\nThe classifiers were fitted on {} real clips of the training set.",
        figures.fitted
    );
    text
}

fn codec(figures: &CodecFigures) -> String {
    let mut text = String::new();
    let columns = [
        "clips",
        "seconds",
        "mel distance",
        "STFT distance",
        "SI-SDR (dB)",
    ];
    header(&mut text, "round trip of", &columns);
    for group in &figures.groups {
        row(
            &mut text,
            [
                group.name.clone(),
                group.mel_distance.count.to_string(),
                format!("{:.0}", group.seconds),
                format!(
                    "{:.3} +- {:.3}",
                    group.mel_distance.mean, group.mel_distance.std
                ),
                format!(
                    "{:.3} +- {:.3}",
                    group.stft_distance.mean, group.stft_distance.std
                ),
                format!("{:.2} +- {:.2}", group.si_sdr.mean, group.si_sdr.std),
            ],
        );
    }
    text
}

fn generation(figures: &Figures) -> String {
    let tasks = figures
        .speech
        .generation
        .iter()
        .chain(&figures.music.generation);
    let mut text = String::new();
    let columns = [
        "model",
        "first seed",
        "temperature",
        "top-k",
        "top-p",
        "guidance",
        "end's factor",
        "seconds",
        "batch",
    ];
    header(&mut text, "", &columns);
    for (name, facts) in tasks {
        let seconds = facts
            .seconds
            .map_or("as the real clip".to_owned(), |[least, most]| {
                format!("{least} to {most}")
            });
        row(
            &mut text,
            [
                name.clone(),
                format!("`{}`", facts.model),
                facts.seed.to_string(),
                facts.temperature.to_string(),
                facts
                    .top_k
                    .map_or("all".to_owned(), |count| count.to_string()),
                facts.top_p.to_string(),
                facts.guidance.to_string(),
                facts.eos_factor.to_string(),
                seconds,
                facts.batch.to_string(),
            ],
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures() -> Figures {
        let rate = |edits: usize, words: usize| {
            let right = words - edits;
            json!({
                "rate": edits as f64 / words as f64, "hits": right, "substitutions": edits,
                "deletions": 0, "insertions": 0,
            })
        };
        let table = |right: usize, wrong: usize| json!({"classes": ["a", "b"], "counts": [[right, wrong, 0], [0, right, 0]]});
        let tables =
            json!({"real": table(4, 0), "round_trip": table(3, 1), "generated": table(2, 2)});
        let summary = json!({"count": 2, "mean": 1.5, "std": 0.5, "min": 1.0, "max": 2.0});
        let facts = json!({
            "model": "0123456789ab", "seed": 7, "temperature": 0.8, "top_k": null, "top_p": 1.0,
            "guidance": 2.0, "eos_factor": 0.6, "seconds": [0.5, 6.0], "batch": 16,
        });
        let wer = json!({"real": rate(1, 10), "round_trip": rate(2, 10), "generated": rate(3, 10)});
        let value = json!({
            "speech": {
                "generation": {"speech": facts},
                "recognition": {
                    "recognizer": {"noise_db": 34.0, "margin": 0.2, "word_insertion": 0.2, "limit": 60.0},
                    "vocabulary": 20, "missing": [], "texts": 5, "sentences": 3,
                    "wer": wer, "speakers": {"anna": wer},
                },
                "voices": {"en": {"pitch": tables, "embedding": tables}},
                "content": {"en": {
                    "clips": 3, "candidates": 3.0, "chance": 0.333, "round_trip": 1.0, "generated": 0.667,
                    "duration_ratio": summary,
                }},
            },
            "music": {
                "generation": {"music": facts}, "fitted": 600,
                "tasks": {"music": {"clips": 8, "attributes": {"tempo_class": tables}}},
            },
            "codec": {"codec": "ba9876543210", "sample_rate": 16000, "groups": [{
                "name": "digits", "seconds": 12.4, "mel_distance": summary, "stft_distance": summary,
                "si_sdr": summary,
            }]},
        });
        serde_json::from_value(value).expect("figures")
    }

    #[test]
    fn blocks_are_filled_the_rest_stays_and_filling_again_changes_nothing() {
        let names = NAMES.map(|name| format!("{BEGIN}{name}{CLOSE}\nold\n{END}\n"));
        let card = format!(
            "# A card\n\nText.\n\n{}\nThe end.\n",
            names.join("\nbetween\n\n")
        );
        let figures = figures();
        let filled = fill_card(&card, &figures).expect("filled");
        for part in [
            "# A card\n\nText.\n",
            "between",
            "The end.\n",
            "| all 3 sentences | 10.0 % | 20.0 % | 30.0 % | 10 |",
            "lie +10.0 points from",
            "| en, pitch | 100.0 % | 85.7 %",
            "| a | 2 | 2 |",
            "| tempo class | 100.0 % |",
            "Not measured: no clips of `video_music`.",
            "| digits | 2 | 12 | 1.500 +- 0.500 |",
            "| speech | `0123456789ab` | 7 | 0.8 | all |",
        ] {
            assert!(filled.contains(part), "{part} in {filled}");
        }
        assert!(!filled.contains("old"), "{filled}");
        assert_eq!(fill_card(&filled, &figures).expect("filled again"), filled);
        let text = serde_json::to_string(&figures).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Figures>(&text).expect("figures"),
            figures
        );
    }

    #[test]
    fn marks_that_are_wrong_are_named() {
        let fill = |card: &str| {
            fill_card(card, &figures())
                .expect_err("a wrong card")
                .to_string()
        };
        assert!(fill("no marks").contains("expected one or more"));
        let unknown = fill(&format!("\n{BEGIN}weather{CLOSE}\n{END}\n"));
        assert!(
            unknown.contains("line 2") && unknown.contains("`weather`"),
            "{unknown}"
        );
        let open = fill(&format!("{BEGIN}codec{CLOSE}\nfor ever"));
        assert!(open.contains("line 1"), "{open}");
        let nested = fill(&format!(
            "{BEGIN}codec{CLOSE}\n{BEGIN}music{CLOSE}\n{END}\n"
        ));
        assert!(nested.contains("line 1"), "{nested}");
    }
}
