//! What a pass knows about its tokens beside their values.
//!
//! Axes: `B` rows, `S` positions, `T = B * S` tokens, `E` experts of the pool, `K` picks.

use std::sync::Arc;

use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Optional inputs of [`DynamicCapacityMoe::forward`](crate::DynamicCapacityMoe::forward).
///
/// The default is evaluation on tokens that are all real. Cloning is cheap: build one per pass and
/// clone it for every layer ([`RoutingContext::for_layer`] where there is noise).
///
/// ```
/// use moe_router::{RoutingContext, RoutingNoise};
///
/// let training = RoutingContext::new().with_noise(RoutingNoise::seeded(7));
/// let third_layer = training.for_layer(2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct RoutingContext {
    pub(crate) token_mask: Option<TokenMask>,
    pub(crate) noise: Option<RoutingNoise>,
}

/// `true` where a token is real, in row-major order over `[B, S]`.
#[derive(Debug, Clone)]
pub(crate) struct TokenMask {
    pub(crate) real: Arc<[bool]>,
    pub(crate) shape: [usize; 2],
}

/// Randomness of a training pass: present in training, absent in evaluation.
#[derive(Debug, Clone)]
pub struct RoutingNoise {
    source: NoiseSource,
}

#[derive(Debug, Clone)]
enum NoiseSource {
    Seed(u64),
    Given(Arc<PickNoise>),
}

/// Noise of the sparse mixer's picks.
#[derive(Debug, Clone)]
pub(crate) struct PickNoise {
    tokens: usize,
    experts: usize,
    /// `[K, T, E]`
    gumbel: Vec<f32>,
    /// `[K, T]`
    uniform: Vec<f32>,
}

impl RoutingContext {
    /// Evaluation on tokens that are all real.
    pub fn new() -> Self {
        Self::default()
    }

    /// Marks padding; reads the mask to the host once.
    ///
    /// # Shapes
    ///
    /// - mask: `[B, S]`, `true` where the token is real
    ///
    /// # Panics
    ///
    /// Panics if the device can't be read.
    pub fn with_token_mask(self, mask: Tensor<2, Bool>) -> Self {
        let shape = mask.dims();
        let real: Vec<bool> = mask.into_data().iter::<bool>().collect();
        self.with_host_mask(&real, shape)
    }

    /// Marks padding where the mask is on the host already: spares the device a round trip.
    ///
    /// # Shapes
    ///
    /// - real: `[B, S]` in row-major order, `true` where the token is real
    ///
    /// # Panics
    ///
    /// Panics if `real` doesn't have the elements of `shape`.
    pub fn with_host_mask(mut self, real: &[bool], shape: [usize; 2]) -> Self {
        assert_eq!(
            real.len(),
            shape[0] * shape[1],
            "the token mask must cover [B, S] = {shape:?}"
        );
        // All real is the same as no mask, and cheaper.
        self.token_mask = real.contains(&false).then(|| TokenMask {
            real: real.into(),
            shape,
        });
        self
    }

    /// Makes this a training pass.
    pub fn with_noise(mut self, noise: RoutingNoise) -> Self {
        self.noise = Some(noise);
        self
    }

    /// This context with noise of its own for `layer`; noise that was given stays as it is.
    pub fn for_layer(&self, layer: usize) -> Self {
        let mut context = self.clone();
        if let Some(RoutingNoise {
            source: NoiseSource::Seed(seed),
        }) = &mut context.noise
        {
            // An odd multiplier keeps the seeds of different layers apart.
            *seed ^= (layer as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        context
    }
}

impl RoutingNoise {
    /// Draws all noise on the host from `seed`: the same seed gives the same noise on every device.
    pub fn seeded(seed: u64) -> Self {
        Self {
            source: NoiseSource::Seed(seed),
        }
    }

    /// Uses the given noise for the picks of the differentiable router, and no input jitter.
    ///
    /// # Shapes
    ///
    /// - gumbel: `[K, T, E]`, added to the candidates' logits at each pick
    /// - uniform: `[K, T]`, in `[0, 1)`; above 0.75 a pick keeps its full weight
    ///
    /// # Panics
    ///
    /// Panics if the shapes disagree or the device can't be read.
    pub fn given(gumbel: Tensor<3>, uniform: Tensor<2>) -> Self {
        let [picks, tokens, experts] = gumbel.dims();
        assert_eq!(
            uniform.dims(),
            [picks, tokens],
            "uniform noise must be [K, T] for gumbel noise [{picks}, {tokens}, {experts}]"
        );
        let read = |data: TensorData| data.iter::<f32>().collect();
        Self {
            source: NoiseSource::Given(Arc::new(PickNoise {
                tokens,
                experts,
                gumbel: read(gumbel.into_data_dtype(DType::F32)),
                uniform: read(uniform.into_data_dtype(DType::F32)),
            })),
        }
    }

    /// The noise for `picks` rounds over `tokens x experts`.
    pub(crate) fn picks(&self, picks: usize, tokens: usize, experts: usize) -> Arc<PickNoise> {
        match &self.source {
            NoiseSource::Given(given) => {
                assert!(
                    given.tokens == tokens
                        && given.experts == experts
                        && given.uniform.len() >= picks * tokens,
                    "the given noise covers {} picks of [{}, {}], the layer needs {picks} of \
                     [{tokens}, {experts}]",
                    given.uniform.len() / given.tokens.max(1),
                    given.tokens,
                    given.experts,
                );
                given.clone()
            }
            NoiseSource::Seed(seed) => {
                let mut rng = stream(*seed, 0);
                let gumbel = (0..picks * tokens * experts)
                    .map(|_| {
                        let u: f32 = rng.random();
                        -(-u.max(f32::MIN_POSITIVE).ln()).ln()
                    })
                    .collect();
                let uniform = (0..picks * tokens).map(|_| rng.random()).collect();
                Arc::new(PickNoise {
                    tokens,
                    experts,
                    gumbel,
                    uniform,
                })
            }
        }
    }

    /// Factors in `[1 - jitter, 1 + jitter)` over `[T, D]`; `None` where the noise was given.
    pub(crate) fn input_jitter(
        &self,
        jitter: f64,
        [tokens, width]: [usize; 2],
        device: &Device,
    ) -> Option<Tensor<2>> {
        let NoiseSource::Seed(seed) = self.source else {
            return None;
        };
        let mut rng = stream(seed, 1);
        let factors: Vec<f32> = (0..tokens * width)
            .map(|_| (1.0 + jitter * (2.0 * rng.random::<f64>() - 1.0)) as f32)
            .collect();
        Some(Tensor::from_data(
            TensorData::new(factors, [tokens, width]),
            device,
        ))
    }
}

impl PickNoise {
    pub(crate) fn gumbel(&self, pick: usize, token: usize) -> &[f32] {
        &self.gumbel[(pick * self.tokens + token) * self.experts..][..self.experts]
    }

    pub(crate) fn uniform(&self, pick: usize, token: usize) -> f32 {
        self.uniform[pick * self.tokens + token]
    }
}

fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}
