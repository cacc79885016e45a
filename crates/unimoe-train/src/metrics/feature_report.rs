//! Embeddings and class logits of what was generated, beside those of the references.

use serde::Serialize;

use super::{
    KlDivergence, MetricError, NamedFeatures, Pairing, Summary, cosine_similarity,
    frechet_distance, inception_score, kl_divergence,
};

/// What is measured of embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddingOptions {
    /// Cosine similarity of the embeddings of the same clip.
    pub cosine: bool,
    /// Frechet distance of the two sets; the clips need not be the same.
    pub frechet: bool,
    /// Whether pairs leave out clips that are on one side only; else they are an error.
    pub skip: bool,
}

/// Embeddings beside each other. What was not asked for is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingReport {
    /// Number of references.
    pub references: usize,
    /// Number of generated clips.
    pub generated: usize,
    /// Width of the embeddings.
    pub width: usize,
    /// Cosine similarity over the pairs.
    pub cosine: Option<Summary>,
    /// Frechet distance of all references and all generated clips.
    pub frechet: Option<f64>,
    /// The cosine similarity of each pair.
    pub clips: Vec<EmbeddingItem>,
    /// Names of clips that no pair was found for.
    pub skipped: Vec<String>,
}

/// The embeddings of one clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EmbeddingItem {
    /// Name of the clip.
    pub id: String,
    /// Their cosine similarity.
    pub cosine: f64,
}

/// What is measured of class logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitOptions {
    /// Parts that the inception score is computed for.
    pub splits: usize,
    /// What keeps the smoothed divergences finite.
    pub epsilon: f64,
    /// Whether pairs leave out clips that are on one side only; else they are an error.
    pub skip: bool,
}

/// Class logits beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogitReport {
    /// Number of generated clips.
    pub generated: usize,
    /// Number of classes.
    pub classes: usize,
    /// Divergences from the references; left out where there are none.
    pub kl: Option<KlSummary>,
    /// Inception score of the generated clips: mean over the splits.
    pub inception_score: f64,
    /// Population standard deviation over the splits.
    pub inception_score_std: f64,
    /// Number of splits.
    pub splits: usize,
    /// The divergences of each pair.
    pub clips: Vec<LogitItem>,
    /// Names of clips that no pair was found for.
    pub skipped: Vec<String>,
}

/// Divergences over the pairs in nats; see [`KlDivergence`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KlSummary {
    /// `KL(reference || generated)`.
    pub forward: Summary,
    /// `KL(generated || reference)`.
    pub reverse: Summary,
    /// `KL(reference || generated)` with epsilon within the logarithm.
    pub smoothed: Summary,
    /// The same with sigmoids, for classifiers of several labels.
    pub sigmoid: Summary,
}

/// The class logits of one clip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LogitItem {
    /// Name of the clip.
    pub id: String,
    /// As in [`KlSummary`].
    pub forward: f64,
    /// As in [`KlSummary`].
    pub reverse: f64,
    /// As in [`KlSummary`].
    pub smoothed: f64,
    /// As in [`KlSummary`].
    pub sigmoid: f64,
}

impl EmbeddingReport {
    /// Compares embeddings.
    ///
    /// # Errors
    ///
    /// [`MetricError::Unpaired`] for a clip without counterpart where pairs are asked for and none may be left out,
    /// else as [`cosine_similarity`] and [`frechet_distance`].
    pub fn of(
        reference: &NamedFeatures,
        generated: &NamedFeatures,
        options: EmbeddingOptions,
    ) -> Result<Self, MetricError> {
        reference.features().check_width(generated.features())?;
        let mut report = Self {
            references: reference.features().count(),
            generated: generated.features().count(),
            width: reference.features().width(),
            cosine: None,
            frechet: None,
            clips: Vec::new(),
            skipped: Vec::new(),
        };
        if options.cosine {
            let pairs = Pairs::of(reference, generated, options.skip)?;
            let found = cosine_similarity(pairs.reference.features(), pairs.generated.features())?;
            report.cosine = Summary::of(&found.per_pair);
            let items = pairs.reference.ids().iter().zip(found.per_pair);
            let item = |(id, cosine): (&String, f64)| EmbeddingItem {
                id: id.clone(),
                cosine,
            };
            report.clips = items.map(item).collect();
            report.skipped = pairs.skipped;
        }
        if options.frechet {
            let distance = frechet_distance(reference.features(), generated.features())?;
            report.frechet = Some(distance);
        }
        Ok(report)
    }
}

