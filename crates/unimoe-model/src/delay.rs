//! The delay pattern: channel `c` runs `delay[c]` steps behind channel 0.
//!
//! A frame's later codebooks refine its earlier ones, so that a step may only choose them once the
//! earlier ones are known (UniMoE-Audio, arXiv:2510.13344; the pattern is MusicGen's,
//! arXiv:2306.05284). With the delays `[0, 1, 3]`, the frames `a b c d` and BOS as `-`:
//!
//! ```text
//! frame       0  1  2  3                 row         0  1  2  3  4  5  6
//! channel 0   a0 b0 c0 d0    delayed     channel 0   a0 b0 c0 d0 .  .  .
//! channel 1   a1 b1 c1 d1    ------->    channel 1   -  a1 b1 c1 d1 .  .
//! channel 2   a2 b2 c2 d2    <-------    channel 2   -  -  -  a2 b2 c2 d2
//!                            reverted
//! ```
//!
//! Frame `t` is complete as soon as row `t + max(delay)` is there.
//! Axes: `T` frames or rows, `K` channels. Works on the host; carries no tensor.

use crate::error::CodesError;

/// Longest delay accepted, so that a damaged configuration can't ask for absurd memory.
const MAX_DELAY: usize = 1 << 16;

/// The codes beyond the codec's own that frame a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialCodes {
    /// End of sequence.
    pub eos: u32,
    /// After the end.
    pub pad: u32,
    /// Before the start.
    pub bos: u32,
}

/// Codes `[T, K]` in row-major order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeGrid {
    n_channels: usize,
    codes: Vec<u32>,
}

/// The delay of each channel, in steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayPattern {
    delays: Vec<usize>,
    max: usize,
}

/// The rows that decoding starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefill {
    /// Channels `K`.
    pub n_channels: usize,
    /// Delayed codes `[T, K]` in row-major order; `None` where one is to be generated.
    pub cells: Vec<Option<u32>>,
    /// Rows that count as given: BOS and the prompt's frames.
    pub steps: usize,
}

impl CodeGrid {
    /// Arranges codes in frames.
    ///
    /// # Errors
    ///
    /// A [`CodesError`] where there is no channel or the last frame is not whole.
    pub fn new(n_channels: usize, codes: Vec<u32>) -> Result<Self, CodesError> {
        if n_channels == 0 {
            return Err(CodesError::NoChannels);
        }
        if !codes.len().is_multiple_of(n_channels) {
            return Err(CodesError::Ragged {
                channels: n_channels,
                found: codes.len(),
            });
        }
        Ok(Self { n_channels, codes })
    }

    /// Arranges codes that are known to be whole frames of a positive number of channels.
    pub(crate) fn from_rows(n_channels: usize, codes: Vec<u32>) -> Self {
        Self { n_channels, codes }
    }

    /// Frames `T`.
    pub fn n_frames(&self) -> usize {
        self.codes.len() / self.n_channels
    }

    /// Channels `K`.
    pub fn n_channels(&self) -> usize {
        self.n_channels
    }

    /// The codes of frame `t`, `[K]`; `None` past the end.
    pub fn frame(&self, t: usize) -> Option<&[u32]> {
        self.codes.chunks_exact(self.n_channels).nth(t)
    }

    /// All frames in order, each `[K]`.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.codes.chunks_exact(self.n_channels)
    }

    /// Adds a frame.
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where it has another number of channels.
    pub fn push(&mut self, frame: &[u32]) -> Result<(), CodesError> {
        if frame.len() != self.n_channels {
            return Err(CodesError::Channels {
                expected: self.n_channels,
                found: frame.len(),
            });
        }
        self.codes.extend_from_slice(frame);
        Ok(())
    }

    /// The codes in row-major order.
    pub fn as_slice(&self) -> &[u32] {
        &self.codes
    }

    /// The codes in row-major order, owned.
    pub fn into_codes(self) -> Vec<u32> {
        self.codes
    }

    fn get(&self, t: usize, channel: usize) -> u32 {
        self.codes[t * self.n_channels + channel]
    }

    /// Fills a grid from its rows and channels. `n_channels` is positive for every caller.
    fn from_fn(n_frames: usize, n_channels: usize, code: impl Fn(usize, usize) -> u32) -> Self {
        let codes = (0..n_frames)
            .flat_map(|t| (0..n_channels).map(move |channel| (t, channel)))
            .map(|(t, channel)| code(t, channel))
            .collect();
        Self { n_channels, codes }
    }
}

