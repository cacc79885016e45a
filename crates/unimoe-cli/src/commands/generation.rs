//! What `speech`, `music` and `video-music` share: settings, model, progress, files, report.

use std::{ops::ControlFlow, time::Instant};

use burn::tensor::{DType, Device};
use unimoe_model::{
    Batching, Companions, Generated, Pipeline, PipelineOptions, Request, RequestOptions,
    StopReason, UniMoeError,
};

use super::chosen::Chosen;
use crate::{
    args::{Dtype, GenerationArgs},
    error::CliError,
    interrupt::Interrupt,
    output::{Outputs, Target},
    progress::Progress,
    report::{self, GenerationReport, GenerationResult},
};

/// Most words that a note names.
const NAMED_WORDS: usize = 12;

/// One batch of texts to generate from.
pub struct Job<'a> {
    /// `speech`, `music` or `video-music`; begins the names of files in a folder.
    pub task: &'static str,
    /// The texts, for the report.
    pub texts: &'a [String],
    /// What the user wants.
    pub args: &'a GenerationArgs,
    /// Settings that the user left open.
    pub defaults: RequestOptions,
    /// The voice of each text, for the report; empty for music.
    pub voices: Vec<String>,
    /// The words of each text that the model has not learnt.
    pub unknown: Vec<Vec<String>>,
    /// Whether the requests hold images or videos.
    pub vision: bool,
}

/// The settings, voices and words of the model that the user chose.
///
/// # Errors
///
/// [`CliError::Input`] where there is no such model, or what lies beside it can't be used.
pub fn companions(args: &GenerationArgs) -> Result<Companions, CliError> {
    let companions = Chosen::new(args.model.as_deref()).companions()?;
    if !companions.defaults.trained && !args.json {
        eprintln!("note: the model is not trained yet: what it makes is noise");
    }
    Ok(companions)
}

/// A job whose settings and places are checked.
pub struct Work<'a> {
    job: &'a Job<'a>,
    options: Vec<RequestOptions>,
    device: Device,
    dtype: Option<DType>,
    outputs: Outputs,
    /// Shows what goes on.
    pub progress: Progress,
}

impl Job<'_> {
    /// Generates and writes everything, and reports; `requests` makes a request of each text's settings.
    ///
    /// # Errors
    ///
    /// [`CliError`]; no file is left half-written.
    pub fn run(
        &self,
        interrupt: &Interrupt,
        requests: impl FnOnce(&Pipeline, Vec<RequestOptions>) -> Result<Vec<Request>, CliError>,
    ) -> Result<(), CliError> {
        let report = self.start(interrupt)?.finish(interrupt, requests)?;
        self.print(&report)
    }

    /// Checks everything that can be checked before the work.
    ///
    /// # Errors
    ///
    /// [`CliError`] for settings, a device or a place that can't be.
    pub fn start(&self, interrupt: &Interrupt) -> Result<Work<'_>, CliError> {
        let args = self.args;
        let options = options(args, self.defaults, self.texts.len())?;
        let device = args.device.device.resolve()?;
        let dtype = dtype(args.device.dtype, &device)?;
        let names: Vec<String> = (1..=self.texts.len())
            .map(|number| format!("{}-{number}.wav", self.task))
            .collect();
        let target = Target {
            option: "--output",
            path: &args.output,
            endings: &["wav"],
        };
        let outputs = Outputs::reserve(target, &names)?;
        interrupt.remove_on_stop(outputs.made());
        let progress = Progress::new(args.json);
        if let Some(note) = unknown_note(&self.unknown) {
            progress.note(&note);
        }
        Ok(Work {
            job: self,
            options,
            device,
            dtype,
            outputs,
            progress,
        })
    }

    /// Prints what came of it.
    ///
    /// # Errors
    ///
    /// [`CliError::Stdout`] where standard output can't be written.
    pub fn print(&self, report: &GenerationReport) -> Result<(), CliError> {
        if self.args.json {
            report::json(report)
        } else {
            report::print(&report.text())
        }
    }
}

