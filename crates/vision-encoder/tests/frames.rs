//! Frames from animations, pictures, folders and sources of one's own: the right ones, upright, in order.
#![allow(clippy::unwrap_used)]

mod media;

use std::fs;

use image::{ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use media::{all, apng, at, frames, gif, grey, levels, pattern, still, webp, words, write};
use proptest::prelude::*;
use vision_encoder::{
    FrameLimits, FrameSource, Frames, ImageFolder, PixelBudget, Preprocessor, Sampling,
    SmartResize, VideoOptions, VisionError, VisionKind, open_source, read_frames, read_picture,
    read_video,
};

/// Frames of levels 0, 50, 100, ... with these delays in milliseconds.
fn delayed(delays: &[u32]) -> Vec<(RgbaImage, u32)> {
    let frame = |n: usize| RgbaImage::from_pixel(8, 6, Rgba([n as u8 * 50, 0, 0, 255]));
    delays
        .iter()
        .enumerate()
        .map(|(n, &delay)| (frame(n), delay))
        .collect()
}

#[test]
fn animations_are_sampled_by_their_delays() {
    let folder = tempfile::tempdir().unwrap();
    // Shown from 0, 100 and 400 ms on; the last delay is too short and counts as 100 ms: 500 ms in all.
    let frames_and_delays = delayed(&[100, 300, 0]);
    for (name, bytes) in [
        ("a", gif(&frames_and_delays)),
        ("b", apng(&frames_and_delays)),
        ("c", webp(&frames_and_delays)),
    ] {
        let path = write(&folder, name, &bytes);
        let sampled = |fps, max| levels(&frames(&path, &at(fps, max)).unwrap());
        assert_eq!(sampled(10.0, 64), [0, 50, 50, 50, 100], "{name}");
        assert_eq!(sampled(5.0, 64), [0, 50, 100], "{name}");
        assert_eq!(sampled(1.0, 64), [0], "{name}");
        assert_eq!(sampled(10.0, 2), [0, 50], "{name}");
        // Every 125 ms: 0, 125, 250, 375.
        assert_eq!(sampled(8.0, 64), [0, 50, 50, 50], "{name}");

        for (fps, count) in [(10.0, 5), (5.0, 3), (1.0, 1)] {
            let options = at(fps, 64);
            let mut source = open_source(&path, &options).unwrap();
            let told = source.n_frames(&options.sampling().unwrap()).unwrap();
            assert_eq!(told, Some(count), "{name} at {fps}");
        }
    }
}

#[test]
fn what_is_transparent_lies_on_white() {
    let folder = tempfile::tempdir().unwrap();
    let frame = RgbaImage::from_fn(8, 8, |x, _| Rgba([9, 9, 9, if x < 4 { 255 } else { 0 }]));
    for bytes in [
        gif(&[(frame.clone(), 50)]),
        apng(&[(frame.clone(), 50)]),
        webp(&[(frame, 50)]),
    ] {
        let path = write(&folder, "a", &bytes);
        let frame = &frames(&path, &at(1.0, 1)).unwrap()[0];
        assert_eq!(
            (frame.get_pixel(0, 0).0, frame.get_pixel(7, 7).0),
            ([9; 3], [255; 3])
        );
    }
}

#[test]
fn a_still_picture_of_any_kind_is_one_frame() {
    let folder = tempfile::tempdir().unwrap();
    let picture = pattern(60, 40, 1);
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Bmp,
        ImageFormat::Jpeg,
    ] {
        // The name says nothing.
        let path = write(&folder, "picture.mp4", &still(&picture, format));
        let frames = frames(&path, &at(30.0, 64)).unwrap();
        assert_eq!(frames.len(), 1);
        assert_eq!(frames[0].dimensions(), (60, 40));
        if format != ImageFormat::Jpeg {
            assert_eq!(frames[0], picture, "{format:?}");
        }
        let input = read_video(&path, &VideoOptions::default(), &Preprocessor::default()).unwrap();
        assert_eq!((input.kind, input.grid.t), (VisionKind::Video, 1));
    }
}

