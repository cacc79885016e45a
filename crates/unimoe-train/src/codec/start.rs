//! What a codec that begins from random weights takes from its data before the first step.
//!
//! Random weights of a narrow codec shrink a sound to almost nothing on its way, and random codebooks lie far from what
//! comes in: each codebook after the first then sees little but the error of those before it, and the codec learns
//! hardly more than loudness for a long time. So the layers are scaled to outputs of one spread, in the order in which
//! sound passes them (after Mishkin and Matas, arXiv:1511.06422), and each codebook is laid into the directions in
//! which what the ones before it leave over varies most, its entries at the centres of clusters.
//!
//! Axes: `B` crops, `D` latent width, `C` width of an entry, `N` frames.

use burn::{
    module::Param,
    nn::conv::{Conv1d, ConvTranspose1d},
    tensor::{Device, Tensor, TensorData},
};
use dac_codec::{DacCodec, ResidualUnit, VectorQuantizer};
use nalgebra::{DMatrix, SymmetricEigen};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{crop::Crops, sounds::Sound};

/// Spread of what a residual unit adds to its input, whose own is 1.
const RESIDUAL: f64 = 0.3;
/// Rounds of clustering.
const ROUNDS: usize = 8;
/// Below this a spread is silence.
const SILENCE: f64 = 1e-8;

/// Fits a random codec to crops of `sounds`, `length` samples each. The same sounds and seed give the same codec.
pub(super) fn fit(mut codec: DacCodec, sounds: &[Sound], length: usize, seed: u64) -> DacCodec {
    let device = codec.encoder.conv_in.weight.val().device();
    let crops = Crops::draw(sounds, length, 1, 0.0, seed);
    let shape = [sounds.len(), 1, length];
    let audio = Tensor::<3>::from_data(TensorData::new(crops.samples, shape), &device);
    let loudness = spread(&audio);
    if loudness < SILENCE {
        return codec;
    }

    let mut x = scale(&mut codec.encoder.conv_in, audio, 1.0);
    for block in &mut codec.encoder.blocks {
        for unit in &mut block.units {
            x = scale_unit(unit, x);
        }
        x = scale(&mut block.conv, block.snake.forward(x).detach(), 1.0);
    }
    let x = codec.encoder.snake.forward(x).detach();
    let z = scale(&mut codec.encoder.conv_out, x, 1.0);

    let mut x = quantize(&mut codec.quantizer.quantizers, z, seed, &device);
    x = scale(&mut codec.decoder.conv_in, x, 1.0);
    for block in &mut codec.decoder.blocks {
        x = scale_up(&mut block.conv, block.snake.forward(x).detach());
        for unit in &mut block.units {
            x = scale_unit(unit, x);
        }
    }
    let x = codec.decoder.snake.forward(x).detach();
    scale(&mut codec.decoder.conv_out, x, loudness);
    codec
}

fn scale_unit(unit: &mut ResidualUnit, x: Tensor<3>) -> Tensor<3> {
    let y = scale(&mut unit.conv1, unit.snake1.forward(x.clone()).detach(), 1.0);
    x + scale(&mut unit.conv2, unit.snake2.forward(y).detach(), RESIDUAL)
}

/// Gives the output of a convolution the spread `wanted`, and returns it.
fn scale(conv: &mut Conv1d, x: Tensor<3>, wanted: f64) -> Tensor<3> {
    let y = conv.forward(x).detach();
    let factor = wanted / spread(&y).max(SILENCE);
    conv.weight = scaled(&conv.weight, factor);
    y * factor
}

fn scale_up(conv: &mut ConvTranspose1d, x: Tensor<3>) -> Tensor<3> {
    let y = conv.forward(x).detach();
    let factor = 1.0 / spread(&y).max(SILENCE);
    conv.weight = scaled(&conv.weight, factor);
    y * factor
}

/// A parameter of its own; biases are zero at the start and stay so.
fn scaled(weight: &Param<Tensor<3>>, factor: f64) -> Param<Tensor<3>> {
    Param::from_tensor((weight.val() * factor).detach())
}

/// Root of the mean square.
fn spread(x: &Tensor<3>) -> f64 {
    x.clone().square().mean().into_scalar::<f64>().sqrt()
}

