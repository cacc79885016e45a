//! SoundFonts from files that nobody vouches for.

use std::{
    fs::{self, File},
    io::{BufReader, Read, Seek, SeekFrom},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::Arc,
};

use rustysynth::SoundFont;

use crate::{attributes::Instrument, error::SynthError};

/// The bank of General MIDI's drums.
const DRUMS: i32 = 128;
/// Acoustic bass.
pub(crate) const BASS: i32 = 32;

/// The General MIDI program of an instrument, counted from 0.
pub(crate) fn program(instrument: Instrument) -> i32 {
    match instrument {
        Instrument::Piano => 0,
        Instrument::Organ => 19,
        Instrument::Guitar => 25,
        Instrument::Violin => 40,
        Instrument::Trumpet => 56,
        Instrument::Flute => 73,
    }
}

/// Reads a SoundFont that has all instruments that scores ask for.
pub(crate) fn open(path: &Path) -> Result<Arc<SoundFont>, SynthError> {
    let read = |source| SynthError::Read {
        path: path.to_path_buf(),
        source,
    };
    let is_file = fs::metadata(path).map_err(read)?.is_file();
    if !is_file {
        return Err(structure(path, "a file", "something else"));
    }
    let mut file = File::open(path).map_err(read)?;
    check_chunks(&mut file, path)?;
    file.seek(SeekFrom::Start(0)).map_err(read)?;

    // The library checks a good deal; where it does not, a damaged file may end in an index out of bounds.
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        SoundFont::new(&mut BufReader::new(file))
    }));
    let font = match parsed {
        Ok(Ok(font)) => font,
        Ok(Err(source)) => {
            return Err(SynthError::SoundFont {
                path: path.to_path_buf(),
                source: source.into(),
            });
        }
        Err(_) => return Err(damaged(path)),
    };
    let has = |bank, program| {
        let mut presets = font.get_presets().iter();
        presets.any(|p| (p.get_bank_number(), p.get_patch_number()) == (bank, program))
    };
    let programs = Instrument::ALL.iter().map(|i| (0, program(*i)));
    for (bank, program) in programs.chain([(0, BASS), (DRUMS, 0)]) {
        if !has(bank, program) {
            let found = format!("none at bank {bank}, program {program}");
            return Err(structure(path, "the instruments of General MIDI", &found));
        }
    }
    Ok(Arc::new(font))
}

/// What is wrong with a file that the library stumbles over.
pub(crate) fn damaged(path: &Path) -> SynthError {
    structure(
        path,
        "sound data as its tables describe it",
        "tables that point elsewhere",
    )
}

fn structure(path: &Path, expected: &'static str, found: &str) -> SynthError {
    SynthError::SoundFontStructure {
        path: path.to_path_buf(),
        expected,
        found: found.to_string(),
    }
}

/// Checks that no chunk, nor a part of a list, claims to be longer than what holds it: the library allocates what they claim.
fn check_chunks(file: &mut File, path: &Path) -> Result<(), SynthError> {
    let read = |source| SynthError::Read {
        path: path.to_path_buf(),
        source,
    };
    let length = file.metadata().map_err(read)?.len();
    let mut head = [0; 12];
    let whole = file.read_exact(&mut head).is_ok();
    if !whole || &head[..4] != b"RIFF" || &head[8..] != b"sfbk" {
        return Err(structure(
            path,
            "the header of a SoundFont (RIFF, sfbk)",
            "another beginning",
        ));
    }
    let mut at = 12;
    while at + 8 <= length {
        let (name, size) = chunk(file, at).map_err(read)?;
        let end = at + 8 + size;
        let mut inner = at + 12;
        while &name == b"LIST" && inner + 8 <= end.min(length) {
            let (_, size) = chunk(file, inner).map_err(read)?;
            if inner + 8 + size > end.min(length) {
                return Err(too_long(path, inner, size, length));
            }
            inner += 8 + size + size % 2;
        }
        if end > length {
            return Err(too_long(path, at, size, length));
        }
        at = end + size % 2;
    }
    Ok(())
}

fn too_long(path: &Path, at: u64, size: u64, length: u64) -> SynthError {
    let found = format!("one of {size} bytes at byte {at} of {length}");
    structure(path, "chunks that end within the file", &found)
}

/// Name and size of the chunk at a place.
fn chunk(file: &mut File, at: u64) -> std::io::Result<([u8; 4], u64)> {
    let mut head = [0; 8];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut head)?;
    let [a, b, c, d, e, f, g, h] = head;
    Ok(([a, b, c, d], u32::from_le_bytes([e, f, g, h]).into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MusicSynthesizer, test_font::test_font};

    fn with_bytes<T>(bytes: &[u8], test: impl FnOnce(&Path) -> T) -> T {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.sf2");
        fs::write(&path, bytes).expect("written");
        test(&path)
    }

    #[test]
    fn what_is_no_soundfont_is_refused_with_its_name() {
        let font = test_font();
        let mut long = font.clone();
        let at = font.windows(4).position(|w| w == b"smpl").expect("samples") + 4;
        long[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        for bytes in [
            &b""[..],
            b"RIFF",
            b"RIFF\0\0\0\0WAVE",
            &font[..font.len() - 9],
            &long,
        ] {
            let error = with_bytes(bytes, open).expect_err("refused").to_string();
            assert!(error.contains("a.sf2 is no usable SoundFont"), "{error}");
        }
        let folder = tempfile::tempdir().expect("a folder");
        let error = open(folder.path()).expect_err("refused").to_string();
        assert!(error.contains("expected a file"), "{error}");
        let error = open(&folder.path().join("none.sf2")).expect_err("absent");
        assert!(matches!(error, SynthError::Read { .. }));
    }

    #[test]
    fn a_missing_instrument_is_named() {
        let mut font = test_font();
        // The preset of the flute, bank 0 and program 73, becomes program 74.
        let at = font.windows(4).position(|w| w == b"phdr").expect("presets") + 8;
        let flute = (at..)
            .step_by(38)
            .find(|i| font[i + 20] == 73)
            .expect("a flute");
        font[flute + 20] = 74;
        let error = with_bytes(&font, open).expect_err("refused").to_string();
        assert!(error.contains("program 73"), "{error}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn damaged_tables_are_refused_or_played(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 1..5)) {
            let mut font = test_font();
            let tables = font.windows(4).position(|w| w == b"pdta").expect("tables");
            let at = tables + at.index(font.len() - tables - bytes.len());
            font[at..at + bytes.len()].copy_from_slice(&bytes);
            with_bytes(&font, |path| {
                if let Ok(synthesizer) = MusicSynthesizer::open(path) {
                    // An error is as good as a sound; a panic or a hang is neither.
                    let _ = synthesizer.render(&crate::music::tests::score(0));
                }
            });
        }
    }
}