#[test]
fn the_orientation_of_a_photo_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(32, 16, |x, _| Rgb([if x < 16 { 250 } else { 5 }; 3]));
    let jpeg = still(&picture, ImageFormat::Jpeg);
    // One entry of EXIF, tag 0x112 (orientation): 6, to be turned clockwise by a quarter.
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut turned = jpeg[..2].to_vec();
    turned.extend([0xff, 0xe1]);
    turned.extend((exif.len() as u16 + 2).to_be_bytes());
    turned.extend(exif);
    turned.extend(&jpeg[2..]);
    let path = write(&folder, "photo.jpg", &turned);
    let photo = read_picture(&path, &FrameLimits::default()).unwrap();
    assert_eq!(photo.dimensions(), (16, 32));
    // What was on the left is on top.
    assert!(photo.get_pixel(8, 4).0[0] > 200 && photo.get_pixel(8, 28).0[0] < 50);
}

#[test]
fn a_folder_is_read_in_the_order_of_its_numbers() {
    let folder = tempfile::tempdir().unwrap();
    for (name, level) in [
        ("frame2.png", 20),
        ("frame10.png", 100),
        ("frame007.png", 70),
    ] {
        write(
            &folder,
            name,
            &still(&grey(20, 20, level), ImageFormat::Png),
        );
    }
    write(
        &folder,
        "cover.png",
        &still(&grey(9, 9, 1), ImageFormat::Png),
    );
    write(
        &folder,
        ".hidden1.png",
        &still(&grey(9, 9, 1), ImageFormat::Png),
    );
    write(&folder, "notes1.txt", b"not a picture");
    fs::create_dir(folder.path().join("5.png")).unwrap();

    let sampled = |folder_fps, fps, max| {
        let options = VideoOptions {
            folder_fps,
            ..at(fps, max)
        };
        let sampling = options.sampling().unwrap();
        let mut source = open_source(folder.path(), &options).unwrap();
        let told = source.n_frames(&sampling).unwrap();
        let levels = levels(&all(source.as_mut(), &sampling).unwrap());
        assert_eq!(told, Some(levels.len()));
        levels
    };
    assert_eq!(sampled(None, 1.0, 64), [20, 70, 100]);
    assert_eq!(sampled(None, 30.0, 2), [20, 70]);
    // Two pictures a second, looked at every second and four times a second.
    assert_eq!(sampled(Some(2.0), 1.0, 64), [20, 100]);
    assert_eq!(sampled(Some(2.0), 4.0, 64), [20, 20, 70, 70, 100, 100]);
}

#[test]
fn a_folder_of_mixed_sizes_names_the_first_that_differs() {
    let folder = tempfile::tempdir().unwrap();
    for (name, side) in [("1.png", 20), ("2.png", 20), ("3.png", 21), ("4.png", 22)] {
        write(&folder, name, &still(&grey(side, 20, 0), ImageFormat::Png));
    }
    let error = words(&frames(folder.path(), &at(1.0, 64)).unwrap_err());
    assert!(
        error.contains("3.png") && error.contains("21 x 20 pixels"),
        "{error}"
    );
    // What isn't looked at doesn't matter.
    assert_eq!(frames(folder.path(), &at(1.0, 2)).unwrap().len(), 2);

    write(&folder, "2.png", b"\x89PNG\r\n\x1a\nbroken");
    let error = words(&frames(folder.path(), &at(1.0, 64)).unwrap_err());
    assert!(error.contains("2.png"), "{error}");
    let empty = tempfile::tempdir().unwrap();
    let error = words(&frames(empty.path(), &at(1.0, 64)).unwrap_err());
    assert!(error.contains("no numbered picture"), "{error}");
    let limits = FrameLimits::default();
    for fps in [0.0, f64::NAN, -1.0] {
        assert!(ImageFolder::open(folder.path(), Some(fps), limits.clone()).is_err());
    }
}

/// A source that doesn't say how long it is.
struct Endless;

impl FrameSource for Endless {
    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let _ = sampling;
        Ok(Box::new((0..).map(|n| Ok(pattern(90, 60, n)))))
    }
}

#[test]
fn an_endless_source_is_cut_and_shares_the_budget_of_the_most_frames() {
    let options = at(2.0, 9);
    let preprocessor = Preprocessor::unimoe_audio();
    let input = read_frames(&mut Endless, &options, &preprocessor).unwrap();
    let all: Vec<RgbImage> = (0..9).map(|n| pattern(90, 60, n)).collect();
    assert_eq!(input, preprocessor.video(&all, 2.0).unwrap());
    assert_eq!((input.grid.t, input.seconds_per_step), (5, Some(1.0)));
}

