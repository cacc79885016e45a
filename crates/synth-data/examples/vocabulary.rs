//! Prints the words of a language, or what of a text is none of them.
//!
//! ```sh
//! cargo run -p synth-data --example vocabulary -- en "Hello, quantum world."
//! ```

use synth_data::Language;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let language = match arguments.next().as_deref() {
        Some("zh") => Language::Mandarin,
        _ => Language::English,
    };
    let words = match arguments.next() {
        Some(text) => language.unknown_words(&text),
        None => language.vocabulary(),
    };
    println!("{}", words.join(" "));
}
