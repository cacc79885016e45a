//! UniMoE-Audio for Burn: speech and music generation from text and a voice.

mod device;

pub use device::{Backend, DeviceChoice, DeviceError};
