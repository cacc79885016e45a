//! Try files.
fn main() {
    let mut n = 0;
    for path in std::env::args().skip(1) {
        let s = std::time::Instant::now();
        match dac_codec::AudioClip::read(&path, 700.0) {
            Ok(c) => {
                n += 1;
                if n < 20 {
                    println!(
                        "{path}: {} Hz {:.2} s, {:.1} ms; at 16k {}",
                        c.sample_rate,
                        c.seconds(),
                        s.elapsed().as_secs_f64() * 1e3,
                        c.resampled(16000).unwrap().samples.len()
                    )
                }
            }
            Err(e) => println!(
                "ERR {e} <- {:?}",
                std::error::Error::source(&e).map(|s| s.to_string())
            ),
        }
    }
    println!("{n} read");
}
