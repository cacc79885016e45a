//! Sizes of a codec, and their two spellings in files.

use burn::config::Config;
use model_files::ModelPath;
use serde_json::{Map, Value, json};

use crate::error::DacError;

/// Largest width, codebook or rate that a configuration may ask for.
const MAX_SIZE: usize = 1 << 16;
/// Most codebooks.
const MAX_CODEBOOKS: usize = 1024;
/// Most stages of the encoder and of the decoder.
const MAX_STAGES: usize = 8;
/// Largest stride of a stage.
const MAX_STRIDE: usize = 64;
/// Longest file of settings, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// Highest sample rate, in Hz.
const MAX_SAMPLE_RATE: usize = 768_000;

/// Configuration to create a [`DacCodec`](crate::DacCodec). The defaults are the 16 kHz codec's.
#[derive(Config, Debug, PartialEq, Eq)]
pub struct DacConfig {
    /// Samples per second. Default: 16000
    #[config(default = 16000)]
    pub sample_rate: usize,
    /// Width of the encoder's first stage; each stage doubles it. Default: 64
    #[config(default = 64)]
    pub encoder_dim: usize,
    /// Strides of the encoder's stages. Default: 2, 4, 5, 8
    #[config(default = "vec![2, 4, 5, 8]")]
    pub encoder_rates: Vec<usize>,
    /// Width of the latent between encoder and decoder. Default: 1024
    #[config(default = 1024)]
    pub latent_dim: usize,
    /// Width of the decoder's first stage; each stage halves it. Default: 1536
    #[config(default = 1536)]
    pub decoder_dim: usize,
    /// Strides of the decoder's stages. Default: 8, 5, 4, 2
    #[config(default = "vec![8, 5, 4, 2]")]
    pub decoder_rates: Vec<usize>,
    /// Number of codebooks `K`. Default: 12
    #[config(default = 12)]
    pub n_codebooks: usize,
    /// Entries of a codebook. Default: 1024
    #[config(default = 1024)]
    pub codebook_size: usize,
    /// Width of a codebook entry. Default: 8
    #[config(default = 8)]
    pub codebook_dim: usize,
}

impl DacConfig {
    /// The published 16 kHz codec: 12 codebooks, 50 frames per second.
    pub fn dac_16khz() -> Self {
        Self::new()
    }

    /// The published 24 kHz codec: 32 codebooks, 75 frames per second.
    pub fn dac_24khz() -> Self {
        Self::new().with_sample_rate(24_000).with_n_codebooks(32)
    }

    /// The published 44.1 kHz codec: 9 codebooks, about 86 frames per second.
    pub fn dac_44khz() -> Self {
        Self::new()
            .with_sample_rate(44_100)
            .with_encoder_rates(vec![2, 4, 8, 8])
            .with_decoder_rates(vec![8, 8, 4, 2])
            .with_n_codebooks(9)
    }

    /// Samples per frame: the product of the encoder's strides.
    pub fn hop_length(&self) -> usize {
        self.encoder_rates.iter().product()
    }

    /// Frames per second.
    pub fn frame_rate(&self) -> f64 {
        self.sample_rate as f64 / self.hop_length() as f64
    }

    /// Samples that `frames` frames decode to.
    ///
    /// A stage of stride `s` makes `s` samples of one, less one where `s` is odd (it pads by
    /// `ceil(s / 2)` on both sides and has no output padding): for the strides 8, 5, 4, 2 the
    /// result is `320 * frames - 8`.
    pub fn decoded_length(&self, frames: usize) -> usize {
        self.decoder_rates.iter().fold(frames, |length, &rate| {
            (length * rate).saturating_sub(rate % 2)
        })
    }

