//! What is said in English clips, by the recogniser PocketSphinx as a program of its own.
//!
//! All clips go to one run of `pocketsphinx_batch` (CMU Sphinx 5 prealpha, in Debian's package `pocketsphinx`, with the
//! acoustic model of `pocketsphinx-en-us`). It knows a vocabulary and nothing else: the entries of its dictionary for these
//! words, and how often the words follow each other in texts that are handed over, or no such knowledge.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use dac_codec::AudioClip;
use serde::{Deserialize, Serialize};

use super::language::Bigrams;
use crate::{
    metrics::{EvalClip, MetricError, ModelFailure, Transcriber, analysis::ANALYSIS_RATE},
    normal::Normal,
};

/// How often a running child is looked at.
const TICK: Duration = Duration::from_millis(20);
/// Longest clip in seconds.
const MAX_SECONDS: f64 = 120.0;
/// Most bytes of a dictionary, of the answers and of the log's end that is read.
const MAX_BYTES: u64 = 64 << 20;
const LOG_END: usize = 4000;

/// How clips are recognised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PocketSphinxOptions {
    /// The program. Default: `pocketsphinx_batch`, wherever the system finds it
    #[serde(skip, default = "program")]
    pub program: PathBuf,
    /// Folder of the acoustic model `en-us` and of the dictionary `cmudict-en-us.dict`. Default: Debian's
    #[serde(skip, default = "models")]
    pub models: PathBuf,
    /// White noise is added this many dB below a clip's RMS, the same in each run. Default: 34. The acoustic model knows
    /// recordings only; spectra with nothing between the formants, as a synthesizer's, are beyond what it has seen.
    pub noise_db: f64,
    /// Seconds of that noise before and behind each clip. Default: 0.2
    pub margin: f64,
    /// What each further word multiplies a transcript's probability by. Default: 0.2
    pub word_insertion: f64,
    /// Longest time for all clips in seconds. Default: 3,600
    pub limit: f64,
}

/// A recogniser for one vocabulary.
#[derive(Debug, Clone)]
pub struct PocketSphinx {
    options: PocketSphinxOptions,
    dictionary: String,
    language: String,
    /// Words that it knows.
    words: usize,
    /// Words that its dictionary lacks, which it never hears.
    missing: Vec<String>,
}

impl Default for PocketSphinxOptions {
    fn default() -> Self {
        Self {
            program: program(),
            models: models(),
            noise_db: 34.0,
            margin: 0.2,
            word_insertion: 0.2,
            limit: 3600.0,
        }
    }
}

fn program() -> PathBuf {
    "pocketsphinx_batch".into()
}

fn models() -> PathBuf {
    "/usr/share/pocketsphinx/model/en-us".into()
}

impl PocketSphinx {
    /// A recogniser of the words in `vocabulary`; `texts` tell how words follow each other. Without texts every word is
    /// as likely as any other, everywhere.
    ///
    /// # Errors
    ///
    /// [`MetricError::Setting`] for a setting out of range, [`MetricError::Io`] for a dictionary that can't be read,
    /// [`MetricError::TooFew`] where it has none of the words.
    pub fn new<'a>(
        options: PocketSphinxOptions,
        vocabulary: &BTreeSet<String>,
        texts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MetricError> {
        for (name, found, low, high) in [
            ("noise_db", options.noise_db, 0.0, 120.0),
            ("margin", options.margin, 0.0, 10.0),
            ("word_insertion", options.word_insertion, 1e-30, 1e30),
            ("limit", options.limit, 1.0, 1e7),
        ] {
            if !(low..=high).contains(&found) {
                return Err(MetricError::Setting {
                    name,
                    expected: format!("{low} to {high}"),
                    found: found.to_string(),
                });
            }
        }
        let path = options.models.join("cmudict-en-us.dict");
        let found = entries(&path, vocabulary)?;
        let known: BTreeSet<String> = found.keys().cloned().collect();
        if known.is_empty() {
            return Err(MetricError::TooFew {
                what: format!("words of the texts in {}", path.display()),
                expected: 1,
                found: 0,
            });
        }
        Ok(Self {
            dictionary: found.into_values().flatten().collect(),
            language: Bigrams::of(&known, texts).arpa(),
            words: known.len(),
            missing: vocabulary.difference(&known).cloned().collect(),
            options,
        })
    }

