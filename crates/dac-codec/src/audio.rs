//! Sound files in and out.
//!
//! Reading is symphonia's: WAV, FLAC, MP3, Ogg (Vorbis, Opus), AAC and M4A/MP4, Matroska/WebM, AIFF, told apart by
//! content.
//!
//! A damaged file is an error rather than a shorter sound: where the stream ends before the length that its
//! container announces (0.1 s are forgiven, since codecs pad), where it ends inside a packet of unknown number, or
//! where more than one packet in twenty is malformed. Single malformed packets are left out, as players do: cut MP3
//! streams begin with some.

use std::{
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use burn::tensor::{Device, Tensor, TensorData};
use hound::{SampleFormat, WavSpec, WavWriter};
use model_files::ModelPath;
use symphonia::core::{
    errors::Error as SymphoniaError,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::{MediaSource, MediaSourceStream},
    meta::MetadataOptions,
};

use crate::{atomic, codec::input, error::DacError, packets::PacketDecoder, resample::resample};

/// Seconds that may be missing at the end.
const FORGIVEN_SECONDS: f64 = 0.1;
/// Packets in a row without sound after which a file counts as damaged.
const MAX_EMPTY_PACKETS: usize = 10_000;
/// Most samples of a 16-bit mono WAV file, whose sizes are 32-bit.
const MAX_WAV_SAMPLES: usize = (u32::MAX as usize - 64) / 2;

/// A mono sound.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioClip {
    /// Samples, nominally within -1 to 1.
    pub samples: Vec<f32>,
    /// Samples per second.
    pub sample_rate: u32,
}

impl AudioClip {
    /// Reads a sound file of at most `max_seconds`, mixing its channels to their mean.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`], [`DacError::AudioTooLong`], and [`DacError::Audio`] for a file of unknown type, without
    /// sound, damaged, or with samples that are not finite.
    pub fn read(path: impl AsRef<Path>, max_seconds: f64) -> Result<Self, DacError> {
        let path = path.as_ref();
        let file = ModelPath::from(path)
            .open()
            .map_err(DacError::io("read", path))?;
        Self::decode(file, &path.display().to_string(), max_seconds)
    }

    /// Reads a sound from `source`, which errors call `name`.
    ///
    /// # Errors
    ///
    /// As [`AudioClip::read`].
    pub fn decode(
        source: impl Read + Seek + Send + Sync + 'static,
        name: &str,
        max_seconds: f64,
    ) -> Result<Self, DacError> {
        // The decoders meet files that nobody vouches for, and some of their sums overflow on hostile headers, which is
        // a panic where overflow is checked. Their state dies with the call, so that nothing broken is seen later.
        let decode = AssertUnwindSafe(|| Self::decode_unguarded(source, name, max_seconds));
        catch_unwind(decode)
            .unwrap_or_else(|_| Err(audio_error(name, "damaged: its decoder failed")))
    }

    fn decode_unguarded(
        mut source: impl Read + Seek + Send + Sync + 'static,
        name: &str,
        max_seconds: f64,
    ) -> Result<Self, DacError> {
        let length = source
            .seek(SeekFrom::End(0))
            .and_then(|length| source.rewind().map(|()| length))
            .map_err(DacError::io("read", name))?;
        if length == 0 {
            return Err(audio_error(name, "the file is empty"));
        }
        let stream =
            MediaSourceStream::new(Box::new(Source { source, length }), Default::default());
        let mut format = symphonia::default::get_probe()
            .probe(
                &Hint::new(),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .map_err(|error| caused(name, "not a sound file of a known type", error))?;
        let track = format
            .default_track(TrackType::Audio)
            .ok_or_else(|| audio_error(name, "no sound track"))?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(|| audio_error(name, "the sound track's codec is unknown"))?;
        let mut decoder = PacketDecoder::new(parameters)
            .map_err(|error| caused(name, "the sound track's codec is not supported", error))?;
        let (id, announced) = (track.id, track.num_frames);

        let mut mix = Mix::new(name, max_seconds);
        let mut cut = None;
        loop {
            let packet = match format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    cut = Some(error);
                    break;
                }
                Err(SymphoniaError::ResetRequired) => {
                    return Err(audio_error(name, "several streams one after another"));
                }
                Err(error) => return Err(caused(name, "damaged", error)),
            };
            if packet.track_id != id {
                continue;
            }
            match decoder.decode(&packet, &mut mix.interleaved) {
                Ok(spec) => mix.take(spec.rate, spec.channels)?,
                Err(SymphoniaError::DecodeError(_) | SymphoniaError::IoError(_)) => mix.skip()?,
                Err(error) => return Err(caused(name, "damaged", error)),
            }
        }
        mix.finish(announced, cut)
    }

    /// Length in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.sample_rate)
    }

    /// The sound at another sample rate.
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] as [`resample`].
    pub fn resampled(&self, sample_rate: u32) -> Result<Self, DacError> {
        Ok(Self {
            samples: resample(&self.samples, self.sample_rate, sample_rate)?,
            sample_rate,
        })
    }

    /// The samples as a tensor `[1, 1, L]`, which [`DacCodec::encode`](crate::DacCodec::encode) takes.
    pub fn to_tensor(&self, device: &Device) -> Tensor<3> {
        let shape = [1, 1, self.samples.len()];
        Tensor::from_data(TensorData::new(self.samples.clone(), shape), device)
    }

    /// Writes a 16-bit PCM WAV file, whole or not at all. Samples beyond -1 to 1 are clipped.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`], and [`DacError::Input`] for a sample that is not finite or more of them than the format holds.
    pub fn write_wav(&self, path: impl AsRef<Path>) -> Result<(), DacError> {
        if let Some(index) = self.samples.iter().position(|sample| !sample.is_finite()) {
            let found = format!("{} at sample {index}", self.samples[index]);
            return Err(input("the audio", "finite samples", found));
        }
        if self.samples.len() > MAX_WAV_SAMPLES {
            let most = format!("at most {MAX_WAV_SAMPLES} samples");
            return Err(input("the audio", &most, self.samples.len().to_string()));
        }
        let spec = WavSpec {
            channels: 1,
            sample_rate: self.sample_rate,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        atomic::write(path.as_ref(), |file| {
            let mut writer = WavWriter::new(file, spec).map_err(into_io)?;
            for sample in &self.samples {
                writer.write_sample(to_pcm(*sample)).map_err(into_io)?;
            }
            writer.finalize().map_err(into_io)
        })
    }
}

