//! Little sounds and manifests to test with.

use std::{
    fs,
    path::{Path, PathBuf},
};

use dac_codec::{AudioClip, DacCodec};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;
use unimoe_model::Preset;
use unimoe_train::{CodecEncoder, Manifest, Policy};

pub const RATE: u32 = 8000;

/// A folder of sounds.
pub struct Studio(pub TempDir);

impl Studio {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a tune.
    pub fn tune(&self, name: &str, seed: u64, seconds: f64) -> PathBuf {
        self.clip(name, &tune(seed, seconds))
    }

    pub fn clip(&self, name: &str, clip: &AudioClip) -> PathBuf {
        let path = self.path(name);
        clip.write_wav(&path).unwrap();
        path
    }

    /// Writes lines.
    pub fn manifest(&self, name: &str, lines: &[Value]) -> PathBuf {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let path = self.path(name);
        fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    /// `count` music clips of 0.1 s and more, each longer than the one before it.
    pub fn music(&self, count: usize) -> Manifest {
        let lines: Vec<Value> = (0..count)
            .map(|index| {
                let name = format!("m{index}.wav");
                self.tune(&name, index as u64, 0.1 + 0.05 * index as f64);
                music(&format!("m{index}"), &name)
            })
            .collect();
        load(&self.manifest("music.jsonl", &lines)).unwrap()
    }
}

pub fn load(path: &Path) -> Result<Manifest, unimoe_train::DataError> {
    Manifest::load(&[path], Policy::Fail)
}

pub fn music(id: &str, audio: &str) -> Value {
    json!({"id": id, "task": "music", "caption": format!("tune {id}"), "audio": audio})
}

pub fn speech(id: &str, text: &str, audio: &str) -> Value {
    json!({"id": id, "task": "speech", "text": text, "audio": audio, "language": "en"})
}

/// Notes of an eighth of a second with overtones, drawn from a seed, and a little noise.
pub fn tune(seed: u64, seconds: f64) -> AudioClip {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = move |n: u64| generator.next_u64() % n;
    let count = (seconds * f64::from(RATE)) as usize;
    let note = RATE as usize / 8;
    let mut samples = Vec::with_capacity(count);
    let (mut pitches, mut noise) = ([0.0; 3], 1u32);
    for index in 0..count {
        if index % note == 0 {
            pitches = std::array::from_fn(|_| 200.0 * 2f64.powf(draw(36) as f64 / 12.0));
        }
        let time = index as f64 / f64::from(RATE);
        let voice = |pitch: &f64| (std::f64::consts::TAU * pitch * time).sin();
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let hiss = f64::from(noise >> 16) / 65_536.0 - 0.5;
        let sum = pitches.iter().map(voice).sum::<f64>() / 3.0;
        samples.push((0.5 * sum + 0.02 * hiss) as f32);
    }
    AudioClip {
        samples,
        sample_rate: RATE,
    }
}

/// An untrained codec.
pub fn encoder(seed: u64) -> std::sync::Arc<CodecEncoder> {
    let device = burn::tensor::Device::flex();
    let codec = DacCodec::random(&Preset::Tiny.codec(), seed, &device).unwrap();
    std::sync::Arc::new(CodecEncoder::new(codec, &device))
}
