//! Every golden case of the codec and of the resampler.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Int, Tensor};
use dac_codec::{AudioClip, DacCodec, resample::resample};
use testkit::{Case, Tolerance, assert_close, assert_equal, cases, devices, golden_root};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Both sides are float32; a sample passes some 40 convolutions whose sums run in another order.
const TOLERANCE: Tolerance = Tolerance {
    absolute: 1e-4,
    relative: 1e-4,
};

fn codes(codes: Tensor<3, Int>) -> Vec<i64> {
    codes.into_data().iter::<i64>().collect()
}

fn weights(case: &Case) -> Vec<std::path::PathBuf> {
    let list = case.config()["weights"].as_array().unwrap();
    list.iter()
        .map(|path| golden_root(ROOT).join(path.as_str().unwrap()))
        .collect()
}

#[test]
fn every_case_equals_the_reference_from_every_checkpoint() {
    for (_, device) in devices() {
        for case in cases(ROOT, "dac", "") {
            for path in weights(&case) {
                let codec = DacCodec::load(&path, &device).unwrap();
                assert_eq!(Some(codec.config().sample_rate), case.count("sample_rate"));
                assert_eq!(Some(codec.config().hop_length()), case.count("hop_length"));
                check(&case, &codec);
            }
        }
    }
}

fn check(case: &Case, codec: &DacCodec) {
    let device = codec.encoder.conv_in.weight.device();
    let audio = case.float::<3>("audio", &device);
    let n_quantizers = case.count("n_quantizers");
    let padded = codec.preprocess(audio.clone());
    assert_close(case, "out.preprocessed", padded.clone(), TOLERANCE);
    let z = codec.encoder.forward(padded.clone());
    assert_close(case, "out.encoder_z", z, TOLERANCE);

    let encoded = codec.encode(audio.clone(), n_quantizers).unwrap();
    assert_equal(case, "out.codes", &codes(encoded.codes.clone()));
    assert_close(case, "out.latents", encoded.latents.clone(), TOLERANCE);
    assert_close(case, "out.z", encoded.z, TOLERANCE);
    for (name, loss) in [
        ("out.commitment_loss", encoded.commitment_loss),
        ("out.codebook_loss", encoded.codebook_loss),
    ] {
        let (loss, expected) = (loss.into_scalar::<f32>(), case.floats(name)[0]);
        assert!(
            (loss - expected).abs() <= 1e-4 * (1.0 + expected.abs()),
            "{name}: {loss}, not {expected}"
        );
    }

    let from_codes = codec.dequantize(case.int("out.codes", &device)).unwrap();
    assert_close(case, "out.from_codes_z", from_codes.z.clone(), TOLERANCE);
    assert_close(case, "out.from_codes_z_p", from_codes.entries, TOLERANCE);
    let decoded = codec.decode(from_codes.z.clone()).unwrap();
    let [_, _, frames] = from_codes.z.dims();
    assert_eq!(decoded.dims()[2], codec.config().decoded_length(frames));
    assert_close(case, "out.decoded", decoded, TOLERANCE);
    let decoded = codec.decode_codes(encoded.codes).unwrap();
    assert_close(case, "out.decoded", decoded, TOLERANCE);
    let decoded = codec.decode_latents(encoded.latents).unwrap();
    assert_close(case, "out.decoded", decoded, TOLERANCE);

    let forward = codec.forward(audio, n_quantizers).unwrap();
    assert_close(case, "out.forward_audio", forward.audio, TOLERANCE);
    intermediates(case, codec, padded, from_codes.z);
}

fn intermediates(case: &Case, codec: &DacCodec, audio: Tensor<3>, z: Tensor<3>) {
    let count = |part: &str| {
        let names = case.names();
        names.iter().filter(|name| name.starts_with(part)).count()
    };
    for part in ["out.inter.encoder.block.", "out.inter.decoder.model."] {
        let mut stages = Vec::new();
        let keep = |stage: &Tensor<3>| stages.push(stage.clone());
        if part.contains("encoder") {
            codec.encoder.forward_inspect(audio.clone(), keep);
        } else {
            codec.decoder.forward_inspect(z.clone(), keep);
        }
        if count(part) > 0 {
            assert_eq!(stages.len(), count(part), "{}: stages of {part}", case.name);
            for (index, stage) in stages.into_iter().enumerate() {
                assert_close(case, &format!("{part}{index}"), stage, TOLERANCE);
            }
        }
    }
}

