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

use super::{FrameLimits, picture::decoder_limits};
use crate::{FrameError, VisionError};

/// Who reads a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Folder,
    Animation,
    Picture,
    Video,
}

/// Bytes from a file's beginning that tell what it is; a transport stream shows itself every 188 bytes.
const BEGIN: usize = 377;

/// Tells what `path` holds.
pub(super) fn of(path: &Path, limits: &FrameLimits) -> Result<Kind, VisionError> {
    inspect(path, limits).map_err(|error| error.at(path))
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
    Ok(image::guess_format(&begin(path)?).ok().filter(|format| {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
        matches!(format, Bmp | Gif | Jpeg | Png | WebP)
    }))
}

/// ffmpeg's name of the container of a video. It isn't left to ffmpeg to guess: it would also look at the name, and
/// it knows playlists, scripts and patterns of names, which open other files.
pub(super) fn video_container(path: &Path) -> Result<&'static str, FrameError> {
    container(&begin(path)?).ok_or(FrameError::NotAVideo)
}

/// ffmpeg's name of the container of a sound.
pub(super) fn sound_container(path: &Path) -> Result<&'static str, FrameError> {
    let begin = begin(path)?;
    let sound = match &begin[..] {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => Some("wav"),
        [b'f', b'L', b'a', b'C', ..] => Some("flac"),
        _ => container(&begin),
    };
    sound.ok_or(FrameError::NotASound)
}

fn container(begin: &[u8]) -> Option<&'static str> {
    const ASF: [u8; 8] = [0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11];
    let sync = |place: usize| begin.get(place) == Some(&0x47);
    let box_name: &[u8] = begin.get(4..8).unwrap_or_default();
    let boxes: [&[u8]; 6] = [b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide"];
    Some(match begin {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => "matroska",
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'A',
            b'V',
            b'I',
            b' ',
            ..,
        ] => "avi",
        [b'F', b'L', b'V', 1, ..] => "flv",
        [b'O', b'g', b'g', b'S', ..] => "ogg",
        [0, 0, 1, 0xba, ..] => "mpeg",
        _ if boxes.contains(&box_name) => "mov",
        _ if begin.starts_with(&ASF) => "asf",
        _ if sync(0) && sync(188) && sync(376) => "mpegts",
        _ => return None,
    })
}

fn begin(path: &Path) -> Result<Vec<u8>, FrameError> {
    let mut begin = Vec::new();
    open_file(path)?
        .take(BEGIN as u64)
        .read_to_end(&mut begin)
        .map_err(FrameError::io("read"))?;
    Ok(begin)
}

fn inspect(path: &Path, limits: &FrameLimits) -> Result<Kind, FrameError> {
    if fs::metadata(path).map_err(FrameError::io("read"))?.is_dir() {
        return Ok(Kind::Folder);
    }
    let moves = match picture_format(path)? {
        None if container(&begin(path)?).is_some() => return Ok(Kind::Video),
        None => return Err(FrameError::UnknownKind),
        Some(ImageFormat::Gif) => true,
        // What these decoders refuse goes to the still picture's, which says why.
        Some(ImageFormat::Png) => {
            let reader = BufReader::new(open_file(path)?);
            PngDecoder::with_limits(reader, decoder_limits(limits))
                .is_ok_and(|decoder| decoder.is_apng().unwrap_or(false))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_by_their_first_bytes() {
        assert_eq!(container(b"\0\0\0\x18ftypisom"), Some("mov"));
        assert_eq!(container(b"\x1a\x45\xdf\xa3...."), Some("matroska"));
        assert_eq!(container(b"RIFF....AVI LIST"), Some("avi"));
        let mut stream = [0; BEGIN];
        for place in [0, 188, 376] {
            stream[place] = 0x47;
        }
        assert_eq!(container(&stream), Some("mpegts"));
        for other in [
            &b"#EXTM3U"[..],
            b"ffconcat version 1.0",
            b"RIFF....WAVE",
            b"G",
            b"",
        ] {
            assert_eq!(container(other), None);
        }
    }
}
