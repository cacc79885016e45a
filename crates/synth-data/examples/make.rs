//! Makes a small data set in the folder that is named.
//!
//! ```sh
//! cargo run --release -p synth-data --example make -- synthetic 0.001
//! ```

use std::{ops::ControlFlow, path::Path};

use synth_data::{Progress, SynthConfig, SynthError};

fn main() -> Result<(), SynthError> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().unwrap_or_else(|| "synthetic".to_string());
    let scale = arguments.next().and_then(|scale| scale.parse().ok());
    let config = SynthConfig {
        scale: scale.unwrap_or(0.001),
        ..SynthConfig::default()
    };
    let watch = |progress: Progress| {
        if progress.done.is_multiple_of(500) {
            println!("{} of {}", progress.done, progress.total);
        }
        ControlFlow::Continue(())
    };
    let summary = config.make(Path::new(&out), &watch)?;
    for (name, domain) in summary.domains {
        println!(
            "{name}: {} clips to train on, {} to test",
            domain.train, domain.test
        );
    }
    Ok(())
}
