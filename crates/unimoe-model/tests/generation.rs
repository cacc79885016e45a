//! Properties of generation on a small random model.
#![allow(clippy::unwrap_used, missing_docs)]

use std::ops::ControlFlow;

use burn::tensor::{DType, Device};
use dac_codec::{AudioClip, DacCodec};
use unimoe_model::{
    Batching, Generated, LoadOptions, MusicRequest, Pipeline, Preset, Progress, Request,
    RequestOptions, SpeechRequest, StopReason, Tokenizer, UniMoe, UniMoeConfig, Voice,
};

fn pipeline() -> Pipeline {
    Pipeline::untrained(Preset::Tiny, 3, None, &Device::flex()).unwrap()
}

fn music(caption: &str, seed: u64, seconds: f64) -> Request {
    Request::Music(MusicRequest {
        caption: caption.into(),
        options: RequestOptions {
            min_seconds: seconds,
            max_seconds: seconds,
            seed: Some(seed),
            ..RequestOptions::music()
        },
    })
}

fn speech(seed: u64) -> Request {
    // A quarter of a second of a 200 Hz tone at a rate that must be resampled.
    let samples =
        (0..6000).map(|n| 0.3 * (n as f32 * 200.0 / 24_000.0 * std::f32::consts::TAU).sin());
    Request::Speech(SpeechRequest {
        text: "Hello world".into(),
        voice: Voice::Clip(AudioClip {
            samples: samples.collect(),
            sample_rate: 24_000,
        }),
        voice_text: "A tone".into(),
        options: RequestOptions {
            min_seconds: 0.3,
            max_seconds: 0.3,
            seed: Some(seed),
            ..RequestOptions::speech()
        },
    })
}

fn run(pipeline: &Pipeline, requests: &[Request], batching: Batching) -> Vec<Generated> {
    pipeline
        .generate(requests, batching, |_| ControlFlow::Continue(()))
        .unwrap()
}

#[test]
fn a_request_alone_equals_the_request_in_a_batch() {
    let pipeline = pipeline();
    let batch = [
        music("A calm piano", 5, 0.4),
        speech(6),
        music("Drums", 7, 0.2),
    ];
    let together = run(&pipeline, &batch, Batching::Isolated);
    for (request, expected) in batch.iter().zip(&together) {
        let alone = run(&pipeline, std::slice::from_ref(request), Batching::Isolated);
        assert_eq!(alone[0].codes, expected.codes);
        assert_eq!(alone[0].audio, expected.audio);
    }
}

#[test]
fn requests_of_different_lengths_share_a_joint_batch() {
    let pipeline = pipeline();
    let batch = [
        music("A calm piano", 5, 0.4),
        speech(6),
        music("Drums", 7, 0.2),
    ];
    let results = run(&pipeline, &batch, Batching::Joint);
    let frames: Vec<usize> = results.iter().map(|r| r.codes.n_frames()).collect();
    assert_eq!(frames, [20, 15, 10]);
}

#[test]
fn the_seed_decides_and_is_reported() {
    let pipeline = pipeline();
    let codes = |seed| {
        run(
            &pipeline,
            &[music("Strings", seed, 0.2)],
            Batching::Isolated,
        )
    };
    assert_eq!(codes(1)[0].codes, codes(1)[0].codes);
    assert_ne!(codes(1)[0].codes, codes(2)[0].codes);
    assert_eq!(codes(9)[0].seed, 9);

    let Request::Music(mut unseeded) = music("Strings", 0, 0.2) else {
        unreachable!("a music request");
    };
    unseeded.options.seed = None;
    let drawn = run(&pipeline, &[Request::Music(unseeded)], Batching::Isolated);
    assert_eq!(codes(drawn[0].seed)[0].codes, drawn[0].codes);
}

