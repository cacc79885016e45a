//! The checkpoints' names, and loading and saving by them.
//!
//! Two layouts are read, official (`encoder.block.0.weight_g`) and Hugging Face (`encoder.conv1.weight`); one
//! is written, Hugging Face. This file alone knows their names.

use std::{collections::HashMap, path::Path};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor, TensorData},
};
use model_files::ModelPath;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    checkpoint::{Checkpoint, write_safetensors},
    codec::DacCodec,
    config::DacConfig,
    error::DacError,
    residual_unit::{DILATIONS, KERNEL},
    weight_norm,
};

/// What a parameter is, for drawing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Convolution weight, which may be stored weight-normed.
    Weight,
    /// The same of a transposed convolution.
    UpWeight,
    Bias,
    Alpha,
    Codebook,
}

/// One parameter and its names.
#[derive(Debug)]
struct Entry {
    /// Path in [`DacCodec`].
    path: String,
    official: String,
    hugging_face: String,
    shape: Vec<usize>,
    kind: Kind,
}

/// All parameters of a configuration.
#[derive(Debug, Default)]
struct Table(Vec<Entry>);

impl Table {
    fn push(&mut self, names: [&str; 3], suffix: &str, shape: Vec<usize>, kind: Kind) {
        let [path, official, hugging_face] = names.map(|name| format!("{name}{suffix}"));
        self.0.push(Entry {
            path,
            official,
            hugging_face,
            shape,
            kind,
        });
    }

    fn conv(&mut self, names: [&str; 3], shape: [usize; 3], channels_out: usize) {
        self.push(names, ".weight", shape.into(), Kind::Weight);
        self.push(names, ".bias", vec![channels_out], Kind::Bias);
    }

    fn snake(&mut self, names: [&str; 3], channels: usize) {
        self.push(names, ".alpha", vec![1, channels, 1], Kind::Alpha);
    }

    fn unit(&mut self, names: [&str; 3], c: usize) {
        let [path, official, hf] = names;
        let part = |ours: &str, index: usize| {
            (
                format!("{path}.{ours}"),
                format!("{official}.block.{index}"),
                format!("{hf}.{ours}"),
            )
        };
        for (ours, index) in [("snake1", 0), ("conv1", 1), ("snake2", 2), ("conv2", 3)] {
            let (a, b, d) = part(ours, index);
            match ours {
                "conv1" => self.conv([&a, &b, &d], [c, c, KERNEL], c),
                "conv2" => self.conv([&a, &b, &d], [c, c, 1], c),
                _ => self.snake([&a, &b, &d], c),
            }
        }
    }

    fn new(config: &DacConfig) -> Self {
        let mut table = Self::default();
        table.encoder(config);
        for k in 0..config.n_codebooks {
            // Both layouts use the names that this crate uses.
            let name = format!("quantizer.quantizers.{k}");
            let (latent, code) = (config.latent_dim, config.codebook_dim);
            let [inward, outward] = ["in_proj", "out_proj"].map(|part| format!("{name}.{part}"));
            table.conv([&inward; 3], [code, latent, 1], code);
            table.conv([&outward; 3], [latent, code, 1], latent);
            let ours = format!("{name}.codebook");
            let theirs = format!("{name}.codebook.weight");
            let shape = vec![config.codebook_size, code];
            table.push([&ours, &theirs, &theirs], "", shape, Kind::Codebook);
        }
        table.decoder(config);
        table
    }

    fn encoder(&mut self, config: &DacConfig) {
        let mut c = config.encoder_dim;
        self.conv(
            ["encoder.conv_in", "encoder.block.0", "encoder.conv1"],
            [c, 1, KERNEL],
            c,
        );
        for (i, &stride) in config.encoder_rates.iter().enumerate() {
            let ours = format!("encoder.blocks.{i}");
            let official = format!("encoder.block.{}.block", i + 1);
            let hf = format!("encoder.block.{i}");
            for j in 0..DILATIONS.len() {
                self.unit(
                    [
                        &format!("{ours}.units.{j}"),
                        &format!("{official}.{j}"),
                        &format!("{hf}.res_unit{}", j + 1),
                    ],
                    c,
                );
            }
            let n = DILATIONS.len();
            let [a, b, d] = [
                format!("{ours}.snake"),
                format!("{official}.{n}"),
                format!("{hf}.snake1"),
            ];
            self.snake([&a, &b, &d], c);
            let [a, b, d] = [
                format!("{ours}.conv"),
                format!("{official}.{}", n + 1),
                format!("{hf}.conv1"),
            ];
            self.conv([&a, &b, &d], [2 * c, c, 2 * stride], 2 * c);
            c *= 2;
        }
        let n = config.encoder_rates.len();
        let [snake, conv] = [n + 1, n + 2].map(|index| format!("encoder.block.{index}"));
        self.snake(["encoder.snake", &snake, "encoder.snake1"], c);
        let latent = config.latent_dim;
        self.conv(
            ["encoder.conv_out", &conv, "encoder.conv2"],
            [latent, c, 3],
            latent,
        );
    }

