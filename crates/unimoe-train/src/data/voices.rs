//! Reference voices for speech that has none: another recording of the same speaker.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    manifest::Manifest,
    random::{fnv, generator, shuffle},
    record::{Record, Reference, Task},
};

impl Manifest {
    /// Gives speech without a reference voice another record of the same speaker, who is named by a column such as
    /// `speaker`. Returns the number of records that are still without: their speaker has no other, or is not named.
    ///
    /// Each speaker's recordings are put in a circle in an order drawn from `seed`, and each gets the one behind it, so that
    /// all serve equally often.
    pub fn add_voices(&mut self, speaker: &str, seed: u64) -> usize {
        let mut speakers: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, record) in self.records.iter().enumerate() {
            if record.task == Task::Speech
                && let Some(name) = record.extra.get(speaker).filter(|name| !name.is_null())
            {
                speakers.entry(name.to_string()).or_default().push(index);
            }
        }
        let recordings = self.records.clone();
        for (name, mut circle) in speakers {
            shuffle(&mut circle, &mut generator(seed, "voices", [fnv(&name), 0]));
            let behind = circle.iter().cycle().skip(1);
            for (&index, &other) in circle.iter().zip(behind) {
                let other = &recordings[other];
                if index < recordings.len()
                    && recordings[index].reference.is_none()
                    && !Arc::ptr_eq(&recordings[index], other)
                {
                    let mut record = Record::clone(&recordings[index]);
                    record.reference = Some(Reference {
                        audio: other.audio.clone(),
                        text: other.text.clone(),
                    });
                    self.records[index] = Arc::new(record);
                }
            }
        }
        self.count_without_voice()
    }

    /// Number of records of speech without a reference voice.
    pub fn count_without_voice(&self) -> usize {
        let records = self.records.iter();
        let without =
            |record: &&Arc<Record>| record.task == Task::Speech && record.reference.is_none();
        records.filter(without).count()
    }
}
