//! The product on the CPU's memory.

use std::borrow::Cow;

use burn::{
    backend::{BackendTensor, DispatchTensorKind, Flex},
    tensor::{DType, Shape, Tensor, bf16, f16, quantization::QuantScheme},
};
use burn_flex::{FlexQTensor, FlexTensor};

use super::{
    product::{FEW, Panel, multiply},
    stored::{Floats, Scaled, Stored},
};
use crate::{
    graph::{memory, outside_graphs},
    matrix::{ROWS, VALUES},
    number::Number,
    rows::vectorised,
    tiles::{self, Size, Source, Unit},
};

/// Rows from which on the processor's tiles are worth their packing.
const MANY: usize = 8;

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
    let weight = Weights::of(weight)?;
    let bias = match bias {
        Some(bias) => Some(memory(bias)?),
        None => None,
    };
    let bias = match &bias {
        Some(bias) => Some(widened(bias)?),
        None => None,
    };
    let input = memory(input)?;
    shape[D - 1] = columns;
    let call = Call {
        input: &input,
        size,
        bias: bias.as_deref(),
        shape: shape.into(),
    };
    Some(Tensor::from_primitive::<Flex>(weight.multiply(call)?))
}

/// A product by weights that are still to come.
struct Call<'a> {
    input: &'a FlexTensor,
    size: Size,
    bias: Option<&'a [f32]>,
    /// Of the output.
    shape: Shape,
}

impl Call<'_> {
    /// The product, where it is better than Burn's.
    fn run<W: Stored>(self, weights: W) -> Option<FlexTensor> {
        if let Some(output) = Unit::get().and_then(|unit| self.in_tiles(unit, weights)) {
            return Some(output);
        }
        // For more rows Burn's product of float32 is as good as any.
        if W::PLAIN && self.size.rows > FEW {
            return None;
        }
        let panels = multiply(&widened(self.input)?, weights, self.size, self.bias);
        joined(&panels, self.size, self.shape, self.input.dtype())
    }

    /// `None` where the product is too small to be worth it, or where a number can't be had as a sum of bfloat16.
    fn in_tiles<W: Stored>(&self, unit: Unit, weights: W) -> Option<FlexTensor> {
        fn run<E: Number>(call: &Call<'_>, unit: Unit, weights: impl Source) -> Option<FlexTensor> {
            let input = floats::<E>(call.input, call.size.depth)?;
            let mut output = FlexTensor::empty(call.shape.clone(), call.input.dtype());
            let out = output.storage_mut::<E>();
            tiles::multiply(unit, input, weights, call.size, call.bias, out).ok()?;
            Some(output)
        }
        let least = if W::PLAIN { ROWS } else { MANY };
        let Size {
            rows,
            depth,
            columns,
        } = self.size;
        if rows < least || W::PLAIN && depth * columns < VALUES {
            return None;
        }
        match self.input.dtype() {
            DType::F32 => run::<f32>(self, unit, weights),
            DType::BF16 => run::<bf16>(self, unit, weights),
            DType::F16 => run::<f16>(self, unit, weights),
            _ => None,
        }
    }
}

/// Weights that are part of no graph, row by row.
enum Weights {
    Floats(FlexTensor),
    Scaled(FlexQTensor, [usize; 2]),
}

impl Weights {
    /// The weights, where they lie as this product reads them.
    fn of(weight: &Tensor<2>) -> Option<Self> {
        match weight.dtype() {
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

    fn multiply(&self, call: Call<'_>) -> Option<FlexTensor> {
        let size = call.size;
        match self {
            Self::Floats(memory) => match memory.dtype() {
                DType::F32 => call.run(floats::<f32>(memory, size.columns)?),
                DType::BF16 => call.run(floats::<bf16>(memory, size.columns)?),
                DType::F16 => call.run(floats::<f16>(memory, size.columns)?),
                _ => None,
            },
            Self::Scaled(scaled, block) => {
                let weights = Scaled {
                    values: scaled.tensor().as_slice::<i8>()?,
                    columns: size.columns,
                    scales: scaled.scales(),
                    block: *block,
                };
                call.run(weights)
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

fn floats<E: Number>(memory: &FlexTensor, columns: usize) -> Option<Floats<'_, E>> {
    Some(Floats {
        values: memory.as_slice::<E>()?,
        columns,
    })
}

/// The values in float32.
fn widened(memory: &FlexTensor) -> Option<Cow<'_, [f32]>> {
    fn all<E: Number>(memory: &FlexTensor) -> Option<Cow<'_, [f32]>> {
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
    fn join<E: Number>(panels: &[Panel], size: Size, output: &mut FlexTensor) {
        let rows = output.storage_mut::<E>().chunks_exact_mut(size.columns);
        for (m, row) in rows.enumerate() {
            for panel in panels {
                let values = panel.row(m);
                let places = row[panel.first..].iter_mut();
                for (place, value) in places.zip(values) {
                    *place = E::narrowed(*value);
                }
            }
        }
    }
    let mut output = FlexTensor::empty(shape, dtype);
    match dtype {
        DType::F32 => join::<f32>(panels, size, &mut output),
        DType::BF16 => join::<bf16>(panels, size, &mut output),
        DType::F16 => join::<f16>(panels, size, &mut output),
        _ => return None,
    }
    Some(output)
}
