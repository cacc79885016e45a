//! One trained tensor with its moments.

use burn::{
    optim::{AdamW, AdamWState, AdaptiveMomentumState, Optimizer},
    tensor::{DType, Tensor},
};

/// One trained tensor, flat: a parameter of the model, or a factor of an adapter.
#[derive(Debug)]
pub(super) struct Variable {
    /// The parameter's path, with `.lora_a` or `.lora_b` behind it for a factor of its adapter.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    /// The values, float32.
    pub(super) value: Tensor<1>,
    /// What the optimizer remembers; nothing before the first gradient.
    pub(super) moments: Option<Moments>,
    /// Exponential moving average of the values, where one is kept.
    pub(super) average: Option<Tensor<1>>,
    /// Sum of the gradients since the last step, float32.
    pub(super) gradient: Option<Tensor<1>>,
}

/// Moments of a variable's gradients, float32.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    /// Steps that had a gradient.
    pub(super) time: u64,
    pub(super) first: Tensor<1>,
    pub(super) second: Tensor<1>,
}

impl Variable {
    /// `value` is cast to float32.
    pub(super) fn new(name: String, shape: Vec<usize>, value: Tensor<1>, average: bool) -> Self {
        let value = value.cast(DType::F32);
        Self {
            name,
            shape,
            average: average.then(|| value.clone()),
            value,
            moments: None,
            gradient: None,
        }
    }

    /// Number of values.
    pub(super) fn elements(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64
    }

    /// Adds `gradient` to those since the last step.
    pub(super) fn accumulate(&mut self, gradient: Tensor<1>) {
        let gradient = gradient.cast(DType::F32);
        self.gradient = Some(match self.gradient.take() {
            Some(sum) => sum + gradient,
            None => gradient,
        });
    }

    /// Takes the gradient, times `factor`, into the moments and the value. A variable without a gradient stays as
    /// it is, undecayed, as in PyTorch.
    pub(super) fn step(&mut self, rule: &AdamW, rate: f64, factor: f64) {
        let Some(mut gradient) = self.gradient.take() else {
            return;
        };
        if factor < 1.0 {
            gradient = gradient.mul_scalar(factor);
        }
        let state = self.moments.take().map(|moments| {
            let Moments {
                time,
                first,
                second,
            } = moments;
            AdamWState::new(AdaptiveMomentumState {
                time: time as usize,
                moment_1: first,
                moment_2: second,
                max_moment_2: None,
            })
        });
        let (value, state) = rule.step(rate, self.value.clone(), gradient, state);
        self.value = value;
        self.moments = state.map(|state| Moments {
            time: state.momentum.time as u64,
            first: state.momentum.moment_1,
            second: state.momentum.moment_2,
        });
    }

    /// Takes the value into the average: `average = decay * average + (1 - decay) * value`.
    pub(super) fn update_average(&mut self, decay: f64) {
        if let Some(average) = self.average.take() {
            let share = self.value.clone().mul_scalar(1.0 - decay);
            self.average = Some(average.mul_scalar(decay) + share);
        }
    }
}
