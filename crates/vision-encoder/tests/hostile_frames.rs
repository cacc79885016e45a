//! Files that are damaged or meant to do harm: each ends in an error or in what can be read, quickly and in little
//! memory.
#![allow(clippy::unwrap_used)]

mod media;

use std::{
    fs,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use image::{ImageFormat, RgbImage, Rgba, RgbaImage};
use media::{apng, at, frames, gif, grey, pattern, still, webp, words, write};
use proptest::prelude::*;
use vision_encoder::{
    FrameLimits, FrameSource, Frames, Preprocessor, Sampling, VideoOptions, VisionError,
    open_source, read_frames, read_picture, read_video,
};

/// Counts what this program asks for, so that a test can tell the most that was held.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)]
// SAFETY: every call goes to the system's allocator as it came; only numbers are added beside.
unsafe impl std::alloc::GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as the caller's promise.
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller's promise.
        unsafe { std::alloc::System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Most that a test may hold beyond what was held when it began.
const MEMORY: usize = 96 << 20;

static TURN: Mutex<()> = Mutex::new(());
static BEGIN: AtomicUsize = AtomicUsize::new(0);

/// Waits for the other tests of this file and counts anew: what they hold side by side would depend on chance.
fn alone() -> MutexGuard<'static, ()> {
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let held = HELD.load(Ordering::Relaxed);
    BEGIN.store(held, Ordering::Relaxed);
    MOST.store(held, Ordering::Relaxed);
    turn
}

fn check_memory() {
    let most = MOST.load(Ordering::Relaxed);
    let most = most.saturating_sub(BEGIN.load(Ordering::Relaxed));
    assert!(most < MEMORY, "{} MiB were held", most >> 20);
}

fn error(path: &Path) -> String {
    let begun = Instant::now();
    let error = words(&read_video(path, &at(1.0, 4), &Preprocessor::default()).unwrap_err());
    assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
    check_memory();
    error
}

/// A PNG of this size whose pixels are missing.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = still(&RgbImage::new(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let check = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// PNG's checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum: u32, _| {
            (sum >> 1) ^ (0xedb8_8320 * (sum & 1))
        })
    })
}

#[test]
fn pictures_that_claim_to_be_huge_are_refused() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let said = error(&write(&folder, "a.png", &png_header(60_000, 60_000)));
    assert!(
        said.contains("60000 x 60000") || said.contains("limit"),
        "{said}"
    );
    // Below the longest side, above the most pixels.
    let said = error(&write(&folder, "b.png", &png_header(30_000, 30_000)));
    assert!(
        said.contains("30000 x 30000") && said.contains("67108864"),
        "{said}"
    );

    for side in [0xffff_u16, 30_000] {
        let mut bytes = gif(&vec![(RgbaImage::new(2, 2), 100); 50]);
        bytes[6..8].copy_from_slice(&side.to_le_bytes());
        bytes[8..10].copy_from_slice(&side.to_le_bytes());
        let said = error(&write(&folder, "c.gif", &bytes));
        assert!(said.contains(&side.to_string()), "{said}");
    }

    let mut bytes = webp(&[(RgbaImage::new(2, 2), 100), (RgbaImage::new(2, 2), 100)]);
    bytes[24..30].copy_from_slice(&[0xfe, 0xff, 0, 0xfe, 0xff, 0]);
    error(&write(&folder, "d.webp", &bytes));

    let mut bytes = still(&RgbImage::new(2, 2), ImageFormat::Bmp);
    bytes[18..22].copy_from_slice(&60_000u32.to_le_bytes());
    bytes[22..26].copy_from_slice(&60_000u32.to_le_bytes());
    error(&write(&folder, "e.bmp", &bytes));

    let mut bytes = still(&RgbImage::new(16, 16), ImageFormat::Jpeg);
    let frame = bytes
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    error(&write(&folder, "f.jpg", &bytes));
}

/// A source whose frames change their size, and one of which is empty.
struct Changing(u32);

impl FrameSource for Changing {
    fn frames(&mut self, _: &Sampling) -> Result<Frames<'_>, VisionError> {
        let last = self.0;
        Ok(Box::new(
            [50, 3, 200, last]
                .into_iter()
                .map(|side| Ok(grey(side, side / 2, 9))),
        ))
    }
}

