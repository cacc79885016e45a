//! Video files, read by the program ffmpeg.

use std::{
    ffi::OsString,
    io::Read,
    num::NonZero,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use image::RgbImage;

use super::{FrameLimits, FrameSource, Frames, Sampling, child::Running, kind, packets, ppm};
use crate::{FrameError, VisionError};

/// From this many seconds between two frames on, each is looked up instead of decoding all that lies between.
const SPARSE: f64 = 10.0;

/// Containers that know where their key frames lie. In the others ffmpeg may land on a later one than was asked for.
const INDEXED: [&str; 4] = ["mov", "matroska", "avi", "flv"];

/// Resolution of the time at which a frame that is looked up is shown, per second.
const LOOKUP_RATE: u32 = 1000;

/// Conversion to RGB that gives the same on every processor.
const SCALING: &str = "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact";

/// A video file (mp4, mov, mkv, webm, avi, ...) that the program ffmpeg decodes, in a process of its own.
///
/// - Time begins with the first frame. At a time the last frame is shown that has begun, so that variable rates need
///   nothing more.
/// - Rotation is obeyed. Pixels that are not square stay as they are stored, and transparency is ignored, both as in
///   the published front end.
/// - The frames before a damage are given; where there is none, ffmpeg's last words are the error.
/// - Frames ten seconds apart or more are looked up one by one where the container has an index (mov, matroska, avi, flv);
///   else they are found by decoding what lies between.
///   The process ends as soon as the last frame came, or with this one.
#[derive(Debug)]
pub struct FfmpegVideo {
    path: PathBuf,
    container: &'static str,
    program: PathBuf,
    limits: FrameLimits,
}

impl FfmpegVideo {
    /// Opens a file for `program`, a path or a name on the `PATH`.
    ///
    /// # Errors
    ///
    /// Where there is no such file, or none of a container that is read. Whether it holds pictures is only told by
    /// reading it.
    pub fn open(path: &Path, program: &Path, limits: FrameLimits) -> Result<Self, VisionError> {
        let container = kind::video_container(path).map_err(|error| error.at(path))?;
        Ok(Self {
            path: path.to_path_buf(),
            container,
            program: program.to_path_buf(),
            limits,
        })
    }

    /// Seconds that the file says it lasts; `None` where it doesn't.
    ///
    /// # Errors
    ///
    /// Where ffmpeg is missing or doesn't know the file.
    pub fn duration(&self) -> Result<Option<f64>, VisionError> {
        self.stated_duration().map_err(|error| error.at(&self.path))
    }

    fn stated_duration(&self) -> Result<Option<f64>, FrameError> {
        let mut run = self.start(self.input(), Instant::now())?;
        // Without an output it ends in an error after saying what the input is.
        let log = run.finish()?.log;
        if !log.opened {
            return Err(log.error());
        }
        // A Matroska file states the time of its end, whatever that of its beginning.
        let begin = match self.container {
            "matroska" => log.begin.unwrap_or(0.0),
            _ => 0.0,
        };
        let duration = log.duration.map(|seconds| seconds - begin);
        Ok(duration.filter(|seconds| *seconds > 0.0))
    }

    /// Seconds of all pictures, sound not counted.
    pub(super) fn length(&self) -> Result<Option<f64>, FrameError> {
        // More than any file lasts.
        let counted = self.counted_duration(1e9)?;
        Ok(counted.or(self.stated_duration()?))
    }

    /// Seconds of pictures up to `enough`, from the times of the packets: nothing is decoded.
    fn counted_duration(&self, enough: f64) -> Result<Option<f64>, FrameError> {
        let mut arguments = self.input();
        let enough = format!("{enough:.6}");
        push(
            &mut arguments,
            &["-map", "0:V:0", "-c", "copy", "-t", &enough],
        );
        push(&mut arguments, &["-f", "framecrc", "pipe:1"]);
        let mut run = self.start(arguments, Instant::now())?;
        let seconds = packets::seconds((&mut run.stdout).take(self.limits.max_bytes));
        run.finish()?;
        Ok(seconds)
    }

    /// How many frames there will be. What a file states is the length of its longest stream, sound included, so
    /// that it is relied on only where a second more or less doesn't matter.
    fn planned(&self, sampling: &Sampling) -> Result<Option<usize>, FrameError> {
        let stated = self.stated_duration()?;
        let enough = sampling.max_frames() as f64 / sampling.fps();
        let plenty = stated.is_some_and(|seconds| seconds > enough + 1.0);
        let duration = if plenty || (stated.is_some() && self.looks_up(sampling)) {
            stated
        } else {
            self.counted_duration(enough)?.or(stated)
        };
        Ok(duration.map(|seconds| sampling.frames_in(seconds)))
    }

    /// The arguments up to the file.
    pub(super) fn input(&self) -> Vec<OsString> {
        input(&self.path, self.container, &self.limits)
    }

    /// Whether frames are looked up one by one.
    fn looks_up(&self, sampling: &Sampling) -> bool {
        1.0 / sampling.fps() >= SPARSE && INDEXED.contains(&self.container)
    }

    fn start(&self, arguments: Vec<OsString>, begun: Instant) -> Result<Running, FrameError> {
        let limit = self.limits.time;
        Running::start(&self.program, arguments, begun, limit)
    }

    /// Starts decoding `count` frames at `rate` per second.
    fn decode(
        &self,
        from: From,
        rate: &str,
        count: usize,
        begun: Instant,
    ) -> Result<Running, FrameError> {
        let mut arguments = Vec::new();
        let zero = match from {
            From::FirstFrame => "showinfo,setpts=PTS-STARTPTS,",
            From::Seconds(seconds) => {
                // From the key frame before; what precedes has negative times, of which the last is shown at 0.
                let seconds = format!("{:.6}", (seconds * 1e6).ceil() / 1e6);
                push(&mut arguments, &["-noaccurate_seek", "-ss", &seconds]);
                ""
            }
        };
        arguments.extend(self.input());
        let filter = format!("{zero}fps=fps={rate}:round=up:start_time=0,{SCALING}");
        let count = count.to_string();
        push(
            &mut arguments,
            &["-map", "0:V:0", "-vf", &filter, "-frames:v", &count],
        );
        push(
            &mut arguments,
            &[
                "-f",
                "image2pipe",
                "-c:v",
                "ppm",
                "-pix_fmt",
                "rgb24",
                "pipe:1",
            ],
        );
        self.start(arguments, begun)
    }
}

/// Where decoding begins.
#[derive(Debug, Clone, Copy)]
enum From {
    FirstFrame,
    /// In the file's own count.
    Seconds(f64),
}

impl FrameSource for FfmpegVideo {
    /// From the times of the packets, or from the duration that the file states where that is exact enough.
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        self.planned(sampling).map_err(|error| error.at(&self.path))
    }

    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let sparse = self.looks_up(sampling);
        let reader = Reader {
            bytes_left: self.limits.max_bytes,
            video: self,
            begun: Instant::now(),
            any: false,
            zero: 0.0,
        };
        let path = &self.path;
        let located =
            move |frame: Result<RgbImage, FrameError>| frame.map_err(|error| error.at(path));
        if sparse {
            let mut reader = reader;
            let frames = sampling.times().map_while(move |time| reader.look_up(time));
            return Ok(Box::new(Fused::new(frames).map(located)));
        }
        let rate = format!("{}", sampling.fps());
        let run = self.decode(From::FirstFrame, &rate, sampling.max_frames(), reader.begun);
        let mut run = run.map_err(|error| error.at(&self.path))?;
        let mut reader = reader;
        let frames = std::iter::from_fn(move || reader.next(&mut run));
        Ok(Box::new(Fused::new(frames).map(located)))
    }
}

