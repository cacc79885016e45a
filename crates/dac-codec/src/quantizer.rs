//! Residual vector quantisation with factorised, L2-normalised codes.
//!
//! Descript Audio Codec (arXiv:2306.06546), section 3.2 (improved RVQGAN).
//! Axes: `B` batch, `T` frames, `D` latent width, `K` codebooks, `V` entries, `C` code width.

use burn::{
    module::{Module, Param},
    nn::{Initializer, conv::Conv1d},
    tensor::{Device, Int, Tensor, TensorData},
};

use crate::{config::DacConfig, conv, kernel};

/// Keeps the norm of a zero vector away from zero.
const NORM_EPSILON: f32 = 1e-12;

/// One codebook: `z_e = W_in z`, the nearest entry `e_i` by direction, `z_q = W_out e_i`.
///
/// The entry is looked up by cosine similarity but used as it is, not normalised.
#[derive(Module, Debug)]
pub struct VectorQuantizer {
    /// Projection down to the code width, `[C, D, 1]`.
    pub in_proj: Conv1d,
    /// Projection back to the latent width, `[D, C, 1]`.
    pub out_proj: Conv1d,
    /// The entries, `[V, C]`.
    pub codebook: Param<Tensor<2>>,
}

/// `K` codebooks, each quantising what the ones before it left over.
#[derive(Module, Debug)]
pub struct ResidualVectorQuantizer {
    /// The codebooks in order.
    pub quantizers: Vec<VectorQuantizer>,
}

/// A quantised latent.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// Sum of the codebooks' outputs, `[B, D, T]`; its gradient passes straight through.
    pub z: Tensor<3>,
    /// Index of the chosen entries, `[B, K, T]`.
    pub codes: Tensor<3, Int>,
    /// Projections `z_e` of all codebooks, one after the other, `[B, K * C, T]`.
    pub latents: Tensor<3>,
    /// `sum over K of mean((z_e - sg(e_i))^2)`, `[1]`: pulls the encoder to the entries.
    pub commitment_loss: Tensor<1>,
    /// `sum over K of mean((e_i - sg(z_e))^2)`, `[1]`: pulls the entries to the encoder.
    pub codebook_loss: Tensor<1>,
}

/// A latent put together from codes or latents.
#[derive(Debug, Clone)]
pub struct Dequantized {
    /// Sum of the codebooks' outputs, `[B, D, T]`.
    pub z: Tensor<3>,
    /// The entries themselves, one codebook after the other, `[B, K * C, T]`.
    pub entries: Tensor<3>,
    /// The codes that they belong to, `[B, K, T]`.
    pub codes: Tensor<3, Int>,
}

impl VectorQuantizer {
    fn new(config: &DacConfig, device: &Device) -> Self {
        let (latent, code) = (config.latent_dim, config.codebook_dim);
        Self {
            in_proj: conv::Sizes::new(latent, code, 1).init(device),
            out_proj: conv::Sizes::new(code, latent, 1).init(device),
            codebook: Initializer::Normal {
                mean: 0.0,
                std: 1.0,
            }
            .init([config.codebook_size, code], device),
        }
    }

    /// The index of the entry that points most nearly the same way; the lowest on ties.
    ///
    /// With both sides normalised the squared distance is `|e|^2 - 2 e.c + |c|^2`, so that one
    /// matrix product ranks all entries; `|c|` is 1 except for an entry of zeros.
    ///
    /// # Shapes
    ///
    /// - latents: `[B, C, T]`
    /// - output: `[B, T]`
    pub fn nearest(&self, latents: Tensor<3>) -> Tensor<2, Int> {
        let [b, c, t] = latents.dims();
        let rows = latents.detach().swap_dims(1, 2).reshape([b * t, c]);
        let entries = normalize(self.codebook.val().detach());
        let half_norms = entries.clone().square().sum_dim(1).mul_scalar(0.5);
        let score = normalize(rows).matmul(entries.transpose()) - half_norms.transpose();
        score.argmax(1).reshape([b, t])
    }

    /// Looks entries up.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, T]`
    /// - output: `[B, C, T]`
    pub fn lookup(&self, codes: Tensor<2, Int>) -> Tensor<3> {
        let [b, t] = codes.dims();
        let codebook = self.codebook.val();
        let [_, c] = codebook.dims();
        codebook
            .select(0, codes.reshape([b * t]))
            .reshape([b, t, c])
            .swap_dims(1, 2)
    }
}

impl ResidualVectorQuantizer {
    /// Randomly initialised codebooks.
    pub fn new(config: &DacConfig, device: &Device) -> Self {
        Self {
            quantizers: (0..config.n_codebooks)
                .map(|_| VectorQuantizer::new(config, device))
                .collect(),
        }
    }

    /// Quantises with the first `n_quantizers` codebooks.
    ///
    /// # Shapes
    ///
    /// - z: `[B, D, T]`
    /// - output: [`Quantized`] with `K = n_quantizers`
    ///
    /// # Panics
    ///
    /// Panics if `n_quantizers` is zero or more than there are.
    pub fn forward(&self, z: Tensor<3>, n_quantizers: usize) -> Quantized {
        let [b, _, _] = z.dims();
        self.forward_rows(z, &vec![n_quantizers; b])
    }

