//! Long audio in bounded memory: encoding and decoding piece by piece, with the whole's result.
//!
//! Every layer sees only a few neighbours, so a piece that is computed with enough frames around it has the
//! values that it has in the whole. How many are enough follows from the strides and kernels:
//!
//! ```text
//! frames      0 1 2 3 4 5 6 7 8 9
//! first       [ emit  | right ]
//! second      [ left  | emit  | right ]
//! ```
//!
//! Axes: `B` batch, `L` samples, `T` frames, `K` codebooks.

use burn::tensor::{Int, Tensor, kind::Basic};

use crate::{
    codec::{DacCodec, input},
    config::DacConfig,
    error::DacError,
    residual_unit::{DILATIONS, KERNEL},
};

/// Longest chunk in frames: a week and more, and no sum or product of lengths overflows.
const MAX_CHUNK: usize = 1 << 30;

/// Frames that a piece needs around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Frames before the piece.
    pub left: usize,
    /// Frames after the piece.
    pub right: usize,
}

/// Samples that a residual stage and a convolution of kernel 7 look to either side.
fn reach() -> (i64, i64) {
    let half = (KERNEL / 2) as i64;
    let dilations: usize = DILATIONS.iter().sum();
    (half * dilations as i64, half)
}

impl Context {
    /// Frames around those whose samples are decoded.
    pub fn of_decoder(config: &DacConfig) -> Self {
        let (units, conv) = reach();
        // The samples of frame 0, traced back to the frames that they depend on.
        let (mut low, mut high) = (-conv, config.hop_length() as i64 - 1 + conv);
        for &rate in config.decoder_rates.iter().rev() {
            let rate = rate as i64;
            let padding = (rate + 1) / 2;
            // Input i reaches the outputs rate * i - padding + (0 ..= 2 rate - 1).
            low = (low - units + padding - (2 * rate - 1) + rate - 1).div_euclid(rate);
            high = (high + units + padding).div_euclid(rate);
        }
        Self {
            left: (conv - low).max(0) as usize,
            right: (high + conv).max(0) as usize,
        }
    }

    /// Frames around those that are encoded.
    pub fn of_encoder(config: &DacConfig) -> Self {
        let (units, conv) = reach();
        let hop = config.hop_length() as i64;
        // Frame 0, traced back to the samples that it depends on; the last convolution has kernel 3.
        let (mut low, mut high) = (-1, 1);
        for &rate in config.encoder_rates.iter().rev() {
            let rate = rate as i64;
            let padding = (rate + 1) / 2;
            low = low * rate - padding - units;
            high = high * rate - padding + 2 * rate - 1 + units;
        }
        let (before, after) = (conv - low, high + conv - (hop - 1));
        Self {
            left: before.max(0).unsigned_abs().div_ceil(hop as u64) as usize,
            right: after.max(0).unsigned_abs().div_ceil(hop as u64) as usize,
        }
    }
}

/// State of a decoder that is fed codes as they arrive.
///
/// Joined, the pieces that [`step`](Self::step) and [`finish`](Self::finish) return are what
/// [`DacCodec::decode_codes`] makes of all codes at once.
#[derive(Debug, Clone)]
pub struct ChunkedDecoder {
    chunk: usize,
    context: Context,
    hop: usize,
    /// Frames that are still needed, `[B, K, T]`.
    pending: Option<Tensor<3, Int>>,
    /// How many of them are already decoded and only there as context.
    done: usize,
}

impl ChunkedDecoder {
    /// A decoder that works on `chunk_frames` frames at a time (at least one), plus their context.
    pub fn new(config: &DacConfig, chunk_frames: usize) -> Self {
        Self {
            chunk: chunk_frames.clamp(1, MAX_CHUNK),
            context: Context::of_decoder(config),
            hop: config.hop_length(),
            pending: None,
            done: 0,
        }
    }

