//! Every golden case of the codec and of the resampler.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Int, Tensor};
use dac_codec::DacCodec;
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
