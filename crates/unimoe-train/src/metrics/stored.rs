//! What models said of clips, read from files.
//!
//! Rows of numbers (embeddings, class logits) lie in either of two kinds of file, told apart by their endings:
//!
//! - `.safetensors`: one tensor `[N, D]`, whose rows are named by the entry `ids` of the file's metadata (a JSON list of
//!   `N` names) and else `0`, `1`, ...; or a tensor `[D]` for each clip, named as the clip. Any of f64, f32, f16, bf16.
//! - `.jsonl`: in each line `{"id": "NAME", "values": [...]}`.
//!
//! Texts lie in `.jsonl` files: in each line `{"id": "NAME", "text": "..."}`; further entries don't matter, so that the
//! manifest of the clips serves as the file of what they should say.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::Deserialize;

use super::{
    Classifier, Embedder, EvalClip, Features, MetricError, ModelFailure, NamedFeatures,
    Transcriber, lines::read_lines,
};

/// Most bytes of a file of tensors: it is read into memory.
const MAX_BYTES: u64 = 4 << 30;
const TENSORS: &str =
    "a safetensors file with one tensor [clips, width], or one [width] per clip, of floats";

/// A file of rows, as a model that has its answers ready.
#[derive(Debug, Clone)]
pub struct StoredFeatures {
    path: PathBuf,
    named: NamedFeatures,
}

/// A file of texts, as a model that has its answers ready.
#[derive(Debug, Clone)]
pub struct StoredTexts {
    path: PathBuf,
    ids: Vec<String>,
    texts: BTreeMap<String, String>,
}

