//! From pictures to patches, and back.
//!
//! A picture is resized by [`SmartResize`](crate::SmartResize), scaled to `0..1`, normalised per channel and cut into patches
//! (Qwen2-VL, arXiv:2409.12191, section 2.1). `t`, `h`, `w`: steps in time, rows and columns of patches.

mod budget;
mod patches;
mod released;

use std::{num::NonZero, thread};

use image::RgbImage;

use crate::{
    Bicubic, PictureError, VisionEncoderConfig, VisionError, VisionInput, VisionKind,
    resize::Resizer,
};
pub use budget::PixelBudget;
use patches::PatchOrder;

/// Side of a merged patch of the published model, squared: budgets are multiples of it.
const UNIT: usize = 28 * 28;

/// Largest frame that is made, in pixels.
const MAX_FRAME: usize = 1 << 26;

/// Makes patches of pictures and videos.
///
/// # Example
///
/// ```
/// use image::RgbImage;
/// use vision_encoder::Preprocessor;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let picture = RgbImage::from_pixel(64, 48, image::Rgb([200, 10, 10]));
/// let input = Preprocessor::unimoe_audio().image(&picture)?;
/// assert_eq!((input.grid.t, input.grid.h, input.grid.w), (1, 4, 4));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessor {
    /// Side of a patch, in pixels.
    pub patch_size: usize,
    /// Frames of a patch.
    pub temporal_patch_size: usize,
    /// Side of the square of patches that become one token.
    pub merge_size: usize,
    /// What an 8-bit value is multiplied by.
    pub rescale: f64,
    /// Subtracted from each channel (red, green, blue) after rescaling.
    pub mean: [f64; 3],
    /// What each channel is divided by after that.
    pub std: [f64; 3],
    /// How large a picture becomes.
    pub image_budget: PixelBudget,
    /// How a picture is resized.
    pub image_filter: Bicubic,
    /// How large the frames of a video become.
    pub video_budget: PixelBudget,
    /// How the frames of a video are resized.
    pub video_filter: Bicubic,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Self::unimoe_audio()
    }
}

impl Preprocessor {
    /// The published model's: patches of 14 pixels and 2 frames, merged 2 by 2, CLIP's mean and deviation.
    pub fn unimoe_audio() -> Self {
        Self {
            patch_size: 14,
            temporal_patch_size: 2,
            merge_size: 2,
            rescale: 1.0 / 255.0,
            mean: [0.48145466, 0.4578275, 0.40821073],
            std: [0.26862954, 0.26130258, 0.27577711],
            image_budget: PixelBudget::image(),
            image_filter: Bicubic::Pillow,
            video_budget: PixelBudget::video(),
            video_filter: Bicubic::TorchvisionFloat,
        }
    }

    /// The published settings with the patch sizes of an encoder.
    pub fn for_encoder(config: &VisionEncoderConfig) -> Self {
        Self {
            patch_size: config.patch_size,
            temporal_patch_size: config.temporal_patch_size,
            merge_size: config.merge_size,
            ..Self::unimoe_audio()
        }
    }

    /// The same with another budget for the frames of a video.
    pub fn with_video_budget(mut self, budget: PixelBudget) -> Self {
        self.video_budget = budget;
        self
    }

    /// Makes patches of a picture, which is repeated where a patch is more than one frame deep.
    ///
    /// # Errors
    ///
    /// Where the picture is empty, longer than 200 times its width or too long for the budget, or a setting is
    /// out of range.
    pub fn image(&self, picture: &RgbImage) -> Result<VisionInput, VisionError> {
        let order = self.order(&self.image_budget, picture.dimensions(), 1)?;
        let mut frames = FrameStack::new(order, self.image_filter);
        frames.push(picture)?;
        Ok(VisionInput {
            kind: VisionKind::Image,
            seconds_per_step: None,
            ..frames.finish(1.0)?
        })
    }

