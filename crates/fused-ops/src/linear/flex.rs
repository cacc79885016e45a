//! The product on the CPU's memory.

use std::borrow::Cow;

use burn::{
    backend::{BackendTensor, DispatchTensorKind, Flex},
    tensor::{DType, Element, Shape, Tensor, bf16, f16, quantization::QuantScheme},
};
use burn_flex::{FlexQTensor, FlexTensor};
use pulp::bytemuck::Pod;

use super::{
    product::{Panel, Size, multiply},
    stored::{Floats, Scaled, Widened},
};
use crate::{graph::contiguous, rows::vectorised};

/// The product, where the weights have a form of their own and nothing is recorded.
pub(super) fn linear<const D: usize>(
    input: &Tensor<D>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) -> Option<Tensor<D>> {
    let mut shape = input.dims();
    let [depth, columns] = weight.dims();
    let size = Size {
        rows: shape[..D - 1].iter().product(),
        depth,
        columns,
    };
    let fits = shape[D - 1] == depth && bias.is_none_or(|bias| bias.dims() == [columns]);
    if !fits || size.rows * depth * columns == 0 {
        return None;
    }
    let weight = Weights::of(weight, size.rows)?;
    let bias = match bias {
        Some(bias) => Some(memory(bias)?),
        None => None,
    };
    let bias = match &bias {
        Some(bias) => Some(widened(bias)?),
        None => None,
    };
    let input = memory(input)?;
    let panels = weight.multiply(&widened(&input)?, size, bias.as_deref())?;
    shape[D - 1] = columns;
    let output = joined(&panels, size, shape.into(), input.dtype())?;
    Some(Tensor::from_primitive::<Flex>(output))
}

/// Weights that are part of no graph, row by row.
enum Weights {
    Floats(FlexTensor),
    Scaled(FlexQTensor, [usize; 2]),
}

impl Weights {
    /// The weights, where this product is better at them than Burn's.
    fn of(weight: &Tensor<2>, rows: usize) -> Option<Self> {
        match weight.dtype() {
            // For more rows Burn's product of float32 is as good as any.
            DType::F32 if rows > 1 => None,
            DType::F32 | DType::BF16 | DType::F16 => {
                let memory = outside_graphs(weight)?;
                // A transposed view would have to be copied each time.
                memory.is_contiguous().then_some(Self::Floats(memory))
            }
            DType::QFloat(scheme) => {
                let scaled = match weight.clone().into_dispatch().kind {
                    DispatchTensorKind::Flex(BackendTensor::Quantized(scaled)) => scaled,
                    _ => return None,
                };
                let block = block(&scheme, weight.dims())?;
                let whole = scaled.tensor().is_contiguous();
                whole.then_some(Self::Scaled(scaled, block))
            }
            _ => None,
        }
    }

    fn multiply(&self, input: &[f32], size: Size, bias: Option<&[f32]>) -> Option<Vec<Panel>> {
        match self {
            Self::Floats(memory) => match memory.dtype() {
                DType::F32 => Some(multiply(input, floats::<f32>(memory, size)?, size, bias)),
                DType::BF16 => Some(multiply(input, floats::<bf16>(memory, size)?, size, bias)),
                DType::F16 => Some(multiply(input, floats::<f16>(memory, size)?, size, bias)),
                _ => None,
            },
            Self::Scaled(scaled, block) => {
                let weights = Scaled {
                    values: scaled.tensor().as_slice::<i8>()?,
                    columns: size.columns,
                    scales: scaled.scales(),
                    block: *block,
                };
                Some(multiply(input, weights, size, bias))
            }
        }
    }
}

/// Rows and columns that share a scale; `None` where the scales have a scale.
fn block(scheme: &QuantScheme, shape: [usize; 2]) -> Option<[usize; 2]> {
    match scheme.block_size() {
        Some(_) if scheme.tensor_scale().is_some() => None,
        Some(block) => Some(block.as_dim::<2>().map(usize::from)),
        None => Some(shape),
    }
}

fn floats<E: Element + Pod + Widened>(memory: &FlexTensor, size: Size) -> Option<Floats<'_, E>> {
    Some(Floats {
        values: memory.as_slice::<E>()?,
        columns: size.columns,
    })
}

/// The contiguous memory of a tensor on the CPU that is part of no graph.
fn memory<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    outside_graphs(tensor).map(contiguous)
}

fn outside_graphs<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    if tensor.device().is_autodiff() {
        return None;
    }
    tensor.clone().try_into_primitive::<Flex>().ok()
}

/// The values in float32.
fn widened(memory: &FlexTensor) -> Option<Cow<'_, [f32]>> {
    fn all<E: Element + Pod + Widened>(memory: &FlexTensor) -> Option<Cow<'_, [f32]>> {
        let values = memory.as_slice::<E>()?;
        let widened = vectorised(|| values.iter().map(|value| value.widened()).collect());
        Some(Cow::Owned(widened))
    }
    match memory.dtype() {
        DType::F32 => memory.as_slice::<f32>().map(Cow::Borrowed),
        DType::BF16 => all::<bf16>(memory),
        DType::F16 => all::<f16>(memory),
        _ => None,
    }
}

/// The panels side by side.
fn joined(panels: &[Panel], size: Size, shape: Shape, dtype: DType) -> Option<FlexTensor> {
    fn join<E: Element + Pod>(
        panels: &[Panel],
        size: Size,
        output: &mut FlexTensor,
        narrowed: impl Fn(f32) -> E,
    ) {
        let rows = output.storage_mut::<E>().chunks_exact_mut(size.columns);
        for (m, row) in rows.enumerate() {
            for panel in panels {
                let values = panel.row(m);
                let places = row[panel.first..].iter_mut();
                for (place, value) in places.zip(values) {
                    *place = narrowed(*value);
                }
            }
        }
    }
    let mut output = FlexTensor::empty(shape, dtype);
    match dtype {
        DType::F32 => join(panels, size, &mut output, |value| value),
        DType::BF16 => join(panels, size, &mut output, bf16::from_f32),
        DType::F16 => join(panels, size, &mut output, f16::from_f32),
        _ => return None,
    }
    Some(output)
}
