//! In which order clips come, and which of them together.
//!
//! An epoch's batches follow from the settings and the epoch's number alone, so that any place in a run can be
//! returned to:
//!
//! ```text
//! items of the epoch -> shuffled -> cut into pools -> sorted by length -> batches -> shuffled
//!                                  (bucket x batch_size items)
//! ```

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    error::DataError,
    random::{fnv, generator, shuffle},
};

/// Largest epoch, which no run reaches: places within a domain stay exact in floating point up to it.
const MAX_EPOCH: u64 = 1 << 32;
/// Largest batch, and most batches of a pool.
const MAX_COUNT: usize = 1 << 24;
/// Most items of an epoch.
const MAX_ITEMS: usize = 1 << 26;
/// Epochs in a row that may have no batch.
const MAX_EMPTY: u64 = 1000;

/// How items are ordered and put into batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrderConfig {
    /// Most items of a batch.
    pub batch_size: usize,
    /// Most tokens of a batch, padding included: its items times the longest of them. Default: `None`
    #[serde(default)]
    pub max_tokens: Option<usize>,
    /// Seed of the order.
    pub seed: u64,
    /// Batches whose items are sorted by length together; 0 leaves lengths as they come. Default: 16
    #[serde(default = "default_bucket")]
    pub bucket: usize,
    /// Whether to leave out an epoch's last batch where it is not full. Default: `false`
    #[serde(default)]
    pub drop_last: bool,
    /// Whether to shuffle. Default: `true`
    #[serde(default = "default_shuffle")]
    pub shuffle: bool,
    /// How often each domain comes. Default: [`Sampling::Natural`]
    #[serde(default)]
    pub sampling: Sampling,
}

/// How often each domain comes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// Each item once an epoch.
    #[default]
    Natural,
    /// All domains equally often.
    Balanced {
        /// Items of an epoch; `None` takes as many as there are.
        #[serde(default)]
        items: Option<usize>,
    },
    /// Each domain in proportion to its weight; a domain without one does not come.
    Weighted {
        /// The weights, by domain.
        weights: BTreeMap<String, f64>,
        /// Items of an epoch; `None` takes as many as there are.
        #[serde(default)]
        items: Option<usize>,
    },
}

/// A place in a run: the next batch to be given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Passes over the data that are complete.
    pub epoch: u64,
    /// Batches given since.
    pub batch: u64,
}

fn default_bucket() -> usize {
    16
}

fn default_shuffle() -> bool {
    true
}

impl OrderConfig {
    /// Shuffled batches of `batch_size` items, similar lengths together.
    pub fn new(batch_size: usize, seed: u64) -> Self {
        Self {
            batch_size,
            max_tokens: None,
            seed,
            bucket: default_bucket(),
            drop_last: false,
            shuffle: true,
            sampling: Sampling::Natural,
        }
    }

    /// Every item once and in order, for measuring.
    pub fn sequential(batch_size: usize) -> Self {
        Self {
            bucket: 0,
            shuffle: false,
            ..Self::new(batch_size, 0)
        }
    }
}

/// The batches of every epoch.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    config: OrderConfig,
    lengths: Vec<usize>,
    groups: Vec<Group>,
}

/// A domain's items.
#[derive(Debug, Clone)]
struct Group {
    name: String,
    items: Vec<usize>,
    /// Items that come in an epoch, on average; `None` takes each once.
    share: Option<f64>,
}

