//! Operations on the CPU's memory as parts of Burn's graph.
//!
//! A [`Fused`] operation computes values and gradients on plain memory; [`apply`] runs it and, where an operand is part of a
//! graph, records it there. What it keeps for its gradient stays in memory until then, with gradient checkpointing too:
//! its operands are results of matrix products, which checkpointing keeps as well.

use std::fmt::Debug;

use burn::{
    backend::{
        Autodiff, AutodiffBackend, Flex,
        autodiff::{
            checkpoint::{
                base::Checkpointer,
                strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing},
            },
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        tensor::FloatTensor,
    },
    tensor::{DType, Shape, Tensor},
};
use burn_flex::FlexTensor;

/// A tensor with its place in a graph; of the same type for every checkpointing strategy.
type Recorded = FloatTensor<Autodiff<Flex>>;

/// A float32 tensor on the CPU.
#[derive(Debug)]
pub enum Operand {
    /// Outside any graph.
    Plain(FlexTensor),
    /// In a graph that keeps all that it computes.
    Keeping(Recorded),
    /// In a graph with gradient checkpointing.
    Checkpointing(Recorded),
}

/// An operation of `N` operands whose gradient is computed from what it saved.
pub trait Fused<const N: usize>: Clone + Debug + Send + 'static {
    /// What the gradient needs.
    type Saved: Clone + Debug + Send + 'static;

    /// The value of contiguous operands, and what its gradient needs.
    fn forward(&self, operands: [FlexTensor; N]) -> (FlexTensor, Self::Saved);

    /// The gradient of each operand from the contiguous one of the value.
    fn backward(&self, saved: Self::Saved, gradient: FlexTensor) -> [FlexTensor; N];

    /// [`Fused::backward`] where only some operands need a gradient. Worth its own code where one gradient costs much.
    fn backward_wanted(
        &self,
        saved: Self::Saved,
        gradient: FlexTensor,
        _wanted: [bool; N],
    ) -> [Option<FlexTensor>; N] {
        self.backward(saved, gradient).map(Some)
    }
}

impl Operand {
    /// The operand, where the tensor is the CPU's and float32.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Option<Self> {
        if tensor.dtype() != DType::F32 {
            return None;
        }
        if !tensor.device().is_autodiff() {
            return tensor
                .clone()
                .try_into_primitive::<Flex>()
                .ok()
                .map(Self::Plain);
        }
        let keeping = tensor
            .clone()
            .try_into_primitive::<Autodiff<Flex, NoCheckpointing>>();
        keeping.map(Self::Keeping).ok().or_else(|| {
            let tensor = tensor.clone();
            tensor
                .try_into_primitive::<Autodiff<Flex, BalancedCheckpointing>>()
                .ok()
                .map(Self::Checkpointing)
        })
    }

    fn recorded(self) -> Recorded {
        match self {
            Self::Plain(memory) => Autodiff::<Flex>::from_inner(memory),
            Self::Keeping(recorded) | Self::Checkpointing(recorded) => recorded,
        }
    }
}

/// The contiguous memory of a tensor that gets no gradient, where it is the CPU's and float32.
pub fn constant<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    match Operand::of(tensor)? {
        Operand::Plain(memory) => Some(contiguous(memory)),
        Operand::Keeping(recorded) | Operand::Checkpointing(recorded) => {
            (!recorded.is_tracked()).then(|| contiguous(recorded.into_primitive()))
        }
    }
}

/// The contiguous memory of a tensor of any type on the CPU that is part of no graph.
pub(crate) fn memory<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    outside_graphs(tensor).map(contiguous)
}

/// The same as it lies.
pub(crate) fn outside_graphs<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.device().is_autodiff() {
        return None;
    }
    tensor.clone().try_into_primitive::<Flex>().ok()
}

/// Runs an operation and records it where an operand is part of a graph.
pub fn apply<F: Fused<N>, const N: usize, const D: usize>(
    operation: F,
    operands: [Operand; N],
) -> Tensor<D> {
    let checkpointing = operands
        .iter()
        .any(|o| matches!(o, Operand::Checkpointing(_)));
    if operands.iter().all(|o| matches!(o, Operand::Plain(_))) {
        let memory = operands.map(|operand| match operand {
            Operand::Plain(memory) => contiguous(memory),
            Operand::Keeping(recorded) | Operand::Checkpointing(recorded) => {
                contiguous(recorded.into_primitive())
            }
        });
        return Tensor::from_primitive::<Flex>(operation.forward(memory).0);
    }
    let operands = operands.map(Operand::recorded);
    if checkpointing {
        let output = record::<F, BalancedCheckpointing, N>(operation, operands);
        Tensor::from_primitive::<Autodiff<Flex, BalancedCheckpointing>>(output)
    } else {
        let output = record::<F, NoCheckpointing, N>(operation, operands);
        Tensor::from_primitive::<Autodiff<Flex, NoCheckpointing>>(output)
    }
}

fn record<F: Fused<N>, C: CheckpointStrategy, const N: usize>(
    operation: F,
    operands: [Recorded; N],
) -> Recorded {
    let nodes = operands.each_ref().map(|operand| operand.node());
    let memory = operands.map(|operand| contiguous(operand.into_primitive()));
    let (output, saved) = operation.forward(memory);
    let step = Step::<F, N>(std::marker::PhantomData);
    match step.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((operation, saved), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// The gradient of an operation in the graph.
struct Step<F, const N: usize>(std::marker::PhantomData<fn() -> F>);

impl<F, const N: usize> Debug for Step<F, N> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(std::any::type_name::<F>())
    }
}

impl<F: Fused<N>, const N: usize> Backward<Flex, N> for Step<F, N> {
    type State = (F, F::Saved);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let (operation, saved) = ops.state;
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = operation.backward_wanted(saved, gradient, wanted);
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// The tensor, copied where its values don't follow each other.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The values of a contiguous float32 tensor.
///
/// # Panics
///
/// Panics if it is neither.
pub fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice::<f32>()
        .expect("operands are contiguous and float32")
}

/// Zeros.
pub fn zeros(shape: &Shape) -> FlexTensor {
    FlexTensor::zeros(shape.clone(), DType::F32)
}

/// A contiguous tensor whose memory is nobody else's, to be written over: itself, or a copy.
pub fn own(tensor: FlexTensor) -> FlexTensor {
    let whole = tensor.storage::<f32>().len() == tensor.layout().num_elements();
    if whole && tensor.is_unique() {
        return tensor;
    }
    let mut copy = zeros(tensor.layout().shape());
    copy.storage_mut::<f32>().copy_from_slice(values(&tensor));
    copy
}
