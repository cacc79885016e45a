//! A model with its optimizer.

use std::sync::OnceLock;

use burn::{
    module::Module,
    optim::{AdamW, AdamWConfig},
    tensor::{DType, Device, Tensor},
};

use super::{
    OptimError, OptimizerConfig, Precision,
    adapter::{self, Adapter},
    select::{Part, Selection},
    variable::Variable,
    walk::{self, Value},
};

/// A model that is being trained: float32 values, gradients, moments, adapters, averages.
///
/// The optimizer is AdamW (arXiv:1711.05101). A parameter that no gradient reached in a step, such as
/// those of an expert which no token visited, is left alone in it: neither decayed nor moved on by its
/// moments, as in PyTorch.
///
/// ```
/// use burn::{nn::LinearConfig, tensor::{Device, Tensor}};
/// use unimoe_train::{Optimized, OptimizerConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = Device::flex();
/// let layer = LinearConfig::new(3, 2).init(&device);
/// let mut optimized = Optimized::new(layer, &OptimizerConfig::default(), 10)?;
/// let x = Tensor::<2>::ones([4, 3], &device);
/// let loss = optimized.model().forward(x.clone()).square().mean();
/// optimized.backward(loss.clone(), 1.0);
/// let report = optimized.step()?;
/// assert_eq!(report.learning_rate, 1e-4);
/// let after = optimized.trained().forward(x).square().mean();
/// assert!(after.into_scalar::<f32>() < loss.into_scalar::<f32>());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Optimized<M> {
    /// The model as it computes, all but the adapters.
    module: M,
    sources: Vec<Source>,
    shapes: Vec<Vec<usize>>,
    pub(super) variables: Vec<Variable>,
    /// Where the model computes, with gradients.
    device: Device,
    config: OptimizerConfig,
    total_steps: u64,
    pub(super) steps: u64,
    /// The factors of the adapters as they compute.
    factors: Vec<Option<Tensor<2>>>,
    frozen: OnceLock<u32>,
}

/// Where the value of a parameter comes from.
#[derive(Debug)]
enum Source {
    /// It stays as it was.
    Frozen(Tensor<1>),
    /// The variable of this number.
    Variable(usize),
    /// It stays as it was, with an adapter on it.
    Adapted(Tensor<1>, Adapter),
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// The learning rate that it used.
    pub learning_rate: f64,
    /// Norm of all gradients together before clipping.
    pub gradient_norm: f64,
}

/// The device with gradients. With `checkpointing`, what is cheap to compute is computed again on the way
/// back instead of kept, which costs time and saves memory.
///
/// A model that is created or loaded there is trained there: [`Optimized`] keeps the device of its model.
pub fn autodiff_device(device: &Device, checkpointing: bool) -> Device {
    let device = device.clone().without_autodiff().autodiff();
    if checkpointing {
        device.gradient_checkpointing()
    } else {
        device
    }
}

impl<M: Module> Optimized<M> {
    /// Prepares `model` for `total_steps` steps. It is trained where it is; gradients are turned on.
    ///
    /// # Errors
    ///
    /// An [`OptimError`] where a setting is impossible, a pattern matches nothing, nothing is left to train, or
    /// the device can't compute in the wanted precision.
    pub fn new(model: M, config: &OptimizerConfig, total_steps: u64) -> Result<Self, OptimError> {
        config.validate()?;
        let parameters = walk::parameters(&model);
        let named: Vec<(&str, &[usize])> = parameters
            .iter()
            .map(|parameter| (parameter.path.as_str(), parameter.shape.as_slice()))
            .collect();
        let parts = Selection::new(config)?.parts(&named)?;
        // There is a parameter, or there would be no part to train.
        let device = parameters[0].device.clone().autodiff();
        let dtype = config.precision.dtype();
        if !device.supports_dtype(dtype) {
            return Err(OptimError::Precision {
                device: format!("{device:?}"),
                dtype: format!("{dtype:?}"),
            });
        }

        let averaged = config.ema.is_some();
        let mut variables = Vec::new();
        let mut sources = Vec::new();
        let mut shapes = Vec::new();
        for (index, (parameter, part)) in parameters.into_iter().zip(parts).enumerate() {
            let walk::Parameter {
                path,
                shape,
                values,
                ..
            } = parameter;
            let source = match (part, &config.lora) {
                (Part::Trained, _) => {
                    variables.push(Variable::new(path, shape.clone(), values, averaged));
                    Source::Variable(variables.len() - 1)
                }
                (Part::Adapted, Some(lora)) => {
                    let adapter = Adapter {
                        first: variables.len(),
                        scale: lora.alpha / lora.rank as f64,
                    };
                    let factors = adapter::factors(lora, &path, &shape, index, &values.device())?;
                    for (factor, (shape, value)) in ["lora_a", "lora_b"].into_iter().zip(factors) {
                        let name = format!("{path}.{factor}");
                        variables.push(Variable::new(name, shape, value, averaged));
                    }
                    Source::Adapted(values, adapter)
                }
                _ => Source::Frozen(values),
            };
            sources.push(source);
            shapes.push(shape);
        }
        let mut optimized = Self {
            module: model,
            sources,
            shapes,
            variables,
            device,
            config: config.clone(),
            total_steps,
            steps: 0,
            factors: Vec::new(),
            frozen: OnceLock::new(),
        };
        optimized.place_frozen();
        optimized.refresh();
        Ok(optimized)
    }

