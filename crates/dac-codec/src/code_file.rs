//! A compact file for codes.
//!
//! Little-endian, 40 bytes of header, the codes, 4 bytes of checksum:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `DACCODES` |
//! | 8..12 | version, 1 |
//! | 12..16 | sample rate in Hz |
//! | 16..20 | hop: samples per frame |
//! | 20..24 | codebooks `K` |
//! | 24..28 | entries of a codebook |
//! | 28..32 | frames `T` |
//! | 32..40 | samples of the original audio |
//! | 40.. | `T * K` codes, frame by frame, each of `ceil(log2(entries))` bits, lowest bit first |
//! | last 4 | CRC-32 of everything before |

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use model_files::ModelPath;
use thiserror::Error;

use crate::{atomic, config::DacConfig, error::DacError};

const MAGIC: &[u8; 8] = b"DACCODES";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 40;
const CHECKSUM_BYTES: usize = 4;
/// Largest codebook, so that a code fits 16 bits.
const MAX_ENTRIES: u32 = 1 << 16;

/// What is wrong with a file of codes.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodeFileError {
    /// It does not start with the magic bytes.
    #[error("it does not start with DACCODES")]
    Magic,
    /// It is of a version that this crate does not know.
    #[error("version {found}, expected {VERSION}")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// It is longer or shorter than its header says.
    #[error("{found} bytes, expected {expected}")]
    Length {
        /// Bytes that the header asks for; those of an empty file where there is no header.
        expected: u128,
        /// Bytes that are there.
        found: u128,
    },
    /// The checksum does not fit the content.
    #[error("checksum {found:#010x}, expected {expected:#010x}")]
    Checksum {
        /// Checksum of the content.
        expected: u32,
        /// Checksum in the file.
        found: u32,
    },
    /// A field is outside its range.
    #[error("{field} is {found}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// Its allowed values.
        expected: String,
        /// Its value.
        found: u64,
    },
}

/// Codes of one sound, with what is needed to decode them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeFile {
    /// Samples per second of the codec.
    pub sample_rate: u32,
    /// Samples per frame.
    pub hop_length: u32,
    /// Codebooks `K`.
    pub n_codebooks: u32,
    /// Entries of a codebook.
    pub codebook_size: u32,
    /// Samples of the original audio at the codec's rate.
    pub samples: u64,
    /// The codes, `[T, K]`: frame by frame.
    pub codes: Vec<u16>,
}

impl CodeFile {
    /// Collects the codes of one sound.
    ///
    /// # Shapes
    ///
    /// - codes: `[1, K, T]`
    ///
    /// # Errors
    ///
    /// [`DacError::Input`] for a batch of another size.
    pub fn new(
        config: &DacConfig,
        codes: Tensor<3, Int>,
        samples: usize,
    ) -> Result<Self, DacError> {
        let [b, k, _] = codes.dims();
        if b != 1 {
            return Err(crate::codec::input(
                "the batch of codes",
                "1",
                b.to_string(),
            ));
        }
        let codes = codes.swap_dims(1, 2).into_data();
        let field = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Ok(Self {
            sample_rate: field(config.sample_rate),
            hop_length: field(config.hop_length()),
            n_codebooks: field(k),
            codebook_size: field(config.codebook_size),
            samples: samples as u64,
            codes: codes
                .iter::<i64>()
                .map(|code| u16::try_from(code).unwrap_or(u16::MAX))
                .collect(),
        })
    }

    /// Frames `T`.
    pub fn frames(&self) -> usize {
        self.codes.len() / (self.n_codebooks as usize).max(1)
    }

    /// The codes as a tensor `[1, K, T]`.
    pub fn to_tensor(&self, device: &Device) -> Tensor<3, Int> {
        let codes: Vec<i32> = self.codes.iter().map(|&code| i32::from(code)).collect();
        let shape = [1, self.frames(), self.n_codebooks as usize];
        Tensor::<3, Int>::from_data(TensorData::new(codes, shape), device).swap_dims(1, 2)
    }

