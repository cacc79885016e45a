//! The fields of a line, taken one after another; all faults are noted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::{
    error::{Fault, Short},
    record::{Origin, Record, Reference, Task},
};

/// Longest duration that is believed, in seconds.
const MAX_SECONDS: f64 = 1e6;
/// Most bytes of an id, a domain or a language.
const MAX_NAME: usize = 256;

/// A line on its way to a record.
pub(super) struct Fields<'a> {
    values: Map<String, Value>,
    /// What relative paths start from.
    folder: &'a Path,
    /// What was found wrong.
    pub(super) faults: Vec<Fault>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(values: Map<String, Value>, folder: &'a Path) -> Self {
        Self {
            values,
            folder,
            faults: Vec::new(),
        }
    }

    /// The id alone, where it is one.
    pub(super) fn peek_id(&self) -> Option<String> {
        let id = self.values.get("id")?.as_str()?;
        is_name(id).then(|| id.to_string())
    }

    /// The whole record; `None` where something is wrong, which is in `faults`.
    pub(super) fn record(&mut self, origin: Origin) -> Option<Record> {
        let id = self.required("id", Self::name);
        let task = self.required("task", Self::task);
        let language = self.name("language");
        let domain = self.name("domain");
        let text = self.text_or_caption();
        let audio = self.required("audio", |fields, field| fields.file(field, false));
        let reference = self.reference(task);
        let video = self.video(task);
        let duration = self.number(
            "duration",
            |value| value > 0.0 && value <= MAX_SECONDS,
            "seconds, above 0 and at most 1000000",
        );
        let score = self.number("score", f64::is_finite, "a finite number");
        if !self.faults.is_empty() {
            return None;
        }
        let task = task?;
        Some(Record {
            id: id?,
            task,
            domain: domain.unwrap_or_else(|| match (task, &language) {
                (Task::Speech, Some(language)) => format!("speech-{language}"),
                _ => task.to_string(),
            }),
            text: text?,
            audio: audio?,
            reference,
            video,
            language,
            duration,
            score,
            extra: std::mem::take(&mut self.values),
            origin,
        })
    }

    /// Takes a field; `null` counts as absent.
    fn take(&mut self, field: &str) -> Option<Value> {
        self.values.remove(field).filter(|value| !value.is_null())
    }

    fn required<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        let before = self.faults.len();
        let value = read(self, field);
        if value.is_none() && self.faults.len() == before {
            self.faults.push(Fault::Missing { field });
        }
        value
    }

    fn wrong<T>(
        &mut self,
        field: &'static str,
        expected: &'static str,
        found: &Value,
    ) -> Option<T> {
        self.faults.push(Fault::Field {
            field,
            expected,
            found: Short(&found.to_string()).to_string(),
        });
        None
    }

    fn name(&mut self, field: &'static str) -> Option<String> {
        let value = self.take(field)?;
        match value.as_str() {
            Some(name) if is_name(name) => Some(name.to_string()),
            _ => self.wrong(
                field,
                "a text of 1 to 256 bytes without control characters or space at its ends",
                &value,
            ),
        }
    }

    fn task(&mut self, field: &'static str) -> Option<Task> {
        let value = self.take(field)?;
        let known = Task::ALL
            .into_iter()
            .find(|task| Some(task.name()) == value.as_str());
        known.or_else(|| self.wrong(field, "`speech`, `music` or `video_music`", &value))
    }

    fn text(&mut self, field: &'static str) -> Option<String> {
        let value = self.take(field)?;
        match value.as_str() {
            Some(text) if !text.trim().is_empty() => Some(text.to_string()),
            _ => self.wrong(field, "a text that is not blank", &value),
        }
    }

    fn text_or_caption(&mut self) -> Option<String> {
        let both = ["text", "caption"].map(|field| self.values.get(field).cloned());
        if let [Some(text), Some(caption)] = &both
            && text != caption
            && !text.is_null()
            && !caption.is_null()
        {
            let expected = "absent beside a `text` that differs";
            self.values.remove("text");
            self.values.remove("caption");
            return self.wrong("caption", expected, caption);
        }
        let before = self.faults.len();
        let (text, caption) = (self.text("text"), self.text("caption"));
        let text = text.or(caption);
        if text.is_none() && self.faults.len() == before {
            self.faults.push(Fault::Missing {
                field: "text (or caption)",
            });
        }
        text
    }

    fn reference(&mut self, task: Option<Task>) -> Option<Reference> {
        let fields = ["reference_audio", "reference_text"];
        if task.is_some_and(|task| task != Task::Speech) {
            for field in fields {
                if let Some(value) = self.take(field) {
                    self.wrong::<()>(field, "absent: only `speech` has a voice", &value);
                }
            }
            return None;
        }
        let there =
            fields.map(|field| self.values.get(field).is_some_and(|value| !value.is_null()));
        if !there[0] && !there[1] {
            fields.iter().for_each(|field| drop(self.take(field)));
            return None;
        }
        let audio = self.required(fields[0], |fields, field| fields.file(field, false));
        let text = self.required(fields[1], Self::text);
        Some(Reference {
            audio: audio?,
            text: text?,
        })
    }

    fn video(&mut self, task: Option<Task>) -> Option<PathBuf> {
        match task {
            Some(Task::VideoMusic) => {
                self.required("video", |fields, field| fields.file(field, true))
            }
            Some(_) => {
                let value = self.take("video")?;
                self.wrong("video", "absent: only `video_music` has one", &value)
            }
            None => {
                self.take("video");
                None
            }
        }
    }

    fn number(
        &mut self,
        field: &'static str,
        holds: impl Fn(f64) -> bool,
        expected: &'static str,
    ) -> Option<f64> {
        let value = self.take(field)?;
        match value.as_f64().filter(|&number| holds(number)) {
            Some(number) => Some(number),
            None => self.wrong(field, expected, &value),
        }
    }

    /// A file that is there and not empty; `folders` are good too where a folder may be.
    fn file(&mut self, field: &'static str, folders: bool) -> Option<PathBuf> {
        let value = self.take(field)?;
        let Some(name) = value.as_str().filter(|name| !name.is_empty()) else {
            return self.wrong(field, "a path", &value);
        };
        let path = self.folder.join(name);
        let fault = match fs::metadata(&path) {
            Ok(found) if found.is_dir() && folders => None,
            Ok(found) if !found.is_file() => Some("not a regular file".to_string()),
            Ok(found) if found.len() == 0 => {
                self.faults.push(Fault::EmptyFile { field, path });
                return None;
            }
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("there is no such file".to_string())
            }
            Err(error) => Some(error.to_string()),
        };
        match fault {
            None => Some(path),
            Some(reason) => {
                self.faults.push(Fault::File {
                    field,
                    path,
                    reason,
                });
                None
            }
        }
    }
}

/// Whether a text can be a name: short, visible, without space at its ends.
fn is_name(text: &str) -> bool {
    let sized = (1..=MAX_NAME).contains(&text.len());
    sized && text.trim() == text && !text.chars().any(char::is_control)
}
