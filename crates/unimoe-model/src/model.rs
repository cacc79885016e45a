//! The whole model: embeddings, decoder and heads, for training and for decoding step by step.
//!
//! Axes: `B` rows, `S` positions, `P` audio positions, `K` codec channels, `V` codec vocabulary,
//! `D` model width.

use burn::{
    module::Module,
    nn::{Embedding, EmbeddingConfig, Linear, LinearConfig},
    tensor::{DType, Device, Int, Tensor, TensorData},
};
use fused_ops::{CausalMask, project};
use model_files::{Loaded, ModelPath, Shards, Source};
use moe_router::{Routing, RoutingContext, RoutingNoise};
use vision_encoder::{VisionEncoder, VisionInput, VisionKind};

use crate::{
    cache::{KvCache, KvCacheShape},
    config::UniMoeConfig,
    decoder::{Decoder, DecoderContext},
    embedding::{CodecEmbedding, CodecEmbeddingConfig, StandIn, merge},
    error::{InputError, UniMoeError, WeightsError},
    head::{CodecHead, CodecHeadConfig},
    input::{ModelInput, check_codes},
    mrope::{MultimodalRope, MultimodalRopeConfig, Positions},
    random::RandomWeights,
    vision::{EncodedVision, VisionSpan},
    weights::{ReleasedNames, TEXT_HEAD, refuse_extra},
};

/// UniMoE-Audio: text, codes, images and videos in, codes out.
#[derive(Module, Debug)]
pub struct UniMoe {
    /// Text embedding, `[vocabulary, D]`.
    pub text_embedding: Embedding,
    /// Codec embedding, one table per channel.
    pub codec_embedding: CodecEmbedding,
    /// The layers.
    pub decoder: Decoder,
    /// Logits of codes.
    pub codec_head: CodecHead,
    /// Logits of text, `[D, vocabulary]`; `None` where the model only generates audio.
    pub text_head: Option<Linear>,
    /// What sees images and videos; `None` where the model has none, or was loaded without.
    pub vision: Option<VisionEncoder>,
    #[module(skip)]
    config: UniMoeConfig,
    #[module(skip)]
    rope: MultimodalRope,
}

/// How to load a model.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Type to keep parameters in: `F32`, `F16` or `BF16`. Default: `F32`
    pub dtype: DType,
    /// Whether a tensor that the model has no place for is an error. Default: `true`
    pub strict: bool,
    /// Whether to load the text head, which generating audio doesn't need and exported models lack; those have none then. Default: `false`
    pub text_head: bool,
    /// Whether to load the vision encoder, which only images and videos need. Default: `true`
    pub vision: bool,
}

/// What a full pass returns.
#[derive(Debug, Clone)]
pub struct ModelOutput {
    /// Normed output of the last layer, `[B, S, D]`.
    pub hidden: Tensor<3>,
    /// The routing decision of each layer.
    pub routings: Vec<Routing>,
    /// Attention weights of the [layer to observe](ModelInput::observed_layer), `[B, Q, S, S]` in f32; `None` where there is none.
    pub attention: Option<Tensor<4>>,
}

/// Where a batch stands while it is decoded step by step. Owned by the caller.
#[derive(Debug)]
pub struct DecodeState {
    cache: KvCache,
    /// For each row, `true` where a cached position is not padding.
    real: Vec<Vec<bool>>,
    /// The rotary position of each row's next token.
    next: Vec<i64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            strict: true,
            text_head: false,
            vision: true,
        }
    }
}

impl UniMoeConfig {
    /// Initializes a [`UniMoe`] with Burn's own random numbers; nothing is allocated until it is used.
    ///
    /// # Panics
    ///
    /// Panics if the numbers don't make a model. [`UniMoeConfig::load`] has checked those of a file.
    pub fn init(&self, device: &Device) -> UniMoe {
        let (text, codec) = (&self.text, &self.codec);
        let (d_model, channels, codes) = (text.d_model, codec.n_channels, codec.vocab_size);
        UniMoe {
            text_embedding: EmbeddingConfig::new(text.vocab_size, d_model).init(device),
            codec_embedding: CodecEmbeddingConfig::new(channels, codes, d_model).init(device),
            decoder: self.decoder().init(device),
            codec_head: CodecHeadConfig::new(d_model, channels, codes).init(device),
            text_head: Some(
                LinearConfig::new(d_model, text.vocab_size)
                    .with_bias(false)
                    .init(device),
            ),
            vision: (self.vision.as_ref()).map(|vision| vision.encoder.init(device)),
            config: self.clone(),
            rope: MultimodalRopeConfig::new(text.d_head, text.rope_sections)
                .with_theta(text.rope_theta)
                .init(),
        }
    }
}

