//! A run as a report takes it: a name and what happened.

use std::path::Path;

use super::error::ReportError;
use crate::event::{Event, JsonLines};

/// What happened in one run of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct RunLog {
    /// What it is called in the report.
    pub name: String,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl RunLog {
    /// Reads the log of the run in `folder` ([`JsonLines::FILE_NAME`]); its name is that of its stage.
    ///
    /// # Errors
    ///
    /// A [`ReportError`] where there is no log or it can't be read.
    pub fn read(folder: &Path) -> Result<Self, ReportError> {
        let path = folder.join(JsonLines::FILE_NAME);
        if !path.is_file() {
            return Err(ReportError::NoRun {
                path: folder.to_path_buf(),
                expected: JsonLines::FILE_NAME,
            });
        }
        let events = JsonLines::read(&path)?;
        let stage = events.iter().find_map(|event| match event {
            Event::Begin { stage, .. } => Some(stage.clone()),
            _ => None,
        });
        let name = folder.file_name().map(|name| name.to_string_lossy());
        Ok(Self {
            name: stage.or(name.map(String::from)).unwrap_or_default(),
            events,
        })
    }
}
