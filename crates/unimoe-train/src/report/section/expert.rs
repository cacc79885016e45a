//! Names and shares of experts, as the plots of routing want them.

use plotters::prelude::RGBColor;

use crate::{
    event::LayerLoad,
    report::plot::{percent, ramp},
};

/// Most classes of a histogram of experts per token.
const CLASSES: usize = 10;

/// `E1` ... for routed experts as in the paper, then `null`, numbered where there are several.
pub(super) fn names(routed: usize, pool: usize) -> Vec<String> {
    (0..pool)
        .map(|expert| match expert.checked_sub(routed) {
            None => format!("E{}", expert + 1),
            Some(_) if pool == routed + 1 => "null".to_string(),
            Some(null) => format!("null {}", null + 1),
        })
        .collect()
}

/// Experts per token in classes of the same width, each with a name and a colour.
#[derive(Debug)]
pub(super) struct Classes {
    first: usize,
    width: usize,
    pub parts: Vec<(String, RGBColor)>,
}

impl Classes {
    /// Classes for counts up to the largest that some token has in `layers`.
    pub fn new<'a>(layers: impl Iterator<Item = &'a LayerLoad>) -> Self {
        let (mut first, mut last) = (usize::MAX, 0);
        for layer in layers {
            let shares = layer.experts_per_token.iter().enumerate();
            for (count, _) in shares.filter(|(_, share)| **share > 0.0) {
                first = first.min(count);
                last = last.max(count);
            }
        }
        let first = first.min(last);
        let width = (last - first + 1).div_ceil(CLASSES).max(1);
        let number = (last - first + 1).div_ceil(width);
        let parts = (0..number).map(|class| {
            let from = first + class * width;
            let name = match (from, (from + width - 1).min(last)) {
                (1, 1) => "1 expert".to_string(),
                (from, to) if from == to => format!("{from} experts"),
                (from, to) => format!("{from}-{to} experts"),
            };
            let place = class as f64 / (number.max(2) - 1) as f64;
            (name, ramp(place))
        });
        Self {
            first,
            width,
            parts: parts.collect(),
        }
    }

    /// Share of the tokens in each class.
    pub fn shares(&self, layer: &LayerLoad) -> Vec<f64> {
        let mut shares = vec![0.0; self.parts.len()];
        for (count, share) in layer.experts_per_token.iter().enumerate() {
            let class = count
                .checked_sub(self.first)
                .map(|above| above / self.width);
            if let Some(sum) = class.and_then(|class| shares.get_mut(class)) {
                *sum += share;
            }
        }
        shares
    }
}

/// The dead experts of each layer in a sentence.
pub(super) fn dead(layers: &[Vec<usize>], threshold: f64) -> String {
    let told: Vec<String> = layers
        .iter()
        .enumerate()
        .filter(|(_, experts)| !experts.is_empty())
        .map(|(layer, experts)| {
            let names: Vec<String> = experts
                .iter()
                .map(|expert| format!("E{}", expert + 1))
                .collect();
            format!("layer {layer}: {}", names.join(", "))
        })
        .collect();
    let meaning = format!(
        "no domain sends more than {} of its tokens to it",
        percent(threshold)
    );
    match told.is_empty() {
        true => format!("No routed expert is dead (dead: {meaning})."),
        false => format!("Dead experts ({meaning}): {}.", told.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(experts_per_token: &[f64]) -> LayerLoad {
        LayerLoad {
            experts_per_token: experts_per_token.to_vec(),
            ..LayerLoad::default()
        }
    }

    fn class_names(classes: &Classes) -> Vec<&str> {
        classes
            .parts
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    #[test]
    fn experts_are_numbered_from_one_and_null_experts_named() {
        assert_eq!(names(2, 3), ["E1", "E2", "null"]);
        assert_eq!(names(1, 3), ["E1", "null 1", "null 2"]);
        assert_eq!(names(9, 2), ["E1", "E2"]);
    }

    #[test]
    fn up_to_ten_counts_have_classes_of_their_own() {
        let layer = layer(&[0.0, 0.25, 0.75]);
        let classes = Classes::new([&layer].into_iter());
        assert_eq!(class_names(&classes), ["1 expert", "2 experts"]);
        assert_eq!(classes.shares(&layer), [0.25, 0.75]);
    }

    #[test]
    fn many_counts_share_classes_and_no_token_is_lost() {
        let layer = layer(&[0.05; 20]);
        let classes = Classes::new([&layer].into_iter());
        let names = [
            "0-1 experts",
            "2-3 experts",
            "4-5 experts",
            "6-7 experts",
            "8-9 experts",
            "10-11 experts",
            "12-13 experts",
            "14-15 experts",
            "16-17 experts",
            "18-19 experts",
        ];
        assert_eq!(class_names(&classes), names);
        assert!((classes.shares(&layer).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_tokens_there_is_one_empty_class() {
        let layer = layer(&[]);
        let classes = Classes::new([&layer].into_iter());
        assert_eq!(classes.shares(&layer), [0.0]);
    }

    #[test]
    fn dead_experts_are_told_by_layer() {
        let text = dead(&[vec![], vec![0, 2]], 0.001);
        assert!(text.ends_with("layer 1: E1, E3."), "{text}");
        assert!(dead(&[vec![]], 0.001).starts_with("No routed expert"));
    }
}
