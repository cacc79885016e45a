//! Upcycling: experts from dense blocks.
//!
//! UniMoE-Audio (arXiv:2510.13344), section 4: each specialist's feed-forward block is split into routed
//! experts, and what the specialists share is averaged.
//!
//! Axes: `D` model width, `F` inner width, `n` parts.

use std::collections::HashMap;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    nn::Linear,
    tensor::{Bool, Int, Tensor},
};

use crate::{error::UpcycleError, expert::SwiGlu, gate::in_f32};

/// Splits a dense block of inner width `F` into `parts` experts of width `F / parts` each.
///
/// The parts take consecutive slices of the inner width, and their outputs sum to the whole's:
///
/// ```text
/// W_gate, W_up [D, F]   | part 0 | part 1 | ...      W_down [F, D]   part 0
///                                                                    ------
///                                                                    part 1
/// ```
///
/// # Errors
///
/// [`UpcycleError::NotDivisible`] if `parts` is 0 or doesn't divide the inner width.
///
/// # Panics
///
/// Panics if the device can't be read.
pub fn split_swiglu(dense: &SwiGlu, parts: usize) -> Result<Vec<SwiGlu>, UpcycleError> {
    let [d_hidden, _] = dense.down_proj.weight.dims();
    if parts == 0 || d_hidden == 0 || !d_hidden.is_multiple_of(parts) {
        return Err(UpcycleError::NotDivisible { d_hidden, parts });
    }
    let width = d_hidden / parts;
    let expert = |part: usize| SwiGlu {
        gate_proj: inner_columns(&dense.gate_proj, part * width, width),
        up_proj: inner_columns(&dense.up_proj, part * width, width),
        down_proj: inner_rows(&dense.down_proj, part * width, width),
    };
    Ok((0..parts).map(expert).collect())
}

/// The expert whose output is `factor` times that of `expert`: its down projection is multiplied.
///
/// A dense block's parts add up to it; a mixture weights each by its share of the probability instead, so that the
/// parts' sum shrinks when they become routed experts. A factor makes up for that.
///
/// # Shapes
///
/// - as those of `expert`
pub fn scale_swiglu(expert: SwiGlu, factor: f64) -> SwiGlu {
    let scaled = |param: Param<Tensor<2>>| own(param.val() * factor);
    let down = expert.down_proj;
    SwiGlu {
        down_proj: Linear {
            weight: scaled(down.weight),
            bias: down.bias.map(|bias| own(bias.val() * factor)),
        },
        ..expert
    }
}

/// The parameter-wise mean of modules of one shape, computed in f32, in the first one's dtypes.
///
/// Integer and boolean parameters are the first module's; parameter ids too.
///
/// # Errors
///
/// [`UpcycleError::Empty`] without modules, [`UpcycleError::Mismatch`] if their parameters differ.
pub fn average<M: Module>(modules: &[M]) -> Result<M, UpcycleError> {
    let inventories: Vec<Inventory> = modules
        .iter()
        .map(|module| {
            let mut inventory = Inventory::default();
            module.visit(&mut inventory);
            inventory
        })
        .collect();
    let (Some(first), Some((reference, others))) = (modules.first(), inventories.split_first())
    else {
        return Err(UpcycleError::Empty);
    };
    for (index, other) in others.iter().enumerate() {
        reference.compare(other, index + 1)?;
    }
    Ok(first.clone().map(&mut Averager {
        path: Vec::new(),
        others,
    }))
}

/// Columns `start..start + width` of `[D, F]`, with their biases.
fn inner_columns(linear: &Linear, start: usize, width: usize) -> Linear {
    Linear {
        weight: own(linear.weight.val().narrow(1, start, width)),
        bias: linear
            .bias
            .as_ref()
            .map(|bias| own(bias.val().narrow(0, start, width))),
    }
}

/// Rows `start..start + width` of `[F, D]`; the first part alone keeps the bias.
fn inner_rows(linear: &Linear, start: usize, width: usize) -> Linear {
    Linear {
        weight: own(linear.weight.val().narrow(0, start, width)),
        bias: linear.bias.as_ref().map(|bias| match start {
            0 => own(bias.val()),
            _ => own(bias.val().zeros_like()),
        }),
    }
}

/// A parameter with memory of its own: a slice of a bigger tensor would be strided, slow to
/// multiply, and keep the whole alive.
fn own<const N: usize>(view: Tensor<N>) -> Param<Tensor<N>> {
    let (device, dtype) = (view.device(), view.dtype());
    Param::from_tensor(Tensor::from_data(view.into_data(), (&device, dtype)))
}

/// The float parameters of a module by path, flattened, and the shape of every parameter.
#[derive(Default)]
struct Inventory {
    path: Vec<String>,
    shapes: HashMap<String, String>,
    floats: HashMap<String, Tensor<1>>,
}

