//! Reading a video so that the user can stop it.

use std::{
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use vision_encoder::{
    FrameSource, Frames, Preprocessor, Sampling, VideoOptions, VisionError, VisionInput,
    open_source, read_frames,
};

use crate::{error::CliError, interrupt::Interrupt};

/// How often the user is asked while nothing comes.
const TICK: Duration = Duration::from_millis(50);
/// How long a reader that should stop may take to end its child process in good order.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the model sees of a video.
#[derive(Debug)]
pub struct Seen {
    /// Its patches.
    pub input: VisionInput,
    /// Frames in them; the last one may be repeated to fill a step.
    pub frames: usize,
}

/// Frames of another source, counted, until the user wants to stop.
struct Stoppable {
    source: Box<dyn FrameSource + Send>,
    interrupt: Interrupt,
    frames: usize,
}

impl FrameSource for Stoppable {
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        self.source.n_frames(sampling)
    }

    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let Self {
            source,
            interrupt,
            frames: count,
        } = self;
        *count = 0;
        let frames = source.frames(sampling)?;
        let frames = frames.take_while(|_| !interrupt.is_raised());
        Ok(Box::new(frames.inspect(|_| *count += 1)))
    }
}

/// Reads what the model sees of a video.
///
/// # Errors
///
/// [`CliError::Input`] that names the video and what is wrong with it, [`CliError::Interrupted`] where the user
/// wants to stop, even if no frame comes.
pub fn read(
    path: &Path,
    options: &VideoOptions,
    preprocessor: &Preprocessor,
    interrupt: &Interrupt,
) -> Result<Seen, CliError> {
    let (sender, receiver) = mpsc::channel();
    let (file, options, preprocessor) = (path.to_owned(), options.clone(), preprocessor.clone());
    let reader = interrupt.clone();
    thread::spawn(move || {
        let seen = open_source(&file, &options).and_then(|source| {
            let mut source = Stoppable {
                source,
                interrupt: reader,
                frames: 0,
            };
            let input = read_frames(&mut source, &options, &preprocessor)?;
            let frames = source.frames;
            Ok(Seen { input, frames })
        });
        // Nobody waits for it any more where the user wanted to stop.
        let _ = sender.send(seen);
    });
    let seen = loop {
        match receiver.recv_timeout(TICK) {
            Err(RecvTimeoutError::Timeout) if interrupt.is_raised() => {
                // A child without output is ended by the end of this program.
                let _ = receiver.recv_timeout(FAREWELL);
                return Err(CliError::Interrupted);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(error) => return Err(CliError::work("read the video")(error)),
            Ok(seen) => break seen,
        }
    };
    // Before its error: a child that the same Ctrl-C ended gives one.
    interrupt.check()?;
    seen.map_err(|error| match error {
        // They name the file.
        VisionError::Frames { .. } => CliError::input("the video")(error),
        _ => CliError::input(format!("the video {}", path.display()))(error),
    })
}
