//! Music for a video: `cargo run --release --features flex --example video -- VIDEO CAPTION FOLDER`.
//! Without a folder an untrained model makes noise, and without a video it looks at squares that change.

use std::{error::Error, ops::ControlFlow, path::Path};

use burn::tensor::Device;
use unimoe_model::{
    DeviceChoice, Grid, Pipeline, PipelineOptions, Preset, RequestOptions, VideoMusicRequest,
    VisionInput, VisionKind,
};
use vision_encoder::{Preprocessor, VideoOptions, VisionEncoderConfig, read_video};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (video, caption) = (arguments.next(), arguments.next());
    let device: Device = DeviceChoice::Auto.resolve()?;
    let pipeline = match arguments.next() {
        Some(folder) => Pipeline::load(Path::new(&folder), &PipelineOptions::default(), &device)?,
        None => Pipeline::untrained(Preset::Tiny, 0, None, &device)?,
    };
    let vision = pipeline.model().config().vision.as_ref();
    let encoder = &vision.ok_or("the model has no vision encoder")?.encoder;
    let input = match video {
        Some(path) => {
            let preprocessor = Preprocessor::for_encoder(encoder);
            read_video(Path::new(&path), &VideoOptions::default(), &preprocessor)?
        }
        None => squares(encoder),
    };
    let request = VideoMusicRequest {
        caption: caption.unwrap_or("Upbeat electronic music".into()),
        vision: vec![input],
        options: RequestOptions {
            max_seconds: 10.0,
            ..RequestOptions::music()
        },
    };
    let results = pipeline.video_music(&[request], |_| ControlFlow::Continue(()))?;
    let path = std::env::temp_dir().join("video.wav");
    results[0].audio.write_wav(&path)?;
    println!("{} (seed {})", path.display(), results[0].seed);
    Ok(())
}

/// Three steps of 4 x 4 patches, each of another grey.
fn squares(encoder: &VisionEncoderConfig) -> VisionInput {
    let grid = Grid { t: 3, h: 4, w: 4 };
    let grey = |patch: usize| (patch as f32 * 0.7).sin();
    let patches = (0..48).flat_map(|n| std::iter::repeat_n(grey(n), encoder.patch_values()));
    VisionInput {
        kind: VisionKind::Video,
        patches: patches.collect(),
        grid,
        seconds_per_step: Some(2.0),
    }
}
