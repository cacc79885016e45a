//! What a transformer does between its matrix products, in one pass over the memory each.
//!
//! Every function runs and differentiates on every backend, in Burn's tensor API. On the CPU (feature `flex`), in
//! float32, it takes one pass over the memory instead of five to ten, vectorised and on all threads, and has a gradient
//! of its own; the form in the tensor API is what it is tested against. The module `graph` records such operations of
//! other crates too, and `rows` runs their loops. [`linear`] and [`project`] multiply by weights of 16 or 8 bits without
//! converting them beforehand, where nothing is recorded.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//!
//! let device = Device::flex().autodiff();
//! let gate = Tensor::<1>::from_floats([0.0, 1.0], &device).require_grad();
//! let up = Tensor::<1>::from_floats([3.0, 2.0], &device);
//! let gradients = fused_ops::swiglu(gate.clone(), up).sum().backward();
//! // up * (s + gate * s * (1 - s)) with s = 1 / (1 + e^-gate)
//! let slope = gate.grad(&gradients).expect("a gradient").into_data().try_into_vec::<f32>()?;
//! assert!((slope[0] - 1.5).abs() < 1e-6 && (slope[1] - 1.855_34).abs() < 1e-5);
//! # Ok::<(), burn::tensor::DataError>(())
//! ```

#[cfg(feature = "flex")]
mod arithmetic;
mod cross_entropy;
#[cfg(feature = "flex")]
pub mod graph;
mod linear;
#[cfg(feature = "flex")]
pub mod matrix;
#[cfg(feature = "flex")]
mod number;
mod rms_norm;
mod rotary;
#[cfg(feature = "flex")]
pub mod rows;
mod scatter;
mod softmax;
mod swiglu;
#[cfg(test)]
mod testing;
#[cfg(feature = "flex")]
mod tiles;

pub use cross_entropy::cross_entropy;
pub use linear::{linear, project};
pub use rms_norm::rms_norm;
pub use rotary::rotate_heads;
pub use scatter::add_rows;
pub use softmax::{CausalMask, causal_softmax};
pub use swiglu::swiglu;
