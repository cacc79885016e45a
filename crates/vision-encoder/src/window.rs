//! Which patches attend to each other: windows, frames, and the order that puts them side by side.
//!
//! A frame of merged tokens is cut into windows from its upper left corner; those at the right and lower edges are
//! smaller. With windows of 2 x 2 tokens, a frame of 3 rows and 5 columns
//!
//! ```text
//!  0  1 | 2  3 | 4          window order    0  1  5  6 | 2  3  7  8 | 4  9 | 10 11 | 12 13 | 14
//!  5  6 | 7  8 | 9          (the reference's)
//! ------+------+---
//! 10 11 |12 13 |14          by length       0  1  5  6 | 2  3  7  8 | 4  9 | 10 11 | 12 13 | 14
//! ```
//!
//! The encoder sorts the windows of the whole call by length, the longest first, so that the windows of one length
//! are one batch: nothing is padded and nothing is masked.

use crate::{
    config::{AttentionScope, VisionEncoderConfig},
    error::VisionError,
    input::Grid,
};

/// Most patches of one call, about 80 GB of pixels.
const MAX_PATCHES: usize = 1 << 24;

/// How the patches of the inputs of one call lie, and which of them attend to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchLayout {
    /// Tokens in window order: at each place the token's place in the inputs.
    pub window_index: Vec<usize>,
    /// Patches of each window, in window order.
    pub window_lengths: Vec<usize>,
    /// Patches of each frame, in the order of the inputs.
    pub frame_lengths: Vec<usize>,
    /// Patches that become one token.
    merged: usize,
}

/// An order of tokens in which those that attend to each other are side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrangement {
    /// At each place the token's place in the inputs.
    pub(crate) order: Vec<usize>,
    /// The segments in this order.
    pub(crate) groups: Vec<Group>,
}

/// Segments of equal length that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    /// Number of segments.
    pub(crate) count: usize,
    /// Patches of each.
    pub(crate) length: usize,
}

/// Tokens of an input whose grid fits the encoder; `index` is the input's place in the call.
pub(crate) fn check_grid(
    config: &VisionEncoderConfig,
    index: usize,
    grid: Grid,
) -> Result<usize, VisionError> {
    let merge = config.merge_size;
    let wrong = |expected| VisionError::Grid {
        index,
        grid,
        expected,
    };
    let fits = |side: usize| side > 0 && side.checked_rem(merge) == Some(0);
    if grid.t == 0 || !fits(grid.h) || !fits(grid.w) {
        return Err(wrong(format!(
            "at least one frame, and rows and columns in positive multiples of {merge}"
        )));
    }
    grid.patches()
        .filter(|patches| *patches <= MAX_PATCHES)
        .and_then(|_| grid.tokens(merge))
        .ok_or_else(|| wrong(format!("at most {MAX_PATCHES} patches")))
}

impl VisionEncoderConfig {
    /// Embeddings that an input of this grid gives.
    ///
    /// # Errors
    ///
    /// [`VisionError::Grid`] where a side is zero or no multiple of the merged square's, or the grid is too large.
    pub fn tokens(&self, grid: Grid) -> Result<usize, VisionError> {
        check_grid(self, 0, grid)
    }

    /// How the patches of inputs of these grids are arranged in one call.
    ///
    /// # Errors
    ///
    /// [`VisionError::Grid`] as [`tokens`](Self::tokens), and [`VisionError::NoInput`] where there is no grid.
    pub fn layout(&self, grids: &[Grid]) -> Result<PatchLayout, VisionError> {
        PatchLayout::new(self, grids)
    }
}

impl PatchLayout {
    pub(crate) fn new(config: &VisionEncoderConfig, grids: &[Grid]) -> Result<Self, VisionError> {
        if grids.is_empty() {
            return Err(VisionError::NoInput);
        }
        let (merge, window) = (config.merge_size, config.window_tokens());
        let merged = merge * merge;
        let mut total = 0;
        for (index, &grid) in grids.iter().enumerate() {
            total += check_grid(config, index, grid)? * merged;
            if total > MAX_PATCHES {
                let expected = format!("at most {MAX_PATCHES} patches in all inputs together");
                return Err(VisionError::Grid {
                    index,
                    grid,
                    expected,
                });
            }
        }

        let mut layout = Self {
            window_index: Vec::with_capacity(total / merged),
            window_lengths: Vec::new(),
            frame_lengths: Vec::new(),
            merged,
        };
        let mut first = 0;
        for grid in grids {
            let (rows, columns) = (grid.h / merge, grid.w / merge);
            for _ in 0..grid.t {
                for top in (0..rows).step_by(window) {
                    for left in (0..columns).step_by(window) {
                        let (bottom, right) = (rows.min(top + window), columns.min(left + window));
                        for row in top..bottom {
                            let row = first + row * columns;
                            layout.window_index.extend(row + left..row + right);
                        }
                        let tokens = (bottom - top) * (right - left);
                        layout.window_lengths.push(tokens * merged);
                    }
                }
                layout.frame_lengths.push(rows * columns * merged);
                first += rows * columns;
            }
        }
        Ok(layout)
    }

