//! Videos of clips, read as the model sees them, and kept on disk.
//!
//! ```text
//! FOLDER/vision/4f/4f0c...e2.patches
//! ```
//!
//! Little-endian: `UMPATCH1`, kind (0 image, 1 video), grid `t`, `h`, `w`, values of a patch (each 8 bytes), seconds per
//! step (NaN for none), the values as f32, CRC-32 of everything before.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use vision_encoder::{
    Grid, Preprocessor, VideoOptions, VisionError, VisionInput, VisionKind, read_video,
};

use super::{error::DataError, hash::ContentHash, manifest::write_whole};

const MAGIC: &[u8; 8] = b"UMPATCH1";
/// Bytes before the values.
const HEADER: usize = 8 + 5 * 8 + 8;

/// Reads videos in one way.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionReader {
    /// Which frames, and how large they become.
    pub options: VideoOptions,
    /// How frames become patches.
    pub preprocessor: Preprocessor,
}

impl VisionReader {
    /// Reads a file or a folder of pictures.
    ///
    /// # Errors
    ///
    /// A [`VisionError`] where it can't be read.
    pub fn read(&self, path: &Path) -> Result<VisionInput, VisionError> {
        read_video(path, &self.options, &self.preprocessor)
    }

    /// The key of a video: its content and all that its patches depend on.
    pub(super) fn key(&self, content: ContentHash) -> ContentHash {
        let options = &self.options;
        let settings = format!(
            "{} {} {} {} {} {:?} {:?}",
            options.fps,
            options.max_frames,
            options.min_pixels,
            options.max_pixels,
            options.total_pixels,
            options.folder_fps,
            self.preprocessor
        );
        ContentHash::of(&[MAGIC, &content.0, settings.as_bytes()])
    }
}

/// A folder of patches.
#[derive(Debug, Clone)]
pub(super) struct VisionCache {
    folder: PathBuf,
}

impl VisionCache {
    /// In the folder of a cache.
    pub(super) fn new(cache: &Path) -> Self {
        Self {
            folder: cache.join("vision"),
        }
    }

    fn path(&self, key: ContentHash) -> PathBuf {
        let name = key.to_string();
        self.folder.join(&name[..2]).join(format!("{name}.patches"))
    }

    /// What is kept under a key; `None` where there is nothing, or it is damaged.
    pub(super) fn get(&self, key: ContentHash) -> Result<Option<VisionInput>, DataError> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(parse(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(DataError::io("read", path)(error)),
        }
    }

    pub(super) fn put(&self, key: ContentHash, input: &VisionInput) -> Result<(), DataError> {
        let path = self.path(key);
        if let Some(shard) = path.parent() {
            fs::create_dir_all(shard).map_err(DataError::io("make", shard))?;
            super::cache::clear(shard).map_err(DataError::io("clear", shard))?;
        }
        let bytes = bytes_of(input);
        write_whole(&path, |file| file.write_all(&bytes))
    }
}

fn bytes_of(input: &VisionInput) -> Vec<u8> {
    let Grid { t, h, w } = input.grid;
    let width = input.patches.len() / input.grid.patches().unwrap_or(1).max(1);
    let kind = u64::from(input.kind == VisionKind::Video);
    let mut bytes = MAGIC.to_vec();
    for field in [kind, t as u64, h as u64, w as u64, width as u64] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(input.seconds_per_step.unwrap_or(f64::NAN).to_le_bytes());
    bytes.extend(input.patches.iter().flat_map(|value| value.to_le_bytes()));
    let checksum = crc32fast::hash(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

/// `None` for anything that is not whole.
fn parse(bytes: &[u8]) -> Option<VisionInput> {
    let (content, checksum) = bytes.split_last_chunk::<4>()?;
    let header = content.get(..HEADER)?;
    if &header[..8] != MAGIC || crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let mut fields = header[8..].as_chunks::<8>().0.iter();
    let mut field = || fields.next().map(|bytes| u64::from_le_bytes(*bytes));
    let [kind, t, h, w, width] = [field()?, field()?, field()?, field()?, field()?];
    let seconds = f64::from_bits(field()?);
    let [t, h, w, width] = [t, h, w, width].map(|value| usize::try_from(value).ok());
    let grid = Grid {
        t: t?,
        h: h?,
        w: w?,
    };
    let values = content[HEADER..].as_chunks::<4>().0;
    if grid.patches()?.checked_mul(width?)? != values.len() || values.is_empty() {
        return None;
    }
    Some(VisionInput {
        kind: match kind {
            0 => VisionKind::Image,
            _ => VisionKind::Video,
        },
        patches: values
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
        grid,
        seconds_per_step: (!seconds.is_nan()).then_some(seconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_damage_is_found() {
        for (kind, seconds_per_step) in [(VisionKind::Video, Some(0.5)), (VisionKind::Image, None)]
        {
            let input = VisionInput {
                kind,
                patches: (0..24).map(|value| value as f32 / 7.0).collect(),
                grid: Grid { t: 1, h: 2, w: 4 },
                seconds_per_step,
            };
            let bytes = bytes_of(&input);
            assert_eq!(parse(&bytes), Some(input));
            for place in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1;
                assert_eq!(parse(&damaged), None, "byte {place}");
                assert_eq!(parse(&bytes[..place]), None, "{place} bytes");
            }
        }
    }
}
