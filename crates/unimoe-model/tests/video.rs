//! Music for a video on a small random model: what is seen matters, and nothing else does.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::ControlFlow;

use burn::tensor::{DType, Device};
use unimoe_model::{
    Batching, Generated, Grid, InputError, MusicRequest, Pipeline, PipelineOptions, Preset,
    Request, RequestError, RequestOptions, UniMoeError, VideoMusicRequest, VisionInput, VisionKind,
    init_model_folder,
};

fn pipeline() -> Pipeline {
    Pipeline::untrained(Preset::Tiny, 3, None, &Device::flex()).unwrap()
}

/// A video whose pixels are a wave of the given frequency.
fn video(pipeline: &Pipeline, grid: Grid, frequency: f32) -> VisionInput {
    let encoder = &pipeline.model().config().vision.as_ref().unwrap().encoder;
    let width = encoder.in_channels * encoder.temporal_patch_size * encoder.patch_size.pow(2);
    let values = grid.patches().unwrap() * width;
    VisionInput {
        kind: VisionKind::Video,
        patches: (0..values).map(|n| (n as f32 * frequency).sin()).collect(),
        grid,
        seconds_per_step: Some(2.0),
    }
}

const SHORT: Grid = Grid { t: 1, h: 4, w: 4 };
const LONG: Grid = Grid { t: 3, h: 6, w: 4 };

fn options(seed: u64) -> RequestOptions {
    RequestOptions {
        min_seconds: 0.3,
        max_seconds: 0.3,
        seed: Some(seed),
        ..RequestOptions::music()
    }
}

fn watch(vision: Vec<VisionInput>, seed: u64) -> Request {
    Request::VideoMusic(VideoMusicRequest {
        caption: "Upbeat electronic music".into(),
        vision,
        options: options(seed),
    })
}

fn run(pipeline: &Pipeline, requests: &[Request], batching: Batching) -> Vec<Generated> {
    pipeline
        .generate(requests, batching, |_| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn other_frames_give_other_codes() {
    let pipeline = pipeline();
    let codes = |frequency| {
        let seen = vec![video(&pipeline, SHORT, frequency)];
        run(&pipeline, &[watch(seen, 1)], Batching::Isolated)[0]
            .codes
            .clone()
    };
    assert_eq!(codes(0.37), codes(0.37));
    assert_ne!(codes(0.37), codes(0.11));
    let music = Request::Music(MusicRequest {
        caption: "Upbeat electronic music".into(),
        options: options(1),
    });
    assert_ne!(
        codes(0.37),
        run(&pipeline, &[music], Batching::Isolated)[0].codes
    );
}

#[test]
fn the_order_and_the_speed_of_frames_matter() {
    let pipeline = pipeline();
    let codes = |input: VisionInput| {
        run(&pipeline, &[watch(vec![input], 1)], Batching::Isolated)[0]
            .codes
            .clone()
    };
    let forward = video(&pipeline, LONG, 0.37);
    let mut backward = forward.clone();
    let step = forward.patches.len() / LONG.t;
    backward.patches = forward.patches.rchunks(step).flatten().copied().collect();
    let slow = VisionInput {
        seconds_per_step: Some(40.0),
        ..forward.clone()
    };
    let forward = codes(forward);
    assert_ne!(forward, codes(backward));
    assert_ne!(forward, codes(slow));
}

#[test]
fn a_clip_alone_equals_the_clip_in_a_mixed_batch() {
    let pipeline = pipeline();
    let image = VisionInput {
        kind: VisionKind::Image,
        seconds_per_step: None,
        ..video(&pipeline, SHORT, 0.2)
    };
    let batch = [
        watch(vec![video(&pipeline, LONG, 0.37)], 1),
        Request::Music(MusicRequest {
            caption: "Drums".into(),
            options: options(2),
        }),
        watch(vec![image, video(&pipeline, SHORT, 0.5)], 3),
    ];
    let together = run(&pipeline, &batch, Batching::Isolated);
    for (request, expected) in batch.iter().zip(&together) {
        let alone = run(&pipeline, std::slice::from_ref(request), Batching::Isolated);
        assert_eq!(alone[0].codes, expected.codes);
    }
    let joint = run(&pipeline, &batch, Batching::Joint);
    assert!(joint.iter().all(|result| result.codes.n_frames() == 15));
}

#[test]
fn without_guidance_the_pair_needs_no_twin() {
    let pipeline = pipeline();
    let Request::VideoMusic(mut request) = watch(vec![video(&pipeline, SHORT, 0.37)], 1) else {
        unreachable!("music for a video");
    };
    request.options.guidance_scale = 0.0;
    let results = pipeline
        .video_music(&[request], |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(results[0].codes.n_frames(), 15);
}

#[test]
fn half_precision_sees_too() {
    for dtype in [DType::F16, DType::BF16] {
        let pipeline = Pipeline::untrained(Preset::Tiny, 3, Some(dtype), &Device::flex()).unwrap();
        let seen = vec![video(&pipeline, SHORT, 0.37)];
        let results = run(&pipeline, &[watch(seen, 1)], Batching::Joint);
        assert_eq!(results[0].codes.n_frames(), 15, "{dtype:?}");
    }
}

#[test]
fn a_folder_without_its_vision_encoder_loads_for_music_and_says_so_for_video() {
    let device = Device::flex();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("model");
    init_model_folder(Preset::Tiny, 3, &folder, &device).unwrap();
    let seeing = Pipeline::load(&folder, &PipelineOptions::default(), &device).unwrap();
    let request = [watch(vec![video(&seeing, SHORT, 0.37)], 1)];
    let expected = &run(&pipeline(), &request, Batching::Isolated)[0].codes;
    assert_eq!(
        &run(&seeing, &request, Batching::Isolated)[0].codes,
        expected
    );

    let options = PipelineOptions {
        without_vision: true,
        ..PipelineOptions::default()
    };
    let blind = Pipeline::load(&folder, &options, &device).unwrap();
    assert!(blind.model().vision.is_none());
    let error = blind.start(&request, Batching::Isolated).unwrap_err();
    assert!(matches!(
        error,
        UniMoeError::Input(InputError::NoVisionEncoder)
    ));
}

#[test]
fn unusable_pictures_are_errors() {
    let pipeline = pipeline();
    let error = |vision| {
        pipeline
            .start(&[watch(vision, 1)], Batching::Isolated)
            .unwrap_err()
    };
    assert!(matches!(
        error(Vec::new()),
        UniMoeError::Request(RequestError::NoPictures)
    ));
    let good = video(&pipeline, SHORT, 0.37);
    let with_grid = |t, h, w| VisionInput {
        grid: Grid { t, h, w },
        ..good.clone()
    };
    for grid in [
        with_grid(1, 3, 4),
        with_grid(0, 4, 4),
        with_grid(usize::MAX, 4, 4),
    ] {
        let error = error(vec![grid]);
        assert!(
            matches!(error, UniMoeError::Input(InputError::VisionGrid { .. })),
            "{error}"
        );
    }
    let vast = error(vec![with_grid(1 << 40, 2, 2)]);
    assert!(
        matches!(vast, UniMoeError::Input(InputError::TooLong { .. })),
        "{vast}"
    );
    let mut short = good.clone();
    short.patches.pop();
    let error = error(vec![short]);
    assert!(matches!(error, UniMoeError::Vision(_)), "{error}");
}
