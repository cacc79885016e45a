//! Packets of a sound track to samples: symphonia's decoders, and Opus, which symphonia only unpacks.

use ropus::{Channels, DecodeMode, Decoder};
use symphonia::core::{
    codecs::audio::{
        AudioCodecParameters, AudioDecoder, AudioDecoderOptions, well_known::CODEC_ID_OPUS,
    },
    errors::Error,
    packet::Packet,
};

/// The rate that Opus decodes to, in Hz, whatever it was recorded at.
const OPUS_RATE: u32 = 48_000;
/// Samples per channel of the longest packet, 120 ms.
const OPUS_LONGEST: usize = 5760;

/// A decoder of one track.
pub(crate) enum PacketDecoder {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(Box<OpusPackets>),
}

/// Rate and number of channels of a packet's samples.
pub(crate) struct PacketSpec {
    pub(crate) rate: u32,
    pub(crate) channels: usize,
}

/// Opus packets, by the identification header of RFC 7845, section 5.1.
pub(crate) struct OpusPackets {
    decoder: Decoder,
    channels: usize,
    /// Samples per channel that are still to be left out at the beginning.
    skip: usize,
    gain: f32,
    scratch: Vec<f32>,
}

impl PacketDecoder {
    /// The decoder that `parameters` ask for.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] where there is none.
    pub(crate) fn new(parameters: &AudioCodecParameters) -> Result<Self, Error> {
        if parameters.codec == CODEC_ID_OPUS {
            let header = parameters.extra_data.as_deref().unwrap_or_default();
            return Ok(Self::Opus(Box::new(OpusPackets::new(header)?)));
        }
        symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default())
            .map(Self::Symphonia)
    }

    /// Decodes a packet; its samples replace those in `interleaved`.
    ///
    /// # Errors
    ///
    /// [`Error::DecodeError`] for a malformed packet, after which the next one can be tried.
    pub(crate) fn decode(
        &mut self,
        packet: &Packet,
        interleaved: &mut Vec<f32>,
    ) -> Result<PacketSpec, Error> {
        match self {
            Self::Symphonia(decoder) => {
                let buffer = decoder.decode(packet)?;
                buffer.copy_to_vec_interleaved(interleaved);
                Ok(PacketSpec {
                    rate: buffer.spec().rate(),
                    channels: buffer.spec().channels().count(),
                })
            }
            Self::Opus(opus) => opus.decode(&packet.data, interleaved),
        }
    }
}

impl OpusPackets {
    fn new(header: &[u8]) -> Result<Self, Error> {
        // Magic, version, channels, samples to skip, input rate, gain, channel mapping.
        let Some((b"OpusHead", rest)) = header.split_first_chunk() else {
            return Err(Error::DecodeError("opus: no identification header"));
        };
        let &[
            _,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            mapping,
            ..,
        ] = rest
        else {
            return Err(Error::DecodeError(
                "opus: the identification header is too short",
            ));
        };
        let layout = match (mapping, channels) {
            (0, 1) => Channels::Mono,
            (0, 2) => Channels::Stereo,
            _ => return Err(Error::Unsupported("opus: more than two channels")),
        };
        let decoder = Decoder::new(OPUS_RATE, layout)
            .map_err(|_| Error::Unsupported("opus: the decoder can't be made"))?;
        // In 1/256 dB.
        let gain = f32::from(i16::from_le_bytes([gain_low, gain_high])) / 256.0;
        let channels = usize::from(channels);
        Ok(Self {
            decoder,
            channels,
            skip: usize::from(u16::from_le_bytes([skip_low, skip_high])),
            gain: 10f32.powf(gain / 20.0),
            scratch: vec![0.0; OPUS_LONGEST * channels],
        })
    }

    fn decode(&mut self, packet: &[u8], interleaved: &mut Vec<f32>) -> Result<PacketSpec, Error> {
        interleaved.clear();
        if packet.is_empty() {
            return Err(Error::DecodeError("opus: an empty packet"));
        }
        let frames = self
            .decoder
            .decode_float(packet, &mut self.scratch, DecodeMode::Normal)
            .map_err(|_| Error::DecodeError("opus: a malformed packet"))?;
        let skipped = self.skip.min(frames);
        self.skip -= skipped;
        let samples = &self.scratch[skipped * self.channels..frames * self.channels];
        interleaved.extend(samples.iter().map(|sample| sample * self.gain));
        Ok(PacketSpec {
            rate: OPUS_RATE,
            channels: self.channels,
        })
    }
}

#[cfg(test)]
mod tests {
    use ropus::{Application, Encoder};

    use super::*;

    fn header(channels: u8, skip: u16, mapping: u8) -> Vec<u8> {
        let mut header = b"OpusHead\x01".to_vec();
        header.push(channels);
        header.extend(skip.to_le_bytes());
        header.extend(OPUS_RATE.to_le_bytes());
        header.extend([0, 0, mapping]);
        header
    }

    #[test]
    fn a_tone_survives_opus_and_the_skip_is_left_out() {
        let mut encoder = Encoder::builder(OPUS_RATE, Channels::Mono, Application::Audio)
            .build()
            .expect("an encoder");
        let skip = encoder.lookahead() as u16;
        let tone = |n: usize| 0.5 * (n as f32 * 440.0 / 48_000.0 * std::f32::consts::TAU).sin();
        let mut opus = OpusPackets::new(&header(1, skip, 0)).expect("a header");
        let (mut decoded, mut piece) = (Vec::<f32>::new(), Vec::new());
        for frame in 0..20 {
            let samples: Vec<f32> = (frame * 960..(frame + 1) * 960).map(tone).collect();
            let mut packet = vec![0; 4000];
            let length = encoder
                .encode_float(&samples, &mut packet)
                .expect("a packet");
            let spec = opus.decode(&packet[..length], &mut piece).expect("samples");
            assert_eq!((spec.rate, spec.channels), (OPUS_RATE, 1));
            decoded.extend(&piece);
        }
        assert_eq!(decoded.len(), 20 * 960 - usize::from(skip));
        // The first packets settle; from then on the codec is at least 20 dB above its error.
        let (mut signal, mut error) = (0.0f32, 0.0f32);
        for (n, sample) in decoded.iter().enumerate().skip(4800) {
            signal += tone(n).powi(2);
            error += (sample - tone(n)).powi(2);
        }
        assert!(error < 0.01 * signal, "{error} of {signal}");
    }

    #[test]
    fn damaged_headers_and_packets_are_errors() {
        assert!(OpusPackets::new(b"").is_err());
        assert!(OpusPackets::new(b"OpusHead\x01\x01").is_err());
        assert!(OpusPackets::new(&header(6, 0, 1)).is_err());
        let mut opus = OpusPackets::new(&header(2, 0, 0)).expect("a header");
        let mut piece = Vec::new();
        for packet in [&[][..], &[0xff], &[0xff; 3], &[3, 0xff, 0xff]] {
            assert!(opus.decode(packet, &mut piece).is_err(), "{packet:?}");
        }
    }
}
