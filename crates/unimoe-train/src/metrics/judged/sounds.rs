//! Clips as they are, through a codec, and made anew.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use burn::tensor::Device;
use dac_codec::{AudioClip, DacCodec};
use serde::{Deserialize, Serialize};

use crate::{
    data::{CodecEncoder, ContentHash, Record},
    metrics::MetricError,
};

/// Frames that are decoded at a time: bounds the memory of long sounds.
const CHUNK_FRAMES: usize = 500;
/// Changes where the round trip of equal sounds by equal codecs becomes another one.
const METHOD: &[u8] = b"16 bits, 1";
/// Most characters of an id in a file's name.
const MAX_NAME: usize = 80;

/// Something of the same clip in three versions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions<T> {
    /// Of the real clip.
    pub real: T,
    /// Of the real clip after a codec's round trip: the best that a model can do that speaks through this codec.
    pub round_trip: T,
    /// Of the generated one.
    pub generated: T,
}

/// A record with its three sounds. What the record must tell beside, each evaluation says.
#[derive(Debug, Clone)]
pub struct JudgedClip {
    /// The record.
    pub record: Arc<Record>,
    /// Its sounds.
    pub sounds: Versions<KeptSound>,
}

impl<T> Versions<T> {
    /// The three, in this order.
    pub fn as_array(&self) -> [&T; 3] {
        [&self.real, &self.round_trip, &self.generated]
    }

    /// The same of something else that comes of each.
    pub fn map<U>(&self, mut of: impl FnMut(&T) -> U) -> Versions<U> {
        Versions {
            real: of(&self.real),
            round_trip: of(&self.round_trip),
            generated: of(&self.generated),
        }
    }

    /// As [`map`](Self::map), up to the first error.
    ///
    /// # Errors
    ///
    /// That of `of`.
    pub fn try_map<U, E>(&self, mut of: impl FnMut(&T) -> Result<U, E>) -> Result<Versions<U>, E> {
        Ok(Versions {
            real: of(&self.real)?,
            round_trip: of(&self.round_trip)?,
            generated: of(&self.generated)?,
        })
    }
}

/// A sound and the file that it is in.
#[derive(Debug, Clone)]
pub struct KeptSound {
    /// The file.
    pub path: PathBuf,
    /// The sound.
    pub clip: AudioClip,
}

impl KeptSound {
    /// Reads a file of at most `max_seconds`.
    ///
    /// # Errors
    ///
    /// [`MetricError::Audio`] where it can't be read.
    pub fn read(path: &Path, max_seconds: f64) -> Result<Self, MetricError> {
        Ok(Self {
            path: path.to_path_buf(),
            clip: AudioClip::read(path, max_seconds)?,
        })
    }
}

/// Sends sounds through a codec and back, and keeps what comes of it as WAV files of 16 bits:
/// `FOLDER/round-trips/CODEC/CLIP-CONTENT.wav`.
#[derive(Debug)]
pub struct RoundTrips {
    encoder: CodecEncoder,
    device: Device,
    folder: PathBuf,
}

impl RoundTrips {
    /// By `codec`, which is on `device`, into `folder`.
    ///
    /// # Errors
    ///
    /// [`MetricError::Write`] where the folder can't be made.
    pub fn new(codec: DacCodec, folder: &Path, device: &Device) -> Result<Self, MetricError> {
        let encoder = CodecEncoder::new(codec, device);
        let fingerprint = encoder.fingerprint();
        let folder = folder.join("round-trips").join(&fingerprint[..12]);
        fs::create_dir_all(&folder).map_err(|source| MetricError::Write {
            path: folder.clone(),
            source,
        })?;
        Ok(Self {
            encoder,
            device: device.clone(),
            folder,
        })
    }

    /// Tells the codec from all others: 64 hexadecimal digits of its weights and sizes.
    pub fn fingerprint(&self) -> String {
        self.encoder.fingerprint()
    }

    /// The round trip of a clip, made or found.
    ///
    /// # Errors
    ///
    /// [`MetricError::Audio`] where the clip can't be resampled or a file not written.
    pub fn of(&self, id: &str, clip: &AudioClip) -> Result<KeptSound, MetricError> {
        let bytes: Vec<u8> = (clip.samples.iter())
            .flat_map(|sample| sample.to_le_bytes())
            .collect();
        let content = ContentHash::of(&[METHOD, &clip.sample_rate.to_le_bytes(), &bytes]);
        let name = format!("{}-{}.wav", plain_name(id), &content.to_string()[..12]);
        let path = self.folder.join(name);
        let seconds = clip.seconds() + 1.0;
        if let Ok(kept) = KeptSound::read(&path, seconds) {
            return Ok(kept);
        }
        let codes = self.encoder.encode(clip)?;
        let mut samples = Vec::new();
        let tensor = codes.to_tensor(&self.device);
        for piece in self.encoder.codec().decode_chunks([tensor], CHUNK_FRAMES) {
            samples.extend(piece?.into_data().iter::<f32>());
        }
        let sample_rate = self.encoder.config().sample_rate as u32;
        let length = (clip.seconds() * f64::from(sample_rate)).round() as usize;
        samples.truncate(length.max(1));
        AudioClip {
            samples,
            sample_rate,
        }
        .write_wav(&path)?;
        // Read back, so that it is the same whether it was made or found.
        KeptSound::read(&path, seconds)
    }
}

/// An id as part of a file's name; ids that differ in other characters only get the same name.
pub(super) fn plain_name(id: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => c,
        _ => '_',
    };
    id.chars().take(MAX_NAME).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use unimoe_model::Preset;

    use super::*;

    #[test]
    fn round_trips_are_as_long_as_their_clips_and_found_again() {
        let device = Device::flex();
        let codec = DacCodec::random(&Preset::Tiny.codec(), 1, &device).expect("a codec");
        let folder = tempfile::tempdir().expect("a folder");
        let trips = RoundTrips::new(codec, folder.path(), &device).expect("a folder");
        let sine = |n: usize| (n as f32 * 0.1).sin() * 0.3;
        let clip = AudioClip {
            samples: (0..3000).map(sine).collect(),
            sample_rate: 8000,
        };
        let made = trips.of("../a b", &clip).expect("made");
        assert_eq!(
            (made.clip.samples.len(), made.clip.sample_rate),
            (6000, 16_000)
        );
        assert!(made.path.starts_with(folder.path()));
        let name = made
            .path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        assert!(name.starts_with("___a_b-"), "{name}");
        // What lies there is taken as it is.
        let other = AudioClip {
            samples: vec![0.25; 100],
            sample_rate: 16_000,
        };
        other.write_wav(&made.path).expect("written");
        assert_eq!(
            trips.of("../a b", &clip).expect("found").clip.samples.len(),
            100
        );
    }
}
