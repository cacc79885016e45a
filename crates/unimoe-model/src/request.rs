//! What a user asks of the pipeline: texts, a voice, and how to generate.
//!
//! Axes: `T` frames, `K` codec channels.

use dac_codec::AudioClip;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vision_encoder::VisionInput;

use crate::{
    config::CodecConfig,
    delay::{CodeGrid, SpecialCodes},
    error::{RequestError, UniMoeError},
    generate::GenerationOptions,
    guidance::ClassifierFreeGuidance,
    sampler::SamplingConfig,
};

/// Something to generate.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Request {
    /// Speech in a given voice.
    Speech(SpeechRequest),
    /// Music by its description.
    Music(MusicRequest),
    /// Music for a video or for images.
    VideoMusic(VideoMusicRequest),
}

/// Speech in a given voice.
#[derive(Debug, Clone)]
pub struct SpeechRequest {
    /// What to say.
    pub text: String,
    /// Who says it.
    pub voice: Voice,
    /// What the voice says in its recording.
    pub voice_text: String,
    /// How to generate.
    pub options: RequestOptions,
}

/// Music by its description.
#[derive(Debug, Clone)]
pub struct MusicRequest {
    /// The description.
    pub caption: String,
    /// How to generate.
    pub options: RequestOptions,
}

/// Music for a video or for images.
#[derive(Debug, Clone)]
pub struct VideoMusicRequest {
    /// The description.
    pub caption: String,
    /// A video, an image, or several of them, in the order in which the model sees them.
    pub vision: Vec<VisionInput>,
    /// How to generate.
    pub options: RequestOptions,
}

/// A reference voice.
#[derive(Debug, Clone)]
pub enum Voice {
    /// A recording at any sample rate.
    Clip(AudioClip),
    /// Its codes, `[T, K]`, from [`Pipeline::encode_voice`](crate::Pipeline::encode_voice).
    Codes(CodeGrid),
}

/// How to generate. The defaults are the published ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestOptions {
    /// Least length in seconds. Default: 2 for speech, 8 for music
    pub min_seconds: f64,
    /// Largest length in seconds. Default: 30
    pub max_seconds: f64,
    /// Temperature, top-k, top-p. Default: 1, 45, 1
    pub sampling: SamplingConfig,
    /// Guidance scale; 0 is off, 1 already extrapolates. Default: 1 for speech, 10 for music
    pub guidance_scale: f32,
    /// Factor of the end's logit. Default: 1 for speech, 0.6 for music
    pub eos_factor: f32,
    /// Seed of the request's random numbers; `None` draws one, which the result reports.
    pub seed: Option<u64>,
}

impl Request {
    /// The images and videos that the model sees.
    pub(crate) fn vision(&self) -> &[VisionInput] {
        match self {
            Self::VideoMusic(request) => &request.vision,
            Self::Speech(_) | Self::Music(_) => &[],
        }
    }
}

impl RequestOptions {
    /// The published settings for speech.
    pub fn speech() -> Self {
        Self {
            min_seconds: 2.0,
            max_seconds: 30.0,
            sampling: SamplingConfig::default(),
            guidance_scale: 1.0,
            eos_factor: 1.0,
            seed: None,
        }
    }

    /// The published settings for music, also for that of a video.
    pub fn music() -> Self {
        Self {
            min_seconds: 8.0,
            guidance_scale: 10.0,
            eos_factor: 0.6,
            ..Self::speech()
        }
    }

    /// In frames of the codec, with a seed.
    ///
    /// # Errors
    ///
    /// A [`RequestError`] where a length is negative, not finite, or the least exceeds the largest; a
    /// sampling error where another setting is out of range.
    pub(crate) fn in_frames(&self, frame_rate: f64) -> Result<GenerationOptions, UniMoeError> {
        for (setting, seconds) in [
            ("the least length", self.min_seconds),
            ("the largest length", self.max_seconds),
        ] {
            if !(seconds.is_finite() && seconds >= 0.0) {
                return Err(RequestError::Seconds { setting, seconds }.into());
            }
        }
        if self.min_seconds > self.max_seconds || self.max_seconds == 0.0 {
            return Err(RequestError::MinAboveMax {
                min: self.min_seconds,
                max: self.max_seconds,
            }
            .into());
        }
        let options = GenerationOptions {
            sampling: self.sampling,
            guidance: ClassifierFreeGuidance::new(self.guidance_scale, self.eos_factor)?,
            min_frames: (self.min_seconds * frame_rate).ceil() as usize,
            max_frames: (self.max_seconds * frame_rate).floor().max(1.0) as usize,
            seed: self.seed.unwrap_or_else(random_seed),
        };
        // A range shorter than a frame rounds apart; the largest length wins.
        let min_frames = options.min_frames.min(options.max_frames);
        Ok(GenerationOptions {
            min_frames,
            ..options
        })
    }
}

impl CodecConfig {
    /// The special codes.
    pub fn special(&self) -> SpecialCodes {
        SpecialCodes {
            eos: self.eos,
            pad: self.pad,
            bos: self.bos,
        }
    }
}

/// A seed from the system, small enough to survive JSON readers that keep numbers as floats.
fn random_seed() -> u64 {
    ChaCha8Rng::from_rng(&mut rand::rng()).next_u64() >> 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_frames() {
        let options = RequestOptions::music().in_frames(50.0).expect("valid");
        assert_eq!((options.min_frames, options.max_frames), (400, 1500));
    }

    #[test]
    fn impossible_lengths_are_errors() {
        for (min, max) in [(3.0, 2.0), (-1.0, 2.0), (0.0, f64::NAN), (0.0, 0.0)] {
            let options = RequestOptions {
                min_seconds: min,
                max_seconds: max,
                ..RequestOptions::speech()
            };
            assert!(options.in_frames(50.0).is_err(), "{min}..{max}");
        }
    }
}
