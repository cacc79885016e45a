//! Sound while it grows: each chunk is there as soon as no later code can change it.

use std::{error::Error, time::Instant};

use burn::tensor::Device;
use unimoe_model::{Batching, MusicRequest, Pipeline, Preset, Request, RequestOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let pipeline = Pipeline::untrained(Preset::Tiny, 0, None, &Device::flex())?;
    let request = Request::Music(MusicRequest {
        caption: "A calm piano".into(),
        options: RequestOptions {
            min_seconds: 4.0,
            max_seconds: 4.0,
            ..RequestOptions::music()
        },
    });
    let start = Instant::now();
    let mut session = pipeline
        .start(&[request], Batching::Isolated)?
        .with_audio(25);
    let mut samples = 0;
    while let Some(step) = session.step()? {
        for chunk in step.audio {
            // Here a player would take `chunk.samples`.
            samples += chunk.samples.len();
            let (heard, rate) = (samples as f64, f64::from(pipeline.sample_rate()));
            println!(
                "{:.2} s of sound after {:.2?}",
                heard / rate,
                start.elapsed()
            );
        }
    }
    let rest: usize = session
        .drain()?
        .iter()
        .map(|chunk| chunk.samples.len())
        .sum();
    println!("{} samples in {:.2?}", samples + rest, start.elapsed());
    Ok(())
}
