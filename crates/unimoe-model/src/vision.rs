//! Images and videos in a prompt: the rows that stand for their tokens, and the positions that these take.
//!
//! A prompt holds a run of image or video tokens for each; the encoder gives one row of width `D` per
//! token, in the order time, height, width. Their positions have three axes (Qwen2-VL's M-RoPE), and the
//! text behind them goes on after the largest:
//!
//! ```text
//! tokens    x  y  V  V  V  V  z        a video of 2 steps of 1 x 2 tokens, 1 s per step,
//! time      0  1  2  2  4  4  5        2 positions per second
//! height    0  1  2  2  2  2  5
//! width     0  1  2  3  2  3  5
//! ```
//!
//! Axes: `B` rows, `S` positions, `N` visual tokens, `D` model width.

use burn::tensor::Tensor;
use vision_encoder::{Grid, VisionInput, VisionKind};

use crate::{config::VisionConfig, error::InputError, mrope::Positions};

/// An image or a video as the model takes it. Cheap to clone: the rows are shared.
#[derive(Debug, Clone)]
pub struct EncodedVision {
    /// The encoder's rows, `[N, D]`.
    pub rows: Tensor<2>,
    /// Where they lie.
    pub span: VisionSpan,
}

/// How the tokens of an image or a video lie in time and space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisionSpan {
    /// What it is.
    pub kind: VisionKind,
    /// Patches in time, height and width, before merging.
    pub grid: Grid,
    /// Seconds from one step in time to the next; `None` counts as 1 s.
    pub seconds_per_step: Option<f64>,
}

impl From<&VisionInput> for VisionSpan {
    fn from(input: &VisionInput) -> Self {
        Self {
            kind: input.kind,
            grid: input.grid,
            seconds_per_step: input.seconds_per_step,
        }
    }
}

impl VisionSpan {
    /// Tokens that stand for it in a prompt.
    ///
    /// # Errors
    ///
    /// [`InputError::VisionGrid`] where the grid is empty, too large, or not a multiple of the merged squares.
    pub fn tokens(&self, merge: usize) -> Result<usize, InputError> {
        let Grid { t, h, w } = self.grid;
        let whole = merge > 0 && h.is_multiple_of(merge) && w.is_multiple_of(merge);
        let tokens = self.grid.tokens(merge).filter(|_| whole);
        tokens
            .filter(|&tokens| tokens > 0)
            .ok_or(InputError::VisionGrid {
                grid: [t, h, w],
                merge,
            })
    }
}

impl VisionConfig {
    /// The token that stands for a part of an image or of a video.
    pub fn token(&self, kind: VisionKind) -> u32 {
        match kind {
            VisionKind::Image => self.image_token,
            VisionKind::Video => self.video_token,
        }
    }

    /// Temporal position of each step in time, counted from the first.
    ///
    /// The published code truncates the seconds to a whole number, so that a video of more than 2 frames
    /// per second stands still; [`whole_seconds`](Self::whole_seconds) says whether to do so too.
    fn time(&self, span: &VisionSpan, step: usize) -> i64 {
        let seconds = match span.kind {
            // A picture has one step in time.
            VisionKind::Image => 0.0,
            VisionKind::Video => span.seconds_per_step.unwrap_or(1.0),
        };
        let seconds = match self.whole_seconds {
            true => seconds.trunc(),
            false => seconds,
        };
        // Casting a float saturates, so that no number of seconds overflows.
        (step as f64 * seconds * self.encoder.tokens_per_second as f64) as i64
    }
}

impl Positions {
    /// Positions of text with images and videos, `spans` in the order in which they stand in the rows.
    ///
    /// `real` is `true` where a token is not padding, `[B, S]` in row-major order. Padding gets position 0.
    ///
    /// # Errors
    ///
    /// [`InputError::VisionTokens`] where a run of image or video tokens has no span of its kind and length.
    pub fn multimodal(
        ids: &[u32],
        real: &[bool],
        batch: usize,
        spans: &[VisionSpan],
        vision: &VisionConfig,
    ) -> Result<Self, InputError> {
        let length = ids.len().checked_div(batch).unwrap_or(0);
        if length * batch != ids.len() || real.len() != ids.len() {
            return Err(InputError::MaskLength {
                expected: ids.len(),
                found: real.len(),
            });
        }
        let mut axes: [Vec<i64>; 3] = std::array::from_fn(|_| vec![0; ids.len()]);
        let mut images = Queue::new(spans, VisionKind::Image);
        let mut videos = Queue::new(spans, VisionKind::Video);
        for row in 0..batch {
            let places = (row * length..(row + 1) * length).filter(|&place| real[place]);
            let places: Vec<usize> = places.collect();
            let (mut next, mut index) = (0i64, 0);
            while let Some(&place) = places.get(index) {
                let queue = match ids[place] {
                    id if id == vision.image_token => &mut images,
                    id if id == vision.video_token => &mut videos,
                    _ => {
                        axes.iter_mut().for_each(|axis| axis[place] = next);
                        next = next.saturating_add(1);
                        index += 1;
                        continue;
                    }
                };
                let merge = vision.encoder.merge_size;
                let run = places[index..].iter();
                let run = run.take_while(|&&other| ids[other] == ids[place]).count();
                let span = queue.next(run, merge)?;
                let (rows, columns) = (span.grid.h / merge, span.grid.w / merge);
                let mut last = next;
                for (token, &place) in (places[index..].iter().enumerate())
                    .take(span.grid.t.saturating_mul(rows).saturating_mul(columns))
                {
                    let (step, inner) = (token / (rows * columns), token % (rows * columns));
                    let offsets = [
                        vision.time(span, step),
                        (inner / columns) as i64,
                        (inner % columns) as i64,
                    ];
                    for (axis, offset) in axes.iter_mut().zip(offsets) {
                        axis[place] = next.saturating_add(offset);
                        last = last.max(axis[place]);
                    }
                    index += 1;
                }
                next = last.saturating_add(1);
            }
        }
        images.end()?;
        videos.end()?;
        Ok(Self {
            batch,
            length,
            axes,
        })
    }
}

