//! The program `unimoe`.

fn main() {}