impl UniMoe {
    /// Loads `config.json` and the weights of a model folder, tensor by tensor, to `device`.
    ///
    /// The memory in use is the loaded size and one tensor.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`](crate::ConfigError) or [`WeightsError`] that names the file, the tensor, what
    /// was expected and what was found.
    pub fn load(
        folder: impl Into<ModelPath>,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Self, UniMoeError> {
        let folder = folder.into();
        let config = UniMoeConfig::load(folder.join("config.json"))?;
        let shards = Shards::open(&folder)?;
        let options = LoadOptions {
            text_head: options.text_head && shards.tensors().contains_key(TEXT_HEAD),
            ..options
        };
        let loaded = Self::from_source(&config, &shards, options, device)?;
        if options.strict {
            refuse_extra(&shards, &loaded.parameters)?;
        }
        Ok(loaded.module)
    }

    /// A model with random parameters from `seed`: equal to the one that
    /// [`init_model_folder`](crate::init_model_folder) writes for the same seed.
    ///
    /// # Errors
    ///
    /// A [`WeightsError`] where a parameter can't be kept in the wanted type.
    ///
    /// # Panics
    ///
    /// Panics if the numbers don't make a model, as [`UniMoeConfig::init`].
    pub fn random(
        config: &UniMoeConfig,
        seed: u64,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let source = RandomWeights { seed };
        Ok(Self::from_source(config, &source, options, device)?.module)
    }

    fn from_source(
        config: &UniMoeConfig,
        source: &dyn Source,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Loaded<Self>, WeightsError> {
        let mut model = config.init(device);
        if !options.text_head {
            model.text_head = None;
        }
        if !options.vision {
            model.vision = None;
        }
        model_files::load(model, &ReleasedNames(config), source, options.dtype, device)
    }

    /// The structure of the model.
    pub fn config(&self) -> &UniMoeConfig {
        &self.config
    }

    /// Runs images and videos of any sizes through the vision encoder, all in one pass.
    ///
    /// # Errors
    ///
    /// [`InputError::NoVisionEncoder`] where the model has none; a
    /// [`VisionError`](vision_encoder::VisionError) where a grid and its patches don't fit each other.
    pub fn encode_vision(&self, inputs: &[VisionInput]) -> Result<Vec<EncodedVision>, UniMoeError> {
        let (Some(encoder), Some(vision)) = (&self.vision, &self.config.vision) else {
            return match inputs {
                [] => Ok(Vec::new()),
                _ => Err(InputError::NoVisionEncoder.into()),
            };
        };
        let spans: Vec<VisionSpan> = inputs.iter().map(VisionSpan::from).collect();
        let lengths: Vec<usize> = (spans.iter())
            .map(|span| span.tokens(vision.encoder.merge_size))
            .collect::<Result<_, _>>()?;
        if inputs.is_empty() {
            return Ok(Vec::new());
        }
        let rows = encoder.forward(inputs)?.split_with_sizes(lengths, 0);
        let encoded = rows.into_iter().zip(spans);
        Ok(encoded
            .map(|(rows, span)| EncodedVision { rows, span })
            .collect())
    }

    /// Embeds a batch: text, and in the places of their tokens codes, images and videos.
    ///
    /// # Shapes
    ///
    /// - output: `[B, S, D]`
    ///
    /// # Errors
    ///
    /// As for [`forward`](Self::forward).
    pub fn embed(&self, input: &ModelInput) -> Result<Tensor<3>, InputError> {
        input.check(&self.config)?;
        Ok(self.embed_checked(input))
    }

    /// Embeds and runs a batch without a cache.
    ///
    /// # Shapes
    ///
    /// - output: [`ModelOutput`] over `[B, S, D]`
    ///
    /// # Errors
    ///
    /// An [`InputError`] where lengths, ids or codes don't fit each other or the model.
    pub fn forward(&self, input: &ModelInput) -> Result<ModelOutput, InputError> {
        self.run(input, None)
    }

    /// Runs a batch into a new cache with room for `capacity` positions in all.
    ///
    /// Returns the state to decode from and the hidden states `[B, S, D]`.
    ///
    /// # Errors
    ///
    /// As for [`forward`](Self::forward), and where the positions exceed `capacity` or `capacity` the
    /// model's limit.
    pub fn prefill(
        &self,
        input: &ModelInput,
        capacity: usize,
    ) -> Result<(DecodeState, Tensor<3>), InputError> {
        input.check(&self.config)?;
        let text = &self.config.text;
        if capacity > text.max_positions {
            return Err(InputError::TooLong {
                found: capacity,
                limit: text.max_positions,
            });
        }
        let weight = self.text_embedding.weight.val();
        let shape = KvCacheShape {
            n_layers: text.n_layers,
            batch: input.batch,
            n_kv_heads: text.n_kv_heads,
            capacity,
            d_head: text.d_head,
        };
        let mut state = DecodeState {
            cache: KvCache::new(shape, weight.dtype(), &weight.device()),
            real: vec![Vec::new(); input.batch],
            next: vec![0; input.batch],
        };
        let hidden = self.extend(input, &mut state)?;
        Ok((state, hidden))
    }

    /// Runs more tokens of each sequence of `state`, as if they had followed in the prompt.
    ///
    /// # Shapes
    ///
    /// - output: hidden states `[B, S, D]`
    ///
    /// # Errors
    ///
    /// As for [`forward`](Self::forward), and where the batch is another one or the cache is full.
    pub fn extend(
        &self,
        input: &ModelInput,
        state: &mut DecodeState,
    ) -> Result<Tensor<3>, InputError> {
        if input.batch != state.next.len() {
            return Err(InputError::Rows {
                batch: state.next.len(),
                tokens: input.ids.len(),
            });
        }
        Ok(self.run(input, Some(state))?.hidden)
    }

    /// Feeds one row of codes to each sequence of `state`.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, K]` in row-major order
    /// - output: hidden states `[B, 1, D]`
    ///
    /// # Errors
    ///
    /// An [`InputError`] where the codes don't fit the model or the cache is full.
    pub fn step(&self, codes: &[u32], state: &mut DecodeState) -> Result<Tensor<3>, InputError> {
        let batch = state.next.len();
        let channels = self.config.codec.n_channels;
        if codes.len() != batch * channels {
            return Err(InputError::CodeRows {
                expected: batch,
                found: codes.len().checked_div(channels).unwrap_or(0),
            });
        }
        check_codes(codes, &self.config)?;
        let positions = Positions::step(&state.next);
        let embedded = self.embed_codes(codes).unsqueeze_dim::<3>(1);
        let real = vec![true; batch];
        let output = self.decode(
            embedded,
            &positions,
            &real,
            RoutingContext::new(),
            None,
            Some(state),
        )?;
        Ok(output.hidden)
    }

    /// Logits of the codec channels.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, S, D]`
    /// - output: `[B, S, K, V]`
    pub fn codec_logits(&self, hidden: Tensor<3>) -> Tensor<4> {
        self.codec_head.forward(hidden)
    }

    /// Logits of the text, where the model has its text head.
    ///
    /// # Shapes
    ///
    /// - hidden: `[B, S, D]`
    /// - output: `[B, S, vocabulary]`
    pub fn text_logits(&self, hidden: Tensor<3>) -> Option<Tensor<3>> {
        Some(project(self.text_head.as_ref()?, hidden))
    }

    fn embed_codes(&self, codes: &[u32]) -> Tensor<2> {
        let channels = self.config.codec.n_channels;
        let values: Vec<i32> = codes.iter().map(|&code| code as i32).collect();
        let shape = [codes.len() / channels, channels];
        let device = self.text_embedding.weight.device();
        let codes = Tensor::<2, Int>::from_data(TensorData::new(values, shape), &device);
        self.codec_embedding.forward(codes)
    }

    /// The positions that the tokens have by themselves, counted from 0 in each row.
    fn positions(&self, input: &ModelInput) -> Result<Positions, InputError> {
        let spans: Vec<VisionSpan> = input.vision.iter().map(|encoded| encoded.span).collect();
        match &self.config.vision {
            Some(vision) if !spans.is_empty() => {
                Positions::multimodal(&input.ids, &input.real, input.batch, &spans, vision)
            }
            _ => Ok(Positions::text(&input.real, input.batch)),
        }
    }

    /// [`embed`](Self::embed) of a batch that has been [checked](ModelInput::check).
    fn embed_checked(&self, input: &ModelInput) -> Tensor<3> {
        let mut others = Vec::new();
        if !input.codes.is_empty() {
            others.push(StandIn {
                token: self.config.codec.placeholder,
                rows: self.embed_codes(&input.codes),
            });
        }
        for kind in [VisionKind::Image, VisionKind::Video] {
            let seen = (input.vision.iter()).filter(|encoded| encoded.span.kind == kind);
            let rows: Vec<Tensor<2>> = seen.map(|encoded| encoded.rows.clone()).collect();
            if let (false, Some(vision)) = (rows.is_empty(), &self.config.vision) {
                others.push(StandIn {
                    token: vision.token(kind),
                    rows: Tensor::cat(rows, 0),
                });
            }
        }
        merge(&self.text_embedding, &input.ids, input.batch, others)
    }

    fn run(
        &self,
        input: &ModelInput,
        state: Option<&mut DecodeState>,
    ) -> Result<ModelOutput, InputError> {
        let length = input.check(&self.config)?;
        let batch = input.batch;
        let positions = match &input.positions {
            None => {
                let first = state.as_ref().map(|state| state.next.as_slice());
                let own = self.positions(input)?;
                own.after(first.unwrap_or_default())
            }
            Some(positions) => positions.clone(),
        };
        let embedded = self.embed_checked(input);
        let mut routing = RoutingContext::new().with_host_mask(&input.real, [batch, length]);
        if let Some(seed) = input.training_seed {
            routing = routing.with_noise(RoutingNoise::seeded(seed));
        }
        let observed = input.observed_layer;
        self.decode(embedded, &positions, &input.real, routing, observed, state)
    }

    /// Runs embedded tokens through the decoder, behind what `state` holds.
    fn decode(
        &self,
        embedded: Tensor<3>,
        positions: &Positions,
        real: &[bool],
        routing: RoutingContext,
        observed_layer: Option<usize>,
        state: Option<&mut DecodeState>,
    ) -> Result<ModelOutput, InputError> {
        let [batch, length, _] = embedded.dims();
        let device = embedded.device();
        let rope = self.rope.table(positions, &device).cast(embedded.dtype());
        let (mask, cache) = match state {
            None => (CausalMask::new(real, batch, 0, &device), None),
            Some(state) => {
                let start = state.cache.length();
                if start + length > state.cache.capacity() {
                    return Err(InputError::TooLong {
                        found: start + length,
                        limit: state.cache.capacity(),
                    });
                }
                state.append(positions, real);
                let mask = CausalMask::new(&state.real.concat(), batch, start, &device);
                (mask, Some(&mut state.cache))
            }
        };
        let context = DecoderContext {
            rope,
            mask,
            routing,
            observed_layer,
        };
        let output = self.decoder.forward(embedded, &context, cache);
        Ok(ModelOutput {
            hidden: output.hidden,
            routings: output.routings,
            attention: output.attention,
        })
    }
}

impl DecodeState {
    /// The keys and values so far.
    pub fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Notes new tokens of each row: which are real, and where the row goes on.
    fn append(&mut self, positions: &Positions, real: &[bool]) {
        let length = positions.length;
        for (known, real) in self.real.iter_mut().zip(real.chunks(length.max(1))) {
            known.extend(real);
        }
        let after = positions.next(real);
        for (next, after) in self.next.iter_mut().zip(after) {
            *next = after.max(*next);
        }
    }
}
