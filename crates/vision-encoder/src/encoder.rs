//! The encoder: patches of pictures and videos to embeddings for a language model.
//!
//! The vision transformer of Qwen2.5-VL (arXiv:2502.13923, section 2.1.1), which UniMoE-Audio (arXiv:2510.13344) uses:
//! patch embedding, blocks that attend within windows and in some of them within frames, and a merger.
//!
//! Axes: `N` patches, `P` values of a patch, `D` width, `T` tokens, `O` width of the tokens.

use burn::{
    module::Module,
    tensor::{DType, Device, Int, Tensor, TensorData},
};

use crate::{
    block::{AttentionContext, VisionBlock, VisionBlockConfig},
    config::{AttentionScope, VisionEncoderConfig},
    error::VisionError,
    input::{Grid, VisionInput},
    merger::{PatchMerger, PatchMergerConfig},
    patch_embed::{PatchEmbed, PatchEmbedConfig},
    rope::VisionRope,
    window::{Arrangement, PatchLayout},
};

/// The vision transformer.
#[derive(Module, Debug)]
pub struct VisionEncoder {
    /// Pixels to vectors.
    pub patch_embed: PatchEmbed,
    /// The blocks, first to last.
    pub blocks: Vec<VisionBlock>,
    /// Vectors to tokens.
    pub merger: PatchMerger,
    #[module(skip)]
    config: VisionEncoderConfig,
}

/// How to load an encoder.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Type to keep parameters in: `F32`, `F16` or `BF16`. Default: `F32`
    pub dtype: DType,
    /// Whether a tensor of the encoder's part of the file that it has no place for is an error. Default: `true`
    pub strict: bool,
}

/// A point of the way through the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VisionStage {
    /// After the patch embedding.
    PatchEmbed,
    /// After the block of this index.
    Block(usize),
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            strict: true,
        }
    }
}

impl VisionEncoderConfig {
    /// Initializes a [`VisionEncoder`] with random parameters; nothing is allocated until it is used.
    ///
    /// # Panics
    ///
    /// Panics where [`validate`](Self::validate) finds an error.
    pub fn init(&self, device: &Device) -> VisionEncoder {
        if let Err(error) = self.validate() {
            panic!("{error}");
        }
        let (d_model, norm_epsilon) = (self.d_model, self.norm_epsilon);
        let block = VisionBlockConfig::new(d_model, self.n_heads, self.d_ff)
            .with_norm_epsilon(norm_epsilon);
        let merged = self.merge_size * self.merge_size;
        VisionEncoder {
            patch_embed: PatchEmbedConfig::new(self.patch_values(), d_model).init(device),
            blocks: (0..self.n_blocks).map(|_| block.init(device)).collect(),
            merger: PatchMergerConfig::new(d_model, merged, self.d_out)
                .with_norm_epsilon(norm_epsilon)
                .init(device),
            config: self.clone(),
        }
    }
}

impl VisionEncoder {
    /// The structure of the encoder.
    pub fn config(&self) -> &VisionEncoderConfig {
        &self.config
    }

    /// The same encoder with another scope of its attention, whatever its file says.
    #[must_use]
    pub fn with_attention(mut self, attention: AttentionScope) -> Self {
        self.config.attention = attention;
        self
    }

    /// Embeds pictures and videos of any sizes; their tokens follow each other as the inputs do.
    ///
    /// # Shapes
    ///
    /// - output: `[T, O]`, in the type of the parameters
    ///
    /// # Errors
    ///
    /// A [`VisionError`] where there is no input, a grid doesn't fit the encoder, or the pixels of an input don't
    /// fill its grid or are not finite.
    pub fn forward(&self, inputs: &[VisionInput]) -> Result<Tensor<2>, VisionError> {
        self.forward_inspect(inputs, |_, _| ())
    }

