//! Equivalences that hold for every codec.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{noise, small};
use dac_codec::{
    ChunkedDecoder, ChunkedEncoder, Context, DacCodec, DacConfig, DacError, Encoded,
    resample::resample,
};
use testkit::devices;

/// Two orders of the same float32 sums.
const TOLERANCE: f32 = 1e-5;

/// A codec whose output depends on every one of its layers.
fn lively(config: &DacConfig, device: &Device) -> DacCodec {
    DacCodec::random(config, 7, device).unwrap()
}

fn audio(seed: u64, b: usize, length: usize, device: &Device) -> Tensor<3> {
    Tensor::from_data(
        TensorData::new(noise(seed, b * length), [b, 1, length]),
        device,
    )
}

fn random_codes(seed: u64, shape: [usize; 3], size: usize, device: &Device) -> Tensor<3, Int> {
    let codes: Vec<i32> = noise(seed, shape.iter().product())
        .into_iter()
        .map(|v| ((v * 0.5 + 0.5) * size as f32) as i32)
        .map(|code| code.min(size as i32 - 1))
        .collect();
    Tensor::from_data(TensorData::new(codes, shape), device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn ints(tensor: Tensor<3, Int>) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}

fn assert_near(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: lengths");
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= TOLERANCE, "{what}: {a} and {b} at {index}");
    }
}

#[test]
fn chunked_decoding_equals_decoding_the_whole() {
    for (_, device) in devices() {
        for (up, down) in [
            (&[2, 4, 5][..], &[5, 4, 2][..]),
            (&[3, 3], &[3, 3]),
            (&[7], &[7]),
            (&[2, 2, 2, 2], &[4, 4]),
        ] {
            let config = small(up, down);
            let codec = lively(&config, &device);
            for (frames, chunk, piece) in
                [(61, 8, 1), (61, 8, 61), (40, 1, 7), (3, 5, 2), (64, 16, 16)]
            {
                let codes = random_codes(frames as u64, [2, 3, frames], 32, &device);
                let whole = floats(codec.decode_codes(codes.clone()).unwrap());
                let pieces = (0..frames)
                    .step_by(piece)
                    .map(|at| codes.clone().narrow(2, at, piece.min(frames - at)));
                let parts: Vec<_> = codec
                    .decode_chunks(pieces, chunk)
                    .map(Result::unwrap)
                    .collect();
                assert!(parts.len() > 1 || frames < 30, "decoded in one piece");
                let joined = floats(Tensor::cat(parts, 2));
                assert_near(
                    &joined,
                    &whole,
                    &format!("{up:?}, {frames} frames by {chunk}"),
                );
            }
        }
    }
}

/// First and last place with a gradient, along the last dimension.
fn touched(gradient: Tensor<3>) -> (usize, usize) {
    let [_, _, length] = gradient.dims();
    let sums = floats(gradient.abs().sum_dim(1).reshape([length]));
    let first = sums.iter().position(|&sum| sum > 0.0).unwrap();
    let last = sums.iter().rposition(|&sum| sum > 0.0).unwrap();
    (first, last)
}

#[test]
fn the_context_is_exactly_what_the_gradient_reaches() {
    let device = Device::flex().autodiff();
    for (down, up) in [
        (&[2, 4, 5][..], &[5, 4, 2][..]),
        (&[3, 3], &[3, 3]),
        (&[7], &[7]),
        (&[2, 2, 2, 2], &[4, 4]),
        (&[2, 4, 5, 8], &[8, 5, 4, 2]),
    ] {
        let config = small(down, up);
        let codec = lively(&config, &device);
        let hop = config.hop_length();

        let context = Context::of_decoder(&config);
        let (at, frames) = (context.left + 2, context.left + context.right + 5);
        let z = Tensor::<2>::from_data(
            TensorData::new(noise(1, 16 * frames), [16, frames]),
            &device,
        )
        .unsqueeze::<3>()
        .require_grad();
        let decoded = codec.decode(z.clone()).unwrap();
        let gradients = decoded.narrow(2, at * hop, hop).sum().backward();
        let reached = touched(z.grad(&gradients).unwrap());
        assert_eq!(
            reached,
            (at - context.left, at + context.right),
            "decoder {up:?}"
        );

        let context = Context::of_encoder(&config);
        let (at, frames) = (context.left + 1, context.left + context.right + 3);
        let audio = audio(2, 1, frames * hop, &device).require_grad();
        let encoded = codec.encoder.forward(audio.clone());
        let gradients = encoded.narrow(2, at, 1).sum().backward();
        let (first, last) = touched(audio.grad(&gradients).unwrap());
        assert_eq!(
            (first / hop, last / hop),
            (at - context.left, at + context.right),
            "encoder {down:?}"
        );
    }
}

#[test]
fn one_endless_chunk_equals_the_whole() {
    let device = Device::flex();
    let config = small(&[2, 3], &[3, 2]);
    let codec = lively(&config, &device);
    let codes = random_codes(5, [1, config.n_codebooks, 9], config.codebook_size, &device);
    let whole = codec.decode_codes(codes.clone()).unwrap();
    let chunks: Vec<f32> = codec
        .decode_chunks([codes], usize::MAX)
        .flat_map(|chunk| floats(chunk.unwrap()))
        .collect();
    assert_near(&chunks, &floats(whole), "one endless chunk");
}