impl Work<'_> {
    /// Generates and writes everything; `requests` makes a request of each text's settings.
    ///
    /// # Errors
    ///
    /// [`CliError`]; no file is left half-written.
    pub fn finish(
        self,
        interrupt: &Interrupt,
        requests: impl FnOnce(&Pipeline, Vec<RequestOptions>) -> Result<Vec<Request>, CliError>,
    ) -> Result<GenerationReport, CliError> {
        let Self {
            job,
            options,
            device,
            dtype,
            outputs,
            mut progress,
        } = self;
        let args = job.args;
        let start = Instant::now();
        progress.spin("loading the model");
        let pipeline = load(args, job.vision, dtype, &device)?;
        progress.finish();
        let load_seconds = start.elapsed().as_secs_f64();
        interrupt.check()?;

        let start = Instant::now();
        progress.spin("reading the prompt");
        let requests = requests(&pipeline, options)?;
        let sounds = generate(&pipeline, &requests, interrupt, &mut progress)?;
        let generate_seconds = start.elapsed().as_secs_f64();

        let mut results = Vec::new();
        let places = outputs.paths().iter().zip(job.texts);
        for (index, (sound, (path, text))) in sounds.iter().zip(places).enumerate() {
            sound
                .audio
                .write_wav(path)
                .map_err(CliError::output(path))?;
            results.push(GenerationResult {
                path: path.clone(),
                text: text.clone(),
                voice: job.voices.get(index).cloned(),
                unknown_words: job.unknown.get(index).cloned().unwrap_or_default(),
                seed: sound.seed,
                seconds: sound.audio.seconds(),
                frames: sound.codes.n_frames(),
                sample_rate: sound.audio.sample_rate,
                stop: match sound.stop {
                    StopReason::EndOfSequence => "end",
                    StopReason::MaxFrames => "max-seconds",
                    StopReason::Cancelled => "cancelled",
                },
                video: None,
            });
        }
        let weight = pipeline.model().text_embedding.weight.val();
        Ok(GenerationReport {
            task: job.task,
            model: args.model.clone(),
            device: format!("{device:?}"),
            dtype: format!("{:?}", weight.dtype()).to_lowercase(),
            results,
            load_seconds,
            generate_seconds,
        })
    }
}

/// The settings of each of `count` results.
fn options(
    args: &GenerationArgs,
    defaults: RequestOptions,
    count: usize,
) -> Result<Vec<RequestOptions>, CliError> {
    let sampling = &args.sampling;
    let options = sampling.over(defaults, args.min_seconds, args.max_seconds)?;
    let seeded = |number| RequestOptions {
        seed: args.seed.map(|seed| seed.wrapping_add(number)),
        ..options
    };
    Ok((0..count as u64).map(seeded).collect())
}

/// The wanted number type, if the device has it.
pub fn dtype(wanted: Dtype, device: &Device) -> Result<Option<DType>, CliError> {
    let dtype = match wanted {
        Dtype::Auto => return Ok(None),
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::Bf16 => DType::BF16,
    };
    if device.supports_dtype(dtype) {
        return Ok(Some(dtype));
    }
    Err(CliError::Argument {
        what: "--dtype",
        expected: format!("a type that {device:?} computes in, such as f32"),
        found: format!("{dtype:?}").to_lowercase(),
    })
}

fn load(
    args: &GenerationArgs,
    vision: bool,
    dtype: Option<DType>,
    device: &Device,
) -> Result<Pipeline, CliError> {
    let chosen = Chosen::new(args.model.as_deref());
    let options = PipelineOptions {
        dtype,
        codec: args.codec.clone(),
        without_vision: !vision,
        ..PipelineOptions::default()
    };
    Pipeline::load(&chosen.folder, &options, device).map_err(CliError::input(&chosen.name))
}

