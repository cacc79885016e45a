//! The walks over a module: its parameters out, other values in.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Gradients, Tensor},
};

/// A float parameter of a module.
pub(super) struct Parameter {
    /// Its path, such as `decoder.layers.0.moe.gate.weight`.
    pub(super) path: String,
    pub(super) shape: Vec<usize>,
    /// Where it is, with what the device says about gradients.
    pub(super) device: Device,
    /// Its values in row-major order, without a gradient.
    pub(super) values: Tensor<1>,
}

/// What to put in a parameter's place.
pub(super) enum Value {
    /// What is there.
    Same,
    /// Nothing, until it is replaced again.
    Nothing,
    /// Something that takes up a gradient.
    Leaf(Tensor<1>),
    /// Something that is not trained.
    Constant(Tensor<1>),
    /// The outcome of operations whose gradient goes further.
    Tracked(Tensor<1>),
}

/// The float parameters of `module` in its order.
pub(super) fn parameters<M: Module>(module: &M) -> Vec<Parameter> {
    let mut walk = Collect::default();
    module.visit(&mut walk);
    walk.found
}

/// `module` with the float parameter number `i` replaced by what `value(i)` gives, of the shape
/// `shapes[i]`.
pub(super) fn replace<M: Module>(
    module: M,
    shapes: &[Vec<usize>],
    value: impl FnMut(usize) -> Value,
) -> M {
    module.map(&mut Replace {
        next: 0,
        shapes,
        value,
    })
}

/// Gives the flat gradients of `module`'s parameters that have one to `take`, with their numbers.
pub(super) fn gradients<M: Module>(
    module: &M,
    gradients: &mut Gradients,
    take: impl FnMut(usize, Tensor<1>),
) {
    module.visit(&mut Take {
        next: 0,
        gradients,
        take,
    });
}

#[derive(Default)]
struct Collect {
    path: Vec<String>,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let device = tensor.device();
        let tensor = tensor.inner();
        self.found.push(Parameter {
            device,
            path: self.path.join("."),
            shape: tensor.dims().to_vec(),
            values: flat(tensor),
        });
    }
}

struct Replace<'a, F> {
    next: usize,
    shapes: &'a [Vec<usize>],
    value: F,
}

impl<F: FnMut(usize) -> Value> ModuleMapper for Replace<'_, F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.next;
        self.next += 1;
        let mut shape = [0; D];
        shape.copy_from_slice(&self.shapes[index]);
        let of_rank = |values: Tensor<1>| values.reshape(shape);
        let value = (self.value)(index);
        if matches!(value, Value::Same) {
            return param;
        }
        let (id, old, mapper) = param.consume();
        match value {
            Value::Same => Param::from_mapped_value(id, old, mapper),
            Value::Nothing => {
                let nothing = Tensor::zeros([1; D], &old.device());
                Param::from_mapped_value(id, nothing, mapper)
            }
            Value::Leaf(values) => {
                let leaf = of_rank(values.detach());
                Param::from_mapped_value(id, leaf, mapper).set_require_grad(true)
            }
            Value::Constant(values) => {
                Param::from_mapped_value(id, of_rank(values), mapper).set_require_grad(false)
            }
            Value::Tracked(values) => Param::initialized(id, of_rank(values)),
        }
    }
}

struct Take<'a, F> {
    next: usize,
    gradients: &'a mut Gradients,
    take: F,
}

impl<F: FnMut(usize, Tensor<1>)> ModuleVisitor for Take<'_, F> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let index = self.next;
        self.next += 1;
        if let Some(gradient) = param.val().grad_remove(self.gradients) {
            (self.take)(index, flat(gradient));
        }
    }
}

/// The values of a tensor in row-major order.
pub(super) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.dims().iter().product::<usize>();
    tensor.reshape([elements])
}
