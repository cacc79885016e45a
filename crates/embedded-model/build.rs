//! Lists the files of `model/`, so that another trained folder takes its place without a change of code.

use std::{
    env,
    error::Error,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// Most bytes of the whole folder: what a program may carry and a repository may hold.
const MAX_BYTES: u64 = 24_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=model");
    let mut files = Vec::new();
    list(Path::new("model"), "", &mut files)?;
    files.sort();
    let bytes = files.iter().map(|(_, bytes)| bytes).sum::<u64>();
    if bytes > MAX_BYTES {
        return Err(
            format!("model/ has {bytes} bytes, at most {MAX_BYTES} may be built in").into(),
        );
    }
    let mut code = String::from("&[\n");
    for (name, _) in files {
        writeln!(
            code,
            "({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})) as &[u8]),",
            format!("/model/{name}")
        )?;
    }
    code.push(']');
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    fs::write(PathBuf::from(out).join("files.rs"), code)?;
    Ok(())
}

/// Collects the files of a folder with their sizes; `inner` is its path within the model's.
fn list(folder: &Path, inner: &str, files: &mut Vec<(String, u64)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{inner}{}", entry.file_name().to_string_lossy());
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            list(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.push((name, metadata.len()));
        }
    }
    Ok(())
}