    /// Makes patches of a video of `fps` frames per second. The first frame's size decides for all; where the last
    /// patch lacks frames, the last one is repeated.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image), and where there is no frame or `fps` is no positive number.
    pub fn video(&self, frames: &[RgbImage], fps: f64) -> Result<VisionInput, VisionError> {
        let first = frames.first().ok_or(PictureError::NoFrames)?;
        check_fps(fps)?;
        let order = self.order(&self.video_budget, first.dimensions(), frames.len())?;
        let steps: Vec<&[RgbImage]> = frames.chunks(order.frames).collect();
        let mut patches = vec![0.0; steps.len() * order.step_values()];

        // The threads take runs of steps.
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let run = steps.len().div_ceil(threads);
        thread::scope(|scope| {
            let runs = steps
                .chunks(run)
                .zip(patches.chunks_mut(run * order.step_values()));
            let workers: Vec<_> = runs
                .map(|(steps, patches)| {
                    scope.spawn(|| order.write_steps(steps, patches, self.video_filter))
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| match worker.join() {
                    Ok(result) => result,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
        })?;
        Ok(order.input(steps.len(), patches, fps))
    }

    /// Begins a video whose frames come one after another: `planned` frames of which the first has `size` (width,
    /// height). The size that this plan gives stays, however many frames come.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub fn begin_video(&self, size: (u32, u32), planned: usize) -> Result<FrameStack, VisionError> {
        let order = self.order(&self.video_budget, size, planned.max(1))?;
        Ok(FrameStack::new(order, self.video_filter))
    }

    /// The pictures in patches, as the encoder sees them: the inverse of [`image`](Self::image) and
    /// [`video`](Self::video) up to the resizing. A video gives as many frames as its patches hold.
    ///
    /// # Errors
    ///
    /// Where the patches don't fit their grid or this preprocessor's sizes.
    pub fn pictures(&self, input: &VisionInput) -> Result<Vec<RgbImage>, VisionError> {
        self.validate()?;
        let order = PatchOrder::new(self, (input.grid.h, input.grid.w))?;
        let frames = order.read(self, input)?;
        Ok(match input.kind {
            VisionKind::Image => frames.into_iter().step_by(order.frames).collect(),
            VisionKind::Video => frames,
        })
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), VisionError> {
        const MAX_SIZE: usize = 1 << 12;
        for (field, value) in [
            ("patch_size", self.patch_size),
            ("temporal_patch_size", self.temporal_patch_size),
            ("merge_size", self.merge_size),
        ] {
            if !(1..=MAX_SIZE).contains(&value) {
                let expected = format!("1 to {MAX_SIZE}");
                return Err(PictureError::setting(field, expected, value).into());
            }
        }
        if !(self.rescale.is_finite() && self.rescale > 0.0) {
            let expected = "a positive number";
            return Err(PictureError::setting("rescale", expected, self.rescale).into());
        }
        for (mean, std) in self.mean.iter().zip(&self.std) {
            if !mean.is_finite() {
                return Err(PictureError::setting("mean", "a finite number", mean).into());
            }
            if !(std.is_finite() && *std > 0.0) {
                return Err(PictureError::setting("std", "a positive number", std).into());
            }
        }
        Ok(())
    }

    /// How patches of frames of this size (width, height) lie.
    fn order(
        &self,
        budget: &PixelBudget,
        (width, height): (u32, u32),
        n_frames: usize,
    ) -> Result<PatchOrder, VisionError> {
        self.validate()?;
        let factor = self.patch_size * self.merge_size;
        let size = (height as usize, width as usize);
        let (h, w) = budget.size(size, factor, n_frames, self.temporal_patch_size)?;
        Ok(PatchOrder::new(
            self,
            (h / self.patch_size, w / self.patch_size),
        )?)
    }
}

/// A video whose frames come one after another; holds their patches, and the frames of at most one patch.
#[derive(Debug)]
pub struct FrameStack {
    order: PatchOrder,
    filter: Bicubic,
    resizer: Resizer,
    waiting: Vec<RgbImage>,
    patches: Vec<f32>,
    steps: usize,
}

impl FrameStack {
    fn new(order: PatchOrder, filter: Bicubic) -> Self {
        Self {
            order,
            filter,
            resizer: Resizer::default(),
            waiting: Vec::new(),
            patches: Vec::new(),
            steps: 0,
        }
    }

    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// Where the frame is empty.
    pub fn push(&mut self, frame: &RgbImage) -> Result<(), VisionError> {
        let resized = self.resizer.resize(frame, self.order.size(), self.filter)?;
        self.waiting.push(resized);
        if self.waiting.len() == self.order.frames {
            self.step();
        }
        Ok(())
    }

    /// The patches of all frames, which came at `fps` per second.
    ///
    /// # Errors
    ///
    /// Where there was no frame or `fps` is no positive number.
    pub fn finish(mut self, fps: f64) -> Result<VisionInput, VisionError> {
        check_fps(fps)?;
        if !self.waiting.is_empty() {
            self.step();
        }
        if self.steps == 0 {
            return Err(PictureError::NoFrames.into());
        }
        Ok(self.order.input(self.steps, self.patches, fps))
    }

    fn step(&mut self) {
        let begin = self.patches.len();
        self.patches.resize(begin + self.order.step_values(), 0.0);
        self.order.write(&self.waiting, &mut self.patches[begin..]);
        self.waiting.clear();
        self.steps += 1;
    }
}

fn check_fps(fps: f64) -> Result<(), VisionError> {
    if fps.is_finite() && fps > 0.0 {
        return Ok(());
    }
    let expected = "a positive number of frames per second";
    Err(PictureError::setting("fps", expected, fps).into())
}
