//! Dynamic-Capacity Mixture of Experts: the layer.
//!
//! UniMoE-Audio (arXiv:2510.13344), section 3.2.
//!
//! Axes: `B` rows, `S` positions, `T = B * S` tokens, `D` model width, `E` experts of the pool (routed,
//! then null), `C` gate columns (the pool, then the shared experts with the released weighting).

use std::sync::Arc;

use burn::{
    config::Config,
    module::{Initializer, Module},
    nn::{Linear, LinearConfig},
    tensor::{DType, Device, Tensor},
};

use crate::{
    capacity::Capacity,
    context::RoutingContext,
    dispatch::{Dispatch, DispatchInput},
    error::MoeConfigError,
    expert::{Expert, SwiGlu, SwiGluConfig},
    gate::{Gate, in_f32},
    router::{ExpertCount, Gating, PoolLogits, Router},
    routing::Routing,
    weighting::Weighting,
};

/// Most gate columns that a configuration may ask for.
const MAX_EXPERTS: usize = 4096;

/// Largest width that a configuration may ask for.
const MAX_WIDTH: usize = 1 << 20;

/// Configuration to create a [`DynamicCapacityMoe`].
#[derive(Config, Debug)]
pub struct DynamicCapacityMoeConfig {
    /// Model width `D`.
    pub d_model: usize,
    /// Number of routed experts.
    pub n_routed: usize,
    /// Inner width of a routed expert.
    pub d_routed: usize,
    /// Number of null experts: places in the pool that cost nothing and give zero. Default: 0
    #[config(default = 0)]
    pub n_null: usize,
    /// Number of shared experts, which every token visits. Default: 0
    #[config(default = 0)]
    pub n_shared: usize,
    /// Inner width of a shared expert; positive where there are any. Default: 0
    #[config(default = 0)]
    pub d_shared: usize,
    /// How experts are chosen. Default: Top-P with `p = 0.7`
    #[config(default = "Gating::TopP { p: 0.7 }")]
    pub gating: Gating,
    /// How pool and shared experts come together. Default: the paper's way
    #[config(default = "Weighting::Paper")]
    pub weighting: Weighting,
    /// Upper bound on the tokens of an expert. Default: none
    pub capacity: Option<Capacity>,
    /// How tokens reach their experts. Default: grouped
    #[config(default = "Dispatch::Grouped")]
    pub dispatch: Dispatch,
    /// In training the gate sees its input times `1 +- input_jitter`; the experts do not (the release's
    /// f32 path lets them see it). Default: 0
    #[config(default = 0.0)]
    pub input_jitter: f64,
    /// Initializer of all weights. Default: that of [`LinearConfig`]
    #[config(default = "Initializer::KaimingUniform{gain:1.0/f64::sqrt(3.0), fan_out_only:false}")]
    pub initializer: Initializer,
}

/// Dynamic-Capacity MoE: a token visits as many experts as it needs.
///
/// `Y = sum_{i in I} w_i E_i(X) + sum_j s_j S_j(X)`, with `I` the experts that the [`Router`] chose,
/// null experts `E_i = 0`, and `w`, `s` by the [`Weighting`].
///
/// It does not normalise its input, add the residual, or add its losses to anything: the decision
/// is returned as a [`Routing`], which computes them. `G` scores, `R` chooses, `E` computes; each can
/// be the user's own ([`DynamicCapacityMoe::from_parts`]).
///
/// Should be created with [`DynamicCapacityMoeConfig`].
#[derive(Module, Debug)]
pub struct DynamicCapacityMoe<G = Linear, E = SwiGlu, R = Gating> {
    /// Router projection; [`Linear`] holds `W_g`, `[D, C]`, columns routed, null, shared.
    pub gate: G,
    /// Routed experts.
    pub routed: Vec<E>,
    /// Shared experts.
    pub shared: Vec<E>,
    n_null: usize,
    #[module(skip)]
    router: R,
    #[module(skip)]
    weighting: Weighting,
    #[module(skip)]
    capacity: Option<Capacity>,
    #[module(skip)]
    dispatch: Dispatch,
    input_jitter: f64,
}

/// What [`DynamicCapacityMoe::forward`] returns.
#[derive(Debug, Clone)]
pub struct MoeOutput {
    /// The layer's output, `[B, S, D]`, in the input's dtype.
    pub hidden: Tensor<3>,
    /// The decision, over the flat tokens `[T, C]`.
    pub routing: Routing,
}

