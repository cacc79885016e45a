//! What `--json` prints: one object on standard output.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

use crate::error::{CliError, chain};

/// The report of `speech`, `music` and `video-music`.
#[derive(Debug, Serialize)]
pub struct GenerationReport {
    /// `speech`, `music` or `video-music`.
    pub task: &'static str,
    /// The model folder; `null` for the built-in model.
    pub model: Option<PathBuf>,
    /// The device in Burn's words.
    pub device: String,
    /// Number type of the weights.
    pub dtype: String,
    /// One per text, in the order given.
    pub results: Vec<GenerationResult>,
    /// Loading the model took so long.
    pub load_seconds: f64,
    /// Generating all results took so long.
    pub generate_seconds: f64,
}

/// One sound that was made.
#[derive(Debug, Serialize)]
pub struct GenerationResult {
    /// The file.
    pub path: PathBuf,
    /// The text or caption.
    pub text: String,
    /// The voice that speaks, by its name or file; left out for music.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Words of the text that the model has not learnt, as far as it tells.
    pub unknown_words: Vec<String>,
    /// The seed that gives it again.
    pub seed: u64,
    /// Its length.
    pub seconds: f64,
    /// Its length in codec frames.
    pub frames: usize,
    /// Its sample rate in Hz.
    pub sample_rate: u32,
    /// Why it ended: `end` by the model's own word, `max-seconds`, or `cancelled`.
    pub stop: &'static str,
    /// The video that it belongs to; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoReport>,
}

/// What the model saw of a video, and what else was written.
#[derive(Debug, Clone, Serialize)]
pub struct VideoReport {
    /// The video.
    pub path: PathBuf,
    /// Frames that the model sees.
    pub frames: usize,
    /// Width of the frames after resizing.
    pub width: usize,
    /// Height of the frames after resizing.
    pub height: usize,
    /// Patches in time, height and width.
    pub grid: [usize; 3],
    /// Tokens in the prompt.
    pub tokens: usize,
    /// Seconds from one step of the grid to the next.
    pub seconds_per_step: Option<f64>,
    /// Reading it took so long.
    pub read_seconds: f64,
    /// The folder with the frames as pictures.
    pub saved_frames: Option<PathBuf>,
    /// The video with the new sound.
    pub muxed: Option<PathBuf>,
}

/// The report of `codec encode` and `codec decode`.
#[derive(Debug, Serialize)]
pub struct CodecReport {
    /// `encode` or `decode`.
    pub task: &'static str,
    /// The device in Burn's words.
    pub device: String,
    /// One per input, in the order given.
    pub results: Vec<CodecResult>,
}

/// One file that was converted.
#[derive(Debug, Serialize)]
pub struct CodecResult {
    /// The input.
    pub input: PathBuf,
    /// The file that was written.
    pub path: PathBuf,
    /// Length of the sound.
    pub seconds: f64,
    /// Frames of codes.
    pub frames: usize,
    /// Codebooks.
    pub codebooks: usize,
    /// Sample rate in Hz.
    pub sample_rate: u32,
}

impl GenerationReport {
    /// A line per result and per file beside it, for people.
    pub fn text(&self) -> String {
        let line = |result: &GenerationResult| {
            let path = result.path.display();
            let sound = format!("{path}: {:.2} s, seed {}\n", result.seconds, result.seed);
            let video = result.video.as_ref().map(VideoReport::text);
            sound + &video.unwrap_or_default()
        };
        self.results.iter().map(line).collect()
    }
}

impl VideoReport {
    fn text(&self) -> String {
        let path = self.path.display();
        let (frames, width, height) = (self.frames, self.width, self.height);
        let tokens = self.tokens;
        let mut text =
            format!("  of {path}: {frames} x {width} x {height} pixels, {tokens} tokens\n");
        let others = [("frames", &self.saved_frames), ("video", &self.muxed)];
        for (what, path) in others {
            if let Some(path) = path {
                text.push_str(&format!("  {what}: {}\n", path.display()));
            }
        }
        text
    }
}

impl CodecReport {
    /// A line per result, for people.
    pub fn text(&self) -> String {
        let line = |result: &CodecResult| {
            let path = result.path.display();
            let (seconds, frames, codebooks) = (result.seconds, result.frames, result.codebooks);
            format!("{path}: {seconds:.2} s, {frames} frames of {codebooks} codes\n")
        };
        self.results.iter().map(line).collect()
    }
}

/// Prints a report as one line of JSON.
///
/// # Errors
///
/// [`CliError::Stdout`] where standard output can't be written.
pub fn json(report: &impl Serialize) -> Result<(), CliError> {
    let mut text = serde_json::to_string(report).map_err(CliError::work("write the report"))?;
    text.push('\n');
    print(&text)
}

/// Prints a text as it is.
///
/// # Errors
///
/// [`CliError::Stdout`] where standard output can't be written.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Reports a failure: its one line and its exit code.
pub fn failure(error: &CliError) {
    #[derive(Serialize)]
    struct Failure {
        error: String,
        exit_code: u8,
    }
    // Whoever reads standard output still has the exit code where this can't be written.
    let _ = json(&Failure {
        error: chain(error),
        exit_code: error.code(),
    });
}
