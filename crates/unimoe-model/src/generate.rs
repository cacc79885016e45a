//! The generation loop: delayed codes, one step for all channels, until the end has run out.
//!
//! One step feeds a row of codes and appends the next one. With the delays `[0, 1, 2]`, BOS `S`, end of
//! sequence `E`, padding `P` and two generated frames `a`, `b`:
//!
//! ```text
//! row        0  1  2  3  4
//! channel 0  S  a  b  E  P      the end in channel 0 fixes the length: frames a, b
//! channel 1  S  S  a  b  E
//! channel 2  S  S  S  a  b      the longest delay never gets its end
//! ```
//!
//! Frame `t` is complete when row `t + 1 + longest delay` is there.
//!
//! Axes: `R` rows of the model (one or two per request), `K` codec channels, `V` codec vocabulary.

use burn::tensor::DType;

use crate::{
    config::{CodecConfig, UniMoeConfig},
    delay::{CodeGrid, DelayPattern},
    error::{GenerationError, UniMoeError},
    guidance::{ClassifierFreeGuidance, EosRule},
    input::ModelInput,
    model::{DecodeState, UniMoe},
    sampler::{Sampler, SamplingConfig},
    vision::EncodedVision,
};

/// What to generate from, and how.
#[derive(Debug, Clone)]
pub struct GenerationRequest {
    /// The prompt with the request in it.
    pub conditional: PromptRow,
    /// The prompt that guidance leads away from; not run where the guidance scale is 0.
    pub unconditional: PromptRow,
    /// How to choose codes and when to stop.
    pub options: GenerationOptions,
}

/// One row of a prompt.
#[derive(Debug, Clone, Default)]
pub struct PromptRow {
    /// Text ids, with a placeholder for each row of codes, of an image or of a video.
    pub ids: Vec<u32>,
    /// Images and videos in order. The two rows of a request share them, so that each is encoded once.
    pub vision: Vec<EncodedVision>,
    /// Delayed codes of the placeholders, `[P, K]` in row-major order.
    pub codes: Vec<u32>,
}

/// How to choose codes and when to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerationOptions {
    /// Temperature, top-k, top-p.
    pub sampling: SamplingConfig,
    /// Classifier-free guidance.
    pub guidance: ClassifierFreeGuidance,
    /// Frames before which the end is forbidden.
    pub min_frames: usize,
    /// Frames after which the end is forced.
    pub max_frames: usize,
    /// Seed of the request's own random numbers.
    pub seed: u64,
}

/// Which requests share a pass of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batching {
    /// Each request is computed by itself, so that its codes don't depend on what else is in the
    /// batch, not even by the rounding of a larger matrix product.
    #[default]
    Isolated,
    /// All requests share each pass: more frames per second, but the rounding of a sum, and with it now
    /// and then a code, may depend on the other requests.
    Joint,
}

/// A batch of requests on its way. Owned by the caller, who may stop between any two steps.
#[derive(Debug)]
pub struct Generation {
    groups: Vec<Group>,
    tracks: Vec<Track>,
    delay: DelayPattern,
    codec: CodecConfig,
    step: usize,
}

/// A frame of codes that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedFrame {
    /// The request it belongs to.
    pub request: usize,
    /// Its place in time.
    pub index: usize,
    /// One code per channel, `[K]`.
    pub codes: Vec<u32>,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedCodes {
    /// Frames of codes with the delay taken out, `[T, K]`.
    pub codes: CodeGrid,
    /// Rows as the model wrote them, without the first, `[T + longest delay, K]`.
    pub delayed: CodeGrid,
    /// Why it ended.
    pub stop: StopReason,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The model said so.
    EndOfSequence,
    /// The maximum was reached.
    MaxFrames,
    /// The caller stopped early.
    Cancelled,
}

/// Requests that are computed together.
#[derive(Debug)]
struct Group {
    state: DecodeState,
    /// `(request, whether it has an unconditional row before its conditional one)`.
    members: Vec<(usize, bool)>,
}

/// One request's own part of the state.
#[derive(Debug)]
struct Track {
    options: GenerationOptions,
    sampler: Sampler,
    /// Rows written so far, without the first, which is all BOS, `[steps, K]`.
    rows: CodeGrid,
    /// The number of frames and why there are no more: what would be the next one is the end.
    end: Option<(usize, StopReason)>,
    guided: Vec<f32>,
}

impl GenerationOptions {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// A [`GenerationError`] or a sampling error that names the setting.
    pub fn validate(&self) -> Result<(), UniMoeError> {
        self.sampling.validate()?;
        if self.min_frames > self.max_frames {
            return Err(GenerationError::MinAboveMax {
                min: self.min_frames,
                max: self.max_frames,
            }
            .into());
        }
        Ok(())
    }
}

impl GenerationRequest {
    /// Positions that it may take in all: prompt, first row of codes, frames and delay.
    pub(crate) fn positions(&self, longest_delay: usize) -> usize {
        let prompt = self.conditional.ids.len().max(self.unconditional.ids.len());
        let frames = self.options.max_frames.saturating_add(longest_delay + 1);
        prompt.saturating_add(frames)
    }
}