/// Reads frames off children.
struct Reader<'a> {
    video: &'a FfmpegVideo,
    begun: Instant,
    bytes_left: u64,
    any: bool,
    /// Time of the first frame in the file's own count, in seconds.
    zero: f64,
}

impl Reader<'_> {
    /// The next frame, or the reason why there is none at all.
    fn next(&mut self, run: &mut Running) -> Option<Result<RgbImage, FrameError>> {
        let limits = &self.video.limits;
        match ppm::read_frame(&mut run.stdout, limits, &mut self.bytes_left) {
            Ok(Some(frame)) => {
                self.any = true;
                Some(Ok(frame))
            }
            Err(error) => Some(Err(error)),
            Ok(None) => match run.finish() {
                Err(error) => Some(Err(error)),
                Ok(_) if self.any => None,
                Ok(finished) if finished.succeeded => Some(Err(FrameError::NoFrames)),
                Ok(finished) => Some(Err(finished.log.error())),
            },
        }
    }

    /// The frame shown at `seconds`; the first one looked up is the first of all.
    fn look_up(&mut self, seconds: f64) -> Option<Result<RgbImage, FrameError>> {
        let (first, rate) = (!self.any, LOOKUP_RATE.to_string());
        let from = if first {
            From::FirstFrame
        } else {
            From::Seconds(self.zero + seconds)
        };
        let mut run = match self.video.decode(from, &rate, 1, self.begun) {
            Ok(run) => run,
            Err(error) => return Some(Err(error)),
        };
        let frame = self.next(&mut run)?;
        if first && frame.is_ok() {
            match run.finish() {
                Ok(finished) => self.zero = finished.log.first_time.unwrap_or(0.0),
                Err(error) => return Some(Err(error)),
            }
        }
        Some(frame)
    }
}

