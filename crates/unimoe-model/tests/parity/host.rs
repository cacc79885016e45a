//! The parts on the host: tokenizer, prompts, delay pattern, guidance and sampler.

use std::{fs, path::PathBuf};

use serde_json::Value;
use testkit::{Case, assert_equal, cases, golden_root};
use unimoe_model::{
    ClassifierFreeGuidance, CodeGrid, DelayPattern, EosRule, Prompt, PromptBatch, Sampler,
    SamplingConfig, SpecialCodes, TokenBatch, Tokenizer,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The reference adds float32 probabilities in another order: a few units in the last place of 1.
const PROBABILITY_TOLERANCE: f32 = 2e-6;
/// A rounding of each of three float32 operations: relative to the logit, and to 1 near zero.
const LOGIT_TOLERANCE: f32 = 5e-6;
/// What the cases store for minus infinity, and below.
const FORBIDDEN: f32 = -1e29;

/// The model folder of a case; `lm/checkpoint` where it names none.
fn checkpoint(case: &Case) -> PathBuf {
    golden_root(ROOT).join(
        case.config()["checkpoint"]
            .as_str()
            .unwrap_or("lm/checkpoint"),
    )
}

fn group(name: &str) -> PathBuf {
    golden_root(ROOT).join(name)
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().expect("a list of texts");
    list.iter()
        .map(|text| text.as_str().expect("a text").to_string())
        .collect()
}

fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().expect("a list of ids");
    list.iter()
        .map(|id| u32::try_from(id.as_u64().expect("an id")).expect("an id"))
        .collect()
}

fn codes(case: &Case, name: &str) -> Vec<u32> {
    let values = case.ints(name).into_iter();
    values
        .map(|code| u32::try_from(code).expect("a code"))
        .collect()
}

fn code(case: &Case, name: &str) -> u32 {
    u32::try_from(case.count(name).expect(name)).expect("a code")
}

fn signed(codes: impl IntoIterator<Item = u32>) -> Vec<i64> {
    codes.into_iter().map(i64::from).collect()
}

fn pattern(case: &Case) -> DelayPattern {
    let delays = case.config()["delay_pattern"].as_array().expect("delays");
    DelayPattern::new(
        delays
            .iter()
            .map(|delay| usize::try_from(delay.as_u64().expect("a delay")).expect("a delay"))
            .collect(),
    )
    .expect("a valid pattern")
}

/// The items of a tensor `[B, T, K]` or `[T, K]`.
fn grids(case: &Case, name: &str) -> Vec<CodeGrid> {
    let shape = case.shape(name);
    let [.., rows, channels] = shape[..] else {
        panic!("{}: {name} has the shape {shape:?}", case.name)
    };
    let codes = codes(case, name);
    let items = shape[..shape.len() - 2].iter().product::<usize>();
    (0..items)
        .map(|item| {
            let item = &codes[item * rows * channels..(item + 1) * rows * channels];
            CodeGrid::new(channels, item.to_vec()).expect("whole frames")
        })
        .collect()
}

fn joined(grids: impl IntoIterator<Item = CodeGrid>) -> Vec<i64> {
    signed(grids.into_iter().flat_map(CodeGrid::into_codes))
}