impl LogitReport {
    /// Scores class logits, and compares them with those of the references where there are any.
    ///
    /// # Errors
    ///
    /// [`MetricError::Unpaired`] for a clip without counterpart where none may be left out, else as
    /// [`kl_divergence`] and [`inception_score`].
    pub fn of(
        reference: Option<&NamedFeatures>,
        generated: &NamedFeatures,
        options: LogitOptions,
    ) -> Result<Self, MetricError> {
        let score = inception_score(generated.features(), options.splits)?;
        let mut report = Self {
            generated: generated.features().count(),
            classes: generated.features().width(),
            kl: None,
            inception_score: score.mean,
            inception_score_std: score.std,
            splits: options.splits,
            clips: Vec::new(),
            skipped: Vec::new(),
        };
        let Some(reference) = reference else {
            return Ok(report);
        };
        let pairs = Pairs::of(reference, generated, options.skip)?;
        let found = kl_divergence(
            pairs.reference.features(),
            pairs.generated.features(),
            options.epsilon,
        )?;
        report.kl = KlSummary::of(&found);
        let item = |(place, id): (usize, &String)| LogitItem {
            id: id.clone(),
            forward: found.forward[place],
            reverse: found.reverse[place],
            smoothed: found.smoothed[place],
            sigmoid: found.sigmoid[place],
        };
        report.clips = pairs.reference.ids().iter().enumerate().map(item).collect();
        report.skipped = pairs.skipped;
        Ok(report)
    }
}

impl KlSummary {
    fn of(found: &KlDivergence) -> Option<Self> {
        Some(Self {
            forward: Summary::of(&found.forward)?,
            reverse: Summary::of(&found.reverse)?,
            smoothed: Summary::of(&found.smoothed)?,
            sigmoid: Summary::of(&found.sigmoid)?,
        })
    }
}

/// Rows of the same clips in the same order.
struct Pairs {
    reference: NamedFeatures,
    generated: NamedFeatures,
    skipped: Vec<String>,
}

impl Pairs {
    fn of(
        reference: &NamedFeatures,
        generated: &NamedFeatures,
        skip: bool,
    ) -> Result<Self, MetricError> {
        reference.features().check_width(generated.features())?;
        let mut pairing = Pairing::by_id(reference.ids(), generated.ids());
        if !skip {
            pairing = pairing.complete()?;
        }
        if pairing.pairs.is_empty() {
            return Err(MetricError::TooFew {
                what: "clips that both sides have".into(),
                expected: 1,
                found: 0,
            });
        }
        let select = |side: &NamedFeatures, places: Vec<usize>| {
            let ids = places.iter().map(|&place| side.ids()[place].clone());
            NamedFeatures::new(ids.collect(), side.features().select(places)?)
        };
        let (first, second) = pairing.pairs.into_iter().unzip();
        Ok(Self {
            reference: select(reference, first)?,
            generated: select(generated, second)?,
            skipped: pairing.unpaired.into_iter().map(|(_, id)| id).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Features;

    fn named(ids: &[&str], values: Vec<f64>) -> NamedFeatures {
        let features = Features::new(values.len() / ids.len(), values).expect("rows");
        NamedFeatures::new(ids.iter().map(|id| (*id).to_owned()).collect(), features)
            .expect("names")
    }

    const BOTH: EmbeddingOptions = EmbeddingOptions {
        cosine: true,
        frechet: true,
        skip: false,
    };
    const LOGITS: LogitOptions = LogitOptions {
        splits: 1,
        epsilon: 1e-6,
        skip: false,
    };

    #[test]
    fn rows_are_compared_with_their_counterparts_whatever_the_order() {
        let reference = named(&["a", "b"], vec![1.0, 0.0, 0.0, 1.0]);
        let generated = named(&["b", "a"], vec![0.0, 2.0, 2.0, 0.0]);
        let report = EmbeddingReport::of(&reference, &generated, BOTH).expect("a report");
        assert_eq!(report.cosine.expect("pairs").mean, 1.0);
        assert!(report.frechet.expect("a distance") > 0.0);
        let report = LogitReport::of(Some(&reference), &reference, LOGITS).expect("a report");
        assert_eq!(report.kl.expect("pairs").forward.mean, 0.0);
    }

    #[test]
    fn clips_on_one_side_are_an_error_unless_left_out_or_not_paired() {
        let reference = named(&["a", "b"], vec![1.0, 0.0, 0.0, 1.0]);
        let generated = named(&["b", "c", "d"], vec![0.0, 2.0, 2.0, 0.0, 1.0, 1.0]);
        let of = |options| EmbeddingReport::of(&reference, &generated, options);
        assert!(matches!(
            of(BOTH),
            Err(MetricError::Unpaired { others: 2, .. })
        ));
        let report = of(EmbeddingOptions { skip: true, ..BOTH }).expect("a pair");
        assert_eq!((report.clips.len(), &report.clips[0].id[..]), (1, "b"));
        assert_eq!(report.skipped, ["a", "c", "d"]);
        let report = of(EmbeddingOptions {
            cosine: false,
            ..BOTH
        })
        .expect("two sets");
        assert_eq!((report.cosine, report.clips.len()), (None, 0));
        let error = LogitReport::of(Some(&reference), &generated, LOGITS);
        assert!(matches!(error, Err(MetricError::Unpaired { .. })));
        LogitReport::of(None, &generated, LOGITS).expect("an inception score");

        let elsewhere = named(&["x"], vec![1.0, 1.0]);
        let options = EmbeddingOptions {
            skip: true,
            frechet: false,
            cosine: true,
        };
        let error = EmbeddingReport::of(&reference, &elsewhere, options);
        assert!(matches!(error, Err(MetricError::TooFew { .. })));
    }
}