    /// As [`forward`](Self::forward), and shows `inspect` what comes out of each stage: `[N, D]` in the order in which
    /// the encoder runs; [`order`](Self::order) tells it.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_inspect(
        &self,
        inputs: &[VisionInput],
        mut inspect: impl FnMut(VisionStage, &Tensor<2>),
    ) -> Result<Tensor<2>, VisionError> {
        let grids: Vec<Grid> = inputs.iter().map(|input| input.grid).collect();
        let layout = PatchLayout::new(&self.config, &grids)?;
        self.check_pixels(inputs)?;

        let scope = self.config.attention;
        let device = self.patch_embed.projection.weight.device();
        let windows = layout.windows(scope);
        let frames = layout.frames(scope, &windows);
        let (near, far) = self.contexts(&grids, &windows, frames, &device);

        let mut x = self
            .patch_embed
            .forward(self.pixels(inputs, &windows, &device));
        inspect(VisionStage::PatchEmbed, &x);
        for (index, block) in self.blocks.iter().enumerate() {
            let is_full = self.config.full_attention_blocks.contains(&index);
            let context = far.as_ref().filter(|_| is_full).unwrap_or(&near);
            x = block.forward(x, context);
            inspect(VisionStage::Block(index), &x);
        }
        let tokens = self.merger.forward(x);
        if windows.is_identity() {
            return Ok(tokens);
        }
        Ok(tokens.select(0, rows(&windows.inverse(), 1, &device)))
    }

    /// The order in which the encoder runs the tokens of these grids: at each place the token's place in the inputs.
    ///
    /// # Errors
    ///
    /// As [`VisionEncoderConfig::layout`].
    pub fn order(&self, grids: &[Grid]) -> Result<Vec<usize>, VisionError> {
        let layout = PatchLayout::new(&self.config, grids)?;
        Ok(layout.windows(self.config.attention).order)
    }

    /// Who attends to whom in the windowed blocks, and in the full-attention blocks where those differ.
    fn contexts(
        &self,
        grids: &[Grid],
        windows: &Arrangement,
        frames: Option<Arrangement>,
        device: &Device,
    ) -> (AttentionContext, Option<AttentionContext>) {
        let merge = self.config.merge_size;
        let rope = VisionRope::new(self.config.d_head(), merge);
        let near = AttentionContext {
            rope: rope.table(grids, windows, device),
            groups: windows.groups.clone(),
            order: None,
        };
        let far = frames.map(|frames| {
            if frames.is_identity() {
                return AttentionContext {
                    rope: near.rope.clone(),
                    groups: frames.groups,
                    order: None,
                };
            }
            let merged = merge * merge;
            let there = rows(&frames.order, merged, device);
            let back = rows(&frames.inverse(), merged, device);
            let order = frames.order.iter().map(|&place| windows.order[place]);
            let from_inputs = Arrangement {
                order: order.collect(),
                groups: frames.groups,
            };
            AttentionContext {
                rope: rope.table(grids, &from_inputs, device),
                groups: from_inputs.groups,
                order: Some([there, back]),
            }
        });
        (near, far)
    }

    fn check_pixels(&self, inputs: &[VisionInput]) -> Result<(), VisionError> {
        let values = self.config.patch_values();
        for (index, input) in inputs.iter().enumerate() {
            let (grid, found) = (input.grid, input.patches.len());
            let expected = grid.patches().and_then(|n| n.checked_mul(values));
            if expected != Some(found) {
                return Err(VisionError::PixelCount {
                    index,
                    grid,
                    expected: expected.unwrap_or(usize::MAX),
                    found,
                });
            }
            if let Some(place) = input.patches.iter().position(|value| !value.is_finite()) {
                return Err(VisionError::PixelNotFinite {
                    index,
                    place,
                    value: input.patches[place],
                });
            }
        }
        Ok(())
    }

    /// The pixels of all inputs in the order of `windows`, `[N, P]`.
    fn pixels(&self, inputs: &[VisionInput], windows: &Arrangement, device: &Device) -> Tensor<2> {
        let values = self.config.patch_values();
        let token = values * self.config.merge_size * self.config.merge_size;
        let tokens: Vec<&[f32]> = inputs
            .iter()
            .flat_map(|input| input.patches.chunks_exact(token))
            .collect();
        let mut pixels = Vec::with_capacity(tokens.len() * token);
        for &place in &windows.order {
            pixels.extend_from_slice(tokens[place]);
        }
        let dtype = self.patch_embed.projection.weight.dtype();
        let shape = [pixels.len() / values, values];
        Tensor::from_data(TensorData::new(pixels, shape), (device, dtype))
    }
}

/// The rows that `order` picks where each of its places has `each` rows.
fn rows(order: &[usize], each: usize, device: &Device) -> Tensor<1, Int> {
    // A call has at most 2^24 patches.
    let rows: Vec<i32> = order
        .iter()
        .flat_map(|&place| (place * each..(place + 1) * each).map(|row| row as i32))
        .collect();
    Tensor::from_data(TensorData::new(rows, [order.len() * each]), device)
}
