//! Sharded safetensors into [Burn](https://burn.dev) modules and back, by the names of published checkpoints.
//!
//! Files that nobody vouches for are read with plain file reads, one tensor at a time: the memory in use is the
//! loaded size and one tensor. They lie on a disk, or in a program that carries them ([`ModelPath`]). What is missing, superfluous, of another shape, damaged or not finite is an error
//! that names the file and the tensor.
//!
//! ```
//! use burn::{module::Module, nn::{Linear, LinearConfig}, tensor::{DType, Device}};
//! use model_files::{Naming, Shards, load};
//!
//! struct Names;
//!
//! impl Naming for Names {
//!     fn name(&self, path: &str) -> Option<String> {
//!         Some(format!("layer.{path}"))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let header = br#"{"layer.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}    "#;
//! # let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
//! # bytes.extend(header);
//! # bytes.extend((0..6).flat_map(|n| (n as f32).to_le_bytes()));
//! # std::fs::write(folder.path().join("model.safetensors"), bytes)?;
//! # let folder = folder.path();
//! let device = Device::flex();
//! let layer = LinearConfig::new(2, 3).with_bias(false).init(&device);
//! let shards = Shards::open(folder)?;
//! let loaded = load(layer, &Names, &shards, DType::F32, &device)?;
//! // Stored as [out, in], kept as [in, out].
//! assert_eq!(loaded.parameters[0].shape, [3, 2]);
//! assert_eq!(loaded.module.weight.dims(), [2, 3]);
//! # Ok(())
//! # }
//! ```

mod convert;
mod error;
mod load;
mod model_path;
mod shards;
mod text;
mod write;

pub use error::WeightsError;
pub use load::{Loaded, Naming, RawTensor, Source, StoredParameter, load, parameters};
pub use model_path::{EmbeddedFiles, ModelFile, ModelPath};
pub use shards::{INDEX_FILE, Shards, StoredTensor};
pub use text::read_text;
pub use write::{ShardWriter, write, write_json};