#[test]
fn chunked_encoding_equals_encoding_the_whole() {
    for (_, device) in devices() {
        for (up, down) in [(&[2, 4, 5][..], &[5, 4, 2][..]), (&[3, 3], &[3, 3])] {
            let config = small(up, down);
            let codec = lively(&config, &device);
            for (length, chunk, piece) in [
                (2_507, 8, 100),
                (2_507, 8, 2_507),
                (1_000, 1, 333),
                (5, 4, 2),
            ] {
                let audio = audio(length as u64, 2, length, &device);
                let whole = codec.encode(audio.clone(), Some(2)).unwrap().codes;
                let pieces = (0..length)
                    .step_by(piece)
                    .map(|at| audio.clone().narrow(2, at, piece.min(length - at)));
                let parts: Vec<_> = codec
                    .encode_chunks(pieces, Some(2), chunk)
                    .map(Result::unwrap)
                    .collect();
                let joined = Tensor::cat(parts, 2);
                assert_eq!(joined.dims(), whole.dims());
                assert_eq!(
                    ints(joined),
                    ints(whole),
                    "{up:?}, {length} samples by {chunk}"
                );
            }
        }
    }
}

#[test]
fn a_state_can_be_used_again_and_refuses_another_shape() {
    let device = devices().remove(0).1;
    let config = small(&[2, 4], &[4, 2]);
    let codec = lively(&config, &device);
    let mut decoder = ChunkedDecoder::new(&config, 4);
    let codes = random_codes(1, [1, 3, 9], 32, &device);
    let mut run = || {
        let mut parts: Vec<_> = decoder
            .step(&codec, codes.clone())
            .unwrap()
            .into_iter()
            .collect();
        parts.extend(decoder.finish(&codec).unwrap());
        floats(Tensor::cat(parts, 2))
    };
    assert_eq!(run(), run());
    assert!(decoder.finish(&codec).unwrap().is_none());
    decoder
        .step(&codec, random_codes(1, [1, 3, 2], 32, &device))
        .unwrap();
    let other = decoder.step(&codec, random_codes(1, [1, 2, 2], 32, &device));
    assert!(matches!(other, Err(DacError::Input { .. })));

    let mut encoder = ChunkedEncoder::new(&config, 4, None);
    assert!(encoder.finish(&codec).unwrap().is_none());
    assert!(matches!(
        encoder.step(&codec, Tensor::zeros([1, 2, 9_000], &device)),
        Err(DacError::Input { .. })
    ));
}

#[test]
fn a_batch_equals_its_rows() {
    for (_, device) in devices() {
        let codec = lively(&small(&[2, 4, 5], &[5, 4, 2]), &device);
        let audio = audio(5, 3, 777, &device);
        let batch = codec.forward(audio.clone(), None).unwrap();
        for row in 0..3 {
            let one = codec
                .forward(audio.clone().narrow(0, row, 1), None)
                .unwrap();
            assert_eq!(
                ints(one.encoded.codes),
                ints(batch.encoded.codes.clone().narrow(0, row, 1))
            );
            assert_near(
                &floats(one.audio),
                &floats(batch.audio.clone().narrow(0, row, 1)),
                "audio",
            );
        }
    }
}

#[test]
fn rows_with_their_own_codebooks_equal_the_rows_alone() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let config = small(&[2, 4], &[4, 2]);
        let codec = lively(&config, &device);
        let audio = audio(9, 3, 300, &device);
        let books = [2, config.n_codebooks, 1];
        let together = codec.forward_rows(audio.clone(), &books).unwrap();
        let (mut commitment, mut codebook) = (0.0, 0.0);
        for (row, &n) in books.iter().enumerate() {
            let alone = codec
                .forward(audio.clone().narrow(0, row, 1), Some(n))
                .unwrap();
            assert_near(
                &floats(together.audio.clone().narrow(0, row, 1)),
                &floats(alone.audio),
                "audio",
            );
            let codes = together.encoded.codes.clone();
            assert_eq!(
                ints(codes.narrow(0, row, 1).narrow(1, 0, n)),
                ints(alone.encoded.codes)
            );
            commitment += alone.encoded.commitment_loss.into_scalar::<f32>() / 3.0;
            codebook += alone.encoded.codebook_loss.into_scalar::<f32>() / 3.0;
        }
        let encoded = together.encoded;
        assert!((encoded.commitment_loss.into_scalar::<f32>() - commitment).abs() < 1e-5);
        assert!((encoded.codebook_loss.into_scalar::<f32>() - codebook).abs() < 1e-5);
        for books in [&[1, 1][..], &[1, 0, 1], &[1, 1, 99]] {
            let error = codec.forward_rows(audio.clone(), books);
            assert!(matches!(error, Err(DacError::Input { .. })), "{books:?}");
        }
    }
}