/// Fits the codebooks one after the other and returns what they make of `z`, `[B, D, T]`.
fn quantize(
    quantizers: &mut [VectorQuantizer],
    z: Tensor<3>,
    seed: u64,
    device: &Device,
) -> Tensor<3> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let [b, d, t] = z.dims();
    let values: Vec<f64> = z.swap_dims(1, 2).into_data().iter::<f64>().collect();
    let frames = DMatrix::from_row_slice(b * t, d, &values);
    let mut residual = frames.clone();
    for quantizer in quantizers {
        let [entries, c] = quantizer.codebook.dims();
        let directions = principal(&residual, c);
        let inner = &residual * &directions;
        let codebook = cluster(&inner, entries, &mut rng);
        for (row, code) in nearest(&inner, &codebook).into_iter().enumerate() {
            let step = codebook.row(code) * directions.transpose();
            let left = residual.row(row) - step;
            residual.set_row(row, &left);
        }
        // A row-major copy of a matrix is its transpose's storage.
        let tensor = |matrix: &DMatrix<f64>| -> Vec<f32> {
            matrix.transpose().iter().map(|&x| x as f32).collect()
        };
        let param = |values: Vec<f32>, shape: [usize; 3]| {
            Param::from_tensor(Tensor::<3>::from_data(TensorData::new(values, shape), device))
        };
        quantizer.in_proj.weight = param(tensor(&directions.transpose()), [c, d, 1]);
        quantizer.out_proj.weight = param(tensor(&directions), [d, c, 1]);
        let values = TensorData::new(tensor(&codebook), [entries, c]);
        quantizer.codebook = Param::from_tensor(Tensor::<2>::from_data(values, device));
    }
    let quantized = (frames - residual).transpose();
    let values: Vec<f32> = quantized.iter().map(|&x| x as f32).collect();
    Tensor::<3>::from_data(TensorData::new(values, [b, t, d]), device).swap_dims(1, 2)
}

/// The `c` orthonormal directions in which the rows have most energy, `[D, c]`; zeros past `D`.
fn principal(rows: &DMatrix<f64>, c: usize) -> DMatrix<f64> {
    let eigen = SymmetricEigen::new(rows.transpose() * rows);
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    DMatrix::from_fn(rows.ncols(), c, |row, column| {
        let Some(&place) = order.get(column) else {
            return 0.0;
        };
        // An eigenvector's sign is arbitrary: the largest part is positive.
        let vector = eigen.eigenvectors.column(place);
        vector[row] * vector[vector.icamax()].signum()
    })
}

/// Centres of clusters by direction, `[entries, C]`: rows that are drawn at first, then means of the rows that point
/// most nearly their way.
fn cluster(rows: &DMatrix<f64>, entries: usize, rng: &mut ChaCha8Rng) -> DMatrix<f64> {
    let draw = |rng: &mut ChaCha8Rng| {
        let row = rows.row(rng.random_range(0..rows.nrows())).into_owned();
        // Two entries on one spot would never part.
        row.map(|x| x + 1e-3 * (rng.random::<f64>() - 0.5))
    };
    let mut centres = DMatrix::zeros(entries, rows.ncols());
    for entry in 0..entries {
        centres.set_row(entry, &draw(rng));
    }
    for _ in 0..ROUNDS {
        let mut sums = DMatrix::zeros(entries, rows.ncols());
        let mut counts = vec![0_usize; entries];
        for (row, code) in nearest(rows, &centres).into_iter().enumerate() {
            let sum = sums.row(code) + rows.row(row);
            sums.set_row(code, &sum);
            counts[code] += 1;
        }
        for (entry, &count) in counts.iter().enumerate() {
            let centre = match count {
                0 => draw(rng),
                _ => sums.row(entry) / count as f64,
            };
            centres.set_row(entry, &centre);
        }
    }
    centres
}

/// The entry that points most nearly the way of each row, as the codec chooses.
fn nearest(rows: &DMatrix<f64>, entries: &DMatrix<f64>) -> Vec<usize> {
    let mut directions = entries.clone();
    for mut row in directions.row_iter_mut() {
        let norm = row.norm().max(1e-12);
        row /= norm;
    }
    let scores = rows * directions.transpose();
    scores
        .row_iter()
        .map(|row| {
            let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            best.map_or(0, |(index, _)| index)
        })
        .collect()
}
