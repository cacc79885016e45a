//! Codebooks that begin where the data is.
//!
//! Random codebooks lie far from what an encoder gives: each one after the first sees little but the error of those
//! before it, and a codec learns hardly more than loudness for a long time. So each codebook is laid into the directions in
//! which what the ones before it leave over has most energy, its entries at the centres of clusters there.
//!
//! Entries are chosen by direction, so two sounds that differ in loudness alone may share one, and silence has any. Where the first
//! latent channels are the spectrum's envelope, the first codebook is to tell envelopes apart, loudness too, and nothing else: it
//! looks at those channels alone, less their mean, and one of its numbers is a large constant, beside which directions are as far
//! apart as the envelopes are. A decoder model then finds codes that hold still while the sound does.
//!
//! Axes: `B` crops, `T` frames of a crop, `D` latent width, `C` width of an entry.

use burn::{
    module::{Module, Param},
    nn::conv::Conv1d,
    tensor::{Device, Tensor, TensorData},
};
use dac_codec::{DacCodec, quantizer::VectorQuantizer};
use nalgebra::{DMatrix, SymmetricEigen};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{config::EnvelopeObjective, crop::Crops, sounds::Sound};

/// Below this a spread is silence.
const SILENCE: f64 = 1e-8;
/// Rounds of clustering.
const ROUNDS: usize = 8;
/// Crops that are encoded at a time.
const CROPS: usize = 32;
/// The constant beside an envelope, in units of the envelopes' spread.
const CONSTANT: f64 = 4.0;

/// Fits the codebooks of a codec to crops of `sounds`, `length` samples each from a multiple of `step` on, the first ones to envelopes
/// where there are any. The same sounds and seed give the same codebooks.
pub(super) fn fit_codebooks(
    mut codec: DacCodec,
    sounds: &[Sound],
    (length, step): (usize, usize),
    envelope: Option<EnvelopeObjective>,
    seed: u64,
) -> DacCodec {
    let device = codec.encoder.conv_in.weight.val().device();
    // Nothing is learnt here: activations needn't be kept.
    let encoder = codec.encoder.clone().no_grad();
    let latents = sounds.chunks(CROPS).zip(0..).map(|(sounds, index)| {
        let crops = Crops::draw(sounds, length, step, 1, 0.0, seed.wrapping_add(index));
        let shape = [sounds.len(), 1, length];
        let audio = Tensor::<3>::from_data(TensorData::new(crops.samples, shape), &device);
        encoder.forward(audio).detach()
    });
    let z = Tensor::cat(latents.collect(), 0);
    // Steps of the optimizer are as large for small values as for large ones: entries of a spread near 1 move slowly
    // enough for the encoder to stay with them. The decoder takes the factor back.
    let spread = z.clone().square().mean().into_scalar::<f64>().sqrt();
    let z = match spread > SILENCE {
        true => {
            let scaled = |conv: &mut Conv1d, factor: f64| {
                let weight = conv.weight.val() * factor;
                conv.weight = Param::from_tensor(weight.detach());
            };
            scaled(&mut codec.encoder.conv_out, 1.0 / spread);
            let bias = &mut codec.encoder.conv_out.bias;
            *bias = bias
                .take()
                .map(|bias| Param::from_tensor((bias.val() / spread).detach()));
            scaled(&mut codec.decoder.conv_in, spread);
            z / spread
        }
        false => z,
    };
    fit(&mut codec.quantizer.quantizers, z, envelope, seed, &device);
    codec
}

/// What a codebook makes of a latent: `W_in z + b_in`, an entry, `W_out e + b_out`.
struct Fitted {
    /// `W_in`, `[D, C]`.
    down: DMatrix<f64>,
    /// `b_in`, `[C]`.
    shift: Vec<f64>,
    /// `W_out`, `[C, D]`.
    up: DMatrix<f64>,
    /// `b_out`, `[D]`.
    mean: Vec<f64>,
    /// `[V, C]`.
    codebook: DMatrix<f64>,
}

/// Fits the codebooks one after the other to `z`, `[B, D, T]`.
fn fit(
    quantizers: &mut [VectorQuantizer],
    z: Tensor<3>,
    envelope: Option<EnvelopeObjective>,
    seed: u64,
    device: &Device,
) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let [b, d, t] = z.dims();
    let values: Vec<f64> = z.swap_dims(1, 2).into_data().iter::<f64>().collect();
    let mut residual = DMatrix::from_row_slice(b * t, d, &values);
    for (place, quantizer) in quantizers.iter_mut().enumerate() {
        let [entries, c] = quantizer.codebook.dims();
        let fitted = match envelope {
            Some(envelope) if place < envelope.codebooks && envelope.channels > 0 && c > 1 => {
                let channels = envelope.channels.min(d);
                Fitted::to_envelopes(&residual, channels, entries, c, &mut rng)
            }
            _ => Fitted::to_directions(&residual, entries, c, &mut rng),
        };
        residual -= fitted.quantized(&residual);
        fitted.put(quantizer, device);
    }
}