    /// Checks that a codec of this configuration can decode the codes.
    ///
    /// # Errors
    ///
    /// [`DacError::Config`] names the first setting that differs.
    pub fn check(&self, config: &DacConfig) -> Result<(), DacError> {
        for (field, found, wanted) in [
            ("sample_rate", self.sample_rate, config.sample_rate),
            ("hop length", self.hop_length, config.hop_length()),
            ("codebook_size", self.codebook_size, config.codebook_size),
        ] {
            if found as usize != wanted {
                return Err(DacError::Config {
                    field,
                    expected: format!("{found}, as the file of codes has it"),
                    found: wanted.to_string(),
                });
            }
        }
        if self.n_codebooks as usize > config.n_codebooks {
            return Err(DacError::Config {
                field: "n_codebooks",
                expected: format!("at least {}, as the file of codes has it", self.n_codebooks),
                found: config.n_codebooks.to_string(),
            });
        }
        Ok(())
    }

    /// The file's bytes.
    ///
    /// # Errors
    ///
    /// [`CodeFileError::Field`] for a field or a code outside its range.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodeFileError> {
        let frames = u32::try_from(self.frames()).map_err(|_| CodeFileError::Field {
            field: "frames",
            expected: format!("at most {}", u32::MAX),
            found: self.frames() as u64,
        })?;
        self.check_fields(frames)?;
        if !self.codes.len().is_multiple_of(self.n_codebooks as usize) {
            return Err(CodeFileError::Field {
                field: "number of codes",
                expected: format!("a multiple of {}", self.n_codebooks),
                found: self.codes.len() as u64,
            });
        }
        self.check_codes()?;

        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.codes.len() * 2 + CHECKSUM_BYTES);
        bytes.extend(MAGIC);
        for field in [
            VERSION,
            self.sample_rate,
            self.hop_length,
            self.n_codebooks,
            self.codebook_size,
            frames,
        ] {
            bytes.extend(field.to_le_bytes());
        }
        bytes.extend(self.samples.to_le_bytes());

        let width = bits(self.codebook_size);
        let (mut pending, mut filled) = (0u32, 0);
        for &code in &self.codes {
            pending |= u32::from(code) << filled;
            filled += width;
            while filled >= 8 {
                bytes.push(pending as u8);
                pending >>= 8;
                filled -= 8;
            }
        }
        if filled > 0 {
            bytes.push(pending as u8);
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        Ok(bytes)
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    ///
    /// [`CodeFileError`] says what is wrong. The length is checked before anything is allocated.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodeFileError> {
        if bytes.get(..8) != Some(MAGIC) {
            return Err(CodeFileError::Magic);
        }
        let length = |expected: u128| CodeFileError::Length {
            expected,
            found: bytes.len() as u128,
        };
        let smallest = (HEADER_BYTES + CHECKSUM_BYTES) as u128;
        if (bytes.len() as u128) < smallest {
            return Err(length(smallest));
        }
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if word(8) != VERSION {
            return Err(CodeFileError::Version { found: word(8) });
        }
        let frames = word(28);
        let mut file = Self {
            sample_rate: word(12),
            hop_length: word(16),
            n_codebooks: word(20),
            codebook_size: word(24),
            samples: u64::from(word(32)) | u64::from(word(36)) << 32,
            codes: Vec::new(),
        };
        file.check_fields(frames)?;

        let width = bits(file.codebook_size);
        let count = u128::from(frames) * u128::from(file.n_codebooks);
        let expected = smallest + (count * u128::from(width)).div_ceil(8);
        if bytes.len() as u128 != expected {
            return Err(length(expected));
        }
        let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_BYTES);
        let found = word(content.len());
        debug_assert_eq!(checksum.len(), CHECKSUM_BYTES);
        let expected = crc32fast::hash(content);
        if found != expected {
            return Err(CodeFileError::Checksum { expected, found });
        }

        let count = usize::try_from(count).map_err(|_| length(expected.into()))?;
        file.codes.reserve_exact(count);
        let (mut pending, mut filled) = (0u32, 0);
        for &byte in &content[HEADER_BYTES..] {
            pending |= u32::from(byte) << filled;
            filled += 8;
            while filled >= width && file.codes.len() < count {
                file.codes.push((pending & ((1 << width) - 1)) as u16);
                pending >>= width;
                filled -= width;
            }
        }
        file.check_codes()?;
        Ok(file)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`], and [`DacError::CodeFile`] as [`CodeFile::to_bytes`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), DacError> {
        let path = path.as_ref();
        let bytes = self.to_bytes().map_err(|source| at(path, source))?;
        atomic::write(path, |file| file.write_all(&bytes))
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`DacError::Io`], and [`DacError::CodeFile`] as [`CodeFile::from_bytes`].
    pub fn read(path: impl Into<ModelPath>) -> Result<Self, DacError> {
        let path = path.into();
        let bytes = path
            .read(u64::MAX)
            .map_err(DacError::io("read", path.path()))?;
        Self::from_bytes(&bytes).map_err(|source| at(path.path(), source))
    }

    fn check_fields(&self, frames: u32) -> Result<(), CodeFileError> {
        let hop = u64::from(self.hop_length);
        for (field, found, low, high) in [
            (
                "sample rate",
                u64::from(self.sample_rate),
                1,
                u64::from(u32::MAX),
            ),
            ("hop length", hop, 1, u64::from(u32::MAX)),
            ("number of codebooks", u64::from(self.n_codebooks), 1, 1024),
            (
                "codebook size",
                u64::from(self.codebook_size),
                2,
                MAX_ENTRIES.into(),
            ),
            (
                "number of samples",
                self.samples,
                0,
                u64::from(frames) * hop,
            ),
        ] {
            if !(low..=high).contains(&found) {
                return Err(CodeFileError::Field {
                    field,
                    expected: format!("{low} to {high}"),
                    found,
                });
            }
        }
        Ok(())
    }

    fn check_codes(&self) -> Result<(), CodeFileError> {
        let outside = |code: &&u16| u32::from(**code) >= self.codebook_size;
        match self.codes.iter().find(outside) {
            None => Ok(()),
            Some(&code) => Err(CodeFileError::Field {
                field: "a code",
                expected: format!("0 to {}", self.codebook_size - 1),
                found: code.into(),
            }),
        }
    }
}

/// Bits of a code.
fn bits(codebook_size: u32) -> u32 {
    (codebook_size - 1).max(1).ilog2() + 1
}

fn at(path: &Path, source: CodeFileError) -> DacError {
    DacError::CodeFile {
        name: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_takes_as_many_bits_as_its_largest_value() {
        for (size, width) in [
            (2, 1),
            (3, 2),
            (4, 2),
            (1000, 10),
            (1024, 10),
            (1025, 11),
            (65536, 16),
        ] {
            assert_eq!(bits(size), width, "{size} entries");
        }
    }

    #[test]
    fn the_layout_is_what_the_table_says() {
        let file = CodeFile {
            sample_rate: 16_000,
            hop_length: 320,
            n_codebooks: 2,
            codebook_size: 16,
            samples: 5,
            codes: vec![1, 2, 3, 4],
        };
        let bytes = file.to_bytes().expect("valid");
        assert_eq!(bytes.len(), 40 + 2 + 4);
        assert_eq!(&bytes[..8], b"DACCODES");
        assert_eq!(bytes[28], 2);
        // 4 bits each, the first code in the lowest bits.
        assert_eq!(bytes[40..42], [0x21, 0x43]);
        assert_eq!(CodeFile::from_bytes(&bytes), Ok(file));
    }

    #[test]
    fn sizes_that_would_need_petabytes_are_refused_unallocated() {
        let mut bytes = vec![0; 44];
        bytes[..8].copy_from_slice(MAGIC);
        for (at, value) in [
            (8, 1),
            (12, 16_000),
            (16, 320),
            (20, 1024),
            (24, 65536),
            (28, u32::MAX),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let error = CodeFile::from_bytes(&bytes).expect_err("a lying length");
        assert!(
            matches!(error, CodeFileError::Length { found: 44, .. }),
            "{error}"
        );
    }
}
