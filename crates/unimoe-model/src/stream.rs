//! Sound while it grows: codes step by step, and audio as soon as no later code can change it.
//!
//! Axes: `T` frames, `K` codec channels.

use dac_codec::ChunkedDecoder;

use crate::{
    error::UniMoeError,
    generate::{Batching, GeneratedFrame, Generation, GenerationRequest},
    pipeline::{Generated, Pipeline},
};

/// A batch on its way through a [`Pipeline`]. Dropping it cancels the work.
///
/// ```
/// use unimoe_model::{Batching, MusicRequest, Pipeline, Preset, Request, RequestOptions};
///
/// # fn main() -> Result<(), unimoe_model::UniMoeError> {
/// let device = burn::tensor::Device::flex();
/// let pipeline = Pipeline::untrained(Preset::Tiny, 1, None, &device)?;
/// let options = RequestOptions { min_seconds: 0.2, max_seconds: 0.2, ..RequestOptions::music() };
/// let request = Request::Music(MusicRequest { caption: "A calm piano".into(), options });
/// let mut session = pipeline.start(&[request], Batching::Isolated)?.with_audio(5);
/// let mut heard = 0;
/// while let Some(step) = session.step()? {
///     heard += step.audio.iter().map(|chunk| chunk.samples.len()).sum::<usize>();
/// }
/// heard += session.drain()?.iter().map(|chunk| chunk.samples.len()).sum::<usize>();
/// assert_eq!(heard, 10 * 320 - 8);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Session<'a> {
    pipeline: &'a Pipeline,
    generation: Generation,
    seeds: Vec<u64>,
    max_frames: Vec<usize>,
    audio: Option<Vec<AudioStream>>,
}

/// What one step brought.
#[derive(Debug, Clone, Default)]
pub struct StepOutput {
    /// Frames of codes that became complete.
    pub frames: Vec<GeneratedFrame>,
    /// Sound that no later frame can change; empty without [`Session::with_audio`].
    pub audio: Vec<AudioChunk>,
}

/// A piece of a request's sound.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioChunk {
    /// The request it belongs to.
    pub request: usize,
    /// Samples that follow the request's earlier ones.
    pub samples: Vec<f32>,
}

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Complete frames of each request.
    pub frames: Vec<usize>,
    /// Largest number of frames of each request; it may end earlier.
    pub max_frames: Vec<usize>,
}

/// One request's sound on its way.
#[derive(Debug)]
struct AudioStream {
    decoder: ChunkedDecoder,
    /// Frames of codes, `[T, K]`, that wait to make a chunk.
    waiting: Vec<u32>,
    chunk: usize,
}

impl<'a> Session<'a> {
    pub(crate) fn start(
        pipeline: &'a Pipeline,
        requests: &[GenerationRequest],
        batching: Batching,
    ) -> Result<Self, UniMoeError> {
        let generation = Generation::start(&pipeline.model, requests, batching)?;
        let options = requests.iter().map(|request| request.options);
        Ok(Self {
            pipeline,
            generation,
            seeds: options.clone().map(|options| options.seed).collect(),
            max_frames: options.map(|options| options.max_frames).collect(),
            audio: None,
        })
    }

    /// Decodes sound on the way, `chunk_frames` frames at a time.
    ///
    /// Smaller chunks come sooner and cost more: each is decoded with its neighbours. Joined they are the
    /// offline result without the silence that fills it up to a second. To be called before the first step:
    /// frames that came earlier are not in the sound.
    #[must_use]
    pub fn with_audio(mut self, chunk_frames: usize) -> Self {
        let streams = self.seeds.iter().map(|_| AudioStream {
            decoder: ChunkedDecoder::new(self.pipeline.codec.config(), chunk_frames),
            waiting: Vec::new(),
            chunk: chunk_frames.max(1),
        });
        self.audio = Some(streams.collect());
        self
    }

    /// Does one step; `None` once every request has ended.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] as for [`Generation::step`], or where a code is not the codec's.
    pub fn step(&mut self) -> Result<Option<StepOutput>, UniMoeError> {
        if self.generation.is_done() {
            return Ok(None);
        }
        let frames = self.generation.step(&self.pipeline.model)?;
        let mut audio = Vec::new();
        if let Some(streams) = &mut self.audio {
            for frame in &frames {
                if let Some(samples) = streams[frame.request].push(self.pipeline, &frame.codes)? {
                    audio.push(AudioChunk {
                        request: frame.request,
                        samples,
                    });
                }
            }
        }
        Ok(Some(StepOutput { frames, audio }))
    }

    /// The rest of the sound, after the last step; nothing without [`with_audio`](Self::with_audio).
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where a code is not the codec's.
    pub fn drain(&mut self) -> Result<Vec<AudioChunk>, UniMoeError> {
        let mut rest = Vec::new();
        for (request, stream) in self.audio.iter_mut().flatten().enumerate() {
            let samples = stream.finish(self.pipeline)?;
            if !samples.is_empty() {
                rest.push(AudioChunk { request, samples });
            }
        }
        Ok(rest)
    }

    /// How far the batch is.
    pub fn progress(&self) -> Progress {
        let frames = (0..self.seeds.len()).map(|index| self.generation.frames(index));
        Progress {
            frames: frames.collect(),
            max_frames: self.max_frames.clone(),
        }
    }

    /// Ends the batch and decodes what there is of every request, in order.
    ///
    /// # Errors
    ///
    /// A [`UniMoeError`] where a code is not the codec's.
    pub fn finish(self) -> Result<Vec<Generated>, UniMoeError> {
        let results = self.generation.finish()?.into_iter().zip(self.seeds);
        results
            .map(|(codes, seed)| self.pipeline.render(codes, seed))
            .collect()
    }
}

impl AudioStream {
    fn push(
        &mut self,
        pipeline: &Pipeline,
        codes: &[u32],
    ) -> Result<Option<Vec<f32>>, UniMoeError> {
        self.waiting.extend(codes);
        if self.waiting.len() < self.chunk.saturating_mul(codes.len()) {
            return Ok(None);
        }
        self.flush(pipeline)
    }

    fn finish(&mut self, pipeline: &Pipeline) -> Result<Vec<f32>, UniMoeError> {
        let mut samples = match self.waiting.is_empty() {
            true => Vec::new(),
            false => self.flush(pipeline)?.unwrap_or_default(),
        };
        if let Some(audio) = self.decoder.finish(&pipeline.codec)? {
            samples.extend(audio.into_data().iter::<f32>());
        }
        Ok(samples)
    }

    /// Hands the waiting frames to the decoder; returns the samples that they complete.
    fn flush(&mut self, pipeline: &Pipeline) -> Result<Option<Vec<f32>>, UniMoeError> {
        let frames = pipeline.codes_tensor(&std::mem::take(&mut self.waiting));
        let audio = self.decoder.step(&pipeline.codec, frames)?;
        Ok(audio.map(|audio| audio.into_data().iter::<f32>().collect()))
    }
}