impl Fitted {
    /// The directions with most energy, as they are.
    fn to_directions(rows: &DMatrix<f64>, entries: usize, c: usize, rng: &mut ChaCha8Rng) -> Self {
        let down = principal(rows, c);
        let codebook = cluster(&(rows * &down), entries, rng);
        Self {
            shift: vec![0.0; c],
            up: down.transpose(),
            down,
            mean: vec![0.0; rows.ncols()],
            codebook,
        }
    }

    /// The first `envelope` channels less their mean, in the directions with most energy but one, and a constant.
    fn to_envelopes(
        rows: &DMatrix<f64>,
        envelope: usize,
        entries: usize,
        c: usize,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let d = rows.ncols();
        let mut mean = vec![0.0; d];
        for (channel, mean) in mean.iter_mut().enumerate().take(envelope) {
            *mean = rows.column(channel).mean();
        }
        let centred = DMatrix::from_fn(rows.nrows(), envelope, |row, channel| {
            rows[(row, channel)] - mean[channel]
        });
        let directions = principal(&centred, c - 1);
        let down = DMatrix::from_fn(d, c, |channel, column| match channel < envelope {
            true if column > 0 => directions[(channel, column - 1)],
            _ => 0.0,
        });
        let inner = &centred * &directions;
        let spread = (inner.norm_squared() / rows.nrows() as f64).sqrt();
        let mut shift: Vec<f64> = (0..c)
            .map(|column| {
                -(0..envelope)
                    .map(|k| mean[k] * down[(k, column)])
                    .sum::<f64>()
            })
            .collect();
        shift[0] = (CONSTANT * spread).max(SILENCE);
        let inner = inner.insert_column(0, shift[0]);
        let codebook = cluster(&inner, entries, rng);
        Self {
            up: down.transpose(),
            down,
            shift,
            mean,
            codebook,
        }
    }

    /// What stands for each row, `[N, D]`.
    fn quantized(&self, rows: &DMatrix<f64>) -> DMatrix<f64> {
        let mut inner = rows * &self.down;
        for (mut column, shift) in inner.column_iter_mut().zip(&self.shift) {
            column.add_scalar_mut(*shift);
        }
        let codes = nearest(&inner, &self.codebook);
        let mut all = DMatrix::zeros(rows.nrows(), rows.ncols());
        let steps = &self.codebook * &self.up;
        for (row, code) in codes.into_iter().enumerate() {
            all.set_row(row, &steps.row(code));
        }
        for (mut column, mean) in all.column_iter_mut().zip(&self.mean) {
            column.add_scalar_mut(*mean);
        }
        all
    }

    fn put(&self, quantizer: &mut VectorQuantizer, device: &Device) {
        let [entries, c] = quantizer.codebook.dims();
        let d = self.mean.len();
        // A row-major copy of a matrix is its transpose's storage.
        let values = |matrix: &DMatrix<f64>| -> Vec<f32> {
            matrix.transpose().iter().map(|&x| x as f32).collect()
        };
        let weight = |values: Vec<f32>, shape: [usize; 3]| {
            let data = TensorData::new(values, shape);
            Param::from_tensor(Tensor::<3>::from_data(data, device))
        };
        let bias = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
            Some(Param::from_tensor(Tensor::<1>::from_data(
                values.as_slice(),
                device,
            )))
        };
        quantizer.in_proj.weight = weight(values(&self.down.transpose()), [c, d, 1]);
        quantizer.in_proj.bias = bias(&self.shift);
        quantizer.out_proj.weight = weight(values(&self.up.transpose()), [d, c, 1]);
        quantizer.out_proj.bias = bias(&self.mean);
        let entries = TensorData::new(values(&self.codebook), [entries, c]);
        quantizer.codebook = Param::from_tensor(Tensor::<2>::from_data(entries, device));
    }
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

#[cfg(test)]
mod tests {
    use dac_codec::DacConfig;

    use super::*;

    fn sounds() -> Vec<Sound> {
        (0..24)
            .map(|clip| Sound {
                id: clip.to_string(),
                domain: "tones".into(),
                samples: (0..2000)
                    .map(|n| (n as f32 * (0.02 + 0.01 * clip as f32)).sin() * 0.3)
                    .collect(),
            })
            .collect()
    }

    fn codec(device: &Device) -> DacCodec {
        let config = DacConfig::dac_16khz()
            .with_encoder_dim(4)
            .with_encoder_rates(vec![2, 4])
            .with_decoder_rates(vec![4, 2])
            .with_latent_dim(12)
            .with_decoder_dim(16)
            .with_n_codebooks(3)
            .with_codebook_size(16)
            .with_codebook_dim(4);
        DacCodec::random(&config, 3, device).expect("a small codec")
    }