#[test]
fn tokenizer_equals_the_published_one() {
    let path = group("tokenizer").join("tokenizer_cases.json");
    let text = fs::read_to_string(&path).expect("the cases");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let tokenizer = Tokenizer::from_dir(group("tokenizer")).expect("a complete folder");

    let cases = golden["cases"].as_array().expect("cases");
    assert!(!cases.is_empty());
    for case in cases {
        let text = case["text"].as_str().expect("a text");
        let encoded = tokenizer.encode(text).expect("any text");
        assert_eq!(encoded, ids(&case["ids"]), "ids of {text:?}");
        let tokens: Vec<String> = encoded
            .iter()
            .map(|&id| tokenizer.token(id).expect("a known id"))
            .collect();
        assert_eq!(tokens, strings(&case["tokens"]), "tokens of {text:?}");
        for (name, skip_special) in [("decoded", false), ("decoded_skip_special", true)] {
            let decoded = tokenizer.decode(&encoded, skip_special).expect("known ids");
            assert_eq!(decoded, case[name], "{name} of {text:?}");
        }
    }
    for case in golden["partial_decodes"].as_array().expect("cases") {
        let decoded = tokenizer.decode(&ids(&case["ids"]), false);
        assert_eq!(decoded.expect("known ids"), case["decoded"], "{case}");
    }
    for case in golden["padded_batches"].as_array().expect("cases") {
        assert_eq!(case["padding_side"], "left");
        let rows: Vec<Vec<u32>> = strings(&case["texts"])
            .iter()
            .map(|text| tokenizer.encode(text).expect("any text"))
            .collect();
        let batch = TokenBatch::left_padded(&rows, tokenizer.pad_id());
        let all = |name: &str| -> Vec<u32> {
            let rows = case[name].as_array().expect("rows");
            rows.iter().flat_map(ids).collect()
        };
        assert_eq!(batch.ids, all("input_ids"));
        let mask: Vec<u32> = batch.real.iter().map(|&real| u32::from(real)).collect();
        assert_eq!(mask, all("attention_mask"));
    }
    for (token, id) in golden["special_token_ids"].as_object().expect("ids") {
        assert_eq!(
            tokenizer.token_id(token).map(u64::from),
            id.as_u64(),
            "{token}"
        );
    }
    assert_eq!(
        golden["len"].as_u64(),
        u64::try_from(tokenizer.vocab_size()).ok()
    );
}

/// What stands between two tokens of a text.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

#[test]
fn prompts_equal_the_published_ones() {
    let mut checked = 0;
    for case in cases(ROOT, "lm", "lm_generate_") {
        let tokenizer = Tokenizer::from_dir(checkpoint(&case)).expect("a folder");
        let texts = strings(&case.config()["prompts"]);
        // Pictures and films are put into the text as tokens of their own; this crate has none yet.
        if texts.iter().any(|text| text.contains("<|vision_start|>")) {
            continue;
        }
        let prompts: Vec<Prompt> = texts
            .chunks(2)
            .map(|pair| {
                let conditional = &pair[1];
                if let Some(speech) = between(conditional, "<|SPEECH_START|>", "<|SPEECH_END|>") {
                    let (start, end) = ("<|SPEECH_PROMPT_START|>", "<|SPEECH_PROMPT_END|>");
                    let voice = between(conditional, start, end).expect("a voice");
                    let frames = conditional.matches("<|AUDIO_PLACEHOLDER|>").count();
                    Prompt::speech(speech, voice, frames)
                } else {
                    let caption = between(conditional, "<|MUSIC_START|>", "<|MUSIC_END|>");
                    Prompt::music(caption.expect("a caption"))
                }
                .expect("a valid request")
            })
            .collect();
        for (prompt, pair) in prompts.iter().zip(texts.chunks(2)) {
            assert_eq!(prompt.unconditional().to_string(), pair[0], "{}", case.name);
            assert_eq!(prompt.conditional().to_string(), pair[1], "{}", case.name);
        }
        let batch = PromptBatch::encode(&prompts, &tokenizer).expect("clean texts");
        let shape = vec![batch.tokens.n_rows, batch.tokens.length];
        assert_eq!(shape, case.shape("input_ids"), "{}", case.name);
        assert_equal(&case, "input_ids", &signed(batch.tokens.ids));
        let mask: Vec<i64> = batch.tokens.real.iter().map(|&real| real.into()).collect();
        assert_equal(&case, "attention_mask", &mask);
        checked += 1;
    }
    assert!(checked > 0, "no case without pictures");
}

#[test]
fn applying_the_delay_equals_the_published_indices_and_codes() {
    for case in cases(ROOT, "delay", "delay_apply_") {
        let pattern = pattern(&case);
        let items = grids(&case, "codes");
        let (mut t_idx, mut indices) = (Vec::new(), Vec::new());
        let (places, flat) = (case.ints("out.t_idx"), case.ints("out.indices"));
        for (item, grid) in items.iter().enumerate() {
            for row in 0..grid.n_frames() {
                for channel in 0..pattern.n_channels() {
                    let source = pattern.source(row, channel);
                    // Before the delay has passed, the reference counts on below zero.
                    let before = row as i64 - pattern.delays()[channel] as i64;
                    assert_eq!(source.is_none(), before < 0);
                    t_idx.push(source.map_or(before, |frame| frame as i64));
                    let place = [item, source.unwrap_or(0), channel];
                    indices.extend(place.map(|value| value as i64));
                }
            }
        }
        assert_eq!(t_idx, places, "{}", case.name);
        assert_eq!(indices, flat, "{}", case.name);

        let bos = code(&case, "bos_value");
        let delayed = items
            .iter()
            .map(|item| pattern.apply(item, bos).expect("matching channels"));
        assert_equal(&case, "out.delayed", &joined(delayed));
    }
}

