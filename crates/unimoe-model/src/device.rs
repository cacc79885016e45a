//! The device, chosen at run time by its name: `auto`, `cpu`, `cuda:1`.
//!
//! The backends are those that the program was built with (the features `flex`, `cuda`, `rocm`,
//! `vulkan`, `metal` and `wgpu`). Constructing a device that is not there panics in Burn, so
//! everything here enumerates first.

use std::{fmt, str::FromStr};

use burn::tensor::{Device, DeviceType};

/// A kind of device that Burn can run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The processor (feature `flex`).
    Cpu,
    /// NVIDIA GPUs (feature `cuda`).
    Cuda,
    /// AMD GPUs (feature `rocm`).
    Rocm,
    /// GPUs by Metal (feature `metal`).
    Metal,
    /// GPUs by Vulkan with SPIR-V kernels (feature `vulkan`).
    Vulkan,
    /// GPUs by whichever graphics interface WebGPU finds (feature `wgpu`).
    Wgpu,
}

/// The device that a user asks for.
///
/// # Example
///
/// ```
/// use unimoe_model::{Backend, DeviceChoice};
///
/// let choice: DeviceChoice = "cuda:1".parse()?;
/// assert_eq!(choice, DeviceChoice::Indexed { backend: Backend::Cuda, index: 1 });
/// assert_eq!(choice.to_string(), "cuda:1");
/// # Ok::<(), unimoe_model::DeviceError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// The first GPU found, in the order of [`Backend::PREFERENCE`], else the processor. A software
    /// renderer is no GPU.
    #[default]
    Auto,
    /// The device number `index` of one backend, as that backend enumerates them.
    Indexed {
        /// The backend.
        backend: Backend,
        /// Its place in the enumeration, from 0.
        index: usize,
    },
}

/// Why there is no such device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name says nothing.
    #[error(
        "unknown device `{name}`: expected auto, cpu, or cuda, rocm, metal, vulkan or wgpu with an \
         optional number such as cuda:1"
    )]
    Unknown {
        /// What was given.
        name: String,
    },
    /// The program was built without this backend.
    #[error("device `{wanted}` is not compiled in; this program has {compiled}")]
    NotCompiled {
        /// The device asked for.
        wanted: DeviceChoice,
        /// The backends that were compiled in.
        compiled: String,
    },
    /// The backend finds no such device on this machine.
    #[error("device `{wanted}` is not there; this machine has {present}")]
    NotThere {
        /// The device asked for.
        wanted: DeviceChoice,
        /// The devices that were found.
        present: String,
    },
    /// The program was built with no backend, or none of them finds a device.
    #[error("no device was found; this program has {compiled}")]
    None {
        /// The backends that were compiled in.
        compiled: String,
    },
}

impl Backend {
    /// All backends in the order in which [`DeviceChoice::Auto`] tries them.
    pub const PREFERENCE: [Self; 6] = [
        Self::Cuda,
        Self::Rocm,
        Self::Metal,
        Self::Vulkan,
        Self::Wgpu,
        Self::Cpu,
    ];