impl Prefill {
    /// The cells of row `t`, `[K]`; `None` past the end.
    pub fn row(&self, t: usize) -> Option<&[Option<u32>]> {
        self.cells.chunks_exact(self.n_channels).nth(t)
    }
}

impl DelayPattern {
    /// Takes the delay of each channel, in any order.
    ///
    /// # Errors
    ///
    /// A [`CodesError`] where there is no channel or a delay is beyond 65,536 steps.
    ///
    /// # Example
    ///
    /// ```
    /// use unimoe_model::{CodeGrid, DelayPattern};
    ///
    /// let pattern = DelayPattern::new(vec![0, 1])?;
    /// let codes = CodeGrid::new(2, vec![1, 2, 3, 4, 5, 6])?;
    /// let delayed = pattern.apply(&codes, 9)?;
    /// assert_eq!(delayed.as_slice(), [1, 9, 3, 2, 5, 4]);
    /// // The last frame's second code was cut off with the rows past the end.
    /// assert_eq!(pattern.revert(&delayed)?.as_slice(), [1, 2, 3, 4]);
    /// # Ok::<(), unimoe_model::CodesError>(())
    /// ```
    pub fn new(delays: Vec<usize>) -> Result<Self, CodesError> {
        let max = *delays.iter().max().ok_or(CodesError::NoChannels)?;
        match delays.iter().position(|&delay| delay > MAX_DELAY) {
            Some(channel) => Err(CodesError::DelayTooLong {
                channel,
                limit: MAX_DELAY,
                found: delays[channel],
            }),
            None => Ok(Self { delays, max }),
        }
    }

    /// The delay of each channel.
    pub fn delays(&self) -> &[usize] {
        &self.delays
    }

    /// The largest delay.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Channels `K`.
    pub fn n_channels(&self) -> usize {
        self.delays.len()
    }

    /// The frame whose code stands in row `row` of `channel`; `None` while the delay has not passed.
    ///
    /// # Panics
    ///
    /// Panics where the pattern has no such channel.
    pub fn source(&self, row: usize, channel: usize) -> Option<usize> {
        row.checked_sub(self.delays[channel])
    }

    /// Delays codes; BOS where the delay has not passed. What passes the last row is cut off.
    ///
    /// # Shapes
    ///
    /// - codes: `[T, K]`
    /// - output: `[T, K]`
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where the channels are not the pattern's.
    pub fn apply(&self, codes: &CodeGrid, bos: u32) -> Result<CodeGrid, CodesError> {
        self.check(codes)?;
        Ok(CodeGrid::from_fn(
            codes.n_frames(),
            self.n_channels(),
            |t, channel| match self.source(t, channel) {
                Some(frame) => codes.get(frame, channel),
                None => bos,
            },
        ))
    }

    /// Delays a voice's codes for the prompt: one row of BOS, then the delayed codes, in each channel
    /// EOS after its last code, then PAD. The channels with the largest delay have no row left for EOS.
    ///
    /// # Shapes
    ///
    /// - codes: `[T, K]`
    /// - output: `[T + max + 1, K]`
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where the channels are not the pattern's.
    pub fn delay_reference(
        &self,
        codes: &CodeGrid,
        special: SpecialCodes,
    ) -> Result<CodeGrid, CodesError> {
        self.check(codes)?;
        let n_frames = codes.n_frames();
        Ok(CodeGrid::from_fn(
            n_frames + self.max + 1,
            self.n_channels(),
            |t, channel| match t.checked_sub(self.delays[channel] + 1) {
                None => special.bos,
                Some(frame) if frame < n_frames => codes.get(frame, channel),
                Some(frame) if frame == n_frames => special.eos,
                Some(_) => special.pad,
            },
        ))
    }