    /// Checks every setting against its range and against the others.
    ///
    /// # Errors
    ///
    /// [`DacError::Config`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), DacError> {
        within("sample_rate", self.sample_rate, 1, MAX_SAMPLE_RATE)?;
        within("encoder_dim", self.encoder_dim, 1, MAX_SIZE)?;
        within("latent_dim", self.latent_dim, 1, MAX_SIZE)?;
        within("decoder_dim", self.decoder_dim, 1, MAX_SIZE)?;
        within("n_codebooks", self.n_codebooks, 1, MAX_CODEBOOKS)?;
        within("codebook_size", self.codebook_size, 1, MAX_SIZE)?;
        within("codebook_dim", self.codebook_dim, 1, MAX_SIZE)?;
        for (field, rates) in [
            ("encoder_rates", &self.encoder_rates),
            ("decoder_rates", &self.decoder_rates),
        ] {
            let stages = rates.len();
            // A stride of 1 would lengthen the signal by one sample per stage.
            if !(1..=MAX_STAGES).contains(&stages)
                || rates.iter().any(|rate| !(2..=MAX_STRIDE).contains(rate))
            {
                return Err(invalid(
                    field,
                    format!("1 to {MAX_STAGES} strides of 2 to {MAX_STRIDE}"),
                    format!("{rates:?}"),
                ));
            }
        }
        within("hop length", self.hop_length(), 2, MAX_SIZE)?;
        let hop: usize = self.decoder_rates.iter().product();
        if hop != self.hop_length() {
            return Err(invalid(
                "decoder_rates",
                format!("a product of {} as of encoder_rates", self.hop_length()),
                format!("{:?}", self.decoder_rates),
            ));
        }
        let widest = self.encoder_dim << self.encoder_rates.len();
        within("the encoder's last width", widest, 1, MAX_SIZE)?;
        // Each stage of the decoder halves its width, rounding down.
        let narrowest = self.decoder_dim >> self.decoder_rates.len();
        within("the decoder's last width", narrowest, 1, MAX_SIZE)?;
        Ok(())
    }

    /// Reads a JSON file of settings: the `config.json` of the Hugging Face layout, or the keyword arguments of the
    /// official codec; keys that the codec does not need are ignored.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`] where the file can't be read or is larger than a configuration, [`DacError::ConfigFile`] where
    /// it is no JSON object, and [`DacError::Config`] for a setting that is missing or out of range.
    pub fn read(path: impl Into<ModelPath>) -> Result<Self, DacError> {
        let file = path.into();
        let path = file.path();
        let unusable = |reason: String| DacError::ConfigFile {
            path: path.into(),
            reason,
        };
        let bytes = file.read(MAX_FILE).map_err(DacError::io("read", path))?;
        let map: Map<String, Value> =
            serde_json::from_slice(&bytes).map_err(|error| unusable(error.to_string()))?;
        Self::from_json(&map)
    }

    /// Reads the settings from the keyword arguments of the official checkpoint or from the
    /// `config.json` of the Hugging Face layout; keys that the codec does not need are ignored.
    pub(crate) fn from_json(map: &Map<String, Value>) -> Result<Self, DacError> {
        let count = |field, keys: [&str; 2]| {
            optional_count(map, field, keys)?.ok_or_else(|| {
                invalid(
                    field,
                    format!("{} or {}", keys[0], keys[1]),
                    "absent".into(),
                )
            })
        };
        let encoder_rates = counts(
            map,
            "encoder_rates",
            ["encoder_rates", "downsampling_ratios"],
        )?
        .ok_or_else(|| {
            let expected = "encoder_rates or downsampling_ratios".into();
            invalid("encoder_rates", expected, "absent".into())
        })?;
        // The Hugging Face layout may leave the decoder's strides out: they mirror the encoder's.
        let decoder_rates = counts(map, "decoder_rates", ["decoder_rates", "upsampling_ratios"])?
            .unwrap_or_else(|| encoder_rates.iter().rev().copied().collect());
        let encoder_dim = count("encoder_dim", ["encoder_dim", "encoder_hidden_size"])?;
        let latent_dim = optional_count(map, "latent_dim", ["latent_dim", "hidden_size"])?
            .unwrap_or_else(|| {
                encoder_dim.saturating_mul(1 << encoder_rates.len().min(MAX_STAGES))
            });
        let config = Self {
            sample_rate: count("sample_rate", ["sample_rate", "sampling_rate"])?,
            encoder_dim,
            encoder_rates,
            latent_dim,
            decoder_dim: count("decoder_dim", ["decoder_dim", "decoder_hidden_size"])?,
            decoder_rates,
            n_codebooks: count("n_codebooks", ["n_codebooks", "n_codebooks"])?,
            codebook_size: count("codebook_size", ["codebook_size", "codebook_size"])?,
            codebook_dim: count("codebook_dim", ["codebook_dim", "codebook_dim"])?,
        };
        config.validate()?;
        if let Some(hop) = optional_count(map, "hop_length", ["hop_length", "hop_length"])?
            && hop != config.hop_length()
        {
            return Err(invalid(
                "hop_length",
                format!("{}, the product of the strides", config.hop_length()),
                hop.to_string(),
            ));
        }
        Ok(config)
    }

    /// The `config.json` of the Hugging Face layout.
    pub(crate) fn to_hugging_face(&self) -> Value {
        json!({
            "architectures": ["DacModel"],
            "model_type": "dac",
            "sampling_rate": self.sample_rate,
            "encoder_hidden_size": self.encoder_dim,
            "downsampling_ratios": self.encoder_rates,
            "hidden_size": self.latent_dim,
            "decoder_hidden_size": self.decoder_dim,
            "upsampling_ratios": self.decoder_rates,
            "n_codebooks": self.n_codebooks,
            "codebook_size": self.codebook_size,
            "codebook_dim": self.codebook_dim,
            "hop_length": self.hop_length(),
            "quantizer_dropout": 0,
            "torch_dtype": "float32",
        })
    }
}