    /// Quantises each row of the batch with its own number of codebooks: quantizer dropout, section 3.3.
    ///
    /// A row's `z` is the sum of its first codebooks, and the other codebooks learn nothing from it; `codes` and
    /// `latents` hold, past a row's own codebooks, what those would have chosen.
    ///
    /// # Shapes
    ///
    /// - z: `[B, D, T]`
    /// - n_quantizers: `B` numbers
    /// - output: [`Quantized`] with `K` the largest of them
    ///
    /// # Panics
    ///
    /// Panics if `n_quantizers` is not one number per row, each from one to as many codebooks as there are.
    pub fn forward_rows(&self, z: Tensor<3>, n_quantizers: &[usize]) -> Quantized {
        let [b, _, _] = z.dims();
        assert_eq!(n_quantizers.len(), b, "one number of codebooks per row");
        n_quantizers.iter().for_each(|&n| self.check(n));
        let most = n_quantizers.iter().copied().max().unwrap_or(0);
        let device = z.device();

        let mut residual = z;
        let mut sum: Option<Tensor<3>> = None;
        let mut losses: Option<(Tensor<1>, Tensor<1>)> = None;
        let (mut codes, mut latents) = (Vec::new(), Vec::new());
        for (index, quantizer) in self.quantizers[..most].iter().enumerate() {
            let z_e = kernel::conv1d(residual.clone(), &quantizer.in_proj);
            let indices = quantizer.nearest(z_e.clone());
            let entry = quantizer.lookup(indices.clone());
            let mut commitment = (z_e.clone() - entry.clone().detach()).square();
            let mut codebook = (entry.clone() - z_e.clone().detach()).square();
            // Straight through: the value of the entry, the gradient of the projection.
            let passed = z_e.clone() + (entry - z_e.clone()).detach();
            let mut z_q = kernel::conv1d(passed, &quantizer.out_proj);

            if n_quantizers.iter().any(|&n| n <= index) {
                let taken: Vec<f32> = n_quantizers
                    .iter()
                    .map(|&n| if index < n { 1.0 } else { 0.0 })
                    .collect();
                let taken = Tensor::from_data(TensorData::new(taken, [b, 1, 1]), &device);
                z_q = z_q * taken.clone();
                commitment = commitment * taken.clone();
                codebook = codebook * taken;
            }
            let (commitment, codebook) = (commitment.mean(), codebook.mean());

            residual = residual - z_q.clone();
            sum = Some(match sum {
                Some(sum) => sum + z_q,
                None => z_q,
            });
            losses = Some(match losses {
                Some((a, b)) => (a + commitment, b + codebook),
                None => (commitment, codebook),
            });
            codes.push(indices);
            latents.push(z_e);
        }
        let (z, (commitment_loss, codebook_loss)) = sum.zip(losses).expect("at least one codebook");
        Quantized {
            z,
            codes: Tensor::stack(codes, 1),
            latents: Tensor::cat(latents, 1),
            commitment_loss,
            codebook_loss,
        }
    }

    /// The latent of given codes, of any number of codebooks up to all.
    ///
    /// # Shapes
    ///
    /// - codes: `[B, K, T]`
    /// - output: [`Dequantized`]
    ///
    /// # Panics
    ///
    /// Panics if `K` is zero or more than there are codebooks. Codes must be below the codebook's size.
    pub fn from_codes(&self, codes: Tensor<3, Int>) -> Dequantized {
        let [b, k, t] = codes.dims();
        self.check(k);
        let entries: Vec<Tensor<3>> = self.quantizers[..k]
            .iter()
            .enumerate()
            .map(|(index, quantizer)| {
                quantizer.lookup(codes.clone().narrow(1, index, 1).reshape([b, t]))
            })
            .collect();
        let z = self
            .quantizers
            .iter()
            .zip(&entries)
            .map(|(quantizer, entry)| kernel::conv1d(entry.clone(), &quantizer.out_proj))
            .reduce(|sum, z_q| sum + z_q)
            .expect("at least one codebook");
        Dequantized {
            z,
            entries: Tensor::cat(entries, 1),
            codes,
        }
    }

    /// Quantises given projections: the nearest entry in each codebook's part of `latents`.
    ///
    /// # Shapes
    ///
    /// - latents: `[B, K * C, T]`
    /// - output: [`Dequantized`]
    ///
    /// # Panics
    ///
    /// Panics if `latents` is not a whole number of codebooks, from one to all.
    pub fn from_latents(&self, latents: Tensor<3>) -> Dequantized {
        let [_, width, _] = latents.dims();
        let [_, c] = self.quantizers[0].codebook.dims();
        assert!(
            width.is_multiple_of(c),
            "latents of width {width} are not a multiple of the code width {c}"
        );
        self.check(width / c);
        let codes = (0..width / c)
            .map(|k| self.quantizers[k].nearest(latents.clone().narrow(1, k * c, c)))
            .collect();
        self.from_codes(Tensor::stack(codes, 1))
    }

    fn check(&self, k: usize) {
        let all = self.quantizers.len();
        assert!((1..=all).contains(&k), "1 to {all} codebooks, got {k}");
    }
}

/// `x / max(|x|, 1e-12)` of each row.
fn normalize(rows: Tensor<2>) -> Tensor<2> {
    let norms = rows.clone().square().sum_dim(1).sqrt();
    rows / norms.clamp_min(NORM_EPSILON)
}
