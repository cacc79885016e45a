//! A small corpus and a small model, made on the spot.
#![allow(dead_code, clippy::unwrap_used)]

use std::{
    f32::consts::TAU,
    fs,
    path::{Path, PathBuf},
    sync::atomic::AtomicBool,
};

use burn::tensor::{DType, Device};
use dac_codec::{AudioClip, DacCodec};
use serde_json::json;
use unimoe_model::{LoadOptions, Preset, Tokenizer, UniMoe, UniMoeConfig};
use unimoe_train::{Event, EventError, Observer, StageConfig};

/// Nobody stops anything.
pub static GO_ON: AtomicBool = AtomicBool::new(false);

/// Watches without a word.
#[derive(Default)]
pub struct Silent;

impl Observer for Silent {
    fn notice(&mut self, _event: &Event) -> Result<(), EventError> {
        Ok(())
    }
}

/// The sizes of a model that trains in no time.
pub fn structure() -> UniMoeConfig {
    let mut config = UniMoeConfig::tiny();
    config.text.max_positions = 512;
    config.text.d_model = 32;
    config.text.n_heads = 2;
    config.vision = None;
    config
}

/// Writes a model folder with tokenizer and codec.
pub fn model_folder(config: &UniMoeConfig, folder: &Path) {
    model_folder_of(config, 7, folder);
}

/// Writes a model folder with weights from `seed`, tokenizer and codec.
pub fn model_folder_of(config: &UniMoeConfig, seed: u64, folder: &Path) {
    let device = Device::flex();
    fs::create_dir_all(folder).unwrap();
    let options = LoadOptions {
        text_head: true,
        ..LoadOptions::default()
    };
    let model = UniMoe::random(config, seed, options, &device).unwrap();
    model.save(folder, DType::F32).unwrap();
    Tokenizer::write_byte_level(folder, config.codec.placeholder).unwrap();
    let codec = DacCodec::random(&Preset::Tiny.codec(), 7, &device).unwrap();
    codec.save(folder.join("dac")).unwrap();
}

fn tone(path: &Path, pitch: f32, seconds: f32) {
    let samples = (0..(16_000.0 * seconds) as usize)
        .map(|n| 0.3 * (TAU * pitch * n as f32 / 16_000.0).sin())
        .collect();
    AudioClip {
        samples,
        sample_rate: 16_000,
    }
    .write_wav(path)
    .unwrap();
}

/// Writes `clips` clips of each of two domains and their manifest.
pub fn corpus(folder: &Path, clips: usize) -> PathBuf {
    fs::create_dir_all(folder).unwrap();
    let mut lines = String::new();
    for n in 0..clips {
        let pitch = 110.0 * (1.0 + n as f32 / 7.0);
        tone(
            &folder.join(format!("s{n}.wav")),
            pitch,
            0.2 + 0.05 * (n % 3) as f32,
        );
        tone(&folder.join(format!("m{n}.wav")), 3.0 * pitch, 0.3);
        let speech = json!({
            "id": format!("s{n}"), "task": "speech", "text": format!("number {n}"), "audio": format!("s{n}.wav"),
            "reference_audio": "s0.wav", "reference_text": "number 0", "language": "en",
        });
        let music = json!({
            "id": format!("m{n}"), "task": "music", "caption": format!("tone {n}"), "audio": format!("m{n}.wav"),
        });
        lines += &format!("{speech}\n{music}\n");
    }
    let manifest = folder.join("clips.jsonl");
    fs::write(&manifest, lines).unwrap();
    manifest
}

/// A stage of some steps of two clips each.
pub fn config(steps: u64) -> StageConfig {
    let mut config = StageConfig::default();
    config.run.steps = steps;
    config.run.batch_size = 2;
    config.run.validate_every = 4;
    config.run.validation_clips = 2;
    config.optimizer.learning_rate = 1e-3;
    config
}
