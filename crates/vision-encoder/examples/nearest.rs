//! Embeds the pictures of a folder and prints each one's nearest neighbour.
//!
//! `cargo run -p vision-encoder --release --example nearest -- PICTURES [MODEL]`, where MODEL is a folder with a
//! Qwen2.5-VL's `config.json` and weights. Without one an untrained encoder shows the way, but not the likeness.

use std::{env, error::Error, fs, path::Path};

use burn::tensor::{Device, Tensor};
use vision_encoder::{
    FrameLimits, LoadOptions, Preprocessor, VisionEncoder, VisionEncoderConfig, read_picture,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().ok_or("expected a folder of pictures")?;
    let device = Device::flex();
    let encoder = match arguments.next() {
        Some(model) => VisionEncoder::load(Path::new(&model), LoadOptions::default(), &device)?,
        None => VisionEncoderConfig::tiny(64).init(&device),
    };
    let mut preprocessor = Preprocessor::for_encoder(encoder.config());
    preprocessor.image_budget.max_pixels = 256 * 28 * 28;

    // One vector of length 1 for each picture: the mean of its tokens.
    let mut names = Vec::new();
    let mut vectors = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Ok(picture) = read_picture(&path, &FrameLimits::default()) else {
            continue;
        };
        let tokens = encoder.forward(&[preprocessor.image(&picture)?])?;
        let mean: Tensor<2> = tokens.mean_dim(0);
        let length = mean.clone().square().sum_dim(1).sqrt();
        vectors.push(mean / length);
        names.push(path.display().to_string());
    }
    if names.len() < 2 {
        return Err("expected two pictures or more".into());
    }

    let vectors = Tensor::cat(vectors, 0);
    let likeness = vectors.clone().matmul(vectors.transpose());
    // A picture is no neighbour of its own.
    let itself = Tensor::eye(names.len(), &device) * 4.0;
    let (cosines, neighbours) = (likeness - itself).max_dim_with_indices(1);
    let neighbours = neighbours.into_data().convert::<i64>();
    let cosines = cosines.into_data().convert::<f32>();
    let rows = neighbours.iter::<i64>().zip(cosines.iter::<f32>());
    for (name, (neighbour, cosine)) in names.iter().zip(rows) {
        println!("{name}: {} ({cosine:.3})", names[neighbour as usize]);
    }
    Ok(())
}