#[test]
fn reverting_the_delay_equals_the_published_code() {
    for case in cases(ROOT, "delay", "delay_revert_") {
        let pattern = pattern(&case);
        let items = grids(&case, "delayed");
        let pad = code(&case, "pad_value");
        let places = case.ints("out.t_idx");
        let cells = items.iter().flat_map(|item| {
            let (pattern, rows) = (&pattern, item.n_frames());
            (0..rows).flat_map(move |t| {
                let delays = pattern.delays().iter();
                delays.map(move |delay| (t + delay).min(rows - 1) as i64)
            })
        });
        assert_eq!(cells.collect::<Vec<_>>(), places, "{}", case.name);

        for n_valid in case.config()["T_values"].as_array().expect("values") {
            let n_valid = usize::try_from(n_valid.as_u64().expect("rows")).expect("rows");
            let reverted: Vec<CodeGrid> = items
                .iter()
                .map(|item| {
                    pattern
                        .revert_padded(item, n_valid, pad)
                        .expect("matching channels")
                })
                .collect();
            // Where no row is missing, the plain form is the beginning of the padded one.
            for (item, padded) in items.iter().zip(&reverted) {
                let plain = pattern.revert(item).expect("matching channels");
                if n_valid >= item.n_frames() {
                    assert!(padded.as_slice().starts_with(plain.as_slice()));
                }
            }
            assert_equal(
                &case,
                &format!("out.reverted_T{n_valid}"),
                &joined(reverted),
            );
        }
    }
}

#[test]
fn cutting_generated_codes_equals_the_published_output() {
    for case in cases(ROOT, "delay", "delay_generate_output_") {
        let pattern = pattern(&case);
        let items = grids(&case, "generated_codes");
        for (item, (grid, length)) in items.iter().zip(case.ints("lengths")).enumerate() {
            let length = usize::try_from(length).expect("a length");
            let cut = pattern.cut(grid, length).expect("enough rows");
            assert_equal(&case, &format!("out.codes.{item}"), &joined([cut]));
        }
    }
    for case in cases(ROOT, "lm", "lm_generate_") {
        let path = checkpoint(&case).join("config.json");
        let config: Value =
            serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON");
        let delays = ids(&config["codec_delay_pattern"]);
        let pattern = DelayPattern::new(delays.iter().map(|&delay| delay as usize).collect())
            .expect("a valid pattern");
        let items = grids(&case, "out.generated_codes");
        for (item, (grid, length)) in items.iter().zip(case.ints("out.lengths")).enumerate() {
            let length = usize::try_from(length).expect("a length");
            let cut = pattern.cut(grid, length).expect("enough rows");
            assert_equal(&case, &format!("out.reverted.{item}"), &joined([cut]));
        }
    }
}

#[test]
fn prefills_equal_the_published_ones() {
    for case in cases(ROOT, "delay", "delay_prepare_prompt_") {
        let lengths = case.config()["prompt_lengths"].as_array().expect("lengths");
        let prompts: Vec<Option<CodeGrid>> = (0..lengths.len())
            .map(|item| {
                let name = format!("prompt.{item}");
                assert_eq!(case.has(&name), !lengths[item].is_null(), "{}", case.name);
                case.has(&name).then(|| grids(&case, &name).remove(0))
            })
            .collect();
        let prompts: Vec<Option<&CodeGrid>> = prompts.iter().map(Option::as_ref).collect();
        let prefills = pattern(&case)
            .prefill(&prompts, code(&case, "bos_value"))
            .expect("matching channels");
        let cells = prefills.iter().flat_map(|prefill| &prefill.cells);
        let cells: Vec<i64> = cells.map(|cell| cell.map_or(-1, i64::from)).collect();
        assert_equal(&case, "out.delayed", &cells);
        let steps: Vec<i64> = prefills
            .iter()
            .map(|prefill| prefill.steps as i64)
            .collect();
        assert_equal(&case, "out.prefill_steps", &steps);
    }
}

