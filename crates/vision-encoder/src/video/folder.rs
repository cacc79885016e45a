//! A folder of numbered pictures.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
};

use super::{FrameLimits, FrameSource, Frames, Sampling, kind::picture_format, picture::decode};
use crate::{FrameError, PictureError, VisionError};

/// The pictures of a folder whose names hold a number, in the order of their numbers.
///
/// `2.png` comes before `10.png`, gaps don't matter, and other files are passed over. All pictures have one size.
#[derive(Debug)]
pub struct ImageFolder {
    files: Vec<PathBuf>,
    fps: Option<f64>,
    limits: FrameLimits,
    path: PathBuf,
}

impl ImageFolder {
    /// Lists a folder. At `fps` pictures per second it is a video; without, each picture is one sampled frame.
    ///
    /// # Errors
    ///
    /// Where the folder can't be read, holds no numbered picture, or `fps` is out of range.
    pub fn open(path: &Path, fps: Option<f64>, limits: FrameLimits) -> Result<Self, VisionError> {
        if let Some(fps) = fps
            && !(1e-5..=1e3).contains(&fps)
        {
            let expected = "0.00001 to 1000 pictures per second";
            return Err(PictureError::setting("folder_fps", expected, fps).into());
        }
        Ok(Self {
            files: list(path).map_err(|error| error.at(path))?,
            fps,
            limits,
            path: path.to_path_buf(),
        })
    }

    /// The file shown at the `i`-th moment.
    fn file(&self, i: usize, sampling: &Sampling) -> Option<&PathBuf> {
        match self.fps {
            None => self.files.get(i),
            // The noise of the division must not show the picture before.
            Some(fps) => self
                .files
                .get((i as f64 / sampling.fps() * fps + 1e-6) as usize),
        }
    }
}

impl FrameSource for ImageFolder {
    fn n_frames(&mut self, sampling: &Sampling) -> Result<Option<usize>, VisionError> {
        let count = self.files.len();
        Ok(Some(match self.fps {
            None => count.min(sampling.max_frames()),
            Some(fps) => sampling.frames_in(count as f64 / fps),
        }))
    }

    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let (folder, sampling) = (&*self, *sampling);
        let mut size = None;
        let files = (0..sampling.max_frames()).map_while(move |i| folder.file(i, &sampling));
        Ok(Box::new(files.map(move |file| {
            let frame = decode(file, &folder.limits).map_err(|source| {
                let file = file.clone();
                let source = Box::new(source);
                FrameError::InFolder { file, source }.at(&folder.path)
            })?;
            let found = frame.dimensions();
            let expected = *size.get_or_insert(found);
            if found != expected {
                let file = file.clone();
                let error = FrameError::MixedSizes {
                    file,
                    expected,
                    found,
                };
                return Err(error.at(&folder.path));
            }
            Ok(frame)
        })))
    }
}

/// The numbered pictures of a folder in natural order, with their paths.
fn list(folder: &Path) -> Result<Vec<PathBuf>, FrameError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(FrameError::io("read"))? {
        let path = entry.map_err(FrameError::io("read"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let numbered = !name.starts_with('.') && name.bytes().any(|byte| byte.is_ascii_digit());
        // What can't be opened is passed over like any other file that is no picture.
        if numbered && path.is_file() && matches!(picture_format(&path), Ok(Some(_))) {
            files.push((name.into_owned(), path));
        }
    }
    if files.is_empty() {
        return Err(FrameError::NoPictures);
    }
    files.sort_by(|(a, a_path), (b, b_path)| natural(a, b).then_with(|| a_path.cmp(b_path)));
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

/// Compares names with their runs of digits taken as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len());
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (x, y) = (digits(&mut a), digits(&mut b));
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
        } else {
            if x != y {
                return x.cmp(y);
            }
            (a, b) = (&a[1..], &b[1..]);
        }
    }
}

/// Takes a run of digits off the front; returns it without leading zeros.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (run, rest) = text.split_at(end);
    *text = rest;
    let zeros = run.iter().take_while(|byte| **byte == b'0').count();
    &run[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let sorted = [
            "1.png",
            "02.jpg",
            "2.png",
            "10.png",
            "a1b2.png",
            "a1b10.png",
            "b0.png",
        ];
        for pair in sorted.windows(2) {
            assert_ne!(natural(pair[0], pair[1]), Ordering::Greater, "{pair:?}");
        }
        let huge = format!("{}1.png", "9".repeat(50));
        assert_eq!(natural("9.png", &huge), Ordering::Less);
        assert_eq!(natural("007", "7"), Ordering::Equal);
    }
}
