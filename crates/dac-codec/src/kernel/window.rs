//! Where the taps of a convolution fall.
//!
//! Output `l` of a convolution meets with tap `t` the sample `l stride + t dilation - padding`. A transposed convolution
//! goes the other way: its sample `q` goes with tap `t` to the output of that number.

/// Positions that a task's memory should hold, over all channels.
const BLOCK_VALUES: usize = 1 << 18;
/// Fewest positions of a task.
const MIN_BLOCK: usize = 256;

/// The taps of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) taps: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    pub(super) padding: usize,
}

/// Rows of samples made so that each tap reads a run of them.
#[derive(Debug)]
pub(super) struct Rows {
    /// Values of each row.
    pub(super) width: usize,
    /// Number of rows.
    pub(super) count: usize,
}

impl Window {
    /// Outputs of a convolution over `length` samples; none where the taps don't fit.
    pub(super) fn outputs(&self, length: usize) -> Option<usize> {
        let padded = self.padding.checked_mul(2)?.checked_add(length)?;
        let room = padded.checked_sub(self.reach()?.checked_add(1)?)?;
        Some(room.checked_div(self.stride)? + 1)
    }

    /// Outputs of a transposed convolution over `length` samples, with `extra` behind the last.
    pub(super) fn transposed_outputs(&self, length: usize, extra: usize) -> Option<usize> {
        let last = length.checked_sub(1)?.checked_mul(self.stride)?;
        let padded = last.checked_add(self.reach()?)?.checked_add(extra)? + 1;
        padded.checked_sub(self.padding.checked_mul(2)?)
    }

    /// Samples between the first tap and the last; none where there is no tap.
    fn reach(&self) -> Option<usize> {
        self.taps.checked_sub(1)?.checked_mul(self.dilation)
    }

    /// How many positions a task takes of signals of `channels` channels.
    pub(super) fn block(&self, channels: usize) -> usize {
        (BLOCK_VALUES / (channels * self.stride).max(1)).max(MIN_BLOCK)
    }

    /// The rows for `n` outputs of a convolution: per channel one for each phase of the stride.
    pub(super) fn gathered(&self, channels: usize, n: usize) -> Rows {
        Rows {
            width: n + self.reach().unwrap_or(0) / self.stride,
            count: channels * self.stride,
        }
    }

    /// Where channel `channel`, tap `tap` begins in the gathered rows.
    pub(super) fn gathered_offset(&self, rows: &Rows, channel: usize, tap: usize) -> usize {
        let shift = tap * self.dilation;
        (channel * self.stride + shift % self.stride) * rows.width + shift / self.stride
    }

    /// Fills the gathered rows of outputs `start..` from `[channels, length]`; zero where there is no sample.
    pub(super) fn gather(&self, rows: &Rows, source: &[f32], start: usize, out: &mut [f32]) {
        let length = source.len() / (rows.count / self.stride);
        let channels = out.chunks_exact_mut(rows.width * self.stride);
        for (source, out) in source.chunks_exact(length).zip(channels) {
            for (phase, out) in out.chunks_exact_mut(rows.width).enumerate() {
                // Value `j` is sample `(start + j) stride + phase - padding`.
                let before = self.padding.saturating_sub(phase).div_ceil(self.stride);
                let end = (length + self.padding).saturating_sub(phase);
                let first = before.saturating_sub(start).min(out.len());
                let end = end.div_ceil(self.stride).saturating_sub(start);
                let end = end.clamp(first, out.len());
                out[..first].fill(0.0);
                out[end..].fill(0.0);
                let inner = &mut out[first..end];
                if inner.is_empty() {
                    continue;
                }
                let source = &source[(start + first) * self.stride + phase - self.padding..];
                if self.stride == 1 {
                    inner.copy_from_slice(&source[..inner.len()]);
                } else {
                    let source = source.iter().step_by(self.stride);
                    inner
                        .iter_mut()
                        .zip(source)
                        .for_each(|(to, from)| *to = *from);
                }
            }
        }
    }

    /// The rows for `n` positions of a transposed convolution: one per channel.
    pub(super) fn scattered(&self, channels: usize, n: usize) -> Rows {
        Rows {
            width: n + self.reach().unwrap_or(0) / self.stride,
            count: channels,
        }
    }

