//! A batch as the model takes it, and whether it fits.
//!
//! Axes: `B` rows, `S` positions, `P` audio positions, `K` codec channels.

use vision_encoder::VisionKind;

use crate::{config::UniMoeConfig, error::InputError, mrope::Positions, vision::EncodedVision};

/// A batch of sequences, on the host.
#[derive(Debug, Clone, Default)]
pub struct ModelInput {
    /// Number of rows `B`.
    pub batch: usize,
    /// Text ids `[B, S]` in row-major order; the placeholder id where a row of codes goes.
    pub ids: Vec<u32>,
    /// `true` where a token is not padding, `[B, S]`.
    pub real: Vec<bool>,
    /// Codes `[P, K]` of the audio positions of all rows, in order.
    pub codes: Vec<u32>,
    /// The images and videos of all rows, in order; rows may share one by cloning it.
    pub vision: Vec<EncodedVision>,
    /// Positions for the rotary embedding; `None` for those that text, images and videos have by themselves.
    pub positions: Option<Positions>,
    /// Seed of the routers' training noise; `None` in evaluation.
    pub training_seed: Option<u64>,
    /// A layer, counted from 0, whose attention weights the pass is to return.
    pub observed_layer: Option<usize>,
}

impl ModelInput {
    /// Checks that everything fits together and returns the length `S`.
    pub(crate) fn check(&self, config: &UniMoeConfig) -> Result<usize, InputError> {
        let length = self.ids.len().checked_div(self.batch).unwrap_or(0);
        if length == 0 || length * self.batch != self.ids.len() {
            return Err(InputError::Rows {
                batch: self.batch,
                tokens: self.ids.len(),
            });
        }
        let positions = self.positions.as_ref();
        let fits = positions.is_none_or(|p| {
            p.batch == self.batch
                && p.length == length
                && p.axes.iter().all(|axis| axis.len() == self.ids.len())
        });
        if self.real.len() != self.ids.len() || !fits {
            return Err(InputError::MaskLength {
                expected: self.ids.len(),
                found: self.real.len(),
            });
        }
        if length > config.text.max_positions {
            return Err(InputError::TooLong {
                found: length,
                limit: config.text.max_positions,
            });
        }
        let vocabulary = config.text.vocab_size;
        if let Some(place) = self.ids.iter().position(|&id| id as usize >= vocabulary) {
            return Err(InputError::Token {
                place,
                id: self.ids[place],
                vocabulary,
            });
        }
        let placeholder = config.codec.placeholder;
        let expected = self.ids.iter().filter(|&&id| id == placeholder).count();
        let channels = config.codec.n_channels;
        if self.codes.len() != expected * channels {
            return Err(InputError::CodeRows {
                expected,
                found: self.codes.len() / channels,
            });
        }
        check_codes(&self.codes, config)?;
        self.check_vision(config)?;
        Ok(length)
    }

    /// Checks that there are as many rows of images and videos as tokens for them, as wide as the model.
    fn check_vision(&self, config: &UniMoeConfig) -> Result<(), InputError> {
        let Some(vision) = &config.vision else {
            return match self.vision.is_empty() {
                true => Ok(()),
                false => Err(InputError::NoVisionEncoder),
            };
        };
        for kind in [VisionKind::Image, VisionKind::Video] {
            let token = vision.token(kind);
            let tokens = self.ids.iter().filter(|&&id| id == token).count();
            let mut rows = 0;
            for encoded in self.vision.iter().filter(|seen| seen.span.kind == kind) {
                let found = encoded.rows.dims();
                let expected = [
                    encoded.span.tokens(vision.encoder.merge_size)?,
                    config.text.d_model,
                ];
                if found != expected {
                    return Err(InputError::VisionRows { expected, found });
                }
                rows += found[0];
            }
            if rows != tokens {
                return Err(InputError::VisionTokens { kind, tokens, rows });
            }
        }
        Ok(())
    }
}

/// Checks that all codes are in the codec vocabulary.
pub(crate) fn check_codes(codes: &[u32], config: &UniMoeConfig) -> Result<(), InputError> {
    let vocabulary = config.codec.vocab_size;
    match codes.iter().position(|&code| code as usize >= vocabulary) {
        None => Ok(()),
        Some(place) => Err(InputError::Code {
            frame: place / config.codec.n_channels,
            channel: place % config.codec.n_channels,
            code: codes[place],
            vocabulary,
        }),
    }
}