/// The nearest 16-bit value, full scale being 32,767.
fn to_pcm(sample: f32) -> i16 {
    (sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16
}

fn into_io(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// A reader of known length, as symphonia wants it.
struct Source<R> {
    source: R,
    length: u64,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer)
    }
}

impl<R: Seek> Seek for Source<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.source.seek(position)
    }
}

impl<R: Read + Seek + Send + Sync> MediaSource for Source<R> {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// The sound so far.
struct Mix<'a> {
    name: &'a str,
    max_seconds: f64,
    rate: u32,
    samples: Vec<f32>,
    /// The packet at hand.
    interleaved: Vec<f32>,
    packets: usize,
    malformed: usize,
    empty_in_a_row: usize,
}

impl<'a> Mix<'a> {
    fn new(name: &'a str, max_seconds: f64) -> Self {
        Self {
            name,
            max_seconds,
            rate: 0,
            samples: Vec::new(),
            interleaved: Vec::new(),
            packets: 0,
            malformed: 0,
            empty_in_a_row: 0,
        }
    }

    /// Adds the packet in `interleaved`.
    fn take(&mut self, rate: u32, channels: usize) -> Result<(), DacError> {
        self.packets += 1;
        if self.interleaved.is_empty() {
            return self.nothing();
        }
        self.empty_in_a_row = 0;
        if self.rate == 0 {
            self.rate = rate;
        }
        if rate == 0 || rate != self.rate || channels == 0 {
            let reason = format!("{rate} Hz and {channels} channels after {} Hz", self.rate);
            return Err(audio_error(self.name, &reason));
        }
        let frames = self.interleaved.len() / channels;
        if (self.samples.len() + frames) as f64 > self.max_seconds * f64::from(rate) {
            return Err(DacError::AudioTooLong {
                name: self.name.into(),
                max_seconds: self.max_seconds,
            });
        }
        let scale = 1.0 / channels as f32;
        self.samples.extend(
            self.interleaved
                .chunks_exact(channels)
                .map(|frame| frame.iter().sum::<f32>() * scale),
        );
        Ok(())
    }

    /// Leaves a malformed packet out.
    fn skip(&mut self) -> Result<(), DacError> {
        self.packets += 1;
        self.malformed += 1;
        self.nothing()
    }

    fn nothing(&mut self) -> Result<(), DacError> {
        self.empty_in_a_row += 1;
        if self.empty_in_a_row > MAX_EMPTY_PACKETS {
            return Err(audio_error(
                self.name,
                "damaged: packets without end and without sound",
            ));
        }
        Ok(())
    }

    fn finish(self, announced: Option<u64>, cut: Option<io::Error>) -> Result<AudioClip, DacError> {
        let Self {
            name,
            rate,
            samples,
            ..
        } = self;
        if self.malformed > 1 && self.malformed * 20 > self.packets {
            let reason = format!("damaged: {} of {} packets", self.malformed, self.packets);
            return Err(audio_error(name, &reason));
        }
        if samples.is_empty() {
            return Err(audio_error(name, "no sound in it"));
        }
        let forgiven = FORGIVEN_SECONDS * f64::from(rate);
        let found = samples.len() as f64;
        match (announced, cut) {
            (Some(announced), cut) if found + forgiven < announced as f64 => {
                let reason = format!("cut off: {} of {announced} samples", samples.len());
                Err(DacError::Audio {
                    name: name.into(),
                    reason,
                    source: cut.map(Into::into),
                })
            }
            (None, Some(error)) => Err(caused(name, "cut off", error)),
            _ => match samples.iter().position(|sample| !sample.is_finite()) {
                None => Ok(AudioClip {
                    samples,
                    sample_rate: rate,
                }),
                Some(index) => {
                    let reason = format!("sample {index} is {}", samples[index]);
                    Err(audio_error(name, &reason))
                }
            },
        }
    }
}

fn audio_error(name: &str, reason: &str) -> DacError {
    DacError::Audio {
        name: name.into(),
        reason: reason.into(),
        source: None,
    }
}

fn caused(
    name: &str,
    reason: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> DacError {
    DacError::Audio {
        name: name.into(),
        reason: reason.into(),
        source: Some(Box::new(error)),
    }
}
