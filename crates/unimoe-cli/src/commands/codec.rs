//! `unimoe codec encode` and `unimoe codec decode`.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
use dac_codec::{AudioClip, CodeFile, DacCodec};
use unimoe_model::{ModelPath, find_codec};

use crate::{
    args::CodecArgs,
    error::CliError,
    interrupt::Interrupt,
    output::{Outputs, Target},
    progress::Progress,
    report::{self, CodecReport, CodecResult},
};

/// Longest sound that is encoded or decoded, in seconds: two hours fit the memory of any machine.
const MAX_SECONDS: f64 = 7200.0;
/// Frames that are converted at a time.
const CHUNK_FRAMES: usize = 250;

/// A codec on its way through a list of files.
struct Conversion<'a> {
    codec: DacCodec,
    device: Device,
    interrupt: &'a Interrupt,
    progress: Progress,
}

/// Sound files to code files.
///
/// # Errors
///
/// [`CliError`]; files that were finished before it stay, none is half-written.
pub fn encode(args: &CodecArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    convert("encode", "codes", args, interrupt, |work, input, path| {
        work.encode(input, path)
    })
}

/// Code files to WAV files.
///
/// # Errors
///
/// [`CliError`]; files that were finished before it stay, none is half-written.
pub fn decode(args: &CodecArgs, interrupt: &Interrupt) -> Result<(), CliError> {
    convert("decode", "wav", args, interrupt, |work, input, path| {
        work.decode(input, path)
    })
}