impl Plan {
    /// Checks the settings against the items' lengths and domains.
    pub(super) fn new<'a>(
        config: OrderConfig,
        lengths: Vec<usize>,
        domains: impl Iterator<Item = &'a str>,
    ) -> Result<Self, DataError> {
        let counts = [
            ("the batch size", config.batch_size, 1),
            ("bucket", config.bucket, 0),
        ];
        for (setting, value, least) in counts {
            if !(least..=MAX_COUNT).contains(&value) {
                return Err(DataError::setting(
                    setting,
                    format!("{least} to {MAX_COUNT}"),
                    value,
                ));
            }
        }
        if lengths.is_empty() {
            return Err(DataError::setting("the number of clips", "at least 1", 0));
        }
        if let Some(limit) = config.max_tokens
            && let Some(index) = lengths.iter().position(|&length| length > limit)
        {
            let expected = format!("at least the {} of clip {index}", lengths[index]);
            return Err(DataError::setting(
                "the most tokens of a batch",
                expected,
                limit,
            ));
        }
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, domain) in domains.enumerate() {
            groups.entry(domain).or_default().push(index);
        }
        let groups = shared(&config.sampling, groups, lengths.len())?;
        let plan = Self {
            config,
            lengths,
            groups,
        };
        plan.first_from(0)?;
        Ok(plan)
    }

    /// The batches of an epoch: places of items.
    pub(super) fn epoch(&self, epoch: u64) -> Vec<Vec<usize>> {
        let config = &self.config;
        let mut items: Vec<usize> = self
            .groups
            .iter()
            .flat_map(|group| group.items_of(epoch, config))
            .collect();
        if config.shuffle {
            shuffle(&mut items, &mut generator(config.seed, "items", [epoch, 0]));
        } else {
            items.sort_unstable();
        }
        let pool = match config.bucket {
            0 => items.len().max(1),
            bucket => bucket.saturating_mul(config.batch_size),
        };
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut last_is_open = false;
        for pool in items.chunks_mut(pool) {
            if config.bucket > 0 {
                pool.sort_by_key(|&item| self.lengths[item]);
            }
            last_is_open = self.cut(pool, &mut batches);
        }
        if config.drop_last && last_is_open {
            batches.pop();
        }
        if config.shuffle {
            shuffle(
                &mut batches,
                &mut generator(config.seed, "batches", [epoch, 0]),
            );
        }
        batches
    }

    /// Cuts items into batches; whether the last could take another item.
    fn cut(&self, items: &[usize], batches: &mut Vec<Vec<usize>>) -> bool {
        let limit = self.config.max_tokens.unwrap_or(usize::MAX);
        let mut batch: Vec<usize> = Vec::new();
        let mut longest = 0;
        for &item in items {
            let length = self.lengths[item].max(longest);
            let tokens = length.saturating_mul(batch.len() + 1);
            if !batch.is_empty() && (batch.len() == self.config.batch_size || tokens > limit) {
                batches.push(std::mem::take(&mut batch));
                longest = 0;
            }
            longest = longest.max(self.lengths[item]);
            batch.push(item);
        }
        let open = batch.len() < self.config.batch_size;
        if !batch.is_empty() {
            batches.push(batch);
        }
        open
    }

    /// The first epoch from `epoch` on that has a batch, and its batches.
    pub(super) fn first_from(&self, epoch: u64) -> Result<(u64, Vec<Vec<usize>>), DataError> {
        if epoch > MAX_EPOCH {
            let expected = format!("at most {MAX_EPOCH}");
            return Err(DataError::setting("the epoch", expected, epoch));
        }
        for epoch in epoch..epoch + MAX_EMPTY {
            let batches = self.epoch(epoch);
            if !batches.is_empty() {
                return Ok((epoch, batches));
            }
            if matches!(self.config.sampling, Sampling::Natural) {
                break;
            }
        }
        let expected = "no more than the clips of an epoch, as the last batch is left out";
        Err(DataError::setting(
            "the batch size",
            expected,
            self.config.batch_size,
        ))
    }
}

