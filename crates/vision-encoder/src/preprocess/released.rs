//! The published `preprocessor_config.json` and `video_preprocessor_config.json`.

use std::path::Path;

use serde_json::{Value, json};

use super::{PixelBudget, Preprocessor};
use model_files::{ModelPath, read_text};

use crate::VisionError;

/// Pillow's number of bicubic resampling.
const BICUBIC: f64 = 3.0;

/// The files that are read, the first that is there.
const FILES: [&str; 2] = ["video_preprocessor_config.json", "preprocessor_config.json"];

impl Preprocessor {
    /// As [`load`](Self::load); `None` where the folder holds neither file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn find(folder: impl Into<ModelPath>) -> Result<Option<Self>, VisionError> {
        let folder = folder.into();
        match FILES.iter().any(|name| folder.join(name).exists()) {
            true => Self::load(folder).map(Some),
            false => Ok(None),
        }
    }

    /// Reads `video_preprocessor_config.json`, or else `preprocessor_config.json`, of a model folder.
    ///
    /// # Errors
    ///
    /// Where neither can be read, and as [`from_released`](Self::from_released).
    pub fn load(folder: impl Into<ModelPath>) -> Result<Self, VisionError> {
        let folder = folder.into();
        let [video, image] = FILES.map(|name| folder.join(name));
        let file = if video.exists() { video } else { image };
        let path = file.path().to_path_buf();
        let text = read_text(file).map_err(|source| VisionError::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let json = serde_json::from_str(&text).map_err(|source| VisionError::Json {
            path: path.clone(),
            source,
        })?;
        Self::from_released(&json, &path)
    }

    /// Reads the published schema of transformers' `Qwen2VLImageProcessor` and `Qwen2VLVideoProcessor`; `path` stands
    /// in the errors. A field that is absent or null keeps the published default, unknown fields are ignored.
    ///
    /// The file's pixel range is that of a picture. Videos keep [`PixelBudget::video`], as in the published
    /// pipeline, which resizes their frames before the processor sees them.
    ///
    /// # Errors
    ///
    /// Where a field is of the wrong kind, out of range, contradicts another or asks for what is not implemented.
    pub fn from_released(json: &Value, path: &Path) -> Result<Self, VisionError> {
        let fields = Fields { json, path };
        if !json.is_object() {
            return Err(fields.wrong("the file", "an object"));
        }
        for name in ["do_resize", "do_convert_rgb"] {
            fields.only(name, true)?;
        }
        for name in ["do_center_crop", "do_pad", "do_sample_frames"] {
            fields.only(name, false)?;
        }
        if fields.number("resample")?.is_some_and(|n| n != BICUBIC) {
            return Err(fields.wrong("resample", "3 (bicubic)"));
        }

        let default = Self::unimoe_audio();
        let [min_pixels, max_pixels] = [
            (
                "min_pixels",
                "shortest_edge",
                default.image_budget.min_pixels,
            ),
            (
                "max_pixels",
                "longest_edge",
                default.image_budget.max_pixels,
            ),
        ]
        .map(|(own, edge, default)| fields.pixels(own, edge, default));
        let mut preprocessor = Self {
            patch_size: fields.count("patch_size")?.unwrap_or(default.patch_size),
            temporal_patch_size: fields
                .count("temporal_patch_size")?
                .unwrap_or(default.temporal_patch_size),
            merge_size: fields.count("merge_size")?.unwrap_or(default.merge_size),
            rescale: fields.number("rescale_factor")?.unwrap_or(default.rescale),
            mean: fields.channels("image_mean")?.unwrap_or(default.mean),
            std: fields.channels("image_std")?.unwrap_or(default.std),
            image_budget: PixelBudget {
                min_pixels: min_pixels?,
                max_pixels: max_pixels?,
                ..default.image_budget
            },
            image_filter: default.image_filter,
            video_budget: default.video_budget,
            video_filter: default.video_filter,
        };
        if !fields.flag("do_rescale")?.unwrap_or(true) {
            preprocessor.rescale = 1.0;
        }
        if !fields.flag("do_normalize")?.unwrap_or(true) {
            preprocessor.mean = [0.0; 3];
            preprocessor.std = [1.0; 3];
        }
        preprocessor.validate()?;
        Ok(preprocessor)
    }

    /// The published schema of transformers' `Qwen2VLVideoProcessor`, for `video_preprocessor_config.json`. The
    /// budget of videos is not part of it.
    pub fn to_released(&self) -> Value {
        let budget = &self.image_budget;
        json!({
            "video_processor_type": "Qwen2VLVideoProcessor",
            "processor_class": "Qwen2_5_VLProcessor",
            "do_resize": true,
            "do_rescale": true,
            "do_normalize": true,
            "do_convert_rgb": true,
            "resample": 3,
            "rescale_factor": self.rescale,
            "image_mean": self.mean,
            "image_std": self.std,
            "min_pixels": budget.min_pixels,
            "max_pixels": budget.max_pixels,
            "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
            "patch_size": self.patch_size,
            "temporal_patch_size": self.temporal_patch_size,
            "merge_size": self.merge_size,
        })
    }
}

