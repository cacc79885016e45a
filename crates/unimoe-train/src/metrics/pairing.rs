//! Which generated clip belongs to which reference: the one of the same name.

use std::{collections::HashMap, fmt};

use super::MetricError;

/// One of the two things that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What was wanted.
    Reference,
    /// What was generated.
    Generated,
}

/// Clips of the same name on both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// Places of the two clips of each pair, in the order of the references.
    pub pairs: Vec<(usize, usize)>,
    /// Clips on one side only, references first.
    pub unpaired: Vec<(Side, String)>,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Reference => Self::Generated,
            Self::Generated => Self::Reference,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference clips",
            Self::Generated => "generated clips",
        })
    }
}

impl Pairing {
    /// Pairs names, each of which is there once on its side.
    pub fn by_id<S: AsRef<str>>(reference: &[S], generated: &[S]) -> Self {
        let mut places: HashMap<&str, usize> = generated
            .iter()
            .enumerate()
            .map(|(place, id)| (id.as_ref(), place))
            .collect();
        let (mut pairs, mut unpaired) = (Vec::new(), Vec::new());
        for (place, id) in reference.iter().enumerate() {
            match places.remove(id.as_ref()) {
                Some(other) => pairs.push((place, other)),
                None => unpaired.push((Side::Reference, id.as_ref().to_owned())),
            }
        }
        let left = generated.iter().map(AsRef::as_ref);
        let left = left.filter(|id| places.contains_key(id));
        unpaired.extend(left.map(|id| (Side::Generated, id.to_owned())));
        Self { pairs, unpaired }
    }

    /// Every clip has its counterpart.
    ///
    /// # Errors
    ///
    /// [`MetricError::Unpaired`] that names the first clip without one.
    pub fn complete(self) -> Result<Self, MetricError> {
        match self.unpaired.first() {
            None => Ok(self),
            Some((present, id)) => Err(MetricError::Unpaired {
                id: id.clone(),
                present: *present,
                others: self.unpaired.len() - 1,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_pair_in_the_order_of_the_references() {
        let pairing = Pairing::by_id(&["c", "a", "x"], &["a", "y", "c"]);
        assert_eq!(pairing.pairs, [(0, 2), (1, 0)]);
        let unpaired = [(Side::Reference, "x".into()), (Side::Generated, "y".into())];
        assert_eq!(pairing.unpaired, unpaired);
        let error = pairing.complete().expect_err("unpaired").to_string();
        let expected = "`x` is among the reference clips only, and 1 more clips are on one side only; \
                        expected it among the generated clips too";
        assert_eq!(error, expected);
        Pairing::by_id(&["a"], &["a"]).complete().expect("complete");
    }
}
