//! As many clips of each domain as of the others.
//!
//! The paper's balanced set has 15,000 of each of four (UniMoE-Audio, arXiv:2510.13344, section 4.1).

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    error::DataError,
    manifest::Manifest,
    random::{generator, shuffle},
    record::Record,
};

/// Which clips are taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// Clips of each domain.
    pub per_domain: usize,
    /// Seed of the draw.
    pub seed: u64,
    /// Column whose largest numbers are taken, instead of drawing; equal numbers are drawn. Default: `None`
    #[serde(default)]
    pub best: Option<String>,
    /// Whether a domain may have fewer clips, which are then all taken. Default: `false`
    #[serde(default)]
    pub allow_fewer: bool,
}

impl Balance {
    /// `per_domain` clips of each domain, drawn without replacement.
    pub fn new(per_domain: usize, seed: u64) -> Self {
        Self {
            per_domain,
            seed,
            best: None,
            allow_fewer: false,
        }
    }

    /// Draws from a manifest. Records keep their order; what is drawn of a domain does not depend on the others, and a smaller
    /// draw of the same seed is part of a larger one.
    ///
    /// # Errors
    ///
    /// - [`DataError::TooFew`] where a domain has fewer clips, unless that is allowed.
    /// - [`DataError::Setting`] where none are asked for, or a record lacks the column.
    pub fn apply(&self, manifest: &Manifest) -> Result<Manifest, DataError> {
        if self.per_domain == 0 {
            return Err(DataError::setting(
                "the clips of each domain",
                "at least 1",
                0,
            ));
        }
        let mut domains: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, record) in manifest.records.iter().enumerate() {
            domains.entry(&record.domain).or_default().push(index);
        }
        let mut taken = vec![false; manifest.records.len()];
        for (domain, mut places) in domains {
            if places.len() < self.per_domain && !self.allow_fewer {
                return Err(DataError::TooFew {
                    domain: domain.into(),
                    expected: self.per_domain,
                    found: places.len(),
                });
            }
            shuffle(&mut places, &mut generator(self.seed, domain, [0, 0]));
            if let Some(column) = &self.best {
                let mut scored = places
                    .iter()
                    .map(|&place| Ok((self.score(column, &manifest.records[place])?, place)))
                    .collect::<Result<Vec<_>, DataError>>()?;
                scored.sort_by(|a, b| b.0.total_cmp(&a.0));
                places = scored.into_iter().map(|(_, place)| place).collect();
            }
            for place in places.into_iter().take(self.per_domain) {
                taken[place] = true;
            }
        }
        let records = manifest.records.iter().zip(taken);
        let records = records.filter(|(_, taken)| *taken);
        Ok(Manifest {
            records: records.map(|(record, _)| record.clone()).collect(),
            skipped: manifest.skipped.clone(),
        })
    }

    fn score(&self, column: &str, record: &Arc<Record>) -> Result<f64, DataError> {
        record.column(column).ok_or_else(|| {
            let id = &record.id;
            let expected = format!("a column with a number in every record, `{id}` too");
            DataError::setting("the column of the best", expected, format!("`{column}`"))
        })
    }
}