    fn decoder(&mut self, config: &DacConfig) {
        let mut c = config.decoder_dim;
        self.conv(
            ["decoder.conv_in", "decoder.model.0", "decoder.conv1"],
            [c, config.latent_dim, KERNEL],
            c,
        );
        for (i, &stride) in config.decoder_rates.iter().enumerate() {
            let ours = format!("decoder.blocks.{i}");
            let official = format!("decoder.model.{}.block", i + 1);
            let hf = format!("decoder.block.{i}");
            let [a, b, d] = [
                format!("{ours}.snake"),
                format!("{official}.0"),
                format!("{hf}.snake1"),
            ];
            self.snake([&a, &b, &d], c);
            let [a, b, d] = [
                format!("{ours}.conv"),
                format!("{official}.1"),
                format!("{hf}.conv_t1"),
            ];
            let shape = vec![c, c / 2, 2 * stride];
            self.push([&a, &b, &d], ".weight", shape, Kind::UpWeight);
            self.push([&a, &b, &d], ".bias", vec![c / 2], Kind::Bias);
            c /= 2;
            for j in 0..DILATIONS.len() {
                self.unit(
                    [
                        &format!("{ours}.units.{j}"),
                        &format!("{official}.{}", j + 2),
                        &format!("{hf}.res_unit{}", j + 1),
                    ],
                    c,
                );
            }
        }
        let n = config.decoder_rates.len();
        let [snake, conv] = [n + 1, n + 2].map(|index| format!("decoder.model.{index}"));
        self.snake(["decoder.snake", &snake, "decoder.snake1"], c);
        self.conv(
            ["decoder.conv_out", &conv, "decoder.conv2"],
            [1, c, KERNEL],
            1,
        );
    }
}

pub(crate) fn load(path: ModelPath, device: &Device) -> Result<DacCodec, DacError> {
    let mut checkpoint = Checkpoint::open(path)?;
    let config = checkpoint.config()?;
    let table = Table::new(&config);
    // The first bias is never weight-normed, so its name tells the layouts apart.
    let official = table.0.iter().any(|entry| {
        entry.kind == Kind::Bias
            && entry.official != entry.hugging_face
            && checkpoint.has(&entry.official)
    });

    let mut values = HashMap::with_capacity(table.0.len());
    for entry in table.0 {
        let name = if official {
            &entry.official
        } else {
            &entry.hugging_face
        };
        let weight = read_entry(&mut checkpoint, name, &entry)?;
        if let Some(index) = weight.iter().position(|value| !value.is_finite()) {
            return Err(DacError::NonFiniteWeight {
                path: checkpoint.path().into(),
                tensor: name.clone(),
                index,
                found: weight[index],
            });
        }
        values.insert(entry.path, TensorData::new(weight, entry.shape));
    }
    checkpoint.finish()?;
    Ok(assign(&config, values, device))
}

/// Reads a parameter, folding weight norm in either of PyTorch's two spellings.
fn read_entry(
    checkpoint: &mut Checkpoint,
    name: &str,
    entry: &Entry,
) -> Result<Vec<f32>, DacError> {
    if matches!(entry.kind, Kind::Weight | Kind::UpWeight) {
        let base = name.strip_suffix(".weight").unwrap_or(name);
        for (g, v) in [
            ("weight_g", "weight_v"),
            (
                "parametrizations.weight.original0",
                "parametrizations.weight.original1",
            ),
        ] {
            let [g, v] = [g, v].map(|part| format!("{base}.{part}"));
            if checkpoint.has(&g) || checkpoint.has(&v) {
                let gains = checkpoint.take(&g, &[entry.shape[0], 1, 1])?;
                let directions = checkpoint.take(&v, &entry.shape)?;
                return Ok(weight_norm::fold(&gains, &directions));
            }
        }
    }
    checkpoint.take(name, &entry.shape)
}

pub(crate) fn random(config: &DacConfig, seed: u64, device: &Device) -> Result<DacCodec, DacError> {
    config.validate()?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values = Table::new(config)
        .0
        .into_iter()
        .map(|entry| {
            let count = entry.shape.iter().product();
            let values = match entry.kind {
                Kind::Bias => vec![0.0; count],
                Kind::Alpha => vec![1.0; count],
                Kind::Weight => {
                    let inputs = entry.shape[1..].iter().product();
                    // The loudest sounds stay out of the last tanh's bends.
                    let share = if entry.path == LAST { 0.3 } else { 1.0 };
                    normal(&mut rng, count, share * random_std(inputs))
                }
                Kind::UpWeight => {
                    // Its windows are two strides long: each sample is the sum of two positions.
                    let inputs = 2 * entry.shape[0];
                    normal(&mut rng, count, random_std(inputs))
                }
                Kind::Codebook => normal(&mut rng, count, 1.0),
            };
            (entry.path, TensorData::new(values, entry.shape))
        })
        .collect();
    Ok(assign(config, values, device))
}