impl DynamicCapacityMoeConfig {
    /// The layer of the released UniMoE-Audio-preview: width 2048, 8 routed experts of 2752, 1 null and
    /// 2 shared experts of 1376, Top-P 0.7 by the sparse mixer, released weighting.
    pub fn released() -> Self {
        Self::new(2048, 8, 2752)
            .with_n_null(1)
            .with_n_shared(2)
            .with_d_shared(1376)
            .with_gating(Gating::SparseMixer {
                count: ExpertCount::TopP { p: 0.7 },
                jitter_eps: 0.01,
                differentiable: false,
            })
            .with_weighting(Weighting::Released)
            .with_input_jitter(0.01)
    }

    /// Number of experts in the pool `E`: routed and null.
    pub fn pool(&self) -> usize {
        self.n_routed.saturating_add(self.n_null)
    }

    /// Number of gate columns `C`.
    pub fn gate_columns(&self) -> usize {
        self.weighting.gate_columns(self.pool(), self.n_shared)
    }

    /// Checks a configuration that comes from outside.
    ///
    /// # Errors
    ///
    /// Names the first field that makes no layer.
    pub fn validate(&self) -> Result<(), MoeConfigError> {
        let positive = [
            ("d_model", self.d_model),
            ("n_routed", self.n_routed),
            ("d_routed", self.d_routed),
            (
                "d_shared",
                self.d_shared.max(usize::from(self.n_shared == 0)),
            ),
        ];
        if let Some((field, _)) = positive.into_iter().find(|(_, size)| *size == 0) {
            return Err(MoeConfigError::Zero { field });
        }
        let bounded = [
            ("d_model", self.d_model, MAX_WIDTH),
            ("d_routed", self.d_routed, MAX_WIDTH),
            ("d_shared", self.d_shared, MAX_WIDTH),
            ("n_routed", self.n_routed, MAX_EXPERTS),
            ("n_null", self.n_null, MAX_EXPERTS),
            ("n_shared", self.n_shared, MAX_EXPERTS),
        ];
        if let Some((field, found, limit)) = bounded.into_iter().find(|(_, n, limit)| n > limit) {
            return Err(MoeConfigError::TooLarge {
                field,
                limit,
                found,
            });
        }
        if !(0.0..1.0).contains(&self.input_jitter) {
            return Err(MoeConfigError::OutOfRange {
                field: "input_jitter",
                expected: "[0, 1)",
                found: self.input_jitter,
            });
        }
        if let Some(capacity) = &self.capacity {
            capacity.validate()?;
        }
        self.gating.validate(self.pool())
    }

    /// Initializes a [`DynamicCapacityMoe`].
    ///
    /// # Panics
    ///
    /// Panics where [`Self::validate`] finds an error.
    pub fn init(&self, device: &Device) -> DynamicCapacityMoe {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let gate = LinearConfig::new(self.d_model, self.gate_columns())
            .with_bias(false)
            .with_initializer(self.initializer.clone())
            .init(device);
        let experts = |count: usize, d_hidden: usize| {
            let config = SwiGluConfig::new(self.d_model, d_hidden)
                .with_initializer(self.initializer.clone());
            (0..count).map(|_| config.init(device)).collect()
        };
        DynamicCapacityMoe {
            gate,
            routed: experts(self.n_routed, self.d_routed),
            shared: experts(self.n_shared, self.d_shared),
            n_null: self.n_null,
            router: self.gating.clone(),
            weighting: self.weighting,
            capacity: self.capacity.clone(),
            dispatch: self.dispatch,
            input_jitter: self.input_jitter,
        }
    }
}

impl<G: Gate, E: Expert, R: Router> DynamicCapacityMoe<G, E, R> {
    /// Builds a layer from modules of the caller's; `config.gating`, the inner widths and the
    /// initializer are not used.
    ///
    /// # Errors
    ///
    /// [`MoeConfigError::ExpertCount`] if a list's length differs from the configuration, or what
    /// [`DynamicCapacityMoeConfig::validate`] finds.
    pub fn from_parts(
        config: &DynamicCapacityMoeConfig,
        gate: G,
        router: R,
        routed: Vec<E>,
        shared: Vec<E>,
    ) -> Result<Self, MoeConfigError> {
        config.validate()?;
        for (what, expected, found) in [
            ("routed", config.n_routed, routed.len()),
            ("shared", config.n_shared, shared.len()),
        ] {
            if expected != found {
                return Err(MoeConfigError::ExpertCount {
                    what,
                    expected,
                    found,
                });
            }
        }
        Ok(Self {
            gate,
            routed,
            shared,
            n_null: config.n_null,
            router,
            weighting: config.weighting,
            capacity: config.capacity.clone(),
            dispatch: config.dispatch,
            input_jitter: config.input_jitter,
        })
    }