    /// The model to compute a loss with, on a device with gradients.
    ///
    /// With adapters each loss needs a model of its own: going back through one uses it up.
    pub fn model(&self) -> M {
        if self.factors.is_empty() {
            return self.module.clone();
        }
        let dtype = self.config.precision.dtype();
        walk::replace(self.module.clone(), &self.shapes, |index| {
            let Source::Adapted(base, adapter) = &self.sources[index] else {
                return Value::Same;
            };
            let base = on(&self.device, base.clone().cast(DType::F32));
            let [a, b] = [0, 1].map(|n| self.factors[adapter.first + n].clone());
            match (a, b) {
                (Some(a), Some(b)) => {
                    Value::Tracked(adapter::apply(base, a, b, adapter.scale).cast(dtype))
                }
                _ => Value::Same,
            }
        })
    }

    /// Adds the gradients of `share * loss` to those since the last step. Of `n` batches of one step each
    /// has the share that its tokens have, or `1 / n`.
    pub fn backward(&mut self, loss: Tensor<1>, share: f64) {
        // A loss that no trained parameter is part of has no gradients; a step then says so.
        if !loss.is_tracked() {
            return;
        }
        let mut gradients = loss.mul_scalar(share).backward();
        let Self {
            module,
            sources,
            variables,
            factors,
            ..
        } = self;
        walk::gradients(module, &mut gradients, |index, gradient| {
            if let Source::Variable(number) = sources[index] {
                variables[number].accumulate(gradient);
            }
        });
        for (factor, variable) in factors.iter().zip(variables) {
            if let Some(gradient) = factor.as_ref().and_then(|f| f.grad_remove(&mut gradients)) {
                variable.accumulate(walk::flat(gradient));
            }
        }
    }

