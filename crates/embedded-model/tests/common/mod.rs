//! What the tests observe of the built-in model; `examples/fixtures.rs` writes it down.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use dac_codec::AudioClip;
use serde::{Deserialize, Serialize};
use unimoe_model::{Batching, MusicRequest, Pipeline, Request, RequestOptions};
use unimoe_train::SpectralDistance;

const TEXT: &str = "Hello world.";
const CAPTION: &str = "A happy fast piano melody in C major.";
/// Long enough for every channel to have begun: the longest delay is 18 frames.
const SECONDS: f64 = 0.5;

/// What the model is expected to do.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// What the codes are drawn from.
    pub seed: u64,
    /// Codes of `TEXT` in the first voice, frame by frame.
    pub speech: Vec<Vec<u32>>,
    /// Codes of `CAPTION`, frame by frame.
    pub music: Vec<Vec<u32>>,
    /// Mel distance of `speech.wav` from its round trip through the codec.
    pub round_trip_mel_distance: f64,
}

pub fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    folder.join(name)
}

/// Codes of speech and of music, drawn from `seed`.
pub fn codes(pipeline: &Pipeline, batching: Batching, seed: u64) -> [Vec<Vec<u32>>; 2] {
    let companions = pipeline.companions();
    let of_length = |options: RequestOptions| RequestOptions {
        min_seconds: SECONDS,
        max_seconds: SECONDS,
        seed: Some(seed),
        ..options
    };
    let speech = of_length(companions.defaults.speech);
    let voice = companions.voices.get(None, TEXT).unwrap();
    let music = MusicRequest {
        caption: CAPTION.into(),
        options: of_length(companions.defaults.music),
    };
    let requests = [
        Request::Speech(voice.speak(TEXT, speech)),
        Request::Music(music),
    ];
    let generated = pipeline
        .generate(&requests, batching, |_| std::ops::ControlFlow::Continue(()))
        .unwrap();
    let frames = |index: usize| generated[index].codes.frames().map(<[u32]>::to_vec);
    [frames(0).collect(), frames(1).collect()]
}

/// Mel distances of `speech.wav` from its round trip through the codec, and from silence.
pub fn round_trip(pipeline: &Pipeline) -> [f64; 2] {
    let clip = AudioClip::read(fixture("speech.wav"), 10.0).unwrap();
    let mut back = pipeline
        .decode(&pipeline.encode_voice(&clip).unwrap())
        .unwrap()
        .samples;
    back.resize(clip.samples.len(), 0.0);
    let distance = SpectralDistance::new(clip.sample_rate, &Device::flex()).unwrap();
    let silence = vec![0.0; clip.samples.len()];
    [back, silence].map(|other| {
        let distances = distance.between(&clip.samples, &other).unwrap();
        distances.mel_distance
    })
}
