//! Gradient conflict: whether the domains pull the parameters that they share in the same direction.
//!
//! `cos(i, j) = <g_i, g_j> / (|g_i| |g_j|)`, with `g_i` the gradient of domain `i`'s loss on the shared
//! parameters, one vector over all of them. Below zero, a step that helps one domain hurts the other:
//! the task conflict that UniMoE-Audio (arXiv:2510.13344, section 1) sets out to lessen.

use burn::{
    module::{Module, ModuleVisitor, Param, ParamGroup},
    optim::GradientsParams,
    tensor::{DType, Tensor},
};

use super::error::ReportError;
use crate::{error::TrainError, event::Event};

/// How the gradients of the domains lie to each other.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientConflict {
    /// The domains, in the order of the rest.
    pub domains: Vec<String>,
    /// Cosine of the gradients of each pair of domains; NaN where one of them is zero or not finite.
    pub cosines: Vec<Vec<f64>>,
    /// Euclidean norm of each domain's gradient.
    pub norms: Vec<f64>,
    /// Number of values in a gradient.
    pub parameters: u64,
}

impl GradientConflict {
    /// The event to be noted after `step` steps.
    pub fn event(&self, step: u64) -> Event {
        Event::GradientConflict {
            step,
            domains: self.domains.clone(),
            cosines: self.cosines.clone(),
        }
    }
}

/// The parameters that every token uses: all but the routed experts' of a
/// [`DynamicCapacityMoe`](moe_router::DynamicCapacityMoe), whose paths hold `routed.`.
pub fn shared_parameters() -> ParamGroup {
    ParamGroup::all().exclude(ParamGroup::from_predicate("routed."))
}

/// Compares the gradients of the domains' losses on the trained parameters of `model` that are in `shared`.
///
/// `loss` is asked for each domain once and computes it with `model` on an autodiff device; a forward
/// pass of its own for each domain, as a graph is gone after its backward pass. Nothing is learnt.
/// Gradients are read from the device parameter by parameter and summed in f64; all domains' gradients are
/// in the device's memory together.
///
/// # Errors
///
/// What `loss` returns, and [`ReportError::NoGradient`] where its tensor has no graph.
pub fn gradient_conflict<M: Module>(
    model: &M,
    shared: &ParamGroup,
    domains: &[String],
    mut loss: impl FnMut(&str) -> Result<Tensor<1>, TrainError>,
) -> Result<GradientConflict, TrainError> {
    let mut gradients = Vec::with_capacity(domains.len());
    for domain in domains {
        let loss = loss(domain)?;
        if !loss.is_tracked() {
            return Err(ReportError::NoGradient {
                domain: domain.clone(),
            }
            .into());
        }
        gradients.push(GradientsParams::from_grads(loss.backward(), model));
    }
    let n = domains.len();
    let mut products = Products {
        path: Vec::new(),
        shared,
        gradients,
        sums: vec![vec![0.0; n]; n],
        parameters: 0,
    };
    model.visit(&mut products);
    Ok(products.conflict(domains))
}

/// Sums the products of all pairs of gradients, parameter by parameter.
struct Products<'a> {
    path: Vec<String>,
    shared: &'a ParamGroup,
    gradients: Vec<GradientsParams>,
    /// `<g_i, g_j>` for `j >= i`.
    sums: Vec<Vec<f64>>,
    parameters: u64,
}

impl ModuleVisitor for Products<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let taken: Vec<_> = self
            .gradients
            .iter_mut()
            .map(|gradients| gradients.remove::<D>(param.id))
            .collect();
        if !self.shared.matches(&param.id, Some(&path)) || taken.iter().all(Option::is_none) {
            return;
        }
        self.parameters += param.val().shape().num_elements() as u64;
        // A domain that doesn't use a parameter has no gradient there: zero.
        let values: Vec<Vec<f32>> = taken.into_iter().map(host).collect();
        for (i, one) in values.iter().enumerate() {
            for (j, other) in values.iter().enumerate().skip(i) {
                self.sums[i][j] += dot(one, other);
            }
        }
    }
}