fn convert(
    task: &'static str,
    extension: &str,
    args: &CodecArgs,
    interrupt: &Interrupt,
    one: impl Fn(&mut Conversion<'_>, &Path, &Path) -> Result<CodecResult, CliError>,
) -> Result<(), CliError> {
    let device = args.device.resolve()?;
    let target = Target {
        option: "--output",
        path: &args.output,
        endings: &[extension],
    };
    let outputs = Outputs::reserve(target, &names(&args.inputs, extension)?)?;
    interrupt.remove_on_stop(outputs.made());
    keep_what_is_there(&args.output, outputs.paths())?;
    let mut progress = Progress::new(args.json);
    progress.spin("loading the codec");
    let codec = load(args.model.as_deref(), &device)?;
    let mut conversion = Conversion {
        codec,
        device,
        interrupt,
        progress,
    };
    let results = args
        .inputs
        .iter()
        .zip(outputs.paths())
        .map(|(input, path)| {
            interrupt.check()?;
            one(&mut conversion, input, path)
        })
        .collect::<Result<_, _>>()?;
    conversion.progress.finish();
    let report = CodecReport {
        task,
        device: format!("{:?}", conversion.device),
        results,
    };
    if args.json {
        report::json(&report)
    } else {
        report::print(&report.text())
    }
}

/// Refuses to replace a file that the user did not name: `a.wav`, encoded to `a.codes`, would come back as
/// its own decoded copy.
fn keep_what_is_there(output: &Path, paths: &[PathBuf]) -> Result<(), CliError> {
    let taken = paths.iter().find(|path| *path != output && path.exists());
    match taken {
        None => Ok(()),
        Some(path) => Err(CliError::Argument {
            what: "--output",
            expected:
                "a folder in which no result is there yet, or the file's own path to replace it"
                    .into(),
            found: format!("{}, which is there", path.display()),
        }),
    }
}

/// The results' names: those of the inputs with another ending, which must differ.
fn names(inputs: &[PathBuf], extension: &str) -> Result<Vec<String>, CliError> {
    let mut names: Vec<String> = Vec::new();
    for input in inputs {
        let stem = input.file_stem().unwrap_or_default();
        let name = format!("{}.{extension}", stem.to_string_lossy());
        if names.contains(&name) {
            return Err(CliError::Argument {
                what: "FILE",
                expected: format!("one file that becomes {name}, whatever its folder and ending"),
                found: input.display().to_string(),
            });
        }
        names.push(name);
    }
    Ok(names)
}

fn load(path: Option<&Path>, device: &Device) -> Result<DacCodec, CliError> {
    let weights = match path {
        Some(path) => ModelPath::from(weights(path)),
        None => embedded_model::folder().join("dac"),
    };
    DacCodec::load(weights, device).map_err(CliError::input("the codec"))
}

/// The codec of a model folder, else the path itself.
fn weights(path: &Path) -> PathBuf {
    find_codec(path).unwrap_or_else(|_| path.to_owned())
}

impl Conversion<'_> {
    fn encode(&mut self, input: &Path, path: &Path) -> Result<CodecResult, CliError> {
        let unusable = || CliError::input(format!("the sound {}", input.display()));
        let config = self.codec.config().clone();
        let clip = AudioClip::read(input, MAX_SECONDS)
            .map_err(CliError::input("the sound"))?
            .resampled(config.sample_rate as u32)
            .map_err(unusable())?;
        let frames = clip.samples.len().div_ceil(config.hop_length());
        self.progress.start("encoding", frames, config.frame_rate());

        let mut chunks = Vec::new();
        let mut done = 0;
        for codes in self
            .codec
            .encode_chunks([clip.to_tensor(&self.device)], None, CHUNK_FRAMES)
        {
            let codes = codes.map_err(unusable())?;
            done += codes.dims()[2];
            chunks.push(codes);
            self.progress.set(done);
            self.interrupt.check()?;
        }
        let codes = Tensor::cat(chunks, 2);
        let file = CodeFile::new(&config, codes, clip.samples.len()).map_err(unusable())?;
        file.write(path).map_err(CliError::output(path))?;
        Ok(result(input, path, &file))
    }

    fn decode(&mut self, input: &Path, path: &Path) -> Result<CodecResult, CliError> {
        let unusable = || CliError::input(format!("the codes {}", input.display()));
        let config = self.codec.config().clone();
        let file = CodeFile::read(input).map_err(CliError::input("the codes"))?;
        file.check(&config).map_err(unusable())?;
        let seconds = file.frames() as f64 / config.frame_rate();
        if seconds > MAX_SECONDS {
            return Err(CliError::Argument {
                what: "FILE",
                expected: format!("at most {MAX_SECONDS} s of sound"),
                found: format!("{}, {seconds:.0} s", input.display()),
            });
        }
        self.progress
            .start("decoding", file.frames(), config.frame_rate());

        let mut clip = AudioClip {
            samples: Vec::new(),
            sample_rate: file.sample_rate,
        };
        let codes = file.to_tensor(&self.device);
        for audio in self.codec.decode_chunks([codes], CHUNK_FRAMES) {
            clip.samples
                .extend(audio.map_err(unusable())?.into_data().iter::<f32>());
            self.progress.set(clip.samples.len() / config.hop_length());
            self.interrupt.check()?;
        }
        // The last frame may reach beyond the end of the original, or end a little before it.
        clip.samples.resize(file.samples as usize, 0.0);
        clip.write_wav(path).map_err(CliError::output(path))?;
        Ok(result(input, path, &file))
    }
}

fn result(input: &Path, path: &Path, file: &CodeFile) -> CodecResult {
    CodecResult {
        input: input.to_owned(),
        path: path.to_owned(),
        seconds: file.samples as f64 / f64::from(file.sample_rate),
        frames: file.frames(),
        codebooks: file.n_codebooks as usize,
        sample_rate: file.sample_rate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_named_after_inputs_that_must_differ() {
        let path = |name: &str| PathBuf::from(name);
        let inputs = [path("a/x.mp3"), path("y.tar.wav")];
        let found = names(&inputs, "codes").expect("two names");
        assert_eq!(found, ["x.codes", "y.tar.codes"]);
        let error = names(&[path("a/x.mp3"), path("b/x.wav")], "codes").expect_err("one name");
        assert_eq!(error.code(), 2);
    }
}