/// Agreement asked of the band that both filters pass, in dB.
///
/// The side lobes of torchaudio's default filter (6 zero crossings, Hann window) leave about 0.05 % of ripple, so that two
/// good filters agree to 65 to 70 dB there. A gain that is off by 0.1 % fails, and so does a delay of a thousandth of a sample.
const COMMON_BAND_DECIBELS: f64 = 60.0;

/// Agreement asked of the whole band, in dB, from noise that fills it: between 0.8 and 1.0 of it torchaudio's filter rolls off and ours does not.
const WHOLE_BAND_DECIBELS: f64 = 15.0;

/// Half the length of the low-pass that cuts the common band out.
const HALF: usize = 64;

/// Signal-to-error ratio in dB.
fn ratio(found: &[f32], expected: &[f32]) -> f64 {
    let energy =
        |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let signal = energy(&mut expected.iter().copied());
    let error = energy(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    10.0 * (signal / error).log10()
}

/// Keeps what lies below `cutoff` (a share of the sample rate), away from the ends.
fn low_pass(signal: &[f32], cutoff: f64) -> Vec<f32> {
    let half = HALF as f64;
    let taps: Vec<f64> = (0..=2 * HALF)
        .map(|i| {
            let t = i as f64 - half;
            let x = std::f64::consts::PI * 2.0 * cutoff * t;
            let sinc = if t == 0.0 { 1.0 } else { x.sin() / x };
            let window = (std::f64::consts::FRAC_PI_2 * t / (half + 1.0))
                .cos()
                .powi(2);
            2.0 * cutoff * sinc * window
        })
        .collect();
    signal
        .windows(2 * HALF + 1)
        .map(|part| {
            part.iter()
                .zip(&taps)
                .map(|(v, t)| f64::from(*v) * t)
                .sum::<f64>() as f32
        })
        .collect()
}

#[test]
fn resampling_agrees_with_torchaudio() {
    for case in cases(ROOT, "resample", "") {
        let [from, to] = ["orig_freq", "new_freq"].map(|key| case.count(key).unwrap() as u32);
        let (input, expected) = if case.has("out.mono") {
            (case.floats("out.mono"), case.floats("out.resampled"))
        } else {
            (case.floats("audio"), case.floats("out.audio"))
        };
        let found = resample(&input, from, to).unwrap();
        assert_eq!(found.len(), expected.len(), "{}", case.name);
        let whole = ratio(&found, &expected);
        assert!(whole > WHOLE_BAND_DECIBELS, "{}: {whole:.1} dB", case.name);
        // A few samples have no inside to compare.
        if found.len() > 4 * HALF {
            let cutoff = 0.3 * f64::from(from.min(to)) / f64::from(to);
            let common = ratio(&low_pass(&found, cutoff), &low_pass(&expected, cutoff));
            assert!(
                common > COMMON_BAND_DECIBELS,
                "{}: {common:.1} dB",
                case.name
            );
        }
    }
}

#[test]
fn the_front_end_of_stereo_sound_equals_the_reference() {
    for case in cases(ROOT, "resample", "front_end") {
        let shape = case.shape("audio");
        let (channels, length) = (shape[1], shape[2]);
        let planes = case.floats("audio");
        let mut bytes = std::io::Cursor::new(Vec::new());
        let spec = hound::WavSpec {
            channels: channels as u16,
            sample_rate: case.count("orig_freq").unwrap() as u32,
            bits_per_sample: 32,
            sample_format: hound::SampleFormat::Float,
        };
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        for frame in 0..length {
            for channel in 0..channels {
                writer
                    .write_sample(planes[channel * length + frame])
                    .unwrap();
            }
        }
        writer.finalize().unwrap();
        let clip = AudioClip::decode(bytes, &case.name, 60.0).unwrap();
        for (index, (a, b)) in clip.samples.iter().zip(case.floats("out.mono")).enumerate() {
            assert!(
                (a - b).abs() < 1e-6,
                "{}: mono[{index}] is {a}, not {b}",
                case.name
            );
        }
        let resampled = clip
            .resampled(case.count("new_freq").unwrap() as u32)
            .unwrap();
        let hop = case.count("hop_length").unwrap();
        assert_eq!(
            resampled.samples.len().next_multiple_of(hop),
            case.shape("out.preprocessed")[2]
        );
    }
}