impl Products<'_> {
    fn conflict(self, domains: &[String]) -> GradientConflict {
        let n = domains.len();
        let norms: Vec<f64> = (0..n).map(|i| self.sums[i][i].sqrt()).collect();
        let cosine = |i: usize, j: usize| {
            let cosine = self.sums[i.min(j)][i.max(j)] / (norms[i] * norms[j]);
            // Rounding leaves [-1, 1] by an ulp; `clamp` keeps NaN.
            cosine.clamp(-1.0, 1.0)
        };
        GradientConflict {
            domains: domains.to_vec(),
            cosines: (0..n)
                .map(|i| (0..n).map(|j| cosine(i, j)).collect())
                .collect(),
            norms,
            parameters: self.parameters,
        }
    }
}

fn host<const D: usize>(gradient: Option<Tensor<D>>) -> Vec<f32> {
    let data = gradient.map(|gradient| gradient.cast(DType::F32).into_data());
    data.map(|data| data.iter::<f32>().collect())
        .unwrap_or_default()
}

fn dot(one: &[f32], other: &[f32]) -> f64 {
    let pairs = one.iter().zip(other);
    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use burn::{
        module::Module,
        nn::{Linear, LinearConfig},
        tensor::Device,
    };

    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        trunk: Linear,
        routed: Vec<Linear>,
    }

    fn two(device: &Device) -> Two {
        let linear = || LinearConfig::new(2, 1).with_bias(false).init(device);
        Two {
            trunk: linear(),
            routed: vec![linear()],
        }
    }

    /// Loss whose gradient on a linear layer's weights is `x`.
    fn along(linear: &Linear, x: [f32; 2], device: &Device) -> Tensor<1> {
        linear.forward(Tensor::<2>::from_data([x], device)).sum()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn cosines_are_those_of_gradients_known_by_hand() {
        let device = Device::flex().autodiff();
        let model = two(&device);
        let directions = [[1.0, 0.0], [3.0, 4.0], [-2.0, 0.0], [0.0, 0.0]];
        let domains = names(&["0", "1", "2", "3"]);
        let conflict = gradient_conflict(&model, &shared_parameters(), &domains, |domain| {
            let index: usize = domain.parse().expect("an index");
            Ok(along(&model.trunk, directions[index], &device))
        })
        .expect("losses with gradients");
        assert_eq!(conflict.parameters, 2);
        assert_eq!(conflict.norms, [1.0, 5.0, 2.0, 0.0]);
        // 3 / 5, then opposite directions.
        assert!((conflict.cosines[0][1] - 0.6).abs() < 1e-12);
        assert!((conflict.cosines[2][1] + 0.6).abs() < 1e-12);
        assert_eq!(conflict.cosines[0][2], -1.0);
        assert_eq!(conflict.cosines[1][1], 1.0);
        assert!(conflict.cosines[3].iter().all(|cosine| cosine.is_nan()));
    }

    #[test]
    fn routed_experts_and_frozen_parameters_do_not_count() {
        let device = Device::flex().autodiff();
        let mut model = two(&device);
        let domains = names(&["a", "b"]);
        let loss = |model: &Two, domain: &str| {
            let sign = if domain == "a" { 1.0 } else { -1.0 };
            along(&model.routed[0], [sign, 0.0], &device) + along(&model.trunk, [1.0, 0.0], &device)
        };
        let shared = gradient_conflict(&model, &shared_parameters(), &domains, |d| {
            Ok(loss(&model, d))
        })
        .expect("losses with gradients");
        assert_eq!(shared.cosines[0][1], 1.0);
        let all = gradient_conflict(&model, &ParamGroup::all(), &domains, |d| {
            Ok(loss(&model, d))
        })
        .expect("losses with gradients");
        // The trunk agrees, the expert disagrees: (1 - 1) / 2.
        assert_eq!(all.cosines[0][1], 0.0);
        assert_eq!(all.parameters, 4);

        model.trunk = model.trunk.no_grad();
        let frozen = gradient_conflict(&model, &ParamGroup::all(), &domains, |d| {
            Ok(loss(&model, d))
        })
        .expect("losses with gradients");
        assert_eq!((frozen.parameters, frozen.cosines[0][1]), (2, -1.0));
    }

    #[test]
    fn a_loss_without_a_graph_is_refused_by_its_domain() {
        let device = Device::flex();
        let model = two(&device);
        let error = gradient_conflict(&model, &shared_parameters(), &names(&["music"]), |_| {
            Ok(along(&model.trunk, [1.0, 0.0], &device))
        })
        .expect_err("no graph");
        assert!(error.to_string().contains("`music`"), "{error}");
    }
}
