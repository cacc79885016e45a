//! Time and peak memory of a quarter of the released encoder (8 blocks, one with full attention), random weights.
//!
//! `scaling video 4096` embeds a video of 16 frames of 16 x 16 patches, `scaling image 4096` one picture of 64 x 64.

use std::time::Instant;

use benches::{device, wait};
use vision_encoder::{Grid, VisionEncoderConfig, VisionInput, VisionKind};

/// Most memory that the process has had, in MiB; `None` where the system doesn't tell.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "video".into());
    let patches: usize = arguments.next().map_or(Ok(1024), |n| n.parse())?;
    let (kind, [t, h, w]) = match kind.as_str() {
        "image" => (VisionKind::Image, [1, patches.isqrt(), patches.isqrt()]),
        _ => (VisionKind::Video, [patches.div_ceil(256), 16, 16]),
    };

    let mut config = VisionEncoderConfig::unimoe_audio().with_full_attention_blocks(vec![7]);
    config.n_blocks = 8;
    let encoder = config.init(&device());
    let embed = |grid: Grid| {
        let values = grid.patches().unwrap_or(0) * config.patch_values();
        let input = VisionInput {
            kind,
            patches: (0..values).map(|i| (i as f32 * 0.618).sin()).collect(),
            grid,
            seconds_per_step: None,
        };
        let start = Instant::now();
        wait(encoder.forward(&[input])?);
        Ok::<_, vision_encoder::VisionError>(start.elapsed().as_secs_f64())
    };
    // The first use draws the weights.
    embed(Grid { t: 1, h: 2, w: 2 })?;
    let before = peak_memory().unwrap_or(f64::NAN);
    let seconds = embed(Grid { t, h, w })?;
    let after = peak_memory().unwrap_or(f64::NAN);
    println!(
        "{kind:?} {t} x {h} x {w}: {seconds:.2} s, peak {after:.0} MiB ({before:.0} MiB before)"
    );
    Ok(())
}
