//! The devices to run tests on.

use burn::tensor::Device;
#[cfg(any(
    feature = "cuda",
    feature = "rocm",
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal"
))]
use burn::tensor::DeviceType;

/// The devices that this build and this machine have, at most one per compiled backend.
///
/// `UNIMOE_TEST_DEVICES` (a comma-separated list such as `flex,wgpu`) narrows them down; a name in it
/// that finds no device is an error, so that a test run can't silently skip a backend.
///
/// # Panics
///
/// Panics where no device is left.
pub fn devices() -> Vec<(&'static str, Device)> {
    let mut found: Vec<(&'static str, Device)> = Vec::new();
    #[cfg(feature = "flex")]
    found.push(("flex", Device::flex()));
    #[cfg(feature = "cuda")]
    found.extend(first("cuda", DeviceType::Cuda));
    #[cfg(feature = "rocm")]
    found.extend(first("rocm", DeviceType::Rocm));
    #[cfg(feature = "vulkan")]
    found.extend(first("vulkan", DeviceType::Vulkan));
    #[cfg(feature = "metal")]
    found.extend(first("metal", DeviceType::Metal));
    #[cfg(all(feature = "wgpu", not(any(feature = "vulkan", feature = "metal"))))]
    found.extend(first("wgpu", DeviceType::Wgpu));

    if let Ok(wanted) = std::env::var("UNIMOE_TEST_DEVICES") {
        let wanted: Vec<&str> = wanted.split(',').map(str::trim).collect();
        for name in &wanted {
            assert!(
                found.iter().any(|(found, _)| found == name),
                "UNIMOE_TEST_DEVICES asks for {name}, which this build or machine lacks"
            );
        }
        found.retain(|(name, _)| wanted.contains(name));
    }
    assert!(!found.is_empty(), "no device: build with --features flex");
    found
}

#[cfg(any(
    feature = "cuda",
    feature = "rocm",
    feature = "wgpu",
    feature = "vulkan",
    feature = "metal"
))]
fn first(name: &'static str, kind: DeviceType) -> Option<(&'static str, Device)> {
    Device::enumerate(kind)
        .into_vec()
        .into_iter()
        .next()
        .map(|device| (name, device))
}
