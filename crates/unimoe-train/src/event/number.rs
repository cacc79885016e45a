//! Numbers as JSON has them: `null` where there is no number.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

type Maybe = Option<f64>;

pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Maybe::deserialize(deserializer).map(known)
}

pub(super) fn row<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let row = Vec::<Maybe>::deserialize(deserializer)?;
    Ok(row.into_iter().map(known).collect())
}

pub(super) fn table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<f64>>, D::Error> {
    let table = Vec::<Vec<Maybe>>::deserialize(deserializer)?;
    let rows = table.into_iter();
    Ok(rows
        .map(|row| row.into_iter().map(known).collect())
        .collect())
}

pub(super) fn named<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let named = BTreeMap::<String, Maybe>::deserialize(deserializer)?;
    let pairs = named.into_iter();
    Ok(pairs.map(|(name, value)| (name, known(value))).collect())
}

fn known(value: Maybe) -> f64 {
    value.unwrap_or(f64::NAN)
}