    /// This layer with another dispatch.
    pub fn with_dispatch(mut self, dispatch: Dispatch) -> Self {
        self.dispatch = dispatch;
        self
    }

    /// Number of experts in the pool `E`: routed and null.
    pub fn pool(&self) -> usize {
        self.routed.len() + self.n_null
    }

    /// Runs the layer.
    ///
    /// Padding visits no expert of the pool; it still runs through the shared experts, as in the
    /// release. A token that capacity leaves with nothing gets zeros.
    ///
    /// # Shapes
    ///
    /// - x: `[B, S, D]`, in the dtype of the experts; the gate computes in f32
    /// - output: [`MoeOutput`] with hidden `[B, S, D]`
    ///
    /// # Panics
    ///
    /// Panics if there is no token, the context's token mask isn't `[B, S]`, its noise doesn't cover
    /// the tokens, the gate's output isn't `[T, C]`, or the device can't be read.
    pub fn forward(&self, x: Tensor<3>, context: RoutingContext) -> MoeOutput {
        let [rows, positions, width] = x.dims();
        assert!(
            rows * positions > 0,
            "the layer needs at least one token, got [{rows}, {positions}, {width}]"
        );
        if let Some(mask) = &context.token_mask {
            assert_eq!(
                mask.shape,
                [rows, positions],
                "the token mask must be [B, S] like the tokens"
            );
        }
        let x = x.reshape([rows * positions, width]);
        let routing = self.route(x.clone(), &context);
        let shared_column = match self.weighting {
            Weighting::Paper => None,
            Weighting::Released => Some(self.pool()),
        };
        let hidden = self.dispatch.run(DispatchInput {
            x,
            routed: &self.routed,
            shared: &self.shared,
            shared_column,
            visits: &routing.visits,
            weights: routing.weights.clone(),
        });
        MoeOutput {
            hidden: hidden.reshape([rows, positions, width]),
            routing,
        }
    }

    /// Decides for a flat batch of tokens without running the experts.
    ///
    /// # Shapes
    ///
    /// - x: `[T, D]`
    /// - output: [`Routing`] over `[T, C]`
    ///
    /// # Panics
    ///
    /// As [`Self::forward`].
    pub fn route(&self, x: Tensor<2>, context: &RoutingContext) -> Routing {
        let pool = self.pool();
        let columns = self.weighting.gate_columns(pool, self.shared.len());
        let logits = self.gate.logits(self.gate_input(x, context));
        let [tokens, found] = logits.dims();
        assert_eq!(
            found, columns,
            "the gate must give {columns} columns (routed, null, and shared where weighted)"
        );
        let host_logits: Arc<[f32]> = logits
            .to_data_dtype(DType::F32)
            .try_into_vec::<f32>()
            .expect("the data was read as f32")
            .into();

        let host = PoolLogits::new(&host_logits, columns, pool);
        let choice = self.router.choose(&host, context.noise.as_ref());
        let mut requested = choice.visits.clone();
        let real = context.token_mask.as_ref().map(|mask| mask.real.clone());
        if let Some(real) = &real {
            assert_eq!(real.len(), tokens, "the token mask must cover the tokens");
            for token in (0..tokens).filter(|&token| !real[token]) {
                requested.clear_row(token);
            }
        }
        let mut visits = requested.with_full_columns(columns - pool);
        if let Some(capacity) = &self.capacity {
            capacity.apply(&mut visits, &host_logits, pool);
        }
        let kept = visits.first_columns(pool);
        let pool_weights = self
            .router
            .weights(logits.clone().narrow(1, 0, pool), &choice, &kept);
        let weights = self
            .weighting
            .combine(logits.clone(), pool_weights, &visits);
        Routing {
            logits,
            weights,
            visits,
            requested: (kept != requested).then_some(requested),
            host_logits,
            real,
            n_routed: self.routed.len(),
            pool,
        }
    }

    fn gate_input(&self, x: Tensor<2>, context: &RoutingContext) -> Tensor<2> {
        let x = in_f32(x);
        let jitter = context
            .noise
            .as_ref()
            .filter(|_| self.input_jitter > 0.0)
            .and_then(|noise| noise.input_jitter(self.input_jitter, x.dims(), &x.device()));
        match jitter {
            Some(factors) => x * factors,
            None => x,
        }
    }
}