#[test]
fn joined_audio_chunks_equal_the_offline_result() {
    let pipeline = pipeline();
    let requests = [music("A calm piano", 5, 1.2), speech(6)];
    let offline = run(&pipeline, &requests, Batching::Isolated);
    let mut session = pipeline
        .start(&requests, Batching::Isolated)
        .unwrap()
        .with_audio(7);
    let mut joined = vec![Vec::new(); 2];
    let mut before_the_end = 0;
    let mut frames = vec![Vec::new(); 2];
    while let Some(step) = session.step().unwrap() {
        for frame in step.frames {
            frames[frame.request].extend(frame.codes);
        }
        for chunk in step.audio {
            before_the_end += chunk.samples.len();
            joined[chunk.request].extend(chunk.samples);
        }
    }
    for chunk in session.drain().unwrap() {
        joined[chunk.request].extend(chunk.samples);
    }
    assert!(before_the_end > 0, "sound must come while codes still do");
    for ((joined, frames), offline) in joined.iter().zip(&frames).zip(&offline) {
        assert_eq!(frames, offline.codes.as_slice());
        let (sound, silence) = offline.audio.samples.split_at(joined.len());
        assert!(silence.iter().all(|&sample| sample == 0.0));
        for (a, b) in joined.iter().zip(sound) {
            // Sums in f32 in another order; samples lie within -1 to 1.
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }
}

#[test]
fn a_cancelled_generation_keeps_its_complete_frames() {
    let pipeline = pipeline();
    let request = [music("A calm piano", 5, 1.0)];
    let whole = run(&pipeline, &request, Batching::Isolated);
    let stop_at_ten = |progress: &Progress| match progress.frames[0] {
        10 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let cut = pipeline
        .generate(&request, Batching::Isolated, stop_at_ten)
        .unwrap();
    assert_eq!(cut[0].stop, StopReason::Cancelled);
    assert_eq!(cut[0].codes.n_frames(), 10);
    let kept = cut[0].codes.as_slice();
    assert_eq!(kept, &whole[0].codes.as_slice()[..kept.len()]);
}

#[test]
fn any_delay_pattern_gives_frames_of_real_codes() {
    let device = Device::flex();
    let reversed: Vec<usize> = (0..12).rev().collect();
    let uneven = vec![3, 0, 7, 1, 1, 2, 0, 5, 4, 3, 2, 6];
    for pattern in [vec![0; 12], reversed, uneven] {
        let mut config = UniMoeConfig::tiny();
        config.codec.delay_pattern = pattern.clone();
        let model = UniMoe::random(&config, 3, LoadOptions::default(), &device).unwrap();
        let tokenizer = Tokenizer::byte_level(config.codec.placeholder).unwrap();
        let codec = DacCodec::random(&Preset::Tiny.codec(), 3, &device).unwrap();
        let pipeline = Pipeline::new(model, tokenizer, codec, &device).unwrap();
        let Request::Music(mut early) = music("Drums", 1, 0.3) else {
            unreachable!("a music request");
        };
        early.options.max_seconds = 2.0;
        // Where the end's logit is positive at all, it becomes the likeliest.
        early.options.eos_factor = 1e4;
        let requests = [Request::Music(early), music("Drums", 2, 0.3)];
        let results = run(&pipeline, &requests, Batching::Isolated);
        assert_eq!(results[0].stop, StopReason::EndOfSequence, "{pattern:?}");
        assert!(results[0].codes.n_frames() >= 15, "{pattern:?}");
        assert_eq!(results[1].codes.n_frames(), 15, "{pattern:?}");
        for result in results {
            let codes = result.codes.as_slice();
            assert!(codes.iter().all(|&code| code < 1024), "{pattern:?}");
        }
    }
}

#[test]
fn results_last_a_second_at_least() {
    let pipeline = pipeline();
    let results = run(&pipeline, &[music("Drums", 7, 0.2)], Batching::Isolated);
    assert_eq!(results[0].audio.samples.len(), 16_000);
    assert_eq!(results[0].stop, StopReason::MaxFrames);
}

#[test]
fn another_voice_gives_other_codes() {
    let pipeline = pipeline();
    let first = run(&pipeline, &[speech(6)], Batching::Isolated);
    let Request::Speech(mut other) = speech(6) else {
        unreachable!("a speech request");
    };
    if let Voice::Clip(clip) = &mut other.voice {
        clip.samples
            .iter_mut()
            .enumerate()
            .for_each(|(n, s)| *s *= (n as f32 / 40.0).cos());
    }
    let second = run(&pipeline, &[Request::Speech(other)], Batching::Isolated);
    assert_ne!(first[0].codes, second[0].codes);
}

#[test]
fn unusable_requests_are_errors() {
    let pipeline = pipeline();
    let Request::Speech(good) = speech(6) else {
        unreachable!("a speech request");
    };
    let clip = |samples: Vec<f32>| {
        Voice::Clip(AudioClip {
            samples,
            sample_rate: 16_000,
        })
    };
    let cases = [
        (
            "blank",
            SpeechRequest {
                text: " \n".into(),
                ..good.clone()
            },
        ),
        (
            "silent",
            SpeechRequest {
                voice: clip(vec![0.0; 16_000]),
                ..good.clone()
            },
        ),
        (
            "empty",
            SpeechRequest {
                voice: clip(Vec::new()),
                ..good.clone()
            },
        ),
        (
            "not a number",
            SpeechRequest {
                voice: clip(vec![f32::NAN; 16_000]),
                ..good.clone()
            },
        ),
        (
            "too long",
            SpeechRequest {
                voice: clip(vec![0.5; 61 * 16_000]),
                ..good.clone()
            },
        ),
        (
            "100,000 characters",
            SpeechRequest {
                text: "word ".repeat(20_000),
                ..good.clone()
            },
        ),
        (
            "control token",
            SpeechRequest {
                text: "<|im_end|>".into(),
                ..good.clone()
            },
        ),
    ];
    for (name, request) in cases {
        let error = pipeline.start(&[Request::Speech(request)], Batching::Isolated);
        assert!(error.is_err(), "{name}");
    }
    for options in [
        RequestOptions {
            min_seconds: 3.0,
            max_seconds: 2.0,
            ..RequestOptions::music()
        },
        RequestOptions {
            max_seconds: 1e12,
            ..RequestOptions::music()
        },
        RequestOptions {
            guidance_scale: f32::NAN,
            ..RequestOptions::music()
        },
    ] {
        let request = Request::Music(MusicRequest {
            caption: "Drums".into(),
            options,
        });
        let error = pipeline.start(&[request], Batching::Isolated);
        assert!(error.is_err(), "{options:?}");
    }
}

#[test]
fn half_precision_generates_too() {
    for dtype in [DType::F16, DType::BF16] {
        let pipeline = Pipeline::untrained(Preset::Tiny, 3, Some(dtype), &Device::flex()).unwrap();
        let results = run(
            &pipeline,
            &[music("Drums", 7, 0.2), speech(6)],
            Batching::Joint,
        );
        assert_eq!(results[0].codes.n_frames(), 10, "{dtype:?}");
        assert_eq!(results[1].codes.n_frames(), 15, "{dtype:?}");
    }
}
