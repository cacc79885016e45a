//! Every golden case of the preprocessing: sizes exactly, pixels to the stated level of rounding.

use std::fs;

use image::RgbImage;
use serde_json::Value;
use testkit::{Case, cases, golden_root};
use vision_encoder::{Bicubic, Grid, PixelBudget, Preprocessor, SmartResize, VisionInput};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Levels of 255 by which a resized value may differ: a sum in the middle between two levels, up to what weights
/// of 22 bits or float32 can tell apart, may be rounded either way.
const LEVELS: f64 = 1.0;

/// Share of values that may differ at all, for the same reason. Another program's rounding would differ in a tenth or
/// more of them.
const SHARE: f64 = 0.01;

/// What float32 arithmetic on `(v / 255 - mean) / std` may differ by: a few steps of 2^-24 of the largest value.
const FLOAT: f64 = 2e-6;

fn number(value: &Value, name: &str) -> Option<f64> {
    value[name].as_f64()
}

fn size(value: &Value, name: &str, default: usize) -> usize {
    number(value, name).map_or(default, |number| number as usize)
}

fn channels(value: &Value, default: [f64; 3]) -> [f64; 3] {
    match value.as_array() {
        None => default,
        Some(values) => [0, 1, 2].map(|channel| values[channel].as_f64().unwrap()),
    }
}

/// The preprocessor of a case; what the case doesn't say is the published default.
fn preprocessor(case: &Case) -> Preprocessor {
    let (config, default) = (case.config(), Preprocessor::unimoe_audio());
    Preprocessor {
        patch_size: size(config, "patch_size", default.patch_size),
        temporal_patch_size: size(config, "temporal_patch_size", default.temporal_patch_size),
        merge_size: size(config, "merge_size", default.merge_size),
        rescale: number(config, "rescale_factor").unwrap_or(default.rescale),
        mean: channels(&config["image_mean"], default.mean),
        std: channels(&config["image_std"], default.std),
        ..default
    }
}

/// The pictures of a tensor `[..., height, width, 3]`, or `[..., 3, height, width]` where `planar`.
fn pictures(case: &Case, name: &str, planar: bool) -> Vec<RgbImage> {
    let (values, shape) = (case.floats(name), case.shape(name));
    let rank = shape.len();
    let (height, width) = if planar {
        (shape[rank - 2], shape[rank - 1])
    } else {
        (shape[rank - 3], shape[rank - 2])
    };
    let picture = |values: &[f32]| {
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let place = y as usize * width + x as usize;
            image::Rgb([0, 1, 2].map(|channel| {
                let place = if planar {
                    channel * height * width + place
                } else {
                    place * 3 + channel
                };
                values[place] as u8
            }))
        })
    };
    values
        .chunks_exact(3 * height * width)
        .map(picture)
        .collect()
}

/// How many values differ and how many there are.
#[derive(Default)]
struct Differences {
    different: usize,
    all: usize,
}

impl Differences {
    fn pictures(&mut self, name: &str, ours: &[RgbImage], theirs: &[RgbImage]) {
        assert!(ours.len() >= theirs.len(), "{name}: pictures");
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours.dimensions(), theirs.dimensions(), "{name}");
            for (a, b) in ours.as_raw().iter().zip(theirs.as_raw()) {
                assert!(
                    f64::from(a.abs_diff(*b)) <= LEVELS,
                    "{name}: {a}, expected {b}"
                );
                self.different += usize::from(a != b);
                self.all += 1;
            }
        }
    }

    /// Compares patches, whose channels are scaled by their own deviation.
    fn patches(&mut self, case: &Case, name: &str, preprocessor: &Preprocessor, ours: &[f32]) {
        let theirs = case.floats(name);
        assert_eq!(ours.len(), theirs.len(), "{}: {name}", case.name);
        let plane = preprocessor.temporal_patch_size * preprocessor.patch_size.pow(2);
        assert_eq!(case.shape(name)[1], 3 * plane, "{}: {name}", case.name);
        for (place, (&a, &b)) in ours.iter().zip(&theirs).enumerate() {
            let channel = place / plane % 3;
            let level = preprocessor.rescale / preprocessor.std[channel];
            let difference = f64::from(a - b).abs();
            let allowed = LEVELS * level + FLOAT;
            assert!(
                difference <= allowed,
                "{}: {name}[{place}] is {a}, expected {b}",
                case.name
            );
            self.different += usize::from(difference > FLOAT);
            self.all += 1;
        }
    }

    fn report(&self, what: &str) {
        println!(
            "{what}: {} of {} values differ by a level",
            self.different, self.all
        );
        assert!(
            self.different as f64 <= SHARE * self.all as f64,
            "{what}: too many values differ"
        );
    }
}

fn check_grids(case: &Case, name: &str, inputs: &[VisionInput]) {
    let grids: Vec<i64> = inputs
        .iter()
        .flat_map(|input| {
            let Grid { t, h, w } = input.grid;
            [t, h, w].map(|side| side as i64)
        })
        .collect();
    assert_eq!(grids, case.ints(name), "{}: {name}", case.name);
}

/// The names of the tensors that are `prefix` or `prefix.N`, in the order of N.
fn numbered(case: &Case, prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = case.names();
    names.retain(|name| {
        name == prefix
            || name
                .strip_prefix(prefix)
                .is_some_and(|n| n.starts_with('.'))
    });
    names.sort_by_key(|name| {
        name[prefix.len()..]
            .trim_start_matches('.')
            .parse::<usize>()
            .unwrap_or(0)
    });
    assert!(!names.is_empty(), "{}: no tensor {prefix}", case.name);
    names
}

