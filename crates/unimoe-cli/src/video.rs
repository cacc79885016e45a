//! Reading what the model sees of a video, so that the user can stop it.

use std::{
    path::Path,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use vision_encoder::{
    FrameSource, Frames, PictureError, Preprocessor, Sampling, VideoOptions, VisionError,
    VisionInput, open_source, read_frames,
};

use crate::{error::CliError, interrupt::Interrupt};

/// How often the user is asked while nothing comes.
const TICK: Duration = Duration::from_millis(50);
/// How long a reader that should stop may take to end its child process in good order.
const FAREWELL: Duration = Duration::from_secs(1);

/// How the model looks at a video.
#[derive(Debug, Clone)]
pub struct Look {
    /// What the user wants.
    pub options: VideoOptions,
    /// How the model wants its pictures.
    pub preprocessor: Preprocessor,
    /// Most tokens that the model has room for.
    pub max_tokens: usize,
}

/// What the model sees of a video.
#[derive(Debug)]
pub struct Seen {
    /// Its patches.
    pub input: VisionInput,
    /// Frames in them; the last one may be repeated to fill a step.
    pub frames: usize,
}

/// Frames of another source, counted, until the user wants to stop.
struct Stoppable<'a> {
    source: Box<dyn FrameSource + Send>,
    look: &'a Look,
    interrupt: Interrupt,
    planned: usize,
    frames: usize,
}

impl FrameSource for Stoppable<'_> {
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        let planned = self.source.n_frames(sampling)?;
        self.planned = planned.unwrap_or(self.look.options.max_frames);
        Ok(planned)
    }

    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let Self {
            source,
            look,
            interrupt,
            planned,
            frames: count,
        } = self;
        *count = 0;
        let frames = source.frames(sampling)?;
        let frames = frames.take_while(|_| !interrupt.is_raised());
        Ok(Box::new(frames.map(|frame| {
            let frame = frame?;
            if *count == 0 {
                look.check(frame.dimensions(), *planned)?;
            }
            *count += 1;
            Ok(frame)
        })))
    }
}

impl Look {
    /// Refuses before any memory is taken what no prompt has room for.
    fn check(&self, (width, height): (u32, u32), n_frames: usize) -> Result<(), VisionError> {
        let Preprocessor {
            patch_size,
            temporal_patch_size,
            merge_size,
            ..
        } = self.preprocessor;
        let (budget, cell) = (self.options.budget(), patch_size * merge_size);
        let (height, width) = budget.rule.size(
            height as usize,
            width as usize,
            cell,
            budget.min_pixels,
            budget.frame_pixels(n_frames, temporal_patch_size),
        )?;
        let steps = n_frames.div_ceil(temporal_patch_size);
        let step = (height / cell).saturating_mul(width / cell);
        let tokens = steps.saturating_mul(step);
        if tokens <= self.max_tokens {
            return Ok(());
        }
        Err(VisionError::Picture(PictureError::Setting {
            field: "the number of tokens",
            expected: format!("at most {}, the positions of the model", self.max_tokens),
            found: tokens.to_string(),
        }))
    }
}

/// Reads what the model sees of a video.
///
/// # Errors
///
/// [`CliError::Input`] that names the video and what is wrong with it, [`CliError::Interrupted`] where the user
/// wants to stop, even if no frame comes.
pub fn read(path: &Path, look: &Look, interrupt: &Interrupt) -> Result<Seen, CliError> {
    let (sender, receiver) = mpsc::channel();
    let (file, look) = (path.to_owned(), look.clone());
    let reader = interrupt.clone();
    thread::spawn(move || {
        let seen = open_source(&file, &look.options).and_then(|source| {
            let mut source = Stoppable {
                source,
                look: &look,
                interrupt: reader,
                planned: 0,
                frames: 0,
            };
            let input = read_frames(&mut source, &look.options, &look.preprocessor)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            options: VideoOptions::default(),
            preprocessor: Preprocessor::unimoe_audio(),
            max_tokens: 1000,
        }
    }

    #[test]
    fn what_no_prompt_has_room_for_is_refused_before_it_is_read() {
        // 8 x 8 squares of 28 pixels in each of two steps.
        look().check((224, 224), 3).expect("128 tokens");
        let mut look = look();
        look.max_tokens = 127;
        let error = look.check((224, 224), 3).expect_err("128 tokens");
        assert!(error.to_string().contains("128"), "{error}");

        look.max_tokens = 32_768;
        look.options.min_pixels = 1 << 26;
        look.options.max_pixels = usize::MAX;
        look.options.total_pixels = usize::MAX;
        for n_frames in [1, 1 << 16, usize::MAX] {
            look.check((64, 48), n_frames)
                .expect_err("about 80,000 a step");
        }
    }

    #[test]
    fn a_bound_that_small_pictures_don_t_reach_refuses_nothing() {
        let mut look = look();
        look.options.max_pixels = usize::MAX;
        look.options.total_pixels = usize::MAX;
        look.check((224, 224), 20).expect("640 tokens");
    }
}
