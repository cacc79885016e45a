//! Writing a model as [`UniMoe::load`] reads it.

use std::path::Path;

use burn::tensor::DType;
use model_files::{write, write_json};

use crate::{error::UniMoeError, init::SHARD_BYTES, model::UniMoe, weights::ReleasedNames};

impl UniMoe {
    /// Writes the weights in `dtype` and `config.json` to `folder`, which must be there, in the released layout.
    ///
    /// Tokenizer, preprocessor and codec, which a model folder has too, are not this model's to write. The memory in
    /// use is one parameter. A failure leaves files behind: write to a temporary folder and rename it.
    ///
    /// # Errors
    ///
    /// A [`WeightsError`](crate::WeightsError) where a file can't be written or a value is not finite in `dtype`.
    ///
    /// ```
    /// use burn::tensor::{DType, Device};
    /// use unimoe_model::{LoadOptions, UniMoe, UniMoeConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (folder, device) = (tempfile::tempdir()?, Device::flex());
    /// let model = UniMoe::random(&UniMoeConfig::tiny(), 1, LoadOptions::default(), &device)?;
    /// model.save(folder.path(), DType::F32)?;
    /// let again = UniMoe::load(folder.path(), LoadOptions::default(), &device)?;
    /// assert_eq!(
    ///     again.codec_head.projection.weight.val().into_data(),
    ///     model.codec_head.projection.weight.val().into_data(),
    /// );
    /// # Ok(())
    /// # }
    /// ```
    pub fn save(&self, folder: &Path, dtype: DType) -> Result<(), UniMoeError> {
        write(
            self,
            &ReleasedNames(self.config()),
            dtype,
            folder,
            SHARD_BYTES,
        )?;
        write_json(&folder.join("config.json"), &self.config().to_released())?;
        Ok(())
    }
}