    /// The name that a user gives.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Wgpu => "wgpu",
        }
    }

    /// Whether the program was built with it.
    pub fn is_compiled(self) -> bool {
        self.kind().is_some()
    }

    /// The devices of this backend on this machine; empty where it was not compiled in.
    pub fn devices(self) -> Vec<Device> {
        self.kind()
            .map(|kind| Device::enumerate(kind).into_vec())
            .unwrap_or_default()
    }

    fn kind(self) -> Option<DeviceType> {
        match self {
            // The crate's own tests always have flex, by the dev-dependency.
            #[cfg(any(test, feature = "flex"))]
            Self::Cpu => Some(DeviceType::Flex),
            #[cfg(feature = "cuda")]
            Self::Cuda => Some(DeviceType::Cuda),
            #[cfg(feature = "rocm")]
            Self::Rocm => Some(DeviceType::Rocm),
            #[cfg(feature = "metal")]
            Self::Metal => Some(DeviceType::Metal),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Some(DeviceType::Vulkan),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Some(DeviceType::Wgpu),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
}

impl DeviceChoice {
    /// Finds the device.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] where it was not compiled in or is not there; the message says which are.
    pub fn resolve(self) -> Result<Device, DeviceError> {
        match self {
            Self::Auto => Backend::PREFERENCE
                .into_iter()
                .flat_map(|backend| backend.devices().into_iter().map(move |d| (backend, d)))
                .find(|(backend, device)| *backend == Backend::Cpu || is_hardware(device))
                .map(|(_, device)| device)
                .ok_or_else(|| DeviceError::None {
                    compiled: compiled(),
                }),
            Self::Indexed { backend, .. } if !backend.is_compiled() => {
                Err(DeviceError::NotCompiled {
                    wanted: self,
                    compiled: compiled(),
                })
            }
            Self::Indexed { backend, index } => backend
                .devices()
                .into_iter()
                .nth(index)
                .ok_or_else(|| DeviceError::NotThere {
                    wanted: self,
                    present: present(),
                }),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown {
            name: text.to_owned(),
        };
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let (name, index) = match text.split_once(':') {
            None => (text, 0),
            Some((name, index)) => (name, index.parse().map_err(|_| unknown())?),
        };
        let backend = Backend::PREFERENCE
            .into_iter()
            .find(|backend| backend.name().eq_ignore_ascii_case(name))
            .ok_or_else(unknown)?;
        Ok(Self::Indexed { backend, index })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Indexed {
                backend: Backend::Cpu,
                index: 0,
            } => f.write_str("cpu"),
            Self::Indexed { backend, index } => write!(f, "{}:{index}", backend.name()),
        }
    }
}

/// Whether a device is a card, and not a software renderer. Opens the device.
#[cfg(any(
    feature = "cuda",
    feature = "rocm",
    feature = "metal",
    feature = "vulkan",
    feature = "wgpu"
))]
fn is_hardware(device: &Device) -> bool {
    device
        .identity()
        .is_some_and(|identity| identity.physical.is_some())
}

/// Without a GPU backend there is no card.
#[cfg(not(any(
    feature = "cuda",
    feature = "rocm",
    feature = "metal",
    feature = "vulkan",
    feature = "wgpu"
)))]
fn is_hardware(_device: &Device) -> bool {
    false
}

fn compiled() -> String {
    list(
        Backend::PREFERENCE
            .into_iter()
            .filter(|backend| backend.is_compiled())
            .map(|backend| backend.name().to_owned()),
    )
}

fn present() -> String {
    list(Backend::PREFERENCE.into_iter().flat_map(|backend| {
        (0..backend.devices().len())
            .map(move |index| DeviceChoice::Indexed { backend, index }.to_string())
    }))
}

fn list(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_as_itself() {
        for name in [
            "auto", "cpu", "cuda:0", "cuda:3", "rocm:1", "metal:0", "vulkan:2", "wgpu:0",
        ] {
            let choice: DeviceChoice = name.parse().expect("a device name");
            assert_eq!(choice.to_string(), name);
        }
        assert_eq!("CUDA".parse(), "cuda:0".parse::<DeviceChoice>());
    }

    #[test]
    fn a_name_that_says_nothing_is_named_in_the_error() {
        for name in [
            "", "gpu", "cuda:", "cuda:-1", "cuda:x", "auto:0", "cuda:1:2",
        ] {
            let error = name.parse::<DeviceChoice>().expect_err("no device name");
            assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
        }
    }

    #[test]
    fn the_processor_is_always_found_under_test() {
        let device = "cpu"
            .parse::<DeviceChoice>()
            .expect("a name")
            .resolve()
            .expect("flex");
        assert_eq!(device, Device::flex());
        DeviceChoice::Auto
            .resolve()
            .expect("at least the processor");
    }

    #[test]
    fn an_absent_number_says_what_is_present() {
        let error = "cpu:7"
            .parse::<DeviceChoice>()
            .expect("a name")
            .resolve()
            .expect_err("there is one processor");
        let text = error.to_string();
        assert!(text.contains("`cpu:7` is not there"), "{text}");
        assert!(text.contains("has ") && text.ends_with("cpu"), "{text}");
    }

    #[test]
    fn a_backend_that_was_not_compiled_in_says_what_was() {
        for backend in Backend::PREFERENCE {
            let result = DeviceChoice::Indexed { backend, index: 0 }.resolve();
            if !backend.is_compiled() {
                let text = result.expect_err("not compiled in").to_string();
                assert!(text.contains("is not compiled in"), "{text}");
                assert!(text.ends_with("cpu"), "{text}");
            }
        }
        assert!(Backend::Cpu.is_compiled());
    }
}
