//! Music from a caption with a model folder: `cargo run --release --features flex --example music -- FOLDER CAPTION`.
//! Without arguments an untrained model makes noise.

use std::{error::Error, ops::ControlFlow, path::Path};

use burn::tensor::Device;
use unimoe_model::{DeviceChoice, MusicRequest, Pipeline, PipelineOptions, Preset, RequestOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let device: Device = DeviceChoice::Auto.resolve()?;
    let pipeline = match arguments.next() {
        Some(folder) => Pipeline::load(Path::new(&folder), &PipelineOptions::default(), &device)?,
        None => Pipeline::untrained(Preset::Tiny, 0, None, &device)?,
    };
    let request = MusicRequest {
        caption: arguments.next().unwrap_or("A peaceful piano melody".into()),
        options: RequestOptions {
            max_seconds: 10.0,
            ..RequestOptions::music()
        },
    };
    let results = pipeline.music(&[request], |progress| {
        eprint!("\r{} frames", progress.frames[0]);
        ControlFlow::Continue(())
    })?;
    let path = std::env::temp_dir().join("music.wav");
    results[0].audio.write_wav(&path)?;
    println!("\n{} (seed {})", path.display(), results[0].seed);
    Ok(())
}