    /// Number of patches `N`.
    pub fn patches(&self) -> usize {
        self.window_index.len() * self.merged
    }

    /// The order in which the blocks run, and the segments of the windowed blocks in it.
    pub(crate) fn windows(&self, scope: AttentionScope) -> Arrangement {
        match scope {
            AttentionScope::Windowed => self.sorted(&self.window_index, &self.window_lengths),
            AttentionScope::Unmasked => Arrangement {
                order: (0..self.window_index.len()).collect(),
                groups: vec![Group {
                    count: 1,
                    length: self.patches(),
                }],
            },
        }
    }

    /// The segments of the full-attention blocks, as an order of the places of `windows`; `None` where all of them
    /// are already side by side in the very same segments.
    pub(crate) fn frames(
        &self,
        scope: AttentionScope,
        windows: &Arrangement,
    ) -> Option<Arrangement> {
        if scope == AttentionScope::Unmasked {
            return None;
        }
        // Within a frame the order is free: that of the windows keeps neighbours together.
        let mut frame_of = Vec::with_capacity(self.window_index.len());
        for (frame, length) in self.frame_lengths.iter().enumerate() {
            frame_of.extend(std::iter::repeat_n(frame, length / self.merged));
        }
        let mut places: Vec<usize> = (0..windows.order.len()).collect();
        places.sort_by_key(|&place| frame_of[windows.order[place]]);
        let frames = self.sorted(&places, &self.frame_lengths);
        (frames.groups != windows.groups || frames.order.iter().enumerate().any(|(i, &p)| i != p))
            .then_some(frames)
    }

    /// Sorts consecutive segments of `order` by length, the longest first.
    fn sorted(&self, order: &[usize], lengths: &[usize]) -> Arrangement {
        let mut first = 0;
        let mut segments: Vec<(usize, usize)> = lengths
            .iter()
            .map(|&length| {
                first += length / self.merged;
                (length, first - length / self.merged)
            })
            .collect();
        segments.sort_by_key(|&(length, _)| std::cmp::Reverse(length));

        let mut sorted = Arrangement {
            order: Vec::with_capacity(order.len()),
            groups: Vec::new(),
        };
        for (length, first) in segments {
            let tokens = &order[first..first + length / self.merged];
            sorted.order.extend_from_slice(tokens);
            match sorted.groups.last_mut() {
                Some(group) if group.length == length => group.count += 1,
                _ => sorted.groups.push(Group { count: 1, length }),
            }
        }
        sorted
    }
}

impl Arrangement {
    /// Whether the order changes nothing.
    pub(crate) fn is_identity(&self) -> bool {
        self.order
            .iter()
            .enumerate()
            .all(|(place, &token)| place == token)
    }