/// Gives each domain its share of an epoch.
fn shared(
    sampling: &Sampling,
    groups: BTreeMap<&str, Vec<usize>>,
    all: usize,
) -> Result<Vec<Group>, DataError> {
    let (weights, items) = match sampling {
        Sampling::Natural => (None, None),
        Sampling::Balanced { items } => {
            let equal = groups.keys().map(|name| (name.to_string(), 1.0));
            (Some(equal.collect()), *items)
        }
        Sampling::Weighted { weights, items } => (Some(weights.clone()), *items),
    };
    let group = |(name, items): (&str, Vec<usize>), share| Group {
        name: name.to_string(),
        items,
        share,
    };
    let Some(weights): Option<BTreeMap<String, f64>> = weights else {
        return Ok(groups.into_iter().map(|pair| group(pair, None)).collect());
    };
    for (domain, weight) in &weights {
        if !(weight.is_finite() && *weight >= 0.0) {
            let expected = format!("a number of at least 0 for domain `{domain}`");
            return Err(DataError::setting("a weight", expected, weight));
        }
        if !groups.contains_key(domain.as_str()) {
            let found: Vec<&str> = groups.into_keys().collect();
            return Err(DataError::EmptyDomain {
                domain: domain.clone(),
                found: found.join(", "),
            });
        }
    }
    let total: f64 = weights.values().sum();
    if !(total > 0.0 && total.is_finite()) {
        return Err(DataError::setting(
            "the sum of the weights",
            "above 0",
            total,
        ));
    }
    let items = items.unwrap_or(all);
    if !(1..=MAX_ITEMS).contains(&items) {
        let expected = format!("1 to {MAX_ITEMS}");
        return Err(DataError::setting("the items of an epoch", expected, items));
    }
    Ok(groups
        .into_iter()
        .filter_map(|pair| {
            let weight = weights.get(pair.0).filter(|weight| **weight > 0.0)?;
            Some(group(pair, Some(items as f64 * weight / total)))
        })
        .collect())
}

impl Group {
    /// The items that come in an epoch.
    ///
    /// A domain with a share walks through its items in shuffled passes that go on over the epochs, so that all come
    /// equally often whatever the share.
    fn items_of(&self, epoch: u64, config: &OrderConfig) -> Vec<usize> {
        let Some(share) = self.share else {
            return self.items.clone();
        };
        let count = self.items.len() as u64;
        let start = (epoch as f64 * share).round() as u64;
        let end = ((epoch + 1) as f64 * share).round() as u64;
        let mut chosen = Vec::with_capacity((end - start) as usize);
        let mut place = start;
        while place < end {
            let pass = place / count;
            let order = self.pass(pass, config);
            let from = (place % count) as usize;
            let to = (end - pass * count).min(count) as usize;
            chosen.extend_from_slice(&order[from..to]);
            place = pass * count + to as u64;
        }
        chosen
    }

    fn pass(&self, pass: u64, config: &OrderConfig) -> Vec<usize> {
        let mut items = self.items.clone();
        if config.shuffle {
            let place = [fnv(&self.name), pass];
            shuffle(&mut items, &mut generator(config.seed, "pass", place));
        }
        items
    }
}

/// A plan and a place in it.
#[derive(Debug)]
pub(super) struct Cursor {
    plan: Arc<Plan>,
    epoch: u64,
    next: usize,
    batches: Vec<Vec<usize>>,
}

impl Cursor {
    /// Stands before the batch at `position`.
    pub(super) fn new(plan: Arc<Plan>, position: Position) -> Result<Self, DataError> {
        let (epoch, batches) = plan.first_from(position.epoch)?;
        let next = usize::try_from(position.batch).unwrap_or(usize::MAX);
        if next > 0 && (epoch != position.epoch || next > batches.len()) {
            let expected = format!("at most {} in epoch {}", batches.len(), position.epoch);
            return Err(DataError::setting(
                "the batch to go on from",
                expected,
                next,
            ));
        }
        Ok(Self {
            plan,
            epoch,
            next,
            batches,
        })
    }

    /// The next batch, and the position after it.
    pub(super) fn advance(&mut self) -> Result<(Vec<usize>, Position), DataError> {
        if self.next >= self.batches.len() {
            (self.epoch, self.batches) = self.plan.first_from(self.epoch + 1)?;
            self.next = 0;
        }
        let batch = std::mem::take(&mut self.batches[self.next]);
        self.next += 1;
        let after = match self.next < self.batches.len() {
            true => Position {
                epoch: self.epoch,
                batch: self.next as u64,
            },
            false => Position {
                epoch: self.epoch + 1,
                batch: 0,
            },
        };
        Ok((batch, after))
    }
}