#[test]
fn sizes_are_those_of_both_published_rules() {
    let path = golden_root(ROOT).join("vision/smart_resize.json");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let table: Value = serde_json::from_str(&text).unwrap();
    let rows = table["rows"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        let side = |name: &str| row[name].as_u64().unwrap() as usize;
        let max_pixels = row["max_pixels"].as_f64().unwrap();
        for (rule, name) in [
            (SmartResize::Transformers, "transformers"),
            (SmartResize::QwenVlUtils, "qwen_vl_utils"),
        ] {
            let (height, width) = (side("height"), side("width"));
            let size = rule.size(
                height,
                width,
                side("factor"),
                side("min_pixels"),
                max_pixels,
            );
            let expected = row[name].as_array().map(|size| {
                let side = |n: usize| size[n].as_u64().unwrap() as usize;
                (side(0), side(1))
            });
            assert_eq!(size.ok(), expected, "{name}: {row}");
        }
    }
}

#[test]
fn images_become_the_patches_of_the_published_processor() {
    for case in cases(ROOT, "vision", "preprocess_images") {
        let mut preprocessor = preprocessor(&case);
        preprocessor.image_budget = PixelBudget {
            min_pixels: case.count("min_pixels").unwrap(),
            max_pixels: case.count("max_pixels").unwrap(),
            ..PixelBudget::image()
        };
        let (mut resized, mut patches) = (Differences::default(), Differences::default());
        let mut inputs = Vec::new();
        for name in numbered(&case, "image") {
            let picture = &pictures(&case, &name, false)[0];
            let input = preprocessor.image(picture).unwrap();
            let name = name.replace("image", "out.resized");
            if case.has(&name) {
                let ours = preprocessor.pictures(&input).unwrap();
                resized.pictures(&name, &ours, &pictures(&case, &name, false));
            }
            inputs.push(input);
        }
        check_grids(&case, "out.image_grid_thw", &inputs);
        let ours: Vec<f32> = inputs.into_iter().flat_map(|input| input.patches).collect();
        patches.patches(&case, "out.pixel_values", &preprocessor, &ours);
        resized.report(&format!("{}, resized", case.name));
        patches.report(&format!("{}, patches", case.name));
    }
}

/// Both ways of a video, at once from memory and frame by frame, and that they agree.
fn video(preprocessor: &Preprocessor, frames: &[RgbImage]) -> VisionInput {
    let whole = preprocessor.video(frames, 1.0).unwrap();
    let size = frames[0].dimensions();
    let mut stack = preprocessor.begin_video(size, frames.len()).unwrap();
    for frame in frames {
        stack.push(frame).unwrap();
    }
    assert_eq!(stack.finish(1.0).unwrap(), whole);
    whole
}

#[test]
fn videos_become_the_patches_of_the_published_pipeline() {
    for case in cases(ROOT, "vision", "preprocess_videos") {
        let settings = &case.config()["frame_process"];
        let mut preprocessor = preprocessor(&case);
        preprocessor.temporal_patch_size = size(settings, "FRAME_FACTOR", 2);
        let factor = preprocessor.patch_size * preprocessor.merge_size;
        let factor = size(settings, "factor", factor);
        preprocessor.patch_size = factor / preprocessor.merge_size;
        let totals = settings["total_pixels_units_of_784"].as_array().unwrap();

        let (mut resized, mut patches) = (Differences::default(), Differences::default());
        let mut inputs = Vec::new();
        for (name, total) in numbered(&case, "frames").into_iter().zip(totals) {
            preprocessor.video_budget = PixelBudget {
                min_pixels: size(settings, "min_pixels", 0),
                max_pixels: size(settings, "VIDEO_MAX_PIXELS", 0),
                total_pixels: Some((total.as_f64().unwrap() * 784.0) as usize),
                ..PixelBudget::video()
            };
            let input = video(&preprocessor, &pictures(&case, &name, false));
            let name = name.replace("frames", "out.resized");
            if case.has(&name) {
                let ours = preprocessor.pictures(&input).unwrap();
                resized.pictures(&name, &ours, &pictures(&case, &name, true));
            }
            inputs.push(input);
        }
        assert_eq!(inputs.len(), totals.len(), "{}", case.name);
        check_grids(&case, "out.video_grid_thw", &inputs);
        let ours: Vec<f32> = inputs.into_iter().flat_map(|input| input.patches).collect();
        patches.patches(&case, "out.pixel_values_videos", &preprocessor, &ours);
        resized.report(&format!("{}, resized", case.name));
        patches.report(&format!("{}, patches", case.name));
    }
}

#[test]
fn frames_with_budgets_of_their_own_become_the_patches_of_the_published_processor() {
    for case in cases(ROOT, "vision", "preprocess_video_resize") {
        let mut preprocessor = preprocessor(&case);
        preprocessor.video_budget = PixelBudget {
            rule: SmartResize::Transformers,
            min_pixels: case.count("min_pixels").unwrap(),
            max_pixels: case.count("max_pixels").unwrap(),
            total_pixels: None,
        };
        preprocessor.video_filter = Bicubic::TorchvisionInteger;
        let mut patches = Differences::default();
        let inputs: Vec<VisionInput> = numbered(&case, "frames")
            .iter()
            .map(|name| video(&preprocessor, &pictures(&case, name, false)))
            .collect();
        check_grids(&case, "out.video_grid_thw", &inputs);
        let ours: Vec<f32> = inputs.into_iter().flat_map(|input| input.patches).collect();
        patches.patches(&case, "out.pixel_values_videos", &preprocessor, &ours);
        patches.report(&case.name);
    }
}
