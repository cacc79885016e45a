//! Damaged and hostile files.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fs, path::PathBuf};

use burn::tensor::Device;
use common::{noise, small};
use dac_codec::{AudioClip, CodeFile, DacCodec, DacError};
use proptest::prelude::*;

/// Changes a tensor, given its name, shape and bytes; `false` leaves it out.
type Change<'a> = &'a dyn Fn(&str, &mut Vec<usize>, &mut Vec<u8>) -> bool;

/// A saved codec to damage: its folder, `config.json` as text and the weights.
fn saved() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let codec = DacCodec::random(&small(&[2], &[2]), 1, &Device::flex()).unwrap();
    codec.save(folder.path()).unwrap();
    let weights = folder.path().join("model.safetensors");
    (folder, weights)
}

#[test]
fn damaged_checkpoints_are_errors_that_name_what_is_wrong() {
    let device = Device::flex();
    let (folder, weights) = saved();
    let good = fs::read(&weights).unwrap();
    let load = |bytes: &[u8]| {
        fs::write(&weights, bytes).unwrap();
        DacCodec::load(folder.path(), &device).unwrap_err()
    };
    for bytes in [
        &[][..],
        &good[..5],
        &good[..good.len() / 2],
        &good[..good.len() - 1],
        &[&(1u64 << 60).to_le_bytes()[..], &good[8..]].concat(),
        b"not a checkpoint at all",
    ] {
        let error = load(bytes);
        assert!(matches!(error, DacError::Checkpoint { .. }), "{error}");
    }

    let parsed = safetensors::SafeTensors::deserialize(&good).unwrap();
    let rebuild = |change: Change, extra: bool| {
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, view) in parsed.iter() {
            let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
            if change(name, &mut shape, &mut data) {
                tensors.push((name.into(), shape, data));
            }
        }
        if extra {
            tensors.push(("decoder.surprise".into(), vec![1], vec![0; 4]));
        }
        let views = tensors.iter().map(|(name, shape, data)| {
            let view =
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data);
            (name.clone(), view.unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    };
    let name = "decoder.conv1.weight";
    let missing = load(&rebuild(&|found, _, _| found != name, false));
    assert!(
        matches!(&missing, DacError::MissingTensor { tensor, .. } if tensor == name),
        "{missing}"
    );
    let misshapen = load(&rebuild(
        &|found, shape, _| {
            if found == name {
                shape.swap(0, 1);
            }
            true
        },
        false,
    ));
    assert!(
        matches!(&misshapen, DacError::TensorShape { tensor, .. } if tensor == name),
        "{misshapen}"
    );
    let nan = load(&rebuild(
        &|found, _, data| {
            if found == name {
                data[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
            }
            true
        },
        false,
    ));
    assert!(
        matches!(&nan, DacError::NonFiniteWeight { tensor, index: 2, .. } if tensor == name),
        "{nan}"
    );
    let extra = load(&rebuild(&|_, _, _| true, true));
    assert!(
        matches!(&extra, DacError::ExtraTensor { tensor, .. } if tensor == "decoder.surprise"),
        "{extra}"
    );

    fs::write(&weights, &good).unwrap();
    fs::write(
        folder.path().join("config.json"),
        "{\"model_type\": \"dac\"}",
    )
    .unwrap();
    let error = DacCodec::load(folder.path(), &device).unwrap_err();
    assert!(matches!(error, DacError::ConfigFile { .. }), "{error}");
    fs::remove_file(folder.path().join("config.json")).unwrap();
    let error = DacCodec::load(folder.path(), &device).unwrap_err();
    assert!(matches!(error, DacError::Io { .. }), "{error}");
}

/// A plain pickle that PyTorch's own loader would run: `os.system("touch FILE")`.
fn hostile_pickle(file: &std::path::Path) -> Vec<u8> {
    let command = format!("touch {}", file.display());
    let mut pickle = b"\x80\x02}X\x0a\x00\x00\x00state_dictcposix\nsystem\nX".to_vec();
    pickle.extend(u32::try_from(command.len()).unwrap().to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85Rs.");
    pickle
}

/// A zip of stored, that is uncompressed, entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let mut common = Vec::new();
        common.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        common.extend(crc32fast::hash(data).to_le_bytes());
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        common.extend(size);
        common.extend(size);
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        let offset = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(*data);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(offset);
        directory.extend(name.as_bytes());
    }
    let start = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    let length = u32::try_from(directory.len()).unwrap().to_le_bytes();
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
    bytes.extend([count, count].concat());
    bytes.extend(length);
    bytes.extend(start);
    bytes.extend([0, 0]);
    bytes
}

#[test]
fn a_pickle_that_would_run_code_is_refused_and_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let touched = folder.path().join("touched");
    let pickle = hostile_pickle(&touched);
    for bytes in [
        pickle.clone(),
        zip(&[("x/data.pkl", &pickle), ("x/version", b"3\n")]),
    ] {
        let path = folder.path().join("hostile.pth");
        fs::write(&path, bytes).unwrap();
        let error = DacCodec::load(&path, &Device::flex()).unwrap_err();
        let chain = format!(
            "{error}: {:?}",
            std::error::Error::source(&error).map(ToString::to_string)
        );
        assert!(chain.contains("hostile.pth"), "{chain}");
        assert!(!touched.exists(), "the pickle ran");
    }
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(format!(
        "{}/tests/fixtures/dac/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap()
}

#[test]
fn lying_sizes_in_a_pickle_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lying.pth");
    let good = golden("dac_small.pth");
    let at = find(&good, b"data.pkl") + 8;
    // The pickle ends with its STOP after the metadata; what follows it is another entry of the archive.
    let end = at + find(&good[at..], b"PK\x03\x04".as_slice()).min(good.len() - at);
    let pickle_start = at + find(&good[at..], b"\x80\x02");
    let pickle = &good[pickle_start..end];
    let first = find(pickle, b"encoder.block.0.weight_v");
    // The shape of the first kernel, (4, 1, 7), as BININT1 in a three-tuple.
    let shape = first + find(&pickle[first..], b"K\x04K\x01K\x07\x87");
    let changed =
        |replacement: &[u8]| [&pickle[..shape], replacement, &pickle[shape + 7..]].concat();
    for replacement in [
        &b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7fK\x07\x87"[..], // 2^31 - 1 squared
        b"J\xff\xff\xff\xffK\x01K\x07\x87",                  // -1
        b"K\x04K\x01M\xff\xff\x87",                          // 65,535 taps
        b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10K\x01K\x07\x87", // 2^60
    ] {
        let lying = changed(replacement);
        fs::write(&path, zip(&[("x/data.pkl", &lying), ("x/version", b"3\n")])).unwrap();
        let error = DacCodec::load(&path, &Device::flex()).unwrap_err();
        assert!(matches!(error, DacError::Checkpoint { .. }), "{error}");
    }
    // The honest pickle without its storages.
    fs::write(&path, zip(&[("x/data.pkl", pickle), ("x/version", b"3\n")])).unwrap();
    let error = DacCodec::load(&path, &Device::flex()).unwrap_err();
    assert!(matches!(error, DacError::Checkpoint { .. }), "{error}");
}

fn code_file(seed: u64, k: u32, size: u32, frames: usize) -> CodeFile {
    let codes = noise(seed, frames * k as usize)
        .into_iter()
        .map(|v| (((v * 0.5 + 0.5) * size as f32) as u32).min(size - 1) as u16)
        .collect();
    CodeFile {
        sample_rate: 16_000,
        hop_length: 320,
        n_codebooks: k,
        codebook_size: size,
        samples: (frames as u64 * 320).saturating_sub(seed % 320),
        codes,
    }
}

/// A mono or stereo WAV file of 16-bit samples.
fn wav(channels: u16, rate: u32, samples: &[i16]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for &sample in samples {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

fn decode(bytes: Vec<u8>, max_seconds: f64) -> Result<AudioClip, DacError> {
    AudioClip::decode(std::io::Cursor::new(bytes), "test", max_seconds)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_file_of_codes_reads_back(seed in any::<u64>(), k in 1u32..40, size in 2u32..=65_536, frames in 0usize..50) {
        let file = code_file(seed, k, size, frames);
        let bytes = file.to_bytes().unwrap();
        let width = 32 - (size - 1).leading_zeros();
        prop_assert_eq!(bytes.len(), 44 + (frames * k as usize * width as usize).div_ceil(8));
        prop_assert_eq!(CodeFile::from_bytes(&bytes).unwrap(), file);
    }

    #[test]
    fn any_truncation_and_any_flipped_bit_of_a_file_of_codes_is_an_error(seed in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0u32..8) {
        let bytes = code_file(seed, 4, 1024, 9).to_bytes().unwrap();
        prop_assert!(CodeFile::from_bytes(&bytes[..at.index(bytes.len())]).is_err());
        let mut flipped = bytes.clone();
        flipped[at.index(bytes.len())] ^= 1 << bit;
        prop_assert!(CodeFile::from_bytes(&flipped).is_err());
        let longer = [bytes, vec![0]].concat();
        prop_assert!(CodeFile::from_bytes(&longer).is_err());
    }

    #[test]
    fn random_bytes_are_no_file_of_codes_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(CodeFile::from_bytes(&bytes).is_err());
        let _ = CodeFile::from_bytes(&[b"DACCODES\x01\0\0\0", &bytes[..]].concat());
        prop_assert!(decode(bytes, 10.0).is_err());
    }

    #[test]
    fn damaged_sound_files_never_panic(seed in any::<u64>(), at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let samples: Vec<i16> = noise(seed, 3_000).iter().map(|v| (v * 9_000.0) as i16).collect();
        let mut bytes = wav(1, 8_000, &samples);
        let at = at.index(64);
        bytes[at] = value;
        bytes.truncate(cut.index(bytes.len() * 2));
        if let Ok(clip) = decode(bytes, 10.0) {
            prop_assert!(!clip.samples.is_empty() && clip.samples.iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn damaged_checkpoints_never_panic(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in prop::option::of(any::<prop::sample::Index>())) {
        let mut bytes = golden("dac_small.pth");
        // Most of the file is weights, where a change goes unnoticed but for the checksum: aim at the pickle and the directory.
        let at = at.index(90_000);
        let at = if at < 45_000 { at } else { bytes.len() - 1 - (at - 45_000) };
        let changed = bytes[at] != value;
        bytes[at] = value;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.pth");
        fs::write(&path, &bytes).unwrap();
        let loaded = DacCodec::load(&path, &Device::flex());
        prop_assert!(loaded.is_err() || cut.is_none() || !changed);
    }
}

#[test]
fn channels_are_averaged() {
    let clip = decode(wav(2, 48_000, &[16_384, 0, -16_384, -16_384]), 1.0).unwrap();
    assert_eq!(clip.sample_rate, 48_000);
    assert_eq!(clip.samples, [0.25, -0.5]);
}

#[test]
fn sound_files_that_can_not_be_used_are_named_errors() {
    let samples = vec![1_000i16; 16_000];
    let good = wav(1, 16_000, &samples);
    assert_eq!(decode(good.clone(), 1.0).unwrap().samples.len(), 16_000);
    assert!(matches!(
        decode(good.clone(), 0.99),
        Err(DacError::AudioTooLong { .. })
    ));
    for (bytes, reason) in [
        (vec![], "empty"),
        (
            b"hello, this is no sound, whatever its name says".repeat(50),
            "known type",
        ),
        (good[..good.len() / 2].to_vec(), "cut off"),
        (wav(1, 16_000, &[]), "no sound"),
    ] {
        let error = decode(bytes, 10.0).expect_err(reason);
        assert!(
            matches!(&error, DacError::Audio { .. }) && error.to_string().contains(reason),
            "{error}"
        );
    }
    let missing = AudioClip::read("does-not-exist.wav", 1.0).unwrap_err();
    assert!(missing.to_string().contains("does-not-exist.wav"));
    assert!(AudioClip::read(".", 1.0).is_err());
}

#[test]
fn a_written_sound_reads_back_clipped_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    let clip = AudioClip {
        samples: vec![0.0, 0.5, -1.0, 1.0, 3.0, -7.0],
        sample_rate: 16_000,
    };
    clip.write_wav(&path).unwrap();
    let read = AudioClip::read(&path, 1.0).unwrap();
    assert_eq!(read.sample_rate, 16_000);
    for (found, wanted) in read.samples.iter().zip([0.0, 0.5, -1.0, 1.0, 1.0, -1.0]) {
        assert!((found - wanted).abs() < 1e-4, "{found} for {wanted}");
    }
    let bad = AudioClip {
        samples: vec![0.0, f32::NAN],
        sample_rate: 16_000,
    };
    assert!(matches!(bad.write_wav(&path), Err(DacError::Input { .. })));
    assert_eq!(
        AudioClip::read(&path, 1.0).unwrap(),
        read,
        "the old file stays"
    );
    assert!(matches!(
        clip.write_wav(folder.path().join("no/where.wav")),
        Err(DacError::Io { .. })
    ));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