impl Generation {
    /// Runs the prompts of `requests`.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where a setting is out of range, or a prompt doesn't fit the model or, with the
    /// frames asked for, its positions.
    pub fn start(
        model: &UniMoe,
        requests: &[GenerationRequest],
        batching: Batching,
    ) -> Result<Self, UniMoeError> {
        let codec = model.config().codec.clone();
        let delay = DelayPattern::new(codec.delay_pattern.clone())?;
        let indices: Vec<usize> = (0..requests.len()).collect();
        let groups = match batching {
            Batching::Isolated => indices.chunks(1).collect(),
            Batching::Joint if indices.is_empty() => Vec::new(),
            Batching::Joint => vec![indices.as_slice()],
        };
        for request in requests {
            request.options.validate()?;
        }
        let groups = groups
            .into_iter()
            .map(|members| Group::start(model, requests, members, delay.max()))
            .collect::<Result<_, _>>()?;
        let tracks = requests
            .iter()
            .map(|request| {
                Ok(Track {
                    options: request.options,
                    sampler: Sampler::new(request.options.sampling, request.options.seed)?,
                    rows: CodeGrid::new(codec.n_channels, Vec::new())?,
                    end: None,
                    guided: Vec::new(),
                })
            })
            .collect::<Result<_, UniMoeError>>()?;
        Ok(Self {
            groups,
            tracks,
            delay,
            codec,
            step: 0,
        })
    }

    /// Whether every request has ended.
    pub fn is_done(&self) -> bool {
        self.tracks
            .iter()
            .all(|track| track.is_done(self.delay.max()))
    }

    /// Steps done so far.
    pub fn steps(&self) -> usize {
        self.step
    }

    /// Complete frames of `request` so far.
    ///
    /// # Panics
    ///
    /// Panics if there is no such request.
    pub fn frames(&self, request: usize) -> usize {
        let track = &self.tracks[request];
        let complete = track.rows.n_frames().saturating_sub(self.delay.max());
        track
            .end
            .map_or(complete, |(length, _)| complete.min(length))
    }

    /// Does one step for every request that has not ended; returns the frames that it completed.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where the model's logits are not finite or its cache is full. The generation can
    /// still be [finished](Self::finish) with what it has.
    pub fn step(&mut self, model: &UniMoe) -> Result<Vec<GeneratedFrame>, UniMoeError> {
        let mut frames = Vec::new();
        for group in &mut self.groups {
            let longest = self.delay.max();
            let running = |&(index, _): &(usize, bool)| !self.tracks[index].is_done(longest);
            if !group.members.iter().any(running) {
                continue;
            }
            let logits = group.logits(model, &self.tracks, &self.codec)?;
            let stride = self.codec.n_channels * self.codec.vocab_size;
            let mut next = 0;
            for &(index, guided) in &group.members {
                let rows = if guided { 2 } else { 1 };
                let own = &logits[next * stride..(next + rows) * stride];
                next += rows;
                let track = &mut self.tracks[index];
                if track.is_done(longest) {
                    // Another request of the group still runs; this one's rows no longer matter.
                    continue;
                }
                track.step(own, self.step, &self.codec, &self.delay)?;
                frames.extend(
                    track
                        .completed(self.step, &self.delay)?
                        .map(|(place, codes)| GeneratedFrame {
                            request: index,
                            index: place,
                            codes,
                        }),
                );
            }
        }
        self.step += 1;
        Ok(frames)
    }

    /// Ends the generation and returns what there is of every request, in the order of the requests.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] never in practice: the codes were written by [`step`](Self::step).
    pub fn finish(self) -> Result<Vec<GeneratedCodes>, UniMoeError> {
        let longest = self.delay.max();
        let channels = self.codec.n_channels;
        self.tracks
            .into_iter()
            .map(|track| {
                let written = track.rows.n_frames();
                let complete = written.saturating_sub(longest);
                let (length, stop) = match track.end {
                    Some((length, stop)) if written >= length + longest => (length, stop),
                    _ => (complete, StopReason::Cancelled),
                };
                let mut rows = track.rows.into_codes();
                rows.truncate(channels * (length + longest));
                let delayed = CodeGrid::new(channels, rows)?;
                let codes = self.delay.cut(&delayed, length)?;
                Ok(GeneratedCodes {
                    codes,
                    delayed,
                    stop,
                })
            })
            .collect()
    }
}

