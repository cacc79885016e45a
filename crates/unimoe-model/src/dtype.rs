//! Which float type to keep a model's parameters in, where the user leaves it open.

use burn::tensor::{DType, Device};

use crate::{config::UniMoeConfig, device::Backend};

/// Share of the free memory that the parameters may take: the rest is for caches and the codec.
const MEMORY_SHARE: f64 = 0.8;

/// The type that `device` is fast at and that fits.
///
/// A GPU takes bf16 where it has it. The processor takes f32 while that fits the free memory, else f16,
/// whose attention Burn computes without converting it, as it does bf16's.
pub(crate) fn choose_dtype(config: &UniMoeConfig, device: &Device) -> DType {
    let device = &device.clone().inner();
    if !Backend::Cpu.devices().contains(device) {
        return match device.supports_dtype(DType::BF16) {
            true => DType::BF16,
            false => DType::F32,
        };
    }
    let bytes = 4.0 * config.parameters() as f64;
    match free_memory() {
        Some(free) if bytes > MEMORY_SHARE * free => DType::F16,
        _ => DType::F32,
    }
}

/// Free memory in bytes; `None` where the system doesn't tell.
fn free_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    parse_meminfo(&text)
}

fn parse_meminfo(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_bytes() {
        let text = "MemTotal: 10 kB\nMemFree: 3 kB\nMemAvailable:       5 kB\n";
        assert_eq!(parse_meminfo(text), Some(5120.0));
        assert_eq!(parse_meminfo("MemTotal: 10 kB\n"), None);
    }

    #[test]
    fn a_small_model_on_the_processor_is_kept_in_f32() {
        for device in [Device::flex(), Device::flex().autodiff()] {
            assert_eq!(choose_dtype(&UniMoeConfig::tiny(), &device), DType::F32);
        }
    }
}