    /// Undoes the delay: the frames whose codes are all there.
    ///
    /// With an all-zero pattern that is every row (the published code returns none then).
    ///
    /// # Shapes
    ///
    /// - delayed: `[T', K]`
    /// - output: `[T' - max, K]`, no frame where `T'` is smaller
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where the channels are not the pattern's.
    pub fn revert(&self, delayed: &CodeGrid) -> Result<CodeGrid, CodesError> {
        self.check(delayed)?;
        Ok(self.take(delayed, delayed.n_frames().saturating_sub(self.max)))
    }

    /// Undoes the delay and keeps the first `frames` frames.
    ///
    /// # Errors
    ///
    /// A [`CodesError`] where the channels are not the pattern's or rows are missing.
    pub fn cut(&self, delayed: &CodeGrid, frames: usize) -> Result<CodeGrid, CodesError> {
        self.check(delayed)?;
        let expected = frames.saturating_add(self.max);
        if frames > 0 && delayed.n_frames() < expected {
            return Err(CodesError::TooFewRows {
                frames,
                expected,
                found: delayed.n_frames(),
            });
        }
        Ok(self.take(delayed, frames))
    }

    /// Undoes the delay as the published code does, keeping the number of rows: a code from row
    /// `n_valid` or later becomes PAD; past the last row, the channel's last code is repeated.
    ///
    /// # Shapes
    ///
    /// - delayed: `[T', K]`
    /// - output: `[T', K]`
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where the channels are not the pattern's.
    pub fn revert_padded(
        &self,
        delayed: &CodeGrid,
        n_valid: usize,
        pad: u32,
    ) -> Result<CodeGrid, CodesError> {
        self.check(delayed)?;
        let n_rows = delayed.n_frames();
        Ok(CodeGrid::from_fn(
            n_rows,
            self.n_channels(),
            |t, channel| {
                let row = (t + self.delays[channel]).min(n_rows - 1);
                if row < n_valid {
                    delayed.get(row, channel)
                } else {
                    pad
                }
            },
        ))
    }

    /// The codes of frame `t`, `[K]`; `None` until row `t + max` is there.
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where the channels are not the pattern's.
    pub fn frame(&self, delayed: &CodeGrid, t: usize) -> Result<Option<Vec<u32>>, CodesError> {
        self.check(delayed)?;
        let complete = t
            .checked_add(self.max)
            .is_some_and(|last| last < delayed.n_frames());
        Ok(complete.then(|| {
            let delays = self.delays.iter().enumerate();
            delays
                .map(|(channel, delay)| delayed.get(t + delay, channel))
                .collect()
        }))
    }

    /// The rows that decoding starts from, for a batch: BOS, then each item's frames if it has any,
    /// delayed, then cells to generate. All items get as many rows as the longest needs.
    ///
    /// # Shapes
    ///
    /// - prompts: each `[T_i, K]`
    /// - output: cells of `[max(T_i) + max + 1, K]` each
    ///
    /// # Errors
    ///
    /// [`CodesError::Channels`] where the channels are not the pattern's.
    pub fn prefill(
        &self,
        prompts: &[Option<&CodeGrid>],
        bos: u32,
    ) -> Result<Vec<Prefill>, CodesError> {
        for prompt in prompts.iter().flatten() {
            self.check(prompt)?;
        }
        let length = |prompt: &Option<&CodeGrid>| prompt.map_or(0, CodeGrid::n_frames);
        let n_rows = prompts.iter().map(length).max().unwrap_or(0) + self.max + 1;
        let cell = |prompt: Option<&CodeGrid>, row: usize, channel: usize| match self
            .source(row, channel)
        {
            None | Some(0) => Some(bos),
            Some(place) => prompt
                .filter(|prompt| place <= prompt.n_frames())
                .map(|prompt| prompt.get(place - 1, channel)),
        };
        Ok(prompts
            .iter()
            .map(|prompt| Prefill {
                n_channels: self.n_channels(),
                cells: (0..n_rows)
                    .flat_map(|row| (0..self.n_channels()).map(move |channel| (row, channel)))
                    .map(|(row, channel)| cell(*prompt, row, channel))
                    .collect(),
                steps: length(prompt) + 1,
            })
            .collect())
    }