    /// Taps whose outputs have a phase: `q stride + phase - padding` for whole `q`.
    pub(super) fn taps_of(&self, phase: usize) -> impl Iterator<Item = usize> + Clone {
        let Self {
            stride, dilation, ..
        } = *self;
        (0..self.taps).filter(move |tap| tap * dilation % stride == phase)
    }

    /// Where channel `channel`, tap `tap` begins in the scattered rows.
    pub(super) fn scattered_offset(&self, rows: &Rows, channel: usize, tap: usize) -> usize {
        let back = self.reach().unwrap_or(0) / self.stride - tap * self.dilation / self.stride;
        channel * rows.width + back
    }

    /// Fills the scattered rows of positions `start..` from `[channels, length]`; zero where there is no sample.
    pub(super) fn scatter(&self, rows: &Rows, source: &[f32], start: usize, out: &mut [f32]) {
        let length = source.len() / rows.count;
        let back = self.reach().unwrap_or(0) / self.stride;
        let channels = source
            .chunks_exact(length)
            .zip(out.chunks_exact_mut(rows.width));
        for (source, out) in channels {
            // Value `j` is sample `start + j - back`.
            let first = back.saturating_sub(start).min(out.len());
            let end = (length + back)
                .saturating_sub(start)
                .clamp(first, out.len());
            out[..first].fill(0.0);
            out[end..].fill(0.0);
            if first < end {
                out[first..end].copy_from_slice(&source[start + first - back..][..end - first]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_rows_hold_for_each_tap_the_samples_that_the_outputs_meet() {
        let source: Vec<f32> = (1..=10).map(|n| n as f32).collect();
        let window = Window {
            taps: 4,
            stride: 2,
            dilation: 1,
            padding: 1,
        };
        let outputs = window.outputs(10).expect("they fit");
        assert_eq!(outputs, 5);
        for start in 0..5 {
            let rows = window.gathered(1, outputs - start);
            let mut out = vec![f32::NAN; rows.width * rows.count];
            window.gather(&rows, &source, start, &mut out);
            for tap in 0..4 {
                let run = &out[window.gathered_offset(&rows, 0, tap)..][..outputs - start];
                let expected: Vec<f32> = (start..outputs)
                    .map(|l| (l * 2 + tap).checked_sub(1))
                    .map(|at| at.and_then(|at| source.get(at)).copied().unwrap_or(0.0))
                    .collect();
                assert_eq!(run, expected, "from {start}, tap {tap}");
            }
        }
    }

    #[test]
    fn scattered_rows_hold_for_each_tap_the_samples_that_reach_the_outputs() {
        let source = [1.0, 2.0, 3.0];
        // Taps 0 and 2 reach the outputs of phase 0 from the sample itself and from the one before it.
        let window = Window {
            taps: 4,
            stride: 2,
            dilation: 1,
            padding: 1,
        };
        assert_eq!(window.transposed_outputs(3, 0), Some(6));
        assert_eq!(window.taps_of(1).collect::<Vec<_>>(), [1, 3]);
        let rows = window.scattered(1, 4);
        let mut out = vec![f32::NAN; rows.width];
        window.scatter(&rows, &source, 0, &mut out);
        let run = |tap| &out[window.scattered_offset(&rows, 0, tap)..][..4];
        assert_eq!(run(0), [1.0, 2.0, 3.0, 0.0]);
        assert_eq!(run(2), [0.0, 1.0, 2.0, 3.0]);
    }

    #[test]
    fn sizes_that_do_not_fit_have_no_outputs() {
        let window = |taps, stride, padding| Window {
            taps,
            stride,
            dilation: 1,
            padding,
        };
        assert_eq!(window(7, 1, 1).outputs(4), None);
        assert_eq!(window(0, 1, 1).outputs(4), None);
        assert_eq!(window(1, 0, 0).outputs(4), None);
        assert_eq!(window(1, 1, usize::MAX).outputs(4), None);
        assert_eq!(window(2, 1, 4).transposed_outputs(3, 0), None);
        assert_eq!(window(2, 1, 0).transposed_outputs(0, 0), None);
    }
}