fn invalid(field: &'static str, expected: String, found: String) -> DacError {
    DacError::Config {
        field,
        expected,
        found,
    }
}

fn within(field: &'static str, found: usize, low: usize, high: usize) -> Result<(), DacError> {
    if (low..=high).contains(&found) {
        return Ok(());
    }
    Err(invalid(
        field,
        format!("{low} to {high}"),
        found.to_string(),
    ))
}

fn as_count(field: &'static str, value: &Value) -> Result<usize, DacError> {
    // Other writers may spell a whole number as `16000.0`.
    let whole = |number: &f64| number.fract() == 0.0 && (0.0..=u32::MAX.into()).contains(number);
    value
        .as_u64()
        .or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| invalid(field, "a whole number".into(), value.to_string()))
}

fn optional_count(
    map: &Map<String, Value>,
    field: &'static str,
    keys: [&str; 2],
) -> Result<Option<usize>, DacError> {
    keys.iter()
        .find_map(|key| map.get(*key).filter(|value| !value.is_null()))
        .map(|value| as_count(field, value))
        .transpose()
}

fn counts(
    map: &Map<String, Value>,
    field: &'static str,
    keys: [&str; 2],
) -> Result<Option<Vec<usize>>, DacError> {
    let Some(value) = keys
        .iter()
        .find_map(|key| map.get(*key).filter(|value| !value.is_null()))
    else {
        return Ok(None);
    };
    let list = value
        .as_array()
        .ok_or_else(|| invalid(field, "a list of whole numbers".into(), value.to_string()))?;
    list.iter()
        .map(|value| as_count(field, value))
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_the_published_hops_and_pass_their_own_checks() {
        for (config, hop, frames) in [
            (DacConfig::dac_16khz(), 320, 50.0),
            (DacConfig::dac_24khz(), 320, 75.0),
            (DacConfig::dac_44khz(), 512, 86.132_812_5),
        ] {
            config.validate().expect("a valid preset");
            assert_eq!(config.hop_length(), hop);
            assert_eq!(config.frame_rate(), frames);
        }
    }

    #[test]
    fn an_odd_stride_loses_one_sample_that_later_stages_multiply() {
        // 10 -> 80 -> 5 * 80 - 1 = 399 -> 1596 -> 3192 = 320 * 10 - 8
        assert_eq!(DacConfig::dac_16khz().decoded_length(10), 3192);
        assert_eq!(DacConfig::dac_44khz().decoded_length(10), 5120);
        assert_eq!(DacConfig::dac_16khz().decoded_length(0), 0);
    }

    #[test]
    fn the_hugging_face_form_reads_back() {
        let config = DacConfig::dac_44khz().with_latent_dim(96);
        let json = config.to_hugging_face();
        let map = json.as_object().expect("an object");
        assert_eq!(DacConfig::from_json(map).expect("valid"), config);
    }

    #[test]
    fn a_saved_codecs_settings_read_back_from_their_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.json");
        let config = DacConfig::dac_44khz();
        std::fs::write(&path, config.to_hugging_face().to_string()).expect("a file");
        assert_eq!(DacConfig::read(&path).expect("valid"), config);
        std::fs::write(&path, "[1]").expect("a file");
        let error = DacConfig::read(&path).expect_err("a list");
        assert!(matches!(error, DacError::ConfigFile { .. }), "{error}");
        let error = DacConfig::read(folder.path().join("none")).expect_err("no file");
        assert!(matches!(error, DacError::Io { .. }), "{error}");
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let mut json = DacConfig::new().to_hugging_face();
        json["sampling_rate"] = json!(16000.0);
        let config = DacConfig::from_json(json.as_object().expect("an object"));
        assert_eq!(config.expect("valid"), DacConfig::new());
    }

    #[test]
    fn contradictions_and_absent_settings_are_named() {
        let good = DacConfig::new().to_hugging_face();
        for (key, value, named) in [
            ("hop_length", json!(512), "hop_length"),
            ("upsampling_ratios", json!([8, 5, 4, 3]), "decoder_rates"),
            ("downsampling_ratios", json!([1, 4, 5, 8]), "encoder_rates"),
            ("n_codebooks", json!(-1), "n_codebooks"),
            ("codebook_dim", json!([8, 8]), "codebook_dim"),
            ("decoder_hidden_size", json!(15), "the decoder's last width"),
            ("sampling_rate", json!(16000.5), "sample_rate"),
            ("encoder_hidden_size", json!(1u64 << 60), "encoder_dim"),
            ("sampling_rate", Value::Null, "sample_rate"),
        ] {
            let mut json = good.clone();
            json[key] = value;
            let error = DacConfig::from_json(json.as_object().expect("an object")).expect_err(key);
            assert!(
                matches!(error, DacError::Config { field, .. } if field == named),
                "{key}: {error}"
            );
        }
    }
}