    /// The first `frames` frames. Every row up to `frames - 1 + max` must be there.
    fn take(&self, delayed: &CodeGrid, frames: usize) -> CodeGrid {
        CodeGrid::from_fn(frames, self.n_channels(), |t, channel| {
            delayed.get(t + self.delays[channel], channel)
        })
    }

    fn check(&self, codes: &CodeGrid) -> Result<(), CodesError> {
        if codes.n_channels() == self.n_channels() {
            Ok(())
        } else {
            Err(CodesError::Channels {
                expected: self.n_channels(),
                found: codes.n_channels(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECIAL: SpecialCodes = SpecialCodes {
        eos: 90,
        pad: 91,
        bos: 92,
    };

    fn grid(n_channels: usize, codes: &[u32]) -> CodeGrid {
        CodeGrid::new(n_channels, codes.to_vec()).expect("a whole grid")
    }

    fn pattern(delays: &[usize]) -> DelayPattern {
        DelayPattern::new(delays.to_vec()).expect("a valid pattern")
    }

    #[test]
    fn a_reference_gets_bos_codes_eos_and_pad() {
        // Two frames, delays 0, 1 and 2: 2 + 2 + 1 rows. The last channel has no room for EOS.
        let delayed = pattern(&[0, 1, 2])
            .delay_reference(&grid(3, &[1, 2, 3, 4, 5, 6]), SPECIAL)
            .expect("matching channels");
        let rows = [
            [92, 92, 92],
            [1, 92, 92],
            [4, 2, 92],
            [90, 5, 3],
            [91, 90, 6],
        ];
        assert_eq!(delayed, grid(3, rows.as_flattened()));
    }

    #[test]
    fn an_all_zero_pattern_returns_every_frame() {
        let codes = grid(2, &[1, 2, 3, 4]);
        assert_eq!(pattern(&[0, 0]).revert(&codes), Ok(codes.clone()));
        assert_eq!(pattern(&[0, 0]).cut(&codes, 2), Ok(codes));
    }

    #[test]
    fn a_prefill_marks_what_is_to_be_generated() {
        let prompt = grid(2, &[5, 6]);
        let prefill = pattern(&[0, 1])
            .prefill(&[None, Some(&prompt)], 92)
            .expect("matching channels");
        let (bos, open) = (Some(92), None);
        assert_eq!(prefill[0].cells, [bos, bos, open, bos, open, open]);
        assert_eq!(prefill[0].steps, 1);
        assert_eq!(prefill[1].cells, [bos, bos, Some(5), bos, open, Some(6)]);
        assert_eq!(prefill[1].steps, 2);
        assert_eq!(prefill[1].row(1), Some(&[Some(5), bos][..]));
        assert_eq!(prefill[1].row(3), None);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let two = pattern(&[0, 1]);
        let three = grid(3, &[1, 2, 3]);
        let channels = CodesError::Channels {
            expected: 2,
            found: 3,
        };
        assert_eq!(two.apply(&three, 0), Err(channels.clone()));
        assert_eq!(two.delay_reference(&three, SPECIAL), Err(channels.clone()));
        assert_eq!(two.revert(&three), Err(channels.clone()));
        assert_eq!(two.prefill(&[Some(&three)], 0), Err(channels));
        assert_eq!(
            two.cut(&grid(2, &[1, 2, 3, 4]), 2),
            Err(CodesError::TooFewRows {
                frames: 2,
                expected: 3,
                found: 2
            })
        );
        assert!(two.cut(&grid(2, &[]), usize::MAX).is_err());
        assert_eq!(DelayPattern::new(vec![]), Err(CodesError::NoChannels));
        assert!(matches!(
            DelayPattern::new(vec![0, usize::MAX]),
            Err(CodesError::DelayTooLong { channel: 1, .. })
        ));
        assert_eq!(CodeGrid::new(0, vec![]), Err(CodesError::NoChannels));
        assert!(matches!(
            CodeGrid::new(2, vec![1]),
            Err(CodesError::Ragged { .. })
        ));
    }
}
