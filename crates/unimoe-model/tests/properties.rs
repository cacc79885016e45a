//! Properties of the parts on the host, over random sizes and settings.
#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use unimoe_model::{CodeGrid, DelayPattern, Sampler, SamplingConfig, SamplingError, SpecialCodes};

const SPECIAL: SpecialCodes = SpecialCodes {
    eos: 90,
    pad: 91,
    bos: 92,
};

fn delays_and_codes() -> impl Strategy<Value = (DelayPattern, CodeGrid)> {
    (prop::collection::vec(0_usize..9, 1..6), 0_usize..20).prop_flat_map(|(delays, frames)| {
        let channels = delays.len();
        let pattern = DelayPattern::new(delays).unwrap();
        let codes = prop::collection::vec(0_u32..80, channels * frames);
        let grid = codes.prop_map(move |codes| CodeGrid::new(channels, codes).unwrap());
        (Just(pattern), grid)
    })
}

fn logits() -> impl Strategy<Value = Vec<f32>> {
    let logit = prop_oneof![
        4 => -1e30_f32..1e30,
        4 => -9_f32..9.0,
        1 => Just(f32::NEG_INFINITY),
    ];
    prop::collection::vec(logit, 1..70)
}

proptest! {
    #[test]
    fn reverting_undoes_applying((pattern, codes) in delays_and_codes()) {
        let mut longer = codes.clone();
        for _ in 0..pattern.max() {
            longer.push(&vec![SPECIAL.pad; pattern.n_channels()]).unwrap();
        }
        let delayed = pattern.apply(&longer, SPECIAL.bos).unwrap();
        prop_assert_eq!(pattern.revert(&delayed), Ok(codes));
    }

    #[test]
    fn a_reference_holds_its_frames_after_one_row((pattern, codes) in delays_and_codes()) {
        let delayed = pattern.delay_reference(&codes, SPECIAL).unwrap();
        let channels = pattern.n_channels();
        let later = CodeGrid::new(channels, delayed.as_slice()[channels..].to_vec()).unwrap();
        prop_assert_eq!(pattern.revert(&later), Ok(codes));
    }

    #[test]
    fn frames_come_one_by_one_as_in_the_whole((pattern, delayed) in delays_and_codes()) {
        let whole = pattern.revert(&delayed).unwrap();
        for t in 0..delayed.n_frames() + 1 {
            let frame = pattern.frame(&delayed, t).unwrap();
            prop_assert_eq!(frame.as_deref(), whole.frame(t));
        }
    }

    #[test]
    fn any_logits_give_a_distribution_with_the_drawn_code_in_it(
        logits in logits(),
        temperature in prop_oneof![Just(1e-300), 0.01..4.0, Just(1e300)],
        top_p in 0.01..=1.0,
        top_k in prop::option::of(1_usize..80),
        eos in prop::option::of(0_u32..70),
        seed: u64,
    ) {
        let config = SamplingConfig { temperature, top_p, top_k, greedy: false };
        let mut sampler = Sampler::new(config, seed).unwrap();
        match sampler.distribution(&logits, eos) {
            Ok(probabilities) => {
                let sum: f64 = probabilities.iter().map(|&p| f64::from(p)).sum();
                prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
                let support = probabilities.iter().filter(|&&p| p > 0.0).count();
                prop_assert!(support <= top_k.unwrap_or(logits.len()));
                let code = sampler.sample(&logits, eos).unwrap();
                prop_assert!(probabilities[code as usize] > 0.0);
            }
            Err(error) => {
                prop_assert_eq!(error, SamplingError::NoCandidate);
                prop_assert!(logits.iter().all(|logit| *logit == f32::NEG_INFINITY));
            }
        }
    }
}