#[test]
fn delayed_references_equal_the_published_ones() {
    for case in cases(ROOT, "delay", "delay_preprocess_codec_") {
        let special = SpecialCodes {
            eos: code(&case, "eos_value"),
            pad: code(&case, "pad_value"),
            bos: code(&case, "bos_value"),
        };
        let delayed = grids(&case, "codes")
            .iter()
            .map(|codes| {
                pattern(&case)
                    .delay_reference(codes, special)
                    .expect("matching channels")
            })
            .collect::<Vec<_>>();
        assert_equal(&case, "out.codec_input_ids", &joined(delayed));
    }
}

#[test]
fn guided_logits_equal_the_published_ones() {
    for case in cases(ROOT, "sampling", "guidance_") {
        let [batch, channels, vocabulary] = case.shape("out.logits")[..] else {
            panic!("{}: logits [batch, channels, vocabulary]", case.name)
        };
        let setting = |name: &str| case.number(name).expect(name) as f32;
        let guidance =
            ClassifierFreeGuidance::new(setting("cfg_scale"), setting("eos_prob_mul_factor"))
                .expect("valid settings");
        let rule = EosRule {
            eos: code(&case, "codec_eos_value"),
            allowed: case.flag("enable_eos"),
        };
        let (raw, expected) = (case.floats("raw_logits"), case.floats("out.logits"));
        let size = channels * vocabulary;
        let mut guided = Vec::new();
        for item in 0..batch {
            let pair = &raw[item * 2 * size..(item + 1) * 2 * size];
            guidance
                .guide(pair, channels, rule, &mut guided)
                .expect("finite logits");
            let expected = &expected[item * size..(item + 1) * size];
            for (place, (a, e)) in guided.iter().zip(expected).enumerate() {
                if *e < FORBIDDEN {
                    assert_eq!(*a, f32::NEG_INFINITY, "{}: {item}, {place}", case.name);
                } else {
                    let near = (a - e).abs() <= LOGIT_TOLERANCE * (1.0 + e.abs());
                    assert!(near, "{}: {item}, {place}: {a}, expected {e}", case.name);
                }
            }
        }
    }
}

#[test]
fn distributions_equal_the_published_ones() {
    for case in cases(ROOT, "sampling", "sampling_") {
        let config = SamplingConfig {
            temperature: case.number("temperature").expect("a temperature"),
            top_p: case.number("top_p").expect("top_p"),
            top_k: case.count("top_k"),
            greedy: false,
        };
        // A negative number stands for no rule.
        let eos = case
            .count("audio_eos_value")
            .map(|eos| u32::try_from(eos).expect("a code"));
        let [_, vocabulary] = case.shape("logits")[..] else {
            panic!("{}: logits [rows, vocabulary]", case.name)
        };
        let mut sampler = Sampler::new(config, 0).expect("valid settings");
        let (expected, kept) = (case.floats("out.final_probs"), case.ints("out.num_kept"));
        let rows = case.floats("logits");
        for (row, logits) in rows.chunks(vocabulary).enumerate() {
            let logits: Vec<f32> = logits
                .iter()
                .map(|&logit| {
                    if logit < FORBIDDEN {
                        f32::NEG_INFINITY
                    } else {
                        logit
                    }
                })
                .collect();
            let actual = sampler.distribution(&logits, eos).expect("valid logits");
            let expected = &expected[row * vocabulary..(row + 1) * vocabulary];
            for (id, (a, e)) in actual.iter().zip(expected).enumerate() {
                let (name, same_support) = (&case.name, (*a > 0.0) == (*e > 0.0));
                assert!(
                    same_support,
                    "{name}: row {row}, code {id}: {a}, expected {e}"
                );
                let near = (a - e).abs() <= PROBABILITY_TOLERANCE;
                assert!(near, "{name}: row {row}, code {id}: {a}, expected {e}");
            }
            let support = actual.iter().filter(|&&p| p > 0.0).count();
            assert_eq!(
                i64::try_from(support),
                Ok(kept[row]),
                "{}: row {row}",
                case.name
            );
            let drawn = sampler.sample(&logits, eos).expect("valid logits");
            assert!(expected[drawn as usize] > 0.0, "{}: row {row}", case.name);
        }
    }
}