impl Group {
    /// Runs the prompts of `members`, left-padded to the longest.
    fn start(
        model: &UniMoe,
        requests: &[GenerationRequest],
        members: &[usize],
        longest_delay: usize,
    ) -> Result<Self, UniMoeError> {
        let members: Vec<(usize, bool)> = members
            .iter()
            .map(|&index| (index, requests[index].options.guidance.scale() != 0.0))
            .collect();
        let rows: Vec<&PromptRow> = members
            .iter()
            .flat_map(|&(index, guided)| {
                let request = &requests[index];
                guided
                    .then_some(&request.unconditional)
                    .into_iter()
                    .chain([&request.conditional])
            })
            .collect();
        let length = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut input = ModelInput {
            batch: rows.len(),
            ..ModelInput::default()
        };
        let filler = filler(model.config());
        for row in &rows {
            let padding = length - row.ids.len();
            input.ids.extend(std::iter::repeat_n(filler, padding));
            input.ids.extend(&row.ids);
            input.real.extend(std::iter::repeat_n(false, padding));
            input.real.extend(std::iter::repeat_n(true, row.ids.len()));
            input.codes.extend(&row.codes);
            input.vision.extend(row.vision.iter().cloned());
        }
        let steps = members
            .iter()
            .map(|&(index, _)| requests[index].options.max_frames);
        let steps = steps.max().unwrap_or(0).saturating_add(longest_delay + 1);
        let (state, _) = model.prefill(&input, length.saturating_add(steps))?;
        Ok(Self { state, members })
    }

    /// Feeds the last row of each member and reads the logits `[R, K, V]` of the next.
    fn logits(
        &mut self,
        model: &UniMoe,
        tracks: &[Track],
        codec: &CodecConfig,
    ) -> Result<Vec<f32>, UniMoeError> {
        let first = vec![codec.bos; codec.n_channels];
        let mut codes = Vec::new();
        for &(index, guided) in &self.members {
            let rows = &tracks[index].rows;
            let last = rows
                .n_frames()
                .checked_sub(1)
                .and_then(|row| rows.frame(row));
            let last = last.unwrap_or(&first);
            for _ in 0..if guided { 2 } else { 1 } {
                codes.extend(last);
            }
        }
        let hidden = model.step(&codes, &mut self.state)?;
        let logits = model.codec_logits(hidden).into_data_dtype(DType::F32);
        logits
            .try_into_vec()
            .map_err(|_| GenerationError::Logits.into())
    }
}

/// An id to pad with: the mask hides it, but it must not stand for codes, an image or a video.
fn filler(config: &UniMoeConfig) -> u32 {
    let vision = config.vision.as_ref();
    let seen = vision.map(|vision| [vision.image_token, vision.video_token]);
    let taken = [config.codec.placeholder]
        .into_iter()
        .chain(seen.into_iter().flatten());
    let taken: Vec<u32> = taken.collect();
    // One of the first four ids is none of the three.
    (0..4).find(|id| !taken.contains(id)).unwrap_or_default()
}

impl Track {
    fn is_done(&self, longest_delay: usize) -> bool {
        self.end
            .is_some_and(|(length, _)| self.rows.n_frames() >= length + longest_delay)
    }

    /// Chooses the next row from the logits of its one or two rows.
    fn step(
        &mut self,
        logits: &[f32],
        step: usize,
        codec: &CodecConfig,
        delay: &DelayPattern,
    ) -> Result<(), UniMoeError> {
        // The end is said in channel 0, whose row holds the frame of `first_delay` steps ago.
        let first_delay = delay.delays()[0];
        let rule = EosRule {
            eos: codec.eos,
            allowed: step >= self.options.min_frames.saturating_add(first_delay),
        };
        let guidance = &self.options.guidance;
        if guidance.scale() == 0.0 {
            // Only the conditional row was run; with a scale of 0 its twin doesn't matter.
            let pair = [logits, logits].concat();
            guidance.guide(&pair, codec.n_channels, rule, &mut self.guided)?;
        } else {
            guidance.guide(logits, codec.n_channels, rule, &mut self.guided)?;
        }
        let mut row = Vec::with_capacity(codec.n_channels);
        self.sampler
            .sample_frame(&self.guided, codec.n_channels, Some(codec.eos), &mut row)?;

        if self.end.is_none() {
            if row[0] == codec.eos {
                self.end = Some((step - first_delay, StopReason::EndOfSequence));
            } else if step >= self.options.max_frames {
                self.end = Some((step, StopReason::MaxFrames));
            }
        }
        for (code, &delay) in row.iter_mut().zip(delay.delays()) {
            if let Some((end, _)) = self.end {
                match step - end {
                    past if past == delay => *code = codec.eos,
                    past if past > delay => *code = codec.pad,
                    _ => {}
                }
            }
            // Until a channel's delay has passed it stands at its beginning, whatever was drawn.
            if step < delay {
                *code = codec.bos;
            }
        }
        self.rows.push(&row)?;
        Ok(())
    }

    /// The frame that the row written in `step` completed, if any, with its place.
    fn completed(
        &self,
        step: usize,
        delay: &DelayPattern,
    ) -> Result<Option<(usize, Vec<u32>)>, UniMoeError> {
        let place = step.checked_sub(delay.max());
        let before_end = |place: &usize| self.end.is_none_or(|(length, _)| *place < length);
        let Some(place) = place.filter(before_end) else {
            return Ok(None);
        };
        let frame = delay.frame(&self.rows, place)?;
        Ok(frame.map(|codes| (place, codes)))
    }
}