/// Says which words the model has not learnt.
fn unknown_note(unknown: &[Vec<String>]) -> Option<String> {
    let mut words: Vec<&str> = Vec::new();
    for word in unknown.iter().flatten() {
        if !words.contains(&word.as_str()) {
            words.push(word);
        }
    }
    let shown = words.iter().take(NAMED_WORDS).copied();
    let shown = shown.collect::<Vec<_>>().join(", ");
    let rest = match words.len().saturating_sub(NAMED_WORDS) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    let note =
        format!("the model has not learnt: {shown}{rest}; what it makes of that may be unclear");
    (!words.is_empty()).then_some(note)
}

fn generate(
    pipeline: &Pipeline,
    requests: &[Request],
    interrupt: &Interrupt,
    progress: &mut Progress,
) -> Result<Vec<Generated>, CliError> {
    let frame_rate = pipeline.codec().config().frame_rate();
    let mut started = false;
    let sounds = pipeline
        .generate(requests, Batching::default(), |now| {
            if !started {
                let most = now.max_frames.iter().sum();
                progress.start("generating", most, frame_rate);
                started = true;
            }
            progress.set(now.frames.iter().sum());
            match interrupt.is_raised() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })
        .map_err(request_error)?;
    progress.finish();
    interrupt.check()?;
    Ok(sounds)
}

/// Tells what the user can mend from what went wrong here.
fn request_error(error: UniMoeError) -> CliError {
    match error {
        UniMoeError::Input(_)
        | UniMoeError::Prompt(_)
        | UniMoeError::Request(_)
        | UniMoeError::Vision(_) => CliError::input("the request")(error),
        _ => CliError::work("generate")(error),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn settings(line: &[&str], count: usize) -> Result<Vec<RequestOptions>, CliError> {
        let line = [&["unimoe", "music", "calm"], line].concat();
        let Command::Music(args) = Cli::parse_from(line).command else {
            panic!("not music");
        };
        options(&args.generation, RequestOptions::music(), count)
    }

    #[test]
    fn what_is_left_open_is_published() {
        assert_eq!(settings(&[], 1).expect("valid"), [RequestOptions::music()]);
    }

    #[test]
    fn unknown_words_are_named_once_and_not_all() {
        assert_eq!(unknown_note(&[vec![], vec![]]), None);
        let word = |word: &str| word.to_string();
        let note = unknown_note(&[vec![word("a"), word("b")], vec![word("a")]]);
        assert!(note.expect("two").contains("learnt: a, b;"));
        let many = (0..20).map(|n| n.to_string()).collect();
        let note = unknown_note(&[many]).expect("many");
        assert!(note.contains("11 and 8 more;"), "{note}");
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let line = [
            "--max-seconds=3",
            "--min-seconds=1",
            "--temperature=0.5",
            "--top-p=0.9",
            "--top-k=7",
            "--cfg-scale=2",
            "--eos-factor=0.25",
            "--seed=9",
        ];
        let [first, second] = settings(&line, 2).expect("valid")[..] else {
            panic!("not two");
        };
        assert_eq!((first.min_seconds, first.max_seconds), (1.0, 3.0));
        assert_eq!(
            (first.sampling.temperature, first.sampling.top_p),
            (0.5, 0.9)
        );
        assert_eq!(
            (first.sampling.top_k, first.sampling.greedy),
            (Some(7), false)
        );
        assert_eq!((first.guidance_scale, first.eos_factor), (2.0, 0.25));
        assert_eq!((first.seed, second.seed), (Some(9), Some(10)));
        assert!(
            settings(&["--greedy"], 1).expect("valid")[0]
                .sampling
                .greedy
        );
    }

    #[test]
    fn a_short_maximum_lowers_the_default_minimum_but_not_a_given_one() {
        let short = settings(&["--max-seconds=1"], 1).expect("valid");
        assert_eq!(short[0].min_seconds, 1.0);
        for line in [
            &["--max-seconds=1", "--min-seconds=2"][..],
            &["--max-seconds=0"],
        ] {
            assert_eq!(settings(line, 1).expect_err("impossible").code(), 2);
        }
    }
}