#[test]
fn frames_that_change_their_size_are_resized_to_the_first_ones() {
    let _turn = alone();
    let options = at(1.0, 4);
    let preprocessor = Preprocessor::default();
    let input = read_frames(&mut Changing(10), &options, &preprocessor).unwrap();
    let pictures = preprocessor.pictures(&input).unwrap();
    assert_eq!(pictures.len(), 4);
    assert!(
        pictures
            .iter()
            .all(|picture| picture.pixels().all(|pixel| pixel.0 == [9; 3]))
    );
    let error = read_frames(&mut Changing(1), &options, &preprocessor).unwrap_err();
    assert!(words(&error).contains("1 x 0"), "{error}");
}

/// A source of large frames.
struct Large;

impl FrameSource for Large {
    fn frames(&mut self, sampling: &Sampling) -> Result<Frames<'_>, VisionError> {
        let frames = 0..sampling.max_frames();
        Ok(Box::new(frames.map(|n| Ok(grey(1920, 1080, n as u8)))))
    }
}

#[test]
fn frames_are_held_one_at_a_time() {
    let _turn = alone();
    // 24 frames are 142 MiB.
    let input = read_frames(&mut Large, &at(1.0, 24), &Preprocessor::default()).unwrap();
    assert_eq!(input.grid.t, 12);
    check_memory();
}

#[test]
fn limits_are_those_of_the_caller() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "a.png",
        &still(&pattern(40, 30, 0), ImageFormat::Png),
    );
    let limits = |max_side, max_pixels| FrameLimits {
        max_side,
        max_pixels,
        ..FrameLimits::default()
    };
    assert!(read_picture(&path, &limits(40, 1200)).is_ok());
    for limits in [limits(39, 1200), limits(40, 1199)] {
        assert!(read_picture(&path, &limits).is_err());
    }
}

#[test]
fn long_and_narrow_pictures_are_an_error() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let picture = still(&grey(20_000, 20, 9), ImageFormat::Png);
    let said = error(&write(&folder, "a.png", &picture));
    assert!(
        said.contains("20000 x 20") && said.contains("200 times"),
        "{said}"
    );
    let said = error(&write(
        &folder,
        "b.gif",
        &gif(&[(RgbaImage::new(20_000, 20), 100)]),
    ));
    assert!(said.contains("20000 x 20"), "{said}");
    let error = Preprocessor::default()
        .image(&grey(20_000, 20, 9))
        .unwrap_err();
    assert!(words(&error).contains("20000 x 20"));
}

#[test]
fn the_smallest_and_the_shortest_are_read() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "a.png", &still(&grey(1, 1, 77), ImageFormat::Png));
    let preprocessor = Preprocessor::default();
    let input = read_video(&path, &at(1.0, 64), &preprocessor).unwrap();
    // 16 units of 28 x 28 at least.
    assert_eq!((input.grid.t, input.grid.h, input.grid.w), (1, 8, 8));
    let pictures = preprocessor.pictures(&input).unwrap();
    assert!(
        pictures
            .iter()
            .all(|picture| picture.pixels().all(|pixel| pixel.0 == [77; 3]))
    );

    let one = write(&folder, "b.gif", &gif(&[(RgbaImage::new(3, 3), 0)]));
    assert_eq!(frames(&one, &at(1.0, 64)).unwrap().len(), 1);
    let error = preprocessor.image(&RgbImage::new(0, 5)).unwrap_err();
    assert!(words(&error).contains("0 x 5"));
}

#[test]
fn files_without_frames_are_an_error() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    // A GIF that ends after its header, and a PNG animation of which nothing but the header is left.
    let whole = gif(&[(RgbaImage::new(3, 3), 100)]);
    error(&write(&folder, "a.gif", &whole[..13]));
    error(&write(&folder, "b.gif", &[&whole[..13], b";"].concat()));
    for bytes in [
        &b""[..],
        b"x",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x04\0\0\0WEBP",
        b"BM",
        b"\xff\xd8\xff\xe0",
    ] {
        error(&write(&folder, "c", bytes));
    }
}

#[test]
fn an_animation_that_takes_too_long_is_given_up() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "a.gif",
        &gif(&vec![(RgbaImage::new(9, 9), 100); 30]),
    );
    let options = VideoOptions {
        limits: FrameLimits {
            time: Duration::ZERO,
            ..FrameLimits::default()
        },
        ..at(10.0, 64)
    };
    let error = words(&frames(&path, &options).unwrap_err());
    assert!(error.contains("not done after"), "{error}");
}