    /// For each token its place in the order.
    pub(crate) fn inverse(&self) -> Vec<usize> {
        let mut places = vec![0; self.order.len()];
        for (place, &token) in self.order.iter().enumerate() {
            places[token] = place;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Windows of 2 x 2 tokens, one patch each.
    fn config() -> VisionEncoderConfig {
        VisionEncoderConfig::tiny(8)
            .with_patch_size(1)
            .with_merge_size(1)
            .with_window_size(2)
    }

    #[test]
    fn windows_are_cut_from_the_upper_left_and_sorted_by_length() {
        let layout = config()
            .layout(&[Grid { t: 1, h: 3, w: 5 }])
            .expect("a layout");
        let expected = [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14];
        assert_eq!(layout.window_index, expected);
        assert_eq!(layout.window_lengths, [4, 4, 2, 2, 2, 1]);
        let windows = layout.windows(AttentionScope::Windowed);
        assert_eq!(windows.order, expected);
        let group = |count, length| Group { count, length };
        assert_eq!(windows.groups, [group(2, 4), group(3, 2), group(1, 1)]);
        let frames = layout
            .frames(AttentionScope::Windowed, &windows)
            .expect("other segments");
        assert!(frames.is_identity());
        assert_eq!(frames.groups, [group(1, 15)]);
    }

    #[test]
    fn frames_find_their_windows_again() {
        // Two frames of 2 x 3: windows of 4 and of 2 tokens, the 4s of both frames first.
        let layout = config()
            .layout(&[Grid { t: 2, h: 2, w: 3 }])
            .expect("a layout");
        let windows = layout.windows(AttentionScope::Windowed);
        assert_eq!(windows.order, [0, 1, 3, 4, 6, 7, 9, 10, 2, 5, 8, 11]);
        let frames = layout
            .frames(AttentionScope::Windowed, &windows)
            .expect("another order");
        assert_eq!(frames.order, [0, 1, 2, 3, 8, 9, 4, 5, 6, 7, 10, 11]);
        assert_eq!(
            frames.groups,
            [Group {
                count: 2,
                length: 6
            }]
        );
        assert_eq!(frames.inverse(), [0, 1, 2, 3, 6, 7, 8, 9, 4, 5, 10, 11]);
    }

    #[test]
    fn a_window_that_covers_the_frame_needs_no_second_order() {
        let layout = config()
            .layout(&[Grid { t: 3, h: 2, w: 2 }])
            .expect("a layout");
        let windows = layout.windows(AttentionScope::Windowed);
        assert!(windows.is_identity());
        assert_eq!(layout.frames(AttentionScope::Windowed, &windows), None);
    }

    #[test]
    fn impossible_grids_are_errors() {
        let config = VisionEncoderConfig::tiny(8);
        let grid = |t, h, w| Grid { t, h, w };
        for wrong in [
            grid(0, 2, 2),
            grid(1, 0, 2),
            grid(1, 2, 3),
            grid(usize::MAX, 2, 2),
            grid(1, usize::MAX - 1, usize::MAX - 1),
            grid(1 << 22, 2, 4),
        ] {
            let error = config
                .layout(&[grid(1, 2, 2), wrong])
                .expect_err("a wrong grid");
            assert!(
                matches!(error, VisionError::Grid { index: 1, .. }),
                "{error}"
            );
            assert!(config.tokens(wrong).is_err());
        }
        let many = [grid(1 << 21, 2, 4), grid(1 << 21, 2, 4)];
        assert!(config.layout(&many).is_err());
        assert!(matches!(config.layout(&[]), Err(VisionError::NoInput)));
        assert_eq!(config.tokens(grid(3, 4, 6)).expect("a fitting grid"), 18);
    }

    /// How many tokens carry each mark.
    fn tally<T: Ord>(marks: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
        let mut counts = BTreeMap::new();
        for mark in marks {
            *counts.entry(mark).or_insert(0) += 1;
        }
        counts
    }

    /// Panics unless each segment holds all tokens of one mark and nothing else.
    fn assert_segments<T: Ord + Copy + std::fmt::Debug>(
        groups: &[Group],
        marks: impl Iterator<Item = T> + Clone,
    ) {
        let counts = tally(marks.clone());
        let marks: Vec<T> = marks.collect();
        let mut first = 0;
        for group in groups {
            for _ in 0..group.count {
                let segment = &marks[first..first + group.length];
                let same = BTreeMap::from([(segment[0], group.length)]);
                assert_eq!(tally(segment.iter().copied()), same);
                assert_eq!(counts[&segment[0]], group.length);
                first += group.length;
            }
        }
        assert_eq!(first, marks.len());
    }

    proptest! {
        #[test]
        fn every_segment_is_one_window_or_one_frame(
            sizes in prop::collection::vec((1_usize..4, 1_usize..8, 1_usize..8), 1..4), window in 1_usize..5
        ) {
            let config = config().with_window_size(window);
            let grids: Vec<Grid> = sizes.iter().map(|&(t, h, w)| Grid { t, h, w }).collect();
            let layout = config.layout(&grids).expect("a layout");
            let windows = layout.windows(AttentionScope::Windowed);

            // Of each token in the order of the inputs: its frame, and its window in it.
            let mut marks = Vec::new();
            for (input, grid) in grids.iter().enumerate() {
                for frame in 0..grid.t {
                    let place = |i: usize| (i / grid.w / window, i % grid.w / window);
                    marks.extend((0..grid.h * grid.w).map(|i| ((input, frame), place(i))));
                }
            }
            let mut sorted = windows.order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..marks.len()).collect::<Vec<_>>());
            assert_segments(&windows.groups, windows.order.iter().map(|&token| marks[token]));

            if let Some(frames) = layout.frames(AttentionScope::Windowed, &windows) {
                let tokens = frames.order.iter().map(|&place| windows.order[place]);
                assert_segments(&frames.groups, tokens.map(|token| marks[token].0));
            } else {
                assert_segments(&windows.groups, windows.order.iter().map(|&token| marks[token].0));
            }
        }
    }
}