/// The fields of a file, with its path for the errors.
struct Fields<'a> {
    json: &'a Value,
    path: &'a Path,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Value> {
        self.json.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, expected: &str) -> VisionError {
        let found = self.json.get(name).unwrap_or(self.json).to_string();
        VisionError::FieldWrong {
            path: self.path.to_path_buf(),
            field: name.to_string(),
            expected: expected.to_string(),
            found: found.chars().take(80).collect(),
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>, VisionError> {
        self.get(name)
            .map(|value| value.as_f64().ok_or_else(|| self.wrong(name, "a number")))
            .transpose()
    }

    fn count(&self, name: &str) -> Result<Option<usize>, VisionError> {
        let count = |value: &Value| whole(value).ok_or_else(|| self.wrong(name, "a whole number"));
        self.get(name).map(count).transpose()
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, VisionError> {
        let flag = |value: &Value| {
            value
                .as_bool()
                .ok_or_else(|| self.wrong(name, "true or false"))
        };
        self.get(name).map(flag).transpose()
    }

    /// Refuses a switch that is set otherwise than implemented.
    fn only(&self, name: &str, implemented: bool) -> Result<(), VisionError> {
        match self.flag(name)? {
            Some(found) if found != implemented => {
                Err(self.wrong(name, &format!("{implemented}, nothing else is implemented")))
            }
            _ => Ok(()),
        }
    }

    fn channels(&self, name: &str) -> Result<Option<[f64; 3]>, VisionError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let numbers: Option<Vec<f64>> = value
            .as_array()
            .and_then(|values| values.iter().map(Value::as_f64).collect());
        numbers
            .and_then(|numbers| <[f64; 3]>::try_from(numbers).ok())
            .map(Some)
            .ok_or_else(|| self.wrong(name, "three numbers"))
    }

    /// A number of pixels under its own name, or as an edge of `size`; its own name counts where both are there.
    fn pixels(&self, own: &str, edge: &str, default: usize) -> Result<usize, VisionError> {
        if let Some(pixels) = self.count(own)? {
            return Ok(pixels);
        }
        match self.get("size") {
            None => Ok(default),
            Some(size) => {
                let expected = "an object with shortest_edge and longest_edge, in pixels";
                let pixels = size.get(edge).and_then(whole);
                pixels.ok_or_else(|| self.wrong("size", expected))
            }
        }
    }
}

/// A whole number that can be a size.
fn whole(value: &Value) -> Option<usize> {
    const LARGEST: f64 = (1u64 << 48) as f64;
    let number = value.as_f64()?;
    let fits = (0.0..=LARGEST).contains(&number) && number.fract() == 0.0;
    fits.then_some(number as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: Value) -> Result<Preprocessor, VisionError> {
        Preprocessor::from_released(&json, Path::new("p.json"))
    }

    #[test]
    fn the_published_fields_are_read() {
        let read = read(json!({
            "patch_size": 16, "temporal_patch_size": 4, "merge_size": 3, "rescale_factor": 0.5,
            "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 2, 3], "resample": 3, "do_resize": true,
            "size": {"shortest_edge": 100, "longest_edge": 2000}, "max_pixels": null, "crop_size": null
        }))
        .expect("known fields");
        assert_eq!(
            (read.patch_size, read.temporal_patch_size, read.merge_size),
            (16, 4, 3)
        );
        assert_eq!(
            (read.rescale, read.mean, read.std),
            (0.5, [0.1, 0.2, 0.3], [1.0, 2.0, 3.0])
        );
        assert_eq!(read.image_budget.min_pixels, 100);
        assert_eq!(read.image_budget.max_pixels, 2000);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let written = Preprocessor {
            patch_size: 8,
            mean: [0.5, 0.25, 0.125],
            ..Preprocessor::unimoe_audio()
        };
        let back = read(written.to_released()).expect("our own file");
        assert_eq!(back, written);
    }

    #[test]
    fn steps_that_are_switched_off_change_nothing() {
        let read = read(json!({"do_rescale": false, "do_normalize": false})).expect("switches");
        assert_eq!(
            (read.rescale, read.mean, read.std),
            (1.0, [0.0; 3], [1.0; 3])
        );
        assert_eq!(
            self::read(json!({})).expect("defaults"),
            Preprocessor::unimoe_audio()
        );
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        for (json, name) in [
            (json!({"do_resize": false}), "do_resize"),
            (json!({"do_pad": true}), "do_pad"),
            (json!({"resample": 2}), "resample"),
            (json!({"patch_size": -1}), "patch_size"),
            (json!({"patch_size": 0}), "patch_size"),
            (json!({"image_mean": [0.5]}), "image_mean"),
            (json!({"image_std": [0, 1, 1]}), "std"),
            (json!({"size": {"height": 3}}), "size"),
            (json!([]), "the file"),
        ] {
            let error = read(json).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
