//! Sound files that are to be judged.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::MetricError;

/// Endings of files that count as sound in a folder.
const ENDINGS: [&str; 14] = [
    "aac", "aif", "aiff", "caf", "flac", "m4a", "mka", "mkv", "mp3", "mp4", "oga", "ogg", "opus",
    "wav",
];
/// Folders within folders that are looked through.
const MAX_DEPTH: usize = 32;

/// A sound file with its name among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalClip {
    /// Its path in its folder, without the ending and with `/` between folders.
    pub id: String,
    /// The file.
    pub path: PathBuf,
}

impl EvalClip {
    /// A single file.
    pub fn file(path: &Path) -> Self {
        let stem = path.file_stem().unwrap_or_default();
        Self {
            id: stem.to_string_lossy().into_owned(),
            path: path.to_path_buf(),
        }
    }

    /// The sound files of a folder and of the folders in it, by name. Files are told by their endings (wav, flac,
    /// mp3, ogg, opus, m4a, ...); hidden ones don't count, and links to folders are not followed.
    ///
    /// # Errors
    ///
    /// [`MetricError::Io`] where a folder can't be read, [`MetricError::TooFew`] where there is no sound file in
    /// it, [`MetricError::Duplicate`] where two of them differ in their endings only.
    pub fn in_folder(folder: &Path) -> Result<Vec<Self>, MetricError> {
        let mut clips = Vec::new();
        collect(folder, "", MAX_DEPTH, &mut clips)?;
        clips.sort_by(|a: &Self, b| a.id.cmp(&b.id));
        if let Some(pair) = clips.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(MetricError::Duplicate {
                path: folder.to_path_buf(),
                id: pair[0].id.clone(),
            });
        }
        if clips.is_empty() {
            return Err(MetricError::TooFew {
                what: format!("sound files in {}", folder.display()),
                expected: 1,
                found: 0,
            });
        }
        Ok(clips)
    }
}

fn collect(
    folder: &Path,
    prefix: &str,
    depth: usize,
    clips: &mut Vec<EvalClip>,
) -> Result<(), MetricError> {
    let io = |source| MetricError::Io {
        path: folder.to_path_buf(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        // Some systems leave a hidden file beside each one that they copy.
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type().map_err(io)?.is_dir() {
            if depth > 0 {
                let prefix = format!("{prefix}{}/", entry.file_name().to_string_lossy());
                collect(&path, &prefix, depth - 1, clips)?;
            }
            continue;
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if ENDINGS.contains(&ending.to_lowercase().as_str()) && path.is_file() {
            let mut clip = EvalClip::file(&path);
            clip.id.insert_str(0, prefix);
            clips.push(clip);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_named_by_their_way_from_the_folder() {
        let root = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(root.path().join("b/c")).expect("made");
        for name in [
            "b/c/2.WAV",
            "b/1.flac",
            "a.tar.mp3",
            "notes.txt",
            "b/none",
            "b/._1.flac",
        ] {
            fs::write(root.path().join(name), "x").expect("written");
        }
        let clips = EvalClip::in_folder(root.path()).expect("clips");
        let ids: Vec<_> = clips.iter().map(|clip| clip.id.as_str()).collect();
        assert_eq!(ids, ["a.tar", "b/1", "b/c/2"]);

        fs::write(root.path().join("b/1.wav"), "x").expect("written");
        let error = EvalClip::in_folder(root.path())
            .expect_err("twice")
            .to_string();
        assert!(error.contains("`b/1` is there twice"), "{error}");
    }

    #[test]
    fn folders_without_sound_are_refused() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("notes.txt"), "x").expect("written");
        let error = EvalClip::in_folder(root.path()).expect_err("no sound");
        assert!(matches!(error, MetricError::TooFew { .. }));
        let error = EvalClip::in_folder(&root.path().join("missing")).expect_err("no folder");
        assert!(matches!(error, MetricError::Io { .. }));
    }
}
