//! What a path holds, told by its content.

use std::{
    fs::{self, File},
    io::{BufReader, Read},
    path::Path,
};

use image::{
    ImageFormat,
    codecs::{png::PngDecoder, webp::WebPDecoder},
};

use crate::{FrameError, VisionError};

/// Who reads a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    Animation,
    Picture,
    Other,
}

/// Tells what `path` holds.
pub(super) fn of(path: &Path) -> Result<Kind, VisionError> {
    inspect(path).map_err(|error| error.at(path))
}

/// Opens a regular file: opening a pipe would wait for its writer, and a device may never end.
pub(super) fn open_file(path: &Path) -> Result<File, FrameError> {
    if !fs::metadata(path)
        .map_err(FrameError::io("read"))?
        .is_file()
    {
        return Err(FrameError::NotAFile);
    }
    File::open(path).map_err(FrameError::io("read"))
}

/// The kind of picture that a file's first bytes tell; `None` for anything else.
pub(super) fn picture_format(path: &Path) -> Result<Option<ImageFormat>, FrameError> {
    let mut begin = Vec::new();
    open_file(path)?
        .take(64)
        .read_to_end(&mut begin)
        .map_err(FrameError::io("read"))?;
    Ok(image::guess_format(&begin).ok().filter(|format| {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
        matches!(format, Bmp | Gif | Jpeg | Png | WebP)
    }))
}

fn inspect(path: &Path) -> Result<Kind, FrameError> {
    if fs::metadata(path).map_err(FrameError::io("read"))?.is_dir() {
        return Ok(Kind::Folder);
    }
    let moves = match picture_format(path)? {
        None => return Ok(Kind::Other),
        Some(ImageFormat::Gif) => true,
        // What these decoders refuse goes to the still picture's, which says why.
        Some(ImageFormat::Png) => PngDecoder::new(BufReader::new(open_file(path)?))
            .is_ok_and(|decoder| decoder.is_apng().unwrap_or(false)),
        Some(ImageFormat::WebP) => WebPDecoder::new(BufReader::new(open_file(path)?))
            .is_ok_and(|decoder| decoder.has_animation()),
        Some(_) => false,
    };
    Ok(if moves {
        Kind::Animation
    } else {
        Kind::Picture
    })
}