    /// The settings.
    pub fn options(&self) -> &PocketSphinxOptions {
        &self.options
    }

    /// Number of words that it knows.
    pub fn words(&self) -> usize {
        self.words
    }

    /// Words of the vocabulary that its dictionary lacks: it never hears them.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// What is said in each clip; empty where nothing is heard. Ends early where `stop` becomes true.
    ///
    /// # Errors
    ///
    /// [`MetricError::ProgramMissing`], [`MetricError::ProgramFailed`], [`MetricError::Stopped`], and
    /// [`MetricError::Write`] where there is no room for its files.
    pub fn transcribe(
        &self,
        clips: &[AudioClip],
        stop: &AtomicBool,
    ) -> Result<Vec<String>, MetricError> {
        let folder = tempfile::tempdir().map_err(written(&std::env::temp_dir()))?;
        let folder = folder.path();
        let mut list = String::new();
        for (number, clip) in clips.iter().enumerate() {
            let clip = clip.resampled(ANALYSIS_RATE)?;
            let bytes = self.prepared(&clip.samples, number as u64);
            save(&folder.join(format!("{number}.raw")), &bytes)?;
            list.push_str(&format!("{number}\n"));
        }
        for (name, text) in [
            ("clips", &list),
            ("words.dict", &self.dictionary),
            ("words.lm", &self.language),
        ] {
            save(&folder.join(name), text.as_bytes())?;
        }
        let program = &self.options.program;
        let child = self.command(folder).spawn();
        let child = child.map_err(|source| MetricError::ProgramMissing {
            program: program.clone(),
            package: "Debian's packages pocketsphinx and pocketsphinx-en-us",
            source,
        })?;
        let limit = Duration::from_secs_f64(self.options.limit);
        let failed = |found: String| MetricError::ProgramFailed {
            program: program.clone(),
            found,
        };
        match wait(child, limit, stop)? {
            Some(true) => {}
            Some(false) => {
                return Err(failed(format!(
                    "failed: {}",
                    complaint(&folder.join("log"))
                )));
            }
            None => {
                return Err(failed(format!(
                    "was not done within {} s",
                    self.options.limit
                )));
            }
        }
        let answers = folder.join("heard");
        let file = File::open(&answers).map_err(read(&answers))?;
        let mut text = String::new();
        let mut file = file.take(MAX_BYTES);
        file.read_to_string(&mut text).map_err(read(&answers))?;
        let mut heard = vec![String::new(); clips.len()];
        for (number, words) in text.lines().filter_map(answer) {
            if let Some(heard) = heard.get_mut(number) {
                *heard = words;
            }
        }
        Ok(heard)
    }

    fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.options.program);
        let place = |name: &str| folder.join(name).into_os_string();
        for (option, value) in [
            ("-hmm", self.options.models.join("en-us").into_os_string()),
            ("-dict", place("words.dict")),
            ("-lm", place("words.lm")),
            ("-ctl", place("clips")),
            ("-cepdir", folder.into()),
            ("-cepext", ".raw".into()),
            ("-adcin", "yes".into()),
            ("-hyp", place("heard")),
            ("-logfn", place("log")),
            ("-wip", self.options.word_insertion.to_string().into()),
            // Clips are short and end in speech; both would cut into it.
            ("-remove_noise", "no".into()),
            ("-remove_silence", "no".into()),
        ] {
            command.arg(option).arg(value);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// The clip with noise in and around it, as 16 bits.
    fn prepared(&self, samples: &[f32], number: u64) -> Vec<u8> {
        let squares: f64 = samples
            .iter()
            .map(|&sample| f64::from(sample).powi(2))
            .sum();
        let rms = (squares / samples.len().max(1) as f64).sqrt();
        let level = rms * 10f64.powf(-self.options.noise_db / 20.0);
        let margin = (self.options.margin * f64::from(ANALYSIS_RATE)) as usize;
        let mut noise = Normal::new(number);
        let silence = std::iter::repeat_n(&0f32, margin);
        silence
            .clone()
            .chain(samples)
            .chain(silence)
            .flat_map(|&sample| {
                let value = (f64::from(sample) + level * noise.next()) * 32768.0;
                (value.round().clamp(-32768.0, 32767.0) as i16).to_le_bytes()
            })
            .collect()
    }
}