    /// Energy of what the first `k` codebooks leave over, relative to the latent's.
    fn left_over(codec: &DacCodec, k: usize) -> f64 {
        let device = codec.encoder.conv_in.weight.val().device();
        let samples: Vec<f32> = sounds()[5].samples[..1600].to_vec();
        let audio = Tensor::<3>::from_data(TensorData::new(samples, [1, 1, 1600]), &device);
        let z = codec.encoder.forward(audio);
        let quantized = codec.quantizer.forward(z.clone(), k).z;
        let energy = |x: Tensor<3>| x.square().sum().into_scalar::<f64>();
        energy(z.clone() - quantized) / energy(z)
    }

    #[test]
    fn fitted_codebooks_leave_less_over_one_after_the_other() {
        let device = Device::flex();
        let random = codec(&device);
        let fitted = fit_codebooks(random.clone(), &sounds(), (800, 1), None, 7);
        let left: Vec<f64> = (1..=3).map(|k| left_over(&fitted, k)).collect();
        assert!(left.is_sorted_by(|a, b| a > b), "{left:?}");
        assert!(left[2] < 0.2 * left_over(&random, 3), "{left:?}");
    }

    #[test]
    fn fitting_again_gives_the_same_codebooks_and_changes_no_unquantised_sound() {
        let device = Device::flex();
        let random = codec(&device);
        let fit = |seed| fit_codebooks(random.clone(), &sounds(), (800, 1), None, seed);
        let [one, two] = [7, 7].map(fit);
        let codebook = |codec: &DacCodec| {
            let quantizer = &codec.quantizer.quantizers[2];
            quantizer
                .codebook
                .val()
                .into_data()
                .iter::<f32>()
                .collect::<Vec<_>>()
        };
        assert_eq!(codebook(&one), codebook(&two));
        let samples: Vec<f32> = sounds()[9].samples[..800].to_vec();
        let audio = Tensor::<3>::from_data(TensorData::new(samples, [1, 1, 800]), &device);
        let heard = |codec: &DacCodec| {
            let z = codec.encoder.forward(audio.clone());
            codec.decode(z).expect("a latent").into_data()
        };
        heard(&one)
            .assert_approx_eq::<f32>(&heard(&random), burn::tensor::Tolerance::absolute(1e-5));
    }

    #[test]
    fn the_first_codebook_sees_the_envelope_alone_and_its_length_too() {
        let device = Device::flex();
        let mut codec = codec(&device);
        // Three envelopes in one direction, of two channels, beside eight channels of noise.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let (d, t) = (12, 600);
        let mut z = vec![0.0f32; d * t];
        for step in 0..t {
            let length = [1.0, 2.0, 4.0][step % 3];
            z[step] = length;
            z[t + step] = 0.5 * length;
            for channel in 4..d {
                z[channel * t + step] = 3.0 * (rng.random::<f32>() - 0.5);
            }
        }
        let z = Tensor::<3>::from_data(TensorData::new(z, [1, d, t]), &device);
        let envelope = Some(EnvelopeObjective {
            channels: 2,
            codebooks: 1,
            ..EnvelopeObjective::default()
        });
        fit(
            &mut codec.quantizer.quantizers,
            z.clone(),
            envelope,
            1,
            &device,
        );
        let quantized = codec.quantizer.forward(z.clone(), 1);
        let codes: Vec<i64> = quantized.codes.into_data().iter::<i64>().collect();
        for kind in 0..3 {
            let own: std::collections::HashSet<i64> =
                codes.iter().skip(kind).step_by(3).copied().collect();
            let others = codes
                .iter()
                .enumerate()
                .filter(|(step, _)| step % 3 != kind);
            assert!(others.into_iter().all(|(_, code)| !own.contains(code)));
        }
        let left = (z - quantized.z)
            .narrow(1, 0, 4)
            .abs()
            .max()
            .into_scalar::<f32>();
        assert!(left < 1e-2, "{left}");
    }

    #[test]
    fn silence_is_fitted_to_without_numbers_that_are_none() {
        let device = Device::flex();
        let silence = Sound {
            id: "silence".into(),
            domain: "none".into(),
            samples: vec![0.0; 900].into(),
        };
        for (channels, codebooks) in [(0, 1), (5, 1), (5, 3)] {
            let envelope = Some(EnvelopeObjective {
                channels,
                codebooks,
                ..EnvelopeObjective::default()
            });
            let silence = std::slice::from_ref(&silence);
            let fitted = fit_codebooks(codec(&device), silence, (800, 1), envelope, 1);
            assert!(left_over(&fitted, 3).is_finite());
        }
    }
}
