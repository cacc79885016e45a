//! What is written is loaded again.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use burn::{
    module::{Module, Param},
    nn::{
        Embedding, EmbeddingConfig, Linear, LinearConfig,
        conv::{Conv1d, Conv1dConfig},
    },
    tensor::{DType, Device, Tensor, TensorData},
};
use model_files::{Naming, ShardWriter, Shards, StoredParameter, WeightsError, load, write};
use safetensors::Dtype;

#[derive(Module, Debug)]
struct Net {
    embedding: Embedding,
    layers: Vec<Linear>,
    conv: Conv1d,
}

fn net(device: &Device) -> Net {
    Net {
        embedding: EmbeddingConfig::new(5, 3).init(device),
        layers: vec![
            LinearConfig::new(3, 4).init(device),
            LinearConfig::new(4, 7).with_bias(false).init(device),
        ],
        conv: Conv1dConfig::new(4, 2, 3).init(device),
    }
}

struct Names;

impl Naming for Names {
    fn name(&self, path: &str) -> Option<String> {
        Some(format!("net.{path}"))
    }

    fn shapes(&self, name: &str, shape: Vec<usize>) -> Vec<Vec<usize>> {
        // Stored with an axis more, as some released files hold theirs.
        if name.ends_with("embedding.weight") {
            return vec![vec![shape[0], 1, shape[1]], shape];
        }
        vec![shape]
    }
}

fn assert_same(a: &Net, b: &Net) {
    let values = |net: &Net| {
        let mut all = vec![
            net.embedding.weight.val().into_data(),
            net.conv.weight.val().into_data(),
            net.conv.bias.as_ref().unwrap().val().into_data(),
            net.layers[0].bias.as_ref().unwrap().val().into_data(),
        ];
        all.extend(
            net.layers
                .iter()
                .map(|layer| layer.weight.val().into_data()),
        );
        all
    };
    assert_eq!(values(a), values(b));
}

fn shard_names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".safetensors"))
        .collect();
    names.sort();
    names
}

#[test]
fn loading_what_was_written_gives_the_module_bit_for_bit() {
    let device = Device::flex();
    for (dtype, shard_bytes) in [
        (DType::F32, usize::MAX),
        (DType::F32, 1),
        (DType::F32, 150),
        (DType::BF16, 1 << 20),
        (DType::F16, 40),
    ] {
        let folder = tempfile::tempdir().unwrap();
        // What the type can hold: the values that are kept in it.
        let first = tempfile::tempdir().unwrap();
        write(&net(&device), &Names, dtype, first.path(), shard_bytes).unwrap();
        let shards = Shards::open(first.path()).unwrap();
        let original = load(net(&device), &Names, &shards, dtype, &device).unwrap();

        // From an autodiff device too.
        let module = original.module.clone().train();
        let written = write(&module, &Names, dtype, folder.path(), shard_bytes).unwrap();
        assert_eq!(written, original.parameters);
        let shards = Shards::open(folder.path()).unwrap();
        let again = load(net(&device), &Names, &shards, dtype, &device).unwrap();
        assert_same(&again.module, &original.module);
        // Byte for byte, names included.
        assert_eq!(shard_names(folder.path()), shard_names(first.path()));
        for name in shard_names(folder.path()) {
            let read = |folder: &Path| fs::read(folder.join(&name)).unwrap();
            assert_eq!(read(folder.path()), read(first.path()), "{name}");
        }
    }
}

#[test]
fn shards_are_as_large_as_they_may_be() {
    let folder = tempfile::tempdir().unwrap();
    // In bytes: 60, 48, 16, 112, 96, 8.
    write(
        &net(&Device::flex()),
        &Names,
        DType::F32,
        folder.path(),
        110,
    )
    .unwrap();
    let count = shard_names(folder.path());
    let last = "model-00004-of-00004.safetensors";
    assert_eq!((count.len(), count.last().unwrap().as_str()), (4, last));
    let shards = Shards::open(folder.path()).unwrap();
    let embedding = &shards.tensors()["net.embedding.weight"];
    assert_eq!(embedding.shape, [5, 1, 3]);
    assert_eq!(shards.tensors()["net.layers.1.weight"].shape, [7, 4]);
}

#[test]
fn a_value_that_no_reader_would_take_is_an_error() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    let mut module = net(&device);
    let data = TensorData::new(vec![1.0f32, f32::NAN, 0.0, 0.0], [4]);
    module.layers[0].bias = Some(Param::from_tensor(Tensor::from_data(data, &device)));
    let error = write(&module, &Names, DType::F32, folder.path(), 1 << 20).unwrap_err();
    assert!(
        error.to_string().contains("net.layers.0.bias[1] is NaN"),
        "{error}"
    );
    let error = write(&net(&device), &Names, DType::I32, folder.path(), 1).unwrap_err();
    assert!(matches!(error, WeightsError::Type { .. }), "{error}");
}

#[test]
fn parameters_need_a_name_of_their_own() {
    struct Same;
    impl Naming for Same {
        fn name(&self, _path: &str) -> Option<String> {
            Some("same".into())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let error = write(&net(&Device::flex()), &Same, DType::F32, folder.path(), 1).unwrap_err();
    assert!(matches!(error, WeightsError::NameTwice { .. }), "{error}");
}

#[test]
fn a_plan_must_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let planned = vec![StoredParameter {
        name: "a".into(),
        shape: vec![2],
    }];
    let writer = || ShardWriter::new(folder.path(), planned.clone(), Dtype::F32, 1 << 20).unwrap();
    let error = writer().finish().unwrap_err();
    assert!(
        matches!(error, WeightsError::TensorMissing { .. }),
        "{error}"
    );
    assert!(writer().write(&[0; 4]).is_err());
    let mut writer = writer();
    writer.write(&[0; 8]).unwrap();
    assert!(writer.write(&[0; 8]).is_err());
}