impl Transcriber for PocketSphinx {
    fn transcribe(&mut self, clip: &EvalClip) -> Result<String, ModelFailure> {
        let sound = AudioClip::read(&clip.path, MAX_SECONDS)?;
        let heard = PocketSphinx::transcribe(self, &[sound], &AtomicBool::new(false))?;
        Ok(heard.into_iter().next().unwrap_or_default())
    }
}

fn read(path: &Path) -> impl FnOnce(std::io::Error) -> MetricError {
    let path = path.to_path_buf();
    move |source| MetricError::Io { path, source }
}

fn written(path: &Path) -> impl FnOnce(std::io::Error) -> MetricError {
    let path = path.to_path_buf();
    move |source| MetricError::Write { path, source }
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), MetricError> {
    let mut file = File::create(path).map_err(written(path))?;
    file.write_all(bytes).map_err(written(path))
}

/// The lines of a pronouncing dictionary for some words, their other pronunciations `word(2)` too.
fn entries(
    path: &Path,
    words: &BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<String>>, MetricError> {
    let file = File::open(path).map_err(read(path))?;
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in BufReader::new(file.take(MAX_BYTES)).lines() {
        let line = line.map_err(read(path))?;
        let Some((entry, _)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let word = entry.split('(').next().unwrap_or(entry);
        if words.contains(word) {
            found.entry(word.to_owned()).or_default().push(line + "\n");
        }
    }
    Ok(found)
}

/// `hello world(2) (7 -1234)`: the clip's number and its words.
fn answer(line: &str) -> Option<(usize, String)> {
    let (words, end) = line.trim_end().strip_suffix(')')?.rsplit_once('(')?;
    let number = end.split_whitespace().next()?.parse().ok()?;
    let words = words.split_whitespace();
    let words = words.map(|word| word.split('(').next().unwrap_or(word));
    Some((number, words.collect::<Vec<_>>().join(" ")))
}

/// Whether the child succeeded; `None` where it took too long and was ended.
fn wait(mut child: Child, limit: Duration, stop: &AtomicBool) -> Result<Option<bool>, MetricError> {
    let begun = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Ok(Some(status.success()));
        }
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || begun.elapsed() > limit {
            // Either fails only where the child is gone.
            let _ = child.kill();
            let _ = child.wait();
            return match stopped {
                true => Err(MetricError::Stopped),
                false => Ok(None),
            };
        }
        thread::sleep(TICK);
    }
}

