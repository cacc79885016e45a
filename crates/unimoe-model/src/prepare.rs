//! From requests to the rows of a batch: prompts as ids, voices as codes, pictures as rows of the encoder.
//!
//! Axes: `T` frames, `K` codec channels, `N` visual tokens, `D` model width.

use vision_encoder::VisionInput;

use crate::{
    error::{InputError, PromptError, RequestError, UniMoeError},
    generate::{Batching, GenerationRequest, PromptRow},
    pipeline::Pipeline,
    prompt::{Prompt, PromptText},
    request::{Request, Voice},
    vision::{EncodedVision, VisionSpan},
};

impl Pipeline {
    /// Turns requests into rows; pictures are encoded as `batching` says.
    pub(crate) fn prepare_all(
        &self,
        requests: &[Request],
        batching: Batching,
    ) -> Result<Vec<GenerationRequest>, UniMoeError> {
        // What is wrong with any of them shows before the vision encoder takes its time.
        let mut prepared: Vec<GenerationRequest> = requests
            .iter()
            .map(|request| self.prepare(request))
            .collect::<Result<_, _>>()?;
        let mut seen = self.see(requests, batching)?.into_iter();
        for (request, prepared) in requests.iter().zip(&mut prepared) {
            // Both rows share the encoder's rows.
            let own: Vec<EncodedVision> = seen.by_ref().take(request.vision().len()).collect();
            prepared.conditional.vision.clone_from(&own);
            prepared.unconditional.vision = own;
        }
        Ok(prepared)
    }

    /// Encodes the images and videos of all requests: one pass for each request, or one for all.
    fn see(
        &self,
        requests: &[Request],
        batching: Batching,
    ) -> Result<Vec<EncodedVision>, UniMoeError> {
        let mut seen = Vec::new();
        match batching {
            Batching::Isolated => {
                for request in requests {
                    seen.extend(self.model.encode_vision(request.vision())?);
                }
            }
            Batching::Joint => {
                let all: Vec<VisionInput> = (requests.iter().flat_map(Request::vision))
                    .cloned()
                    .collect();
                seen = self.model.encode_vision(&all)?;
            }
        }
        Ok(seen)
    }

    /// Turns a request into rows of ids and codes; images and videos get their tokens, but no rows yet.
    fn prepare(&self, request: &Request) -> Result<GenerationRequest, UniMoeError> {
        let frame_rate = self.codec.config().frame_rate();
        let (prompt, codes, options) = match request {
            Request::Music(music) => (Prompt::music(&music.caption)?, Vec::new(), music.options),
            Request::VideoMusic(music) => {
                let prompt = self.show(Prompt::music(&music.caption)?, &music.vision)?;
                (prompt, Vec::new(), music.options)
            }
            Request::Speech(speech) => {
                let voice = match &speech.voice {
                    Voice::Clip(clip) => &self.encode_voice(clip)?,
                    Voice::Codes(codes) => codes,
                };
                let special = self.model.config().codec.special();
                let delayed = self.delay.delay_reference(voice, special)?;
                let rows = delayed.n_frames();
                let prompt = Prompt::speech(&speech.text, &speech.voice_text, rows)?;
                (prompt, delayed.into_codes(), speech.options)
            }
        };
        let options = options.in_frames(frame_rate)?;
        let row = |text: &PromptText| {
            Ok::<_, PromptError>(PromptRow {
                ids: text.encode(&self.tokenizer)?,
                codes: codes.clone(),
                vision: Vec::new(),
            })
        };
        let request = GenerationRequest {
            conditional: row(prompt.conditional())?,
            unconditional: row(prompt.unconditional())?,
            options,
        };
        let (found, limit) = (
            request.positions(self.delay.max()),
            self.model.config().text.max_positions,
        );
        if found > limit {
            return Err(InputError::TooLong { found, limit }.into());
        }
        Ok(request)
    }

    /// Puts the tokens of images and videos into a prompt.
    fn show(&self, mut prompt: Prompt, inputs: &[VisionInput]) -> Result<Prompt, UniMoeError> {
        let config = self.model.config().vision.as_ref();
        let (Some(_), Some(vision)) = (&self.model.vision, config) else {
            return Err(InputError::NoVisionEncoder.into());
        };
        if inputs.is_empty() {
            return Err(RequestError::NoPictures.into());
        }
        let limit = self.model.config().text.max_positions;
        let mut found = 0usize;
        for input in inputs {
            let tokens = VisionSpan::from(input).tokens(vision.encoder.merge_size)?;
            found = found.saturating_add(tokens);
            // Before the tokens are written out.
            if found > limit {
                return Err(InputError::TooLong { found, limit }.into());
            }
            prompt = prompt.with_vision(input.kind, tokens)?;
        }
        Ok(prompt)
    }
}