    /// Takes frames and returns the samples that no later frame can change, in whole chunks.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, K, T]`, any `T`
    /// - output: `[B, 1, L]`
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] as [`DacCodec::decode_codes`], and for another batch or number of codebooks than before.
    pub fn step(
        &mut self,
        codec: &DacCodec,
        codes: Tensor<3, Int>,
    ) -> Result<Option<Tensor<3>>, DacError> {
        append(&mut self.pending, codes)?;
        let mut audio = Vec::new();
        while let Some(pending) = &self.pending
            && pending.dims()[2] >= self.done + self.chunk + self.context.right
        {
            let frames = self.done + self.chunk + self.context.right;
            let decoded = codec.decode_codes(pending.clone().narrow(2, 0, frames))?;
            audio.push(decoded.narrow(2, self.done * self.hop, self.chunk * self.hop));
            let start = (self.done + self.chunk).saturating_sub(self.context.left);
            self.done += self.chunk - start;
            drop_front(&mut self.pending, start);
        }
        Ok(join(audio))
    }

    /// Ends the stream: returns the rest and resets the state. `None` where nothing is left.
    ///
    /// # Shapes
    ///
    /// - output: `[B, 1, L]`
    ///
    /// # Errors
    ///
    /// As [`ChunkedDecoder::step`].
    pub fn finish(&mut self, codec: &DacCodec) -> Result<Option<Tensor<3>>, DacError> {
        let done = self.done;
        let pending = self.pending.take();
        self.reset();
        let Some(codes) = pending.filter(|codes| codes.dims()[2] > done) else {
            return Ok(None);
        };
        let audio = codec.decode_codes(codes)?;
        let (start, end) = (done * self.hop, audio.dims()[2]);
        // The last frame of a very small codec may have no sample of its own.
        Ok((end > start).then(|| audio.narrow(2, start, end - start)))
    }

    /// Forgets everything, ready for another stream.
    pub fn reset(&mut self) {
        self.pending = None;
        self.done = 0;
    }
}

/// State of an encoder that is fed samples as they arrive.
///
/// Joined, the codes that [`step`](Self::step) and [`finish`](Self::finish) return are what
/// [`DacCodec::encode`] makes of all samples at once.
#[derive(Debug, Clone)]
pub struct ChunkedEncoder {
    chunk: usize,
    context: Context,
    hop: usize,
    n_quantizers: Option<usize>,
    /// Samples that are still needed, `[B, 1, L]`.
    pending: Option<Tensor<3>>,
    /// How many frames of them are already encoded and only there as context.
    done: usize,
}

impl ChunkedEncoder {
    /// An encoder that works on `chunk_frames` frames at a time (at least one), plus their context, with
    /// `n_quantizers` codebooks or all.
    pub fn new(config: &DacConfig, chunk_frames: usize, n_quantizers: Option<usize>) -> Self {
        Self {
            chunk: chunk_frames.clamp(1, MAX_CHUNK),
            context: Context::of_encoder(config),
            hop: config.hop_length(),
            n_quantizers,
            pending: None,
            done: 0,
        }
    }

    /// Takes samples and returns the frames that no later sample can change, in whole chunks.
    ///
    /// # Shapes
    ///
    /// - audio: `[B, 1, L]`, any `L`
    /// - output: `[B, K, T]`
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] as [`DacCodec::encode`], and for another batch than before.
    pub fn step(
        &mut self,
        codec: &DacCodec,
        audio: Tensor<3>,
    ) -> Result<Option<Tensor<3, Int>>, DacError> {
        append(&mut self.pending, audio)?;
        let mut codes = Vec::new();
        while let Some(pending) = &self.pending
            && pending.dims()[2] / self.hop >= self.done + self.chunk + self.context.right
        {
            let frames = self.done + self.chunk + self.context.right;
            let audio = pending.clone().narrow(2, 0, frames * self.hop);
            let encoded = codec.encode(audio, self.n_quantizers)?;
            codes.push(encoded.codes.narrow(2, self.done, self.chunk));
            let start = (self.done + self.chunk).saturating_sub(self.context.left);
            self.done += self.chunk - start;
            drop_front(&mut self.pending, start * self.hop);
        }
        Ok(join(codes))
    }

    /// Ends the stream: pads the rest to a whole frame, returns it and resets the state. `None` where nothing is left.
    ///
    /// # Shapes
    ///
    /// - output: `[B, K, T]`
    ///
    /// # Errors
    ///
    /// As [`ChunkedEncoder::step`].
    pub fn finish(&mut self, codec: &DacCodec) -> Result<Option<Tensor<3, Int>>, DacError> {
        let done = self.done;
        let pending = self.pending.take();
        self.reset();
        let Some(audio) = pending.filter(|audio| audio.dims()[2] > done * self.hop) else {
            return Ok(None);
        };
        let codes = codec.encode(audio, self.n_quantizers)?.codes;
        let frames = codes.dims()[2];
        Ok(Some(codes.narrow(2, done, frames - done)))
    }

    /// Forgets everything, ready for another stream.
    pub fn reset(&mut self) {
        self.pending = None;
        self.done = 0;
    }
}