/// The last complaint in a log.
fn complaint(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_END)..]).into_owned();
    let bad = |line: &&str| line.starts_with("ERROR") || line.starts_with("FATAL");
    let line = text.lines().rfind(bad).or(text.lines().last());
    line.unwrap_or("it says nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::judged::spoken_words;

    fn words(text: &str) -> BTreeSet<String> {
        spoken_words(text).into_iter().collect()
    }

    fn models_with(dictionary: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("cmudict-en-us.dict"), dictionary).expect("written");
        folder
    }

    fn options(models: &Path, program: &str) -> PocketSphinxOptions {
        PocketSphinxOptions {
            program: program.into(),
            models: models.into(),
            ..PocketSphinxOptions::default()
        }
    }

    #[test]
    fn answers_lose_their_scores_and_pronunciations() {
        let line = "the(2) cat sat (12 -4567)";
        assert_eq!(answer(line), Some((12, "the cat sat".into())));
        assert_eq!(answer("(3 -1)"), Some((3, String::new())));
        for line in ["", "no end", "a (b -1)", ")"] {
            assert_eq!(answer(line), None);
        }
    }

    #[test]
    fn the_dictionary_is_cut_to_the_vocabulary() {
        let folder = models_with("a AH\na(2) EY\nacat AH K\ncat K AE T\n\nbad\n");
        let options = options(folder.path(), "none");
        let found = PocketSphinx::new(options.clone(), &words("a cat ufo"), []).expect("words");
        assert_eq!(found.dictionary, "a AH\na(2) EY\ncat K AE T\n");
        assert_eq!(
            (found.words(), found.missing()),
            (2, &["ufo".to_owned()][..])
        );
        let error = PocketSphinx::new(options, &words("ufo"), []).expect_err("no word");
        assert!(matches!(error, MetricError::TooFew { .. }), "{error}");
    }

    #[test]
    fn absent_programs_and_models_are_named() {
        let folder = models_with("a AH\n");
        let options = options(folder.path(), "there-is-no-such-recogniser");
        let found = PocketSphinx::new(options.clone(), &words("a"), []).expect("words");
        let clip = AudioClip {
            samples: vec![0.1; 1600],
            sample_rate: 16_000,
        };
        let error = found
            .transcribe(&[clip], &AtomicBool::new(false))
            .expect_err("no program");
        let text = error.to_string();
        assert!(
            text.contains("no-such-recogniser") && text.contains("Debian"),
            "{text}"
        );
        let nowhere = PocketSphinxOptions {
            models: folder.path().join("x"),
            ..options
        };
        let error = PocketSphinx::new(nowhere, &words("a"), []).expect_err("no models");
        assert!(matches!(error, MetricError::Io { .. }), "{error}");
        let loud = PocketSphinxOptions {
            noise_db: f64::NAN,
            ..PocketSphinxOptions::default()
        };
        let error = PocketSphinx::new(loud, &words("a"), []).expect_err("no number");
        assert!(
            matches!(
                error,
                MetricError::Setting {
                    name: "noise_db",
                    ..
                }
            ),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn programs_that_fail_or_never_end_are_errors() {
        let folder = models_with("a AH\n");
        let clip = AudioClip {
            samples: vec![0.1; 1600],
            sample_rate: 16_000,
        };
        let run = |options: PocketSphinxOptions, stop: bool| {
            let found = PocketSphinx::new(options, &words("a"), []).expect("words");
            found.transcribe(std::slice::from_ref(&clip), &AtomicBool::new(stop))
        };
        let error = run(options(folder.path(), "false"), false).expect_err("fails");
        assert!(
            error.to_string().contains("failed: it says nothing"),
            "{error}"
        );
        // Written by another process: a file that this one had open might not be run at once.
        let script = folder.path().join("endless");
        let write = "printf '#!/bin/sh\\nexec sleep 60\\n' > \"$0\" && chmod +x \"$0\"";
        let written = Command::new("sh").args(["-c", write]).arg(&script).status();
        assert!(written.expect("a shell").success());
        let endless = PocketSphinxOptions {
            limit: 1.0,
            ..options(folder.path(), &script.to_string_lossy())
        };
        let error = run(endless.clone(), false).expect_err("never ends");
        assert!(error.to_string().contains("within 1 s"), "{error}");
        assert!(matches!(run(endless, true), Err(MetricError::Stopped)));
    }

    #[test]
    fn noise_is_as_loud_as_asked_and_the_same_each_time() {
        let folder = models_with("a AH\n");
        let options = PocketSphinxOptions {
            noise_db: 20.0,
            ..options(folder.path(), "none")
        };
        let found = PocketSphinx::new(options, &words("a"), []).expect("words");
        let samples = vec![0.5f32; 16_000];
        let bytes = found.prepared(&samples, 1);
        assert_eq!(bytes, found.prepared(&samples, 1));
        let values: Vec<f64> = (bytes.as_chunks::<2>().0.iter())
            .map(|&bytes| f64::from(i16::from_le_bytes(bytes)) / 32768.0)
            .collect();
        assert_eq!(values.len(), 16_000 + 2 * 3200);
        let inside = &values[3200..19_200];
        let power = inside
            .iter()
            .map(|value| (value - 0.5).powi(2))
            .sum::<f64>()
            / 16_000.0;
        // 20 dB below 0.5, estimated from 16,000 numbers: 1 % and less.
        assert!((power.sqrt() / 0.05 - 1.0).abs() < 0.03, "{}", power.sqrt());
    }
}
