//! What the model sees, as pictures for a person: each frame, and a sheet of all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use image::RgbImage;
use tempfile::TempDir;

use crate::{
    drawing::{sheet, with_grid},
    error::CliError,
    interrupt::Interrupt,
    output::MadeFolders,
};

/// A folder that pictures appear in, whole or not at all.
///
/// Dropping it removes the folders that it made and that nothing came to lie in.
#[derive(Debug)]
pub struct FrameFolder {
    path: PathBuf,
    _folders: MadeFolders,
}

/// The frames of one video.
#[derive(Debug)]
pub struct Film {
    /// The frames as the model sees them.
    pub frames: Vec<RgbImage>,
    /// Side of the square that becomes a token, in pixels.
    pub cell: u32,
    /// Frames of a step in time.
    pub depth: usize,
    /// The times of those that are not there to fill a step.
    pub times: Vec<String>,
}

impl FrameFolder {
    /// Makes the folder, which must be new or empty.
    ///
    /// # Errors
    ///
    /// [`CliError::Output`] where it holds something or can't be written.
    pub fn reserve(path: &Path, interrupt: &Interrupt) -> Result<Self, CliError> {
        let folders = MadeFolders::make(path).map_err(CliError::output(path))?;
        interrupt.remove_on_stop(folders.paths());
        let empty = fs::read_dir(path).map(|mut entries| entries.next().is_none());
        if !empty.map_err(CliError::output(path))? {
            return Err(CliError::output(path)(
                "the folder is not empty, expected a new or an empty one",
            ));
        }
        tempfile::tempfile_in(path).map_err(CliError::output(path))?;
        Ok(Self {
            path: path.to_owned(),
            _folders: folders,
        })
    }

    /// Where the frames of each of `count` videos lie: in a folder of their own where there are several.
    pub fn places(&self, count: usize) -> Vec<PathBuf> {
        match count {
            1 => vec![self.path.clone()],
            _ => (1..=count)
                .map(|number| self.path.join(folder_name(number)))
                .collect(),
        }
    }

    /// Writes the frames of all videos: `frame-0001.png` and so on with the borders of tokens, and a sheet of
    /// them in `frames.png`.
    ///
    /// # Errors
    ///
    /// [`CliError::Output`] where a picture can't be written, [`CliError::Interrupted`] where the user wants to
    /// stop; then none is there.
    pub fn write(&self, films: &[Film], interrupt: &Interrupt) -> Result<(), CliError> {
        let unfinished = tempfile::Builder::new()
            .prefix(".unimoe-frames-")
            .tempdir_in(&self.path)
            .map_err(CliError::output(&self.path))?;
        for (number, film) in (1..).zip(films) {
            let mut folder = unfinished.path().to_owned();
            if films.len() > 1 {
                folder.push(folder_name(number));
                fs::create_dir(&folder).map_err(CliError::output(&self.path))?;
            }
            film.write(&folder, &self.path, interrupt)?;
        }
        publish(unfinished, &self.path).map_err(CliError::output(&self.path))
    }
}

impl Film {
    /// Writes its pictures to `folder`, which will be `place`.
    fn write(&self, folder: &Path, place: &Path, interrupt: &Interrupt) -> Result<(), CliError> {
        let save = |picture: RgbImage, name: &str| {
            interrupt.check()?;
            let written = picture.save(folder.join(name));
            written.map_err(CliError::output(&place.join(name)))
        };
        for (number, frame) in (1..).zip(&self.frames) {
            save(
                with_grid(frame, self.cell),
                &format!("frame-{number:04}.png"),
            )?;
        }
        save(sheet(&self.frames, self.depth, &self.times), "frames.png")
    }
}

fn folder_name(number: usize) -> String {
    format!("video-{number}")
}

/// Moves everything out of a finished folder to the one around it, or nothing.
fn publish(finished: TempDir, folder: &Path) -> io::Result<()> {
    let mut moved: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(finished.path())? {
        let from = entry?.path();
        let to = folder.join(from.file_name().unwrap_or_default());
        if let Err(error) = fs::rename(&from, &to) {
            for path in moved {
                // Back into the temporary folder, which goes as a whole.
                fs::rename(
                    &path,
                    finished.path().join(path.file_name().unwrap_or_default()),
                )?;
            }
            return Err(error);
        }
        moved.push(to);
    }
    finished.close()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(count: usize) -> Film {
        Film {
            frames: vec![RgbImage::new(56, 28); count],
            cell: 28,
            depth: 2,
            times: vec!["0.00 s".into()],
        }
    }

    fn reserve(path: &Path) -> Result<FrameFolder, CliError> {
        FrameFolder::reserve(path, &Interrupt::default())
    }

    fn listing(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.to_string_lossy().into_owned()
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn one_video_lies_in_the_folder_and_several_in_folders_of_their_own() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("a/b");
        let folder = reserve(&path).expect("new");
        folder
            .write(&[film(2)], &Interrupt::default())
            .expect("written");
        assert_eq!(folder.places(1), std::slice::from_ref(&path));
        let names = ["frame-0001.png", "frame-0002.png", "frames.png"];
        assert_eq!(listing(&path), names);

        let path = root.path().join("c");
        let folder = reserve(&path).expect("new");
        folder
            .write(&[film(2), film(4)], &Interrupt::default())
            .expect("written");
        assert_eq!(listing(&path), ["video-1", "video-2"]);
        assert_eq!(folder.places(2)[1], path.join("video-2"));
        assert_eq!(listing(&path.join("video-2")).len(), 5);
    }

    #[test]
    fn a_stop_leaves_nothing() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = reserve(&root.path().join("a/b")).expect("new");
        let interrupt = Interrupt::default();
        interrupt.raise();
        let stop = folder.write(&[film(4)], &interrupt);
        assert_eq!(stop.expect_err("stopped").code(), 130);
        assert_eq!(listing(&root.path().join("a/b")), Vec::<String>::new());
        drop(folder);
        assert_eq!(listing(root.path()), Vec::<String>::new());
    }

    #[test]
    fn what_lies_there_stays() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("frames.png"), "mine").expect("written");
        for path in [root.path(), &root.path().join("frames.png")] {
            let error = reserve(path).expect_err("in use");
            assert_eq!(error.code(), 5);
        }
        assert_eq!(listing(root.path()), ["frames.png"]);
    }
}