#[test]
fn a_codebook_left_out_of_all_but_one_row_learns_from_that_row_alone() {
    let device = Device::flex().autodiff();
    let codec = lively(&small(&[2, 4], &[4, 2]), &device);
    let second = codec.quantizer.quantizers[1].codebook.val();
    let gradient = |rows: std::ops::Range<usize>, books: &[usize], share: f32| {
        let audio = audio(4, 2, 200, &device).narrow(0, rows.start, rows.len());
        let encoded = codec.forward_rows(audio, books).unwrap().encoded;
        let gradients = (encoded.codebook_loss * share).backward();
        floats(second.grad(&gradients).unwrap())
    };
    assert_near(
        &gradient(0..2, &[1, 2], 1.0),
        &gradient(1..2, &[2], 0.5),
        "codebook",
    );
}

#[test]
fn gradients_reach_encoder_decoder_and_codebooks() {
    let device = Device::flex().autodiff();
    let codec = lively(&small(&[2, 4], &[4, 2]), &device);
    let forward = || codec.forward(audio(2, 1, 200, &device), None).unwrap();
    let size = |gradient: Option<Tensor<3>>| {
        gradient.map_or(0.0, |gradient| gradient.abs().sum().into_scalar::<f32>())
    };
    let first = codec.encoder.conv_in.weight.val();
    let codebook = codec.quantizer.quantizers[0].codebook.val();
    // Straight through the quantiser: the sound's error reaches the encoder, not the codebook.
    let gradients = forward().audio.square().mean().backward();
    assert!(size(first.grad(&gradients)) > 0.0);
    assert!(size(codec.decoder.conv_in.weight.val().grad(&gradients)) > 0.0);
    assert!(size(codec.decoder.snake.alpha.val().grad(&gradients)) > 0.0);
    let untouched = codebook.grad(&gradients);
    assert!(untouched.is_none_or(|g| g.abs().sum().into_scalar::<f32>() == 0.0));
    let Encoded {
        commitment_loss,
        codebook_loss,
        ..
    } = forward().encoded;
    // The two losses are equal in value and split the gradient.
    let (a, b) = (commitment_loss.clone(), codebook_loss.clone());
    assert!((a.into_scalar::<f32>() - b.into_scalar::<f32>()).abs() < 1e-6);
    let gradients = (codebook_loss + commitment_loss).backward();
    assert!(
        codebook
            .grad(&gradients)
            .unwrap()
            .abs()
            .sum()
            .into_scalar::<f32>()
            > 0.0
    );
    assert!(size(first.grad(&gradients)) > 0.0);
}

#[test]
fn what_was_saved_loads_as_the_same_codec() {
    let device = devices().remove(0).1;
    let config = small(&[2, 3], &[3, 2]);
    let codec = lively(&config, &device);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new/dac");
    codec.save(&folder).unwrap();
    assert_eq!(
        fs::read_dir(&folder).unwrap().count(),
        2,
        "nothing half-written stays"
    );
    let audio = audio(1, 1, 100, &device);
    let expected = floats(codec.forward(audio.clone(), None).unwrap().audio);
    for path in [folder.clone(), folder.join("model.safetensors")] {
        let loaded = DacCodec::load(path, &device).unwrap();
        assert_eq!(loaded.config(), &config);
        assert_eq!(
            floats(loaded.forward(audio.clone(), None).unwrap().audio),
            expected
        );
    }
}

#[test]
fn requests_that_do_not_fit_are_named() {
    let device = devices().remove(0).1;
    let codec = lively(&small(&[2, 4], &[4, 2]), &device);
    let zeros = |shape: [usize; 3]| Tensor::<3>::zeros(shape, &device);
    let codes = |value: i32, shape: [usize; 3]| {
        Tensor::<3, Int>::from_data(
            TensorData::new(vec![value; shape.iter().product()], shape),
            &device,
        )
    };
    for (result, named) in [
        (codec.encode(zeros([1, 2, 50]), None).err(), "audio"),
        (codec.encode(zeros([1, 1, 50]), Some(4)).err(), "codebooks"),
        (codec.encode(zeros([1, 1, 50]), Some(0)).err(), "codebooks"),
        (codec.decode(zeros([1, 15, 5])).err(), "latent"),
        (codec.decode_latents(zeros([1, 6, 5])).err(), "latent"),
        (codec.decode_latents(zeros([1, 16, 5])).err(), "codebooks"),
        (codec.decode_codes(codes(32, [1, 3, 5])).err(), "code"),
        (codec.decode_codes(codes(-1, [1, 3, 5])).err(), "code"),
        (codec.decode_codes(codes(0, [1, 4, 5])).err(), "codebooks"),
    ] {
        let error = result.expect(named);
        assert!(
            matches!(&error, DacError::Input { what, .. } if what.contains(named)),
            "{error}"
        );
    }
    // Silence is no error.
    let silence = codec.forward(zeros([1, 1, 50]), None).unwrap().audio;
    assert!(floats(silence).iter().all(|sample| sample.is_finite()));
}

#[test]
fn noise_at_an_odd_rate_resamples_to_the_exact_length() {
    let samples = noise(1, 44_100 * 5 + 17);
    assert_eq!(resample(&samples, 44_100, 16_000).unwrap().len(), 80_007);
}