/// The last convolution's weight.
const LAST: &str = "decoder.conv_out.weight";

/// Spread of a random weight by the number of inputs that are summed up. A gain of 0.6 for each layer keeps sounds of all
/// sizes of codecs small enough for Snake to be nearly linear and large enough to be learnt from: in trials with a narrow
/// codec 0.4 and 0.8 learnt no waveform in the steps in which 0.6 halved its error.
fn random_std(inputs: usize) -> f32 {
    0.6 / (inputs as f32).sqrt()
}

/// Normal numbers by Box and Muller's method.
fn normal(rng: &mut ChaCha8Rng, count: usize, std: f32) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // In (0, 1], so that the logarithm is finite.
        let uniform: f32 = rng.random();
        let radius = (-2.0 * (1.0 - uniform).ln()).sqrt() * std;
        let (sin, cos) = (std::f32::consts::TAU * rng.random::<f32>()).sin_cos();
        values.extend([radius * cos, radius * sin]);
    }
    values.truncate(count);
    values
}

pub(crate) fn save(codec: &DacCodec, folder: &Path, dtype: DType) -> Result<(), DacError> {
    struct Collect {
        path: Vec<String>,
        values: HashMap<String, Vec<f32>>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().into_data_dtype(DType::F32);
            self.values
                .insert(self.path.join("."), data.iter::<f32>().collect());
        }
    }
    let mut collect = Collect {
        path: Vec::new(),
        values: HashMap::new(),
    };
    codec.visit(&mut collect);
    let tensors = Table::new(codec.config())
        .0
        .into_iter()
        .filter_map(|entry| {
            let values = collect.values.remove(&entry.path)?;
            Some((entry.hugging_face, entry.shape, values))
        })
        .collect();
    write_safetensors(folder, &codec.config().to_hugging_face(), tensors, dtype)
}

/// A codec that holds `values`, one for each of its parameters.
fn assign(config: &DacConfig, values: HashMap<String, TensorData>, device: &Device) -> DacCodec {
    struct Assign<'a> {
        path: Vec<String>,
        values: HashMap<String, TensorData>,
        device: &'a Device,
    }
    impl ModuleMapper for Assign<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, _: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join(".");
            let value = self.values.remove(&path);
            Param::from_data(
                value.unwrap_or_else(|| panic!("the table lacks {path}")),
                self.device,
            )
        }
    }
    let mut assign = Assign {
        path: Vec::new(),
        values,
        device,
    };
    let codec = config.init(device).map(&mut assign);
    debug_assert!(
        assign.values.is_empty(),
        "the module lacks parameters of the table"
    );
    codec
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_codec_twice_and_another_seed_another() {
        let device = Device::flex();
        let config = DacConfig::new()
            .with_encoder_dim(4)
            .with_decoder_dim(32)
            .with_latent_dim(16)
            .with_codebook_size(16);
        let weight = |seed| {
            let codec = DacCodec::random(&config, seed, &device).expect("a valid configuration");
            let data = codec.decoder.conv_in.weight.val().into_data();
            data.iter::<f32>().collect::<Vec<_>>()
        };
        assert_eq!(weight(1), weight(1));
        assert_ne!(weight(1), weight(2));
        let values = weight(1);
        let variance = values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32;
        // 3,584 draws: the standard error of the deviation is about 1.2 %.
        assert!((variance.sqrt() / random_std(16 * 7) - 1.0).abs() < 0.06);
    }
    #[test]
    fn a_random_codec_is_heard_and_not_clipped() {
        let device = Device::flex();
        for (encoder, latent, decoder) in [(4, 32, 64), (16, 128, 256)] {
            let config = DacConfig::dac_16khz()
                .with_encoder_dim(encoder)
                .with_latent_dim(latent)
                .with_decoder_dim(decoder);
            let codec = DacCodec::random(&config, 0, &device).expect("a valid configuration");
            let codes: Vec<i32> = (0..12 * 25).map(|n| n * 389 % 1024).collect();
            let codes = Tensor::from_data(TensorData::new(codes, [1, 12, 25]), &device);
            let sound = codec.decode_codes(codes).expect("codes").into_data();
            let loudest = sound
                .iter::<f32>()
                .fold(0.0, |most: f32, x| most.max(x.abs()));
            assert!((0.01..0.99).contains(&loudest), "{loudest}");
        }
    }
}