    /// Does an optimizer step with the gradients since the last one: clipping by their common norm,
    /// `min(1, clip_norm / (norm + 1e-6))`, then AdamW, then the average.
    ///
    /// # Errors
    ///
    /// [`OptimError::NotFinite`] where a gradient is not finite, [`OptimError::NoGradient`] where there is none.
    /// Then nothing is changed, and the gradients are dropped.
    pub fn step(&mut self) -> Result<StepReport, OptimError> {
        let gradient_norm = match self.gradient_norm() {
            Ok(norm) => norm,
            Err(error) => {
                self.drop_gradients();
                return Err(error);
            }
        };
        let factor = match self.config.clip_norm {
            Some(limit) => (limit / (gradient_norm + 1e-6)).min(1.0),
            None => 1.0,
        };
        let learning_rate = self.learning_rate();
        // The values are changed in place once nobody else holds them.
        let sources = &self.sources;
        self.factors.clear();
        self.module = walk::replace(self.module.clone(), &self.shapes, |index| {
            match sources[index] {
                Source::Variable(_) => Value::Nothing,
                _ => Value::Same,
            }
        });
        let rule = self.config.rule();
        for variable in &mut self.variables {
            variable.step(&rule, learning_rate, factor);
            if let Some(decay) = self.config.ema {
                variable.update_average(decay);
            }
        }
        self.steps += 1;
        self.refresh();
        Ok(StepReport {
            learning_rate,
            gradient_norm,
        })
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        let config = &self.config;
        let schedule = &config.schedule;
        schedule.rate(config.learning_rate, self.steps, self.total_steps)
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The model as it is trained so far: in float32, adapters merged, without gradients.
    pub fn trained(&self) -> M {
        self.finished(|variable| &variable.value)
    }

    /// The model with the moving averages of its trained values, as [`trained`](Self::trained); `None` where none
    /// is kept. Of an adapter each factor is averaged.
    pub fn averaged(&self) -> Option<M> {
        self.config.ema?;
        Some(self.finished(|variable| variable.average.as_ref().unwrap_or(&variable.value)))
    }

    /// Number of parameters, adapters included, and of those that are trained.
    pub fn parameters(&self) -> (u64, u64) {
        let trained = self.variables.iter().map(Variable::elements).sum::<u64>();
        let others = self
            .sources
            .iter()
            .zip(&self.shapes)
            .map(|(source, shape)| {
                let elements = shape.iter().product::<usize>() as u64;
                match source {
                    Source::Variable(_) => 0,
                    Source::Frozen(_) | Source::Adapted(..) => elements,
                }
            });
        (trained + others.sum::<u64>(), trained)
    }

    /// Forgets the gradients since the last step.
    pub(crate) fn drop_gradients(&mut self) {
        for variable in &mut self.variables {
            variable.gradient = None;
        }
    }

    /// Norm of all gradients together.
    ///
    /// # Errors
    ///
    /// As [`step`](Self::step).
    pub(crate) fn gradient_norm(&self) -> Result<f64, OptimError> {
        let with = self.variables.iter().filter_map(|variable| {
            let gradient = variable.gradient.clone()?;
            Some((variable, gradient.square().sum()))
        });
        let (variables, squares): (Vec<&Variable>, Vec<Tensor<1>>) = with.unzip();
        if variables.is_empty() {
            return Err(OptimError::NoGradient {
                trained: self.variables.len(),
            });
        }
        // One read for all.
        let squares = Tensor::cat(squares, 0).into_data();
        let mut sum = 0.0;
        for (variable, square) in variables.into_iter().zip(squares.iter::<f64>()) {
            if !square.is_finite() {
                return Err(OptimError::NotFinite {
                    step: self.steps + 1,
                    parameter: variable.name.clone(),
                    norm: square.sqrt(),
                });
            }
            sum += square;
        }
        Ok(sum.sqrt())
    }

    /// Puts what is not trained into the module, once.
    fn place_frozen(&mut self) {
        let dtype = self.config.precision.dtype();
        self.module = walk::replace(self.module.clone(), &self.shapes, |index| {
            match &self.sources[index] {
                Source::Variable(_) => Value::Same,
                Source::Frozen(values) | Source::Adapted(values, _) => {
                    Value::Constant(on(&self.device, values.clone().cast(dtype)))
                }
            }
        });
    }

    /// Puts the trained values into the module.
    pub(super) fn refresh(&mut self) {
        let dtype = self.config.precision.dtype();
        self.module = walk::replace(self.module.clone(), &self.shapes, |index| {
            match &self.sources[index] {
                Source::Variable(number) => {
                    let value = self.variables[*number].value.clone();
                    Value::Leaf(on(&self.device, value.cast(dtype)))
                }
                Source::Frozen(_) | Source::Adapted(..) => Value::Same,
            }
        });
        let adapters = self.sources.iter().filter_map(|source| match source {
            Source::Adapted(_, adapter) => Some(adapter.first),
            _ => None,
        });
        let mut factors = vec![None; self.variables.len()];
        let mut any = false;
        for number in adapters.flat_map(|first| [first, first + 1]) {
            let variable = &self.variables[number];
            let value = variable
                .value
                .clone()
                .reshape([variable.shape[0], variable.shape[1]]);
            factors[number] = Some(on(&self.device, value).require_grad());
            any = true;
        }
        self.factors = if any { factors } else { Vec::new() };
    }

    fn finished<'a>(&'a self, value: impl Fn(&'a Variable) -> &'a Tensor<1>) -> M {
        let values = |number: usize| value(&self.variables[number]).clone();
        let module = walk::replace(self.module.clone(), &self.shapes, |index| {
            Value::Constant(match &self.sources[index] {
                Source::Frozen(values) => values.clone().cast(DType::F32),
                Source::Variable(number) => values(*number),
                Source::Adapted(base, adapter) => {
                    let [a, b] = [0, 1].map(|n| {
                        let number = adapter.first + n;
                        let shape = &self.variables[number].shape;
                        values(number).reshape([shape[0], shape[1]])
                    });
                    let base = base.clone().cast(DType::F32);
                    adapter::apply(base, a, b, adapter.scale)
                }
            })
        });
        module.valid().unfreeze()
    }

    /// Checksum of the parameters that are not trained, to notice when they are others on resumption.
    pub(super) fn frozen_checksum(&self) -> u32 {
        *self.frozen.get_or_init(|| {
            let mut checksum = crc32fast::Hasher::new();
            for source in &self.sources {
                if let Source::Frozen(values) | Source::Adapted(values, _) = source {
                    checksum.update(values.clone().cast(DType::F32).into_data().as_bytes());
                }
            }
            checksum.finalize()
        })
    }
}

/// `tensor` with what `device` says about gradients. To move a tensor there keeps what it had.
fn on<const D: usize>(device: &Device, tensor: Tensor<D>) -> Tensor<D> {
    let tensor = tensor.autodiff();
    match device.gradient_checkpointing_strategy() {
        Some(strategy) => tensor.with_gradient_checkpointing_strategy(strategy),
        None => tensor,
    }
}

impl Precision {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl OptimizerConfig {
    /// AdamW of a single tensor.
    fn rule(&self) -> AdamW {
        AdamWConfig::new()
            .with_beta_1(self.betas.0 as f32)
            .with_beta_2(self.betas.1 as f32)
            .with_epsilon(self.epsilon as f32)
            .with_weight_decay(self.weight_decay as f32)
            .build()
    }
}