/// A name, which may be written as a number.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Id {
    Text(String),
    Number(i64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

impl StoredFeatures {
    /// Reads a file of rows; the module's documentation tells the two forms.
    ///
    /// # Errors
    ///
    /// [`MetricError::Io`], [`MetricError::File`] for a file of another form, [`MetricError::Line`] for a bad line,
    /// [`MetricError::Duplicate`], and what [`Features::new`] refuses.
    pub fn read(path: &Path) -> Result<Self, MetricError> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let named = match ending.to_lowercase().as_str() {
            "safetensors" => from_tensors(path),
            "jsonl" | "ndjson" | "json" => from_lines(path),
            other => {
                return Err(MetricError::File {
                    path: path.to_path_buf(),
                    expected: "a file that ends in .safetensors or .jsonl",
                    found: format!("it ends in .{other}"),
                });
            }
        };
        let named = named.map_err(|error| within(path, error))?;
        check_unique(path, named.ids())?;
        Ok(Self {
            path: path.to_path_buf(),
            named,
        })
    }

    /// The rows with their names.
    pub fn named(&self) -> &NamedFeatures {
        &self.named
    }

    fn answer(&self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure> {
        let row = self.named.row(&clip.id);
        Ok(row.ok_or_else(|| missing(&self.path, clip))?.to_vec())
    }
}

impl Embedder for StoredFeatures {
    fn embed(&mut self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure> {
        self.answer(clip)
    }
}

impl Classifier for StoredFeatures {
    fn classify(&mut self, clip: &EvalClip) -> Result<Vec<f64>, ModelFailure> {
        self.answer(clip)
    }
}

impl StoredTexts {
    /// Reads a file of texts, `{"id": ..., "text": ...}` in each line.
    ///
    /// # Errors
    ///
    /// [`MetricError::Io`], [`MetricError::Line`] for a bad line, [`MetricError::Duplicate`], and
    /// [`MetricError::TooFew`] where there is no line.
    pub fn read(path: &Path) -> Result<Self, MetricError> {
        #[derive(Deserialize)]
        struct Line {
            id: Id,
            text: String,
        }
        let (mut ids, mut texts) = (Vec::new(), BTreeMap::new());
        let expected = r#"{"id": "NAME", "text": "..."}"#;
        read_lines(path, expected, |_, line: Line| {
            let id = String::from(line.id);
            ids.push(id.clone());
            match texts.insert(id.clone(), line.text) {
                None => Ok(()),
                Some(_) => Err(MetricError::Duplicate {
                    path: path.to_path_buf(),
                    id,
                }),
            }
        })?;
        if ids.is_empty() {
            return Err(nothing(path));
        }
        Ok(Self {
            path: path.to_path_buf(),
            ids,
            texts,
        })
    }

    /// Names of the clips, in the file's order.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// The text of a clip.
    pub fn text(&self, id: &str) -> Option<&str> {
        self.texts.get(id).map(String::as_str)
    }
}

impl Transcriber for StoredTexts {
    fn transcribe(&mut self, clip: &EvalClip) -> Result<String, ModelFailure> {
        let text = self.text(&clip.id);
        Ok(text.ok_or_else(|| missing(&self.path, clip))?.to_owned())
    }
}

fn missing(path: &Path, clip: &EvalClip) -> MetricError {
    MetricError::Missing {
        path: path.to_path_buf(),
        id: clip.id.clone(),
    }
}

/// A file without entries.
pub(super) fn nothing(path: &Path) -> MetricError {
    within(path, no_clips())
}

fn no_clips() -> MetricError {
    MetricError::TooFew {
        what: "number of clips".into(),
        expected: 1,
        found: 0,
    }
}

/// Says in which file rows are unusable.
fn within(path: &Path, error: MetricError) -> MetricError {
    let named = |what: String| format!("{}: {what}", path.display());
    match error {
        MetricError::NotFinite { what, found } => MetricError::NotFinite {
            what: named(what),
            found,
        },
        MetricError::Shape {
            what,
            expected,
            found,
        } => MetricError::Shape {
            what: named(what),
            expected,
            found,
        },
        MetricError::TooFew {
            what,
            expected,
            found,
        } => MetricError::TooFew {
            what: named(what),
            expected,
            found,
        },
        other => other,
    }
}

fn check_unique(path: &Path, ids: &[String]) -> Result<(), MetricError> {
    let mut sorted: Vec<&String> = ids.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(MetricError::Duplicate {
            path: path.to_path_buf(),
            id: pair[0].clone(),
        }),
    }
}

fn from_lines(path: &Path) -> Result<NamedFeatures, MetricError> {
    #[derive(Deserialize)]
    struct Line {
        id: Id,
        #[serde(alias = "embedding", alias = "logits")]
        values: Vec<f64>,
    }
    let expected = r#"{"id": "NAME", "values": [numbers]}"#;
    let (mut ids, mut width, mut values) = (Vec::new(), 0, Vec::new());
    read_lines(path, expected, |number, line: Line| {
        if ids.is_empty() {
            width = line.values.len();
        }
        if line.values.len() != width || width == 0 {
            let reason = format!("{} values after lines of {width}", line.values.len());
            return Err(MetricError::Line {
                path: path.to_path_buf(),
                line: number,
                expected,
                reason,
            });
        }
        ids.push(line.id.into());
        values.extend(line.values);
        Ok(())
    })?;
    if ids.is_empty() {
        return Err(no_clips());
    }
    NamedFeatures::new(ids, Features::new(width, values)?)
}

fn from_tensors(path: &Path) -> Result<NamedFeatures, MetricError> {
    let io = |source| MetricError::Io {
        path: path.to_path_buf(),
        source,
    };
    let unusable = |found: String| MetricError::File {
        path: path.to_path_buf(),
        expected: TENSORS,
        found,
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(unusable(format!("no file of at most {MAX_BYTES} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(io)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| unusable(error.to_string()))?;
    let mut names = tensors.names();
    names.sort_unstable();
    let view = |name: &str| {
        tensors
            .tensor(name)
            .map_err(|error| unusable(error.to_string()))
    };
    match names[..] {
        [] => Err(no_clips()),
        [name] if view(name)?.shape().len() == 2 => {
            let view = view(name)?;
            let features = Features::new(view.shape()[1], floats(&view).map_err(unusable)?)?;
            let ids = row_names(&bytes, features.count()).map_err(unusable)?;
            NamedFeatures::new(ids, features)
        }
        _ => {
            let mut rows = Vec::with_capacity(names.len());
            for name in &names {
                let view = view(name)?;
                if view.shape().len() != 1 {
                    let shape = view.shape();
                    return Err(unusable(format!("tensor `{name}` has the shape {shape:?}")));
                }
                rows.push(floats(&view).map_err(unusable)?);
            }
            let features = Features::from_rows(rows.iter().map(Vec::as_slice))?;
            NamedFeatures::new(names.into_iter().map(str::to_owned).collect(), features)
        }
    }
}

/// The names in the metadata, else numbers.
fn row_names(bytes: &[u8], count: usize) -> Result<Vec<String>, String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
    let entries: Option<&HashMap<String, String>> = metadata.metadata().as_ref();
    let Some(text) = entries.and_then(|entries| entries.get("ids")) else {
        return Ok((0..count).map(|number| number.to_string()).collect());
    };
    let ids: Vec<Id> = serde_json::from_str(text)
        .map_err(|error| format!("its metadata `ids` are no JSON list of names: {error}"))?;
    if ids.len() != count {
        return Err(format!(
            "its metadata has {} `ids` for {count} rows",
            ids.len()
        ));
    }
    Ok(ids.into_iter().map(String::from).collect())
}

fn floats(view: &TensorView<'_>) -> Result<Vec<f64>, String> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::F64 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect(),
        Dtype::F32 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b).into())
            .collect(),
        Dtype::F16 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).into())
            .collect(),
        Dtype::BF16 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).into())
            .collect(),
        other => return Err(format!("its numbers are {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use safetensors::serialize;

    use super::*;

    /// Writes a file of the given name, and reads it.
    fn read(name: &str, bytes: &[u8]) -> Result<StoredFeatures, MetricError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        StoredFeatures::read(&path)
    }

    type Entry<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

    fn tensors(entries: &[Entry<'_>], ids: Option<&str>) -> Vec<u8> {
        let views = entries.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes).expect("a tensor");
            (*name, view)
        });
        let metadata = ids.map(|ids| HashMap::from([("ids".to_owned(), ids.to_owned())]));
        serialize(views, metadata).expect("a file")
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    }

    #[test]
    fn both_forms_of_tensors_and_lines_hold_the_same_rows() {
        let whole = (
            "embeddings",
            Dtype::F32,
            vec![2, 2],
            f32s(&[1.0, 2.0, 3.0, 4.0]),
        );
        let one = |name| {
            (
                name,
                Dtype::BF16,
                vec![2],
                [bf16::from_f32(1.0), bf16::from_f32(2.0)],
            )
        };
        let (name, dtype, shape, values) = one("a");
        let first = (
            name,
            dtype,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        );
        let second: Vec<u8> = [3.0f64, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let second = ("b", Dtype::F64, vec![2], second);
        let lines = "{\"id\": \"a\", \"values\": [1, 2]}\n{\"id\": \"b\", \"embedding\": [3, 4]}\n";
        for found in [
            read("e.safetensors", &tensors(&[whole], Some(r#"["a", "b"]"#))),
            read("e.safetensors", &tensors(&[first, second], None)),
            read("e.jsonl", lines.as_bytes()),
        ] {
            let mut found = found.expect("rows");
            assert_eq!(found.named().ids(), ["a", "b"]);
            assert_eq!(found.named().features().values(), [1.0, 2.0, 3.0, 4.0]);
            let clip = EvalClip::file(Path::new("x/b.wav"));
            assert_eq!(found.embed(&clip).expect("a row"), [3.0, 4.0]);
            let other = EvalClip::file(Path::new("c.wav"));
            let error = found.classify(&other).expect_err("none").to_string();
            assert!(error.ends_with("nothing for the clip `c`"), "{error}");
        }
    }

    #[test]
    fn rows_without_names_are_numbered() {
        let half = [f16::from_f32(0.5), f16::from_f32(-2.0)];
        let bytes = half.iter().flat_map(|v| v.to_le_bytes()).collect();
        let found = read(
            "e.safetensors",
            &tensors(&[("x", Dtype::F16, vec![2, 1], bytes)], None),
        );
        let found = found.expect("rows");
        assert_eq!(found.named().ids(), ["0", "1"]);
        assert_eq!(found.named().features().values(), [0.5, -2.0]);
    }

    #[test]
    fn unusable_files_are_told_apart() {
        let row = |name, values: &[f32]| (name, Dtype::F32, vec![values.len()], f32s(values));
        let ints = ("x", Dtype::I64, vec![1, 1], vec![0; 8]);
        let cube = ("x", Dtype::F32, vec![1, 1, 1], vec![0; 4]);
        let table = ("x", Dtype::F32, vec![2, 1], vec![0; 8]);
        let empty = ("x", Dtype::F32, vec![0, 4], vec![]);
        for (name, bytes, words) in [
            ("e.npy", vec![], "it ends in .npy"),
            (
                "e.safetensors",
                b"not one".to_vec(),
                "expected a safetensors file",
            ),
            (
                "e.safetensors",
                vec![0xff; 64],
                "expected a safetensors file",
            ),
            ("e.safetensors", tensors(&[], None), "number of clips: 0"),
            (
                "e.safetensors",
                tensors(&[ints], None),
                "its numbers are I64",
            ),
            (
                "e.safetensors",
                tensors(&[cube], None),
                "has the shape [1, 1, 1]",
            ),
            (
                "e.safetensors",
                tensors(&[empty], None),
                "number of values: 0",
            ),
            (
                "e.safetensors",
                tensors(std::slice::from_ref(&table), Some("[1]")),
                "1 `ids` for 2 rows",
            ),
            (
                "e.safetensors",
                tensors(std::slice::from_ref(&table), Some("{}")),
                "no JSON list",
            ),
            (
                "e.safetensors",
                tensors(&[table], Some("[1, 1]")),
                "`1` is there twice",
            ),
            (
                "e.safetensors",
                tensors(&[row("a", &[1.0]), row("b", &[1.0, 2.0])], None),
                "width of row 1: 2, expected 1",
            ),
            (
                "e.safetensors",
                tensors(&[row("a", &[f32::NAN])], None),
                "row 0, column 0: NaN",
            ),
            ("e.jsonl", b"".to_vec(), "number of clips: 0"),
            (
                "e.jsonl",
                b"{\"id\": 1, \"values\": []}".to_vec(),
                "line 1: 0 values",
            ),
            (
                "e.jsonl",
                b"{\"id\": 1, \"values\": [1]}\n{\"id\": 2, \"values\": [1, 2]}".to_vec(),
                "line 2: 2 values after lines of 1",
            ),
            (
                "e.jsonl",
                b"{\"id\": 1, \"values\": [1]}\n{\"id\": \"1\", \"values\": [1]}".to_vec(),
                "`1` is there twice",
            ),
            (
                "e.jsonl",
                b"{\"id\": 1, \"values\": [null]}".to_vec(),
                "line 1: invalid type",
            ),
        ] {
            let error = read(name, &bytes).expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_manifest_serves_as_the_texts_that_should_be_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("manifest.jsonl");
        let lines = "{\"id\": \"b\", \"text\": \"two\", \"audio\": \"b.wav\"}\n{\"id\": \"a\", \"text\": \"one\"}\n";
        std::fs::write(&path, lines).expect("written");
        let mut texts = StoredTexts::read(&path).expect("texts");
        assert_eq!(texts.ids(), ["b", "a"]);
        assert_eq!(
            texts
                .transcribe(&EvalClip::file(Path::new("a.wav")))
                .expect("a text"),
            "one"
        );

        std::fs::write(&path, lines.repeat(2)).expect("written");
        assert!(matches!(
            StoredTexts::read(&path),
            Err(MetricError::Duplicate { .. })
        ));
    }
}