/// A source that ends before it said it would.
struct Cut;

impl FrameSource for Cut {
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        Ok(Some(sampling.max_frames()))
    }

    fn frames(&mut self, _: &Sampling) -> Result<Frames<'_>, VisionError> {
        Ok(Box::new((0..3).map(|n| Ok(pattern(400, 300, n)))))
    }
}

#[test]
fn a_source_that_ends_early_keeps_the_size_that_was_planned() {
    let preprocessor = Preprocessor::unimoe_audio();
    let cut = read_frames(&mut Cut, &at(1.0, 64), &preprocessor).unwrap();
    // 64 frames have 13,171 pixels each, three have 50,176: 84 x 112 and 168 x 252.
    assert_eq!((cut.grid.t, cut.grid.h, cut.grid.w), (2, 6, 8));
    let whole = read_frames(&mut Cut, &at(1.0, 3), &preprocessor).unwrap();
    assert_eq!((whole.grid.t, whole.grid.h, whole.grid.w), (2, 12, 18));
}

#[test]
fn a_source_without_frames_is_an_error() {
    let error = read_frames(&mut Nothing, &at(1.0, 4), &Preprocessor::default()).unwrap_err();
    assert!(words(&error).contains("0 frames"), "{error}");
    let error = Preprocessor::default().video(&[], 1.0).unwrap_err();
    assert!(words(&error).contains("0 frames"), "{error}");
}

/// A source without frames.
struct Nothing;

impl FrameSource for Nothing {
    fn frames(&mut self, _: &Sampling) -> Result<Frames<'_>, VisionError> {
        Ok(Box::new(std::iter::empty()))
    }
}

/// A preprocessor of small patches whose budget keeps multiples of its patches as they are.
fn keeping(patch: usize, depth: usize, merge: usize) -> Preprocessor {
    let budget = PixelBudget {
        rule: SmartResize::QwenVlUtils,
        min_pixels: 1,
        max_pixels: 1 << 20,
        total_pixels: None,
    };
    Preprocessor {
        patch_size: patch,
        temporal_patch_size: depth,
        merge_size: merge,
        image_budget: budget,
        video_budget: budget,
        ..Preprocessor::unimoe_audio()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pictures_are_the_inverse_of_patches(
        (patch, depth, merge) in (1usize..5, 1usize..4, 1usize..4),
        (rows, columns, count, seed) in (1usize..4, 1usize..4, 1usize..6, 0u32..100),
    ) {
        let preprocessor = keeping(patch, depth, merge);
        let side = |n: usize| (n * patch * merge) as u32;
        let frames: Vec<RgbImage> = (0..count as u32)
            .map(|n| pattern(side(columns), side(rows), seed + n))
            .collect();
        let input = preprocessor.video(&frames, 3.0).unwrap();
        prop_assert_eq!(input.grid.t, count.div_ceil(depth));
        prop_assert_eq!(input.grid.patches().unwrap() * 3 * depth * patch * patch, input.patches.len());
        let mut back = preprocessor.pictures(&input).unwrap();
        // The last frame fills the last patch.
        for repeated in back.split_off(count) {
            prop_assert_eq!(&repeated, &frames[count - 1]);
        }
        prop_assert_eq!(back, frames.clone());

        let image = preprocessor.image(&frames[0]).unwrap();
        prop_assert_eq!(image.seconds_per_step, None);
        prop_assert_eq!(preprocessor.pictures(&image).unwrap(), frames[..1].to_vec());
    }
}

#[test]
fn patches_lie_in_the_documented_order() {
    // Two by four patches of one pixel, merged two by two; the level of a pixel is its place in the picture.
    let picture = RgbImage::from_fn(4, 2, |x, y| Rgb([(y * 4 + x) as u8; 3]));
    let preprocessor = Preprocessor {
        rescale: 1.0,
        mean: [0.0; 3],
        std: [1.0, 10.0, 100.0],
        ..keeping(1, 2, 2)
    };
    let input = preprocessor.image(&picture).unwrap();
    let order: Vec<f32> = input.patches.chunks(6).map(|patch| patch[0]).collect();
    assert_eq!(order, [0.0, 1.0, 4.0, 5.0, 2.0, 3.0, 6.0, 7.0]);
    // Each channel for both frames.
    assert_eq!(input.patches[6..12], [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]);
}
