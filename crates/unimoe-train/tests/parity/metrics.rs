//! Metrics against jiwer, and against float64 results of their formulas.

use std::fs;

use serde_json::Value;
use testkit::{Case, cases, golden_root};
use unimoe_train::{
    ErrorRate, Features, KlDivergence, TextNormalization, character_error_rate, cosine_similarity,
    frechet_distance, inception_score, kl_divergence, word_error_rate,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The reference computes in float64 from the same float32 inputs and rounds its results to float32, which is
/// 6e-8 of them.
const RELATIVE: f64 = 1e-6;
/// Near zero: float64's rounding times the size of the sums, such as the spread of a set of embeddings.
const ABSOLUTE: f64 = 1e-6;

fn assert_near(case: &Case, name: &str, found: &[f64]) {
    let expected = case.floats(name);
    assert_eq!(found.len(), expected.len(), "{}: {name}", case.name);
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let allowed = ABSOLUTE + RELATIVE * f64::from(expected.abs());
        let distance = (found - f64::from(expected)).abs();
        // Written so that what is no number fails too.
        assert!(
            distance <= allowed,
            "{}: {name}[{index}] is {found}, expected {expected}",
            case.name
        );
    }
}

fn features(case: &Case, name: &str) -> Features {
    let values = case.floats(name).into_iter().map(f64::from).collect();
    Features::new(case.shape(name)[1], values).expect("finite rows")
}

#[test]
fn cosine_similarity_equals_the_reference() {
    for case in cases(ROOT, "metrics", "cosine") {
        let found = cosine_similarity(&features(&case, "x"), &features(&case, "y")).expect("pairs");
        assert_near(&case, "out.cosine", &found.per_pair);
        assert_near(&case, "out.mean", &[found.mean]);
    }
}

#[test]
fn frechet_distance_equals_the_eigenvalues_of_the_reference() {
    for case in cases(ROOT, "metrics", "frechet") {
        let found =
            frechet_distance(&features(&case, "x"), &features(&case, "y")).expect("two sets");
        assert_near(&case, "out.frechet", &[found]);
    }
}

#[test]
fn inception_score_equals_the_reference_for_every_number_of_splits() {
    for case in cases(ROOT, "metrics", "inception") {
        let logits = features(&case, "logits");
        let whole = inception_score(&logits, 1).expect("one split");
        assert_near(&case, "out.is_1", &whole.per_split);
        // `out.is_4_per_split` tells its number of splits by its shape.
        let names = case.names();
        let split = names.iter().filter(|name| name.ends_with("_per_split"));
        let mut compared = 0;
        for name in split {
            let found = inception_score(&logits, case.shape(name)[0]).expect("as many splits");
            assert_near(&case, name, &found.per_split);
            assert_near(&case, &name.replace("per_split", "mean"), &[found.mean]);
            assert_near(&case, &name.replace("per_split", "std"), &[found.std]);
            compared += 1;
        }
        assert!(compared > 0, "{}: no splits", case.name);
    }
}

#[test]
fn every_kind_of_kl_divergence_equals_the_reference() {
    for case in cases(ROOT, "metrics", "kl") {
        let (reference, generated) = (
            features(&case, "logits_reference"),
            features(&case, "logits_generated"),
        );
        let epsilon = case.number("eps").expect("eps");
        let found = kl_divergence(&reference, &generated, epsilon).expect("pairs");
        assert_near(&case, "out.kl_pq", &found.forward);
        assert_near(&case, "out.kl_qp", &found.reverse);
        for (name, per_pair) in [
            ("out.kl_pq_mean", &found.forward),
            ("out.kl_qp_mean", &found.reverse),
            ("out.kl_eps_mean", &found.smoothed),
            ("out.kl_sigmoid_mean", &found.sigmoid),
        ] {
            assert_near(&case, name, &[KlDivergence::mean(per_pair)]);
        }
    }
}

/// A quotient of the same counts, but for the last bit of the number read from JSON.
fn assert_rate(expected: &Value, found: f64) {
    let expected = expected.as_f64().expect("a rate");
    let distance = (found - expected).abs();
    assert!(
        distance <= f64::EPSILON * expected,
        "{found}, expected {expected}"
    );
}

/// Compares the counts that are the same in every optimal alignment: their sum, and what follows from it.
fn assert_edits(pair: &Value, kind: &str, found: &ErrorRate) {
    let count = |name: &str| pair[format!("{kind}_{name}")].as_u64().expect("a count");
    let edits = count("substitutions") + count("deletions") + count("insertions");
    assert_eq!(found.counts.edits(), edits, "{pair}");
    let length = count("hits") + count("substitutions") + count("deletions");
    assert_eq!(found.counts.reference_length(), length, "{pair}");
}

#[test]
fn word_and_character_error_rates_equal_jiwer() {
    let path = golden_root(ROOT).join("metrics/wer_cer.json");
    let golden: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("the cases")).expect("JSON");
    let rates = |pair: &Value| {
        let [reference, hypothesis] =
            ["reference", "hypothesis"].map(|key| pair[key].as_str().expect("a text"));
        let none = TextNormalization::none();
        let wer = word_error_rate(reference, hypothesis, none).expect("short texts");
        let cer = character_error_rate(reference, hypothesis, none).expect("short texts");
        assert_rate(&pair["wer"], wer.rate);
        assert_rate(&pair["cer"], cer.rate);
        (wer, cer)
    };
    let list = |key: &str| golden[key].as_array().expect("a list");
    let found: Vec<_> = list("pairs").iter().map(rates).collect();
    assert!(!found.is_empty(), "no pairs");
    for (pair, (wer, cer)) in list("pairs").iter().zip(&found) {
        assert_edits(pair, "word", wer);
        assert_edits(pair, "char", cer);
    }
    let pooled = [
        ErrorRate::pooled(found.iter().map(|(wer, _)| wer)),
        ErrorRate::pooled(found.iter().map(|(_, cer)| cer)),
    ];
    assert_rate(&golden["corpus_wer"], pooled[0].rate);
    assert_rate(&golden["corpus_cer"], pooled[1].rate);
    list("empty_reference").iter().for_each(|pair| {
        rates(pair);
    });
}
