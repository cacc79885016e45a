//! A gate, an expert and a loss of one's own, by traits: `cargo run -p moe-router --example own_parts`

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor, activation::relu};
use moe_router::{DynamicCapacityMoe, DynamicCapacityMoeConfig, Expert, Gate, Gating};
use moe_router::{MoeConfigError, Routing, RoutingContext, RoutingLoss};

/// Scores by cosine similarity, so that long tokens aren't more decided than short ones.
#[derive(Module, Debug)]
struct CosineGate {
    directions: Param<Tensor<2>>,
}

impl Gate for CosineGate {
    fn logits(&self, x: Tensor<2>) -> Tensor<2> {
        let unit = |t: Tensor<2>, dim| t.clone() / t.square().sum_dim(dim).sqrt();
        unit(x, 1).matmul(unit(self.directions.val(), 0)) * 4.0
    }
}

/// `Y = relu(X W)^2`
#[derive(Module, Debug)]
struct SquaredRelu {
    linear: Linear,
}

impl Expert for SquaredRelu {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        relu(self.linear.forward(x)).square()
    }
}

/// Squared coefficient of variation of the experts' mean probabilities.
struct Importance;

impl RoutingLoss for Importance {
    fn loss(&self, routing: &Routing, _token_weights: Option<Tensor<1>>) -> Tensor<1> {
        let share = routing.probs().mean_dim(0) * routing.pool() as f32;
        (share - 1.0).square().mean()
    }
}

fn main() -> Result<(), MoeConfigError> {
    let device = Device::flex().autodiff();
    let normal = |shape| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let config = DynamicCapacityMoeConfig::new(16, 4, 16);
    let directions = Param::from_tensor(normal([16, 4]));
    let gate = CosineGate { directions };
    let linears = (0..4).map(|_| LinearConfig::new(16, 16).init(&device));
    let experts = linears.map(|linear| SquaredRelu { linear }).collect();
    let moe =
        DynamicCapacityMoe::from_parts(&config, gate, Gating::TopK { k: 2 }, experts, vec![])?;
    let output = moe.forward(normal([5, 16]).unsqueeze(), RoutingContext::new());
    let loss = output.hidden.mean() + Importance.loss(&output.routing, None);
    let gradient = moe.gate.directions.val().grad(&loss.backward());
    println!("gradient: {:?}", gradient.map(|g| g.into_data()));
    Ok(())
}
