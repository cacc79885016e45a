//! Loading takes the memory of the model and of one tensor, not of the files.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, missing_docs)]

use burn::tensor::Device;
use unimoe_model::{LoadOptions, Preset, Shards, UniMoe, init_model_folder};

/// A line of this process's status, in bytes.
fn status(line: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    kibibytes * 1024.0
}

#[test]
fn the_peak_is_the_loaded_size_and_one_tensor() {
    let device = Device::flex();
    let folder = tempfile::tempdir().unwrap();
    init_model_folder(Preset::Small, 1, folder.path(), &device).unwrap();
    let shards = Shards::open(folder.path()).unwrap();
    let sizes = shards.tensors().values().map(|tensor| tensor.elements());
    let loaded = 4.0 * sizes.clone().sum::<usize>() as f64;
    // As read in bf16 and as converted to f32.
    let largest = 6.0 * sizes.max().unwrap() as f64;

    let before = status("VmRSS:");
    let model = UniMoe::load(
        folder.path(),
        LoadOptions {
            text_head: true,
            ..LoadOptions::default()
        },
        &device,
    )
    .unwrap();
    // Writing the folder may have peaked above what is in use since; only a higher peak counts.
    let peak = status("VmHWM:") - before;
    assert!(
        peak <= 1.15 * loaded + largest,
        "{peak:.0} bytes at most for a model of {loaded:.0}"
    );
    assert!(
        status("VmRSS:") - before > 0.9 * loaded,
        "the model is in memory"
    );
    drop(model);
}