/// Ends after the first error.
struct Fused<I> {
    frames: Option<I>,
}

impl<I> Fused<I> {
    fn new(frames: I) -> Self {
        Self {
            frames: Some(frames),
        }
    }
}

impl<I: Iterator<Item = Result<RgbImage, FrameError>>> Iterator for Fused<I> {
    type Item = Result<RgbImage, FrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frames.as_mut()?.next();
        if !matches!(frame, Some(Ok(_))) {
            self.frames = None;
        }
        frame
    }
}

/// The arguments up to an input: no keyboard, no network, no other files, no huge frames.
pub(super) fn input(path: &Path, container: &str, limits: &FrameLimits) -> Vec<OsString> {
    let mut arguments = Vec::new();
    // The time of all processors together, for the case that nobody is left to watch the clock.
    let processors = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let seconds = limits.time.as_secs().clamp(1, 1 << 24) * processors;
    push(
        &mut arguments,
        &[
            "-nostdin",
            "-hide_banner",
            "-timelimit",
            &seconds.to_string(),
        ],
    );
    push(&mut arguments, &["-protocol_whitelist", "file,pipe"]);
    push(
        &mut arguments,
        &["-max_pixels", &limits.max_pixels.to_string()],
    );
    push(&mut arguments, &["-f", container, "-i"]);
    arguments.push(file_url(path));
    arguments
}

/// The path with the protocol's name before it, so that nothing in it is taken for an option or another protocol.
pub(super) fn file_url(path: &Path) -> OsString {
    let mut url = OsString::from("file:");
    url.push(path);
    url
}

pub(super) fn push(arguments: &mut Vec<OsString>, more: &[&str]) {
    arguments.extend(more.iter().map(OsString::from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_an_option_or_a_protocol() {
        for name in ["-y", "http:x", "pipe:0", "a b"] {
            let arguments = input(Path::new(name), "mov", &FrameLimits::default());
            let last: Vec<_> = arguments.iter().rev().take(2).collect();
            assert_eq!(*last[0], OsString::from(format!("file:{name}")));
            assert_eq!(last[1], "-i");
        }
    }
}