#[test]
fn what_is_no_file_is_an_error() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    let error = words(&frames(&folder.path().join("absent.mp4"), &at(1.0, 1)).unwrap_err());
    assert!(error.contains("absent.mp4"), "{error}");
    #[cfg(unix)]
    {
        // Reading from it would never end.
        let error = words(&frames(Path::new("/dev/zero"), &at(1.0, 1)).unwrap_err());
        assert!(
            error.contains("neither a regular file nor a folder"),
            "{error}"
        );
    }
}

#[test]
fn settings_out_of_range_are_errors() {
    let _turn = alone();
    let frames = [grey(30, 30, 1)];
    let whole = Preprocessor::default();
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(whole.video(&frames, fps).is_err(), "{fps}");
    }
    let mut wrong = vec![whole.clone(); 7];
    wrong[0].patch_size = 0;
    wrong[1].merge_size = usize::MAX;
    wrong[2].temporal_patch_size = 1 << 13;
    wrong[3].std[1] = 0.0;
    wrong[4].mean[2] = f64::NAN;
    wrong[5].rescale = -1.0;
    wrong[6].video_budget.min_pixels = 1 << 40;
    for preprocessor in wrong {
        assert!(
            preprocessor.video(&frames, 1.0).is_err(),
            "{preprocessor:?}"
        );
    }
    // Patches that are not where their grid says.
    let mut input = whole.video(&frames, 1.0).unwrap();
    input.patches.pop();
    assert!(whole.pictures(&input).is_err());
    input.grid.t = usize::MAX;
    assert!(whole.pictures(&input).is_err());
    input.grid.h = 3;
    assert!(whole.pictures(&input).is_err());
    check_memory();
}

/// Small files of each kind that is read without another program.
fn files() -> Vec<Vec<u8>> {
    let frame = |n: u32| {
        RgbaImage::from_fn(11, 7, |x, y| {
            Rgba([
                (x * 20 + n) as u8,
                (y * 30) as u8,
                (x * y) as u8,
                if x == n { 0 } else { 255 },
            ])
        })
    };
    let moving: Vec<_> = (0..3).map(|n| (frame(n), 100)).collect();
    let picture = pattern(11, 7, 1);
    let mut files = vec![gif(&moving), apng(&moving), webp(&moving)];
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Bmp,
    ] {
        files.push(still(&picture, format));
    }
    files
}

/// Reads a file to its end; says nothing of the outcome but that it came.
fn survive(folder: &tempfile::TempDir, bytes: &[u8]) {
    let path = write(folder, "file", bytes);
    let options = VideoOptions {
        // What is no picture any more must not be given to another program by the thousand.
        ffmpeg: "no-such-program-here".into(),
        ..at(10.0, 8)
    };
    if let Ok(mut source) = open_source(&path, &options) {
        let sampling = options.sampling().unwrap();
        let _ = source.n_frames(&sampling);
        if let Ok(frames) = source.frames(&sampling) {
            assert!(frames.take_while(Result::is_ok).count() <= 8);
        }
    }
    fs::remove_file(path).unwrap();
}

#[test]
fn every_truncation_is_survived() {
    let _turn = alone();
    let folder = tempfile::tempdir().unwrap();
    for file in files() {
        for length in 0..file.len() {
            survive(&folder, &file[..length]);
        }
    }
    check_memory();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn flipped_and_removed_bytes_are_survived(
        kind in 0usize..7,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<(prop::sample::Index, prop::sample::Index)>()),
        repair in any::<bool>(),
    ) {
        let _turn = alone();
        let mut bytes = files().swap_remove(kind);
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some((begin, end)) = cut {
            let (begin, end) = (begin.index(bytes.len()), end.index(bytes.len()));
            bytes.drain(begin.min(end)..begin.max(end));
        }
        if repair {
            repair_checksums(&mut bytes);
        }
        survive(&tempfile::tempdir().unwrap(), &bytes);
        check_memory();
    }
}

/// Makes a PNG's checksums right, so that what was changed gets past them.
fn repair_checksums(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG") {
        return;
    }
    let mut place = 8;
    while let Some(length) = bytes.get(place..place + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let end = place + 8 + length;
        if end + 4 > bytes.len() {
            break;
        }
        let check = crc(&bytes[place + 4..end]);
        bytes[end..end + 4].copy_from_slice(&check.to_be_bytes());
        place = end + 4;
    }
}