impl Inventory {
    fn note(&mut self, kind: &str, shape: &[usize]) -> String {
        let path = self.path.join(".");
        self.shapes
            .insert(path.clone(), format!("{kind} {shape:?}"));
        path
    }

    fn compare(&self, other: &Self, module: usize) -> Result<(), UpcycleError> {
        let mut paths: Vec<&String> = self.shapes.keys().chain(other.shapes.keys()).collect();
        paths.sort();
        let shape = |inventory: &Self, path: &str| match inventory.shapes.get(path) {
            Some(shape) => shape.clone(),
            None => "nothing".to_string(),
        };
        for path in paths {
            let (expected, found) = (shape(self, path), shape(other, path));
            if expected != found {
                return Err(UpcycleError::Mismatch {
                    module,
                    path: path.clone(),
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }
}

impl ModuleVisitor for Inventory {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().detach();
        let path = self.note("float", &value.dims());
        let count = value.shape().num_elements();
        self.floats.insert(path, value.reshape([count]));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.note("int", &param.val().dims());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.note("bool", &param.val().dims());
    }
}

/// Replaces each float parameter by the mean of it and its counterparts.
struct Averager<'a> {
    path: Vec<String>,
    others: &'a [Inventory],
}

impl ModuleMapper for Averager<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        let (id, value, mapper) = param.consume();
        let (shape, dtype, device) = (value.shape(), value.dtype(), value.device());
        let trained = value.is_require_grad();
        let mut sum = in_f32(value.detach());
        for other in self.others.iter().filter_map(|o| o.floats.get(&path)) {
            let other = other.clone().to_device(&device).reshape(shape.clone());
            sum = sum + in_f32(other);
        }
        let mean = sum / (self.others.len() + 1) as f32;
        // Detached once more: the parameter must be a leaf.
        let mean = mean.cast(dtype).detach().set_require_grad(trained);
        Param::from_mapped_value(id, mean, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SwiGluConfig;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn the_parts_sum_to_the_whole_for_every_divisor() {
        let device = Device::flex();
        let mut dense = SwiGluConfig::new(5, 12).init(&device);
        dense.gate_proj.bias = Some(Param::from_tensor(Tensor::ones([12], &device) * 0.3));
        dense.down_proj.bias = Some(Param::from_tensor(Tensor::ones([5], &device)));
        let x = Tensor::<2>::from_data([[0.3, -1.0, 2.0, 0.0, 0.7]], &device);
        let whole = dense.forward(x.clone()).into_data();
        let doubled = scale_swiglu(dense.clone(), 2.0).forward(x.clone());
        (doubled / 2.0)
            .into_data()
            .assert_approx_eq::<f32>(&whole, Tolerance::absolute(1e-5));
        for parts in [1, 2, 3, 4, 6, 12] {
            let split = split_swiglu(&dense, parts).expect("a divisor");
            assert_eq!(split.len(), parts);
            assert_eq!(split[0].down_proj.weight.dims(), [12 / parts, 5]);
            let sum = split
                .iter()
                .map(|expert| expert.forward(x.clone()))
                .reduce(|sum, y| sum + y)
                .expect("at least one part");
            sum.into_data()
                .assert_approx_eq::<f32>(&whole, Tolerance::absolute(1e-5));
        }
        for parts in [0, 5, 13] {
            let found = split_swiglu(&dense, parts).expect_err("no divisor");
            let expected = UpcycleError::NotDivisible {
                d_hidden: 12,
                parts,
            };
            assert_eq!(found, expected);
        }
    }

    fn constant(value: f32, d_hidden: usize, device: &Device) -> SwiGlu {
        let fill = burn::module::Initializer::Constant {
            value: value.into(),
        };
        SwiGluConfig::new(2, d_hidden)
            .with_initializer(fill)
            .init(device)
    }

    /// (1 + 2 + 6) / 3 = 3
    #[test]
    fn the_average_is_the_mean_of_each_parameter() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let modules = [1.0, 2.0, 6.0].map(|value| constant(value, 3, &device));
            let mean = average(&modules).expect("equal shapes");
            for linear in [mean.gate_proj, mean.up_proj, mean.down_proj] {
                assert_eq!(linear.weight.is_require_grad(), device.is_autodiff());
                let expected = linear.weight.val().full_like(3.0).into_data();
                assert_eq!(linear.weight.val().into_data(), expected);
            }
        }
    }

    #[test]
    fn modules_of_other_shapes_are_named() {
        let device = Device::flex();
        assert_eq!(average::<SwiGlu>(&[]).err(), Some(UpcycleError::Empty));
        let modules = [constant(1.0, 3, &device), constant(1.0, 4, &device)];
        let error = average(&modules).expect_err("3 and 4 differ");
        assert_eq!(
            error.to_string(),
            "module 1: parameter `down_proj.weight` expected float [3, 2], found float [4, 2]"
        );
    }
}