impl DacCodec {
    /// Decodes an iterator of codes `[B, K, T]` into an iterator of audio `[B, 1, L]`, `chunk_frames` at a time.
    ///
    /// Audio comes as soon as its codes and their context have: the source may still be generating the rest.
    /// The iterator ends after an error.
    pub fn decode_chunks<I>(
        &self,
        codes: I,
        chunk_frames: usize,
    ) -> impl Iterator<Item = Result<Tensor<3>, DacError>>
    where
        I: IntoIterator<Item = Tensor<3, Int>>,
    {
        let mut state = Some(ChunkedDecoder::new(self.config(), chunk_frames));
        let mut source = codes.into_iter();
        std::iter::from_fn(move || {
            pull(&mut state, &mut source, |state, piece| match piece {
                Some(codes) => state.step(self, codes),
                None => state.finish(self),
            })
        })
    }

    /// Encodes an iterator of audio `[B, 1, L]` into an iterator of codes `[B, K, T]`, `chunk_frames` at a time.
    ///
    /// The iterator ends after an error.
    pub fn encode_chunks<I>(
        &self,
        audio: I,
        n_quantizers: Option<usize>,
        chunk_frames: usize,
    ) -> impl Iterator<Item = Result<Tensor<3, Int>, DacError>>
    where
        I: IntoIterator<Item = Tensor<3>>,
    {
        let mut state = Some(ChunkedEncoder::new(
            self.config(),
            chunk_frames,
            n_quantizers,
        ));
        let mut source = audio.into_iter();
        std::iter::from_fn(move || {
            pull(&mut state, &mut source, |state, piece| match piece {
                Some(audio) => state.step(self, audio),
                None => state.finish(self),
            })
        })
    }
}

/// Feeds `state` from `source` until it has something to give.
fn pull<S, P, R>(
    state: &mut Option<S>,
    source: &mut impl Iterator<Item = P>,
    mut advance: impl FnMut(&mut S, Option<P>) -> Result<Option<R>, DacError>,
) -> Option<Result<R, DacError>> {
    while let Some(active) = state {
        let piece = source.next();
        let last = piece.is_none();
        let result = advance(active, piece).transpose();
        if last || matches!(result, Some(Err(_))) {
            *state = None;
        }
        if result.is_some() {
            return result;
        }
    }
    None
}

fn append<K: Basic>(
    pending: &mut Option<Tensor<3, K>>,
    piece: Tensor<3, K>,
) -> Result<(), DacError> {
    let joined = match pending.take() {
        None => piece,
        Some(before) => {
            let ([b, c, _], found) = (before.dims(), piece.dims());
            if found[..2] != [b, c] {
                *pending = Some(before);
                return Err(input(
                    "the piece's shape",
                    &format!("[{b}, {c}, any], as the pieces before it"),
                    format!("{found:?}"),
                ));
            }
            Tensor::cat(vec![before, piece], 2)
        }
    };
    *pending = Some(joined);
    Ok(())
}

fn drop_front<K: Basic>(pending: &mut Option<Tensor<3, K>>, count: usize) {
    if let Some(tensor) = pending.take() {
        let length = tensor.dims()[2];
        *pending = Some(tensor.narrow(2, count, length - count));
    }
}

fn join<K: Basic>(pieces: Vec<Tensor<3, K>>) -> Option<Tensor<3, K>> {
    (!pieces.is_empty()).then(|| Tensor::cat(pieces, 2))
}