/// The spans of one kind that still wait for their tokens.
struct Queue<'a> {
    spans: Vec<&'a VisionSpan>,
    kind: VisionKind,
    used: usize,
}

impl<'a> Queue<'a> {
    fn new(spans: &'a [VisionSpan], kind: VisionKind) -> Self {
        let spans = spans.iter().filter(|span| span.kind == kind);
        Self {
            spans: spans.collect(),
            kind,
            used: 0,
        }
    }

    /// The next span, which must not need more than the `run` of tokens that stands there. Two of a kind
    /// may stand side by side.
    fn next(&mut self, run: usize, merge: usize) -> Result<&'a VisionSpan, InputError> {
        let span = self.spans.get(self.used).copied();
        let rows = match span {
            Some(span) => span.tokens(merge)?,
            None => 0,
        };
        self.used += 1;
        match span {
            Some(span) if rows <= run => Ok(span),
            _ => Err(InputError::VisionTokens {
                kind: self.kind,
                tokens: run,
                rows,
            }),
        }
    }

    /// Refuses a span without tokens.
    fn end(&self) -> Result<(), InputError> {
        match self.spans.get(self.used) {
            None => Ok(()),
            Some(span) => Err(InputError::VisionTokens {
                kind: self.kind,
                tokens: 0,
                rows: span.grid.patches().unwrap_or(usize::MAX),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UniMoeConfig;

    const X: u32 = 1;

    fn config() -> VisionConfig {
        UniMoeConfig::tiny().vision.expect("a vision tower")
    }

    fn video(t: usize, h: usize, w: usize, seconds: f64) -> VisionSpan {
        VisionSpan {
            kind: VisionKind::Video,
            grid: Grid { t, h, w },
            seconds_per_step: Some(seconds),
        }
    }

    fn positions(ids: &[u32], spans: &[VisionSpan]) -> Result<Positions, InputError> {
        Positions::multimodal(ids, &vec![true; ids.len()], 1, spans, &config())
    }

    #[test]
    fn the_drawn_example_holds() {
        let v = config().video_token;
        let found = positions(&[X, X, v, v, v, v, X], &[video(2, 2, 4, 1.0)]).expect("fits");
        assert_eq!(found.axes[0], [0, 1, 2, 2, 4, 4, 5]);
        assert_eq!(found.axes[1], [0, 1, 2, 2, 2, 2, 5]);
        assert_eq!(found.axes[2], [0, 1, 2, 3, 2, 3, 5]);
    }

    #[test]
    fn text_alone_has_the_positions_of_text() {
        let real = [false, true, true, true, true, false];
        let found = Positions::multimodal(&[X; 6], &real, 2, &[], &config()).expect("fits");
        assert_eq!(found, Positions::text(&real, 2));
    }

    #[test]
    fn fractions_of_a_second_count_where_they_are_kept() {
        let (v, spans) = (config().video_token, [video(3, 2, 2, 1.75)]);
        let ids = [v; 3];
        let mut vision = config();
        let mut time = |whole| {
            vision.whole_seconds = whole;
            let found = Positions::multimodal(&ids, &[true; 3], 1, &spans, &vision);
            found.expect("fits").axes[0].clone()
        };
        assert_eq!(time(true), [0, 2, 4]);
        assert_eq!(time(false), [0, 3, 7]);
    }

    #[test]
    fn two_videos_side_by_side_keep_their_own_positions() {
        let v = config().video_token;
        let spans = [video(1, 2, 4, 1.0), video(1, 2, 2, 1.0)];
        let found = positions(&[v, v, v, X], &spans).expect("fits");
        assert_eq!(found.axes[2], [0, 1, 2, 3]);
    }

    #[test]
    fn tokens_and_rows_that_differ_are_named_with_both_numbers() {
        let v = config().video_token;
        let spans = [video(1, 2, 4, 1.0)];
        for (ids, spans, tokens, rows) in [
            (&[v, X][..], &spans[..], 1, 2),
            (&[v, v, v], &spans, 1, 0),
            (&[X, v, v], &[], 2, 0),
        ] {
            let expected = InputError::VisionTokens {
                kind: VisionKind::Video,
                tokens,
                rows,
            };
            assert_eq!(positions(ids, spans), Err(expected));
        }
        let error = positions(&[X], &spans).expect_err("nothing stands for it");
        assert!(matches!(error, InputError::VisionTokens { tokens: 0, .. }));
    }

    #[test]
    fn absurd_grids_and_times_are_no_panics() {
        let v = config().video_token;
        for grid in [(1, 3, 2), (0, 2, 2), (usize::MAX, 2, 2), (1, 0, 0)] {
            let span = video(grid.0, grid.1, grid.2, 1.0);
            positions(&[v], &[span]).expect_err("no such grid");
        }
        for seconds in [f64::NAN, f64::INFINITY, -1e300, 1e300] {
            positions(&[v, v, X], &[video(2, 2, 2, seconds)]).expect("any time is some number");
        }
    }
}
