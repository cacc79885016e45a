//! What each stage changes, and what it refuses.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use burn::tensor::Device;
use common::{GO_ON, Silent, config, corpus, model_folder, structure};
use unimoe_model::Shards;
use unimoe_train::{
    Curriculum, Integration, JointTraining, MODEL_FOLDER, RunEnd, Schedule, SpecialistTraining,
    Stage, StageData, TrainError, Warmup, Workplace,
};

fn run(
    stage: &dyn Stage,
    model: &Path,
    data: &StageData,
    output: &Path,
) -> Result<RunEnd, TrainError> {
    let mut workplace = Workplace {
        device: &Device::flex(),
        observer: &mut Silent,
        stop: &GO_ON,
    };
    stage.run(model, data, output, &mut workplace)
}

/// The bytes of each tensor in a model folder.
fn tensors(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let shards = Shards::open(folder).unwrap();
    let names = shards.tensors().iter();
    names
        .map(|(name, tensor)| (name.clone(), shards.read(tensor).unwrap()))
        .collect()
}

struct Place {
    folder: tempfile::TempDir,
    data: StageData,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = corpus(&folder.path().join("corpus"), 4);
        let data = StageData::new(vec![manifest], folder.path().join("cache"));
        Self { folder, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn warm_up_changes_gates_and_shared_experts_and_nothing_else_by_no_bit() {
    let place = Place::new();
    let (moe, out) = (place.path("moe"), place.path("warmup"));
    let mut structure = structure();
    structure.moe.differentiable = true;
    model_folder(&structure, &moe);
    let mut config = config(3);
    config.optimizer.weight_decay = 0.1;
    let warmup = Warmup { config };
    assert_eq!(
        run(&warmup, &moe, &place.data, &out).unwrap(),
        RunEnd::Finished
    );
    let (before, after) = (tensors(&moe), tensors(&out.join(MODEL_FOLDER)));
    assert!(before.keys().eq(after.keys()));
    let mut changed = 0;
    for (name, bytes) in &before {
        let is_trained = name.contains(".mlp.gate.") || name.contains(".fixed_real_moe.");
        assert_eq!(bytes != &after[name], is_trained, "{name}");
        changed += usize::from(is_trained);
    }
    // Two layers of a gate and two shared experts of three matrices.
    assert_eq!(changed, 2 * (1 + 2 * 3));
}

#[test]
fn joint_training_changes_everything_that_a_token_reaches() {
    let place = Place::new();
    let (moe, out) = (place.path("moe"), place.path("joint"));
    model_folder(&structure(), &moe);
    let joint = JointTraining { config: config(3) };
    run(&joint, &moe, &place.data, &out).unwrap();
    let (before, after) = (tensors(&moe), tensors(&out.join(MODEL_FOLDER)));
    for (name, bytes) in &before {
        // No text is predicted, and an expert may be left without a token.
        let may_rest = name == "lm_head.weight" || name.contains("deepspeed_experts");
        assert!(may_rest || bytes != &after[name], "{name}");
    }
}

#[test]
fn specialists_become_the_experts_of_one_model() {
    let place = Place::new();
    let base = place.path("base");
    model_folder(&structure().into_dense(48), &base);
    let mut models = Vec::new();
    for domain in ["music", "speech-en"] {
        let specialist = SpecialistTraining {
            domain: domain.into(),
            config: config(2),
        };
        let out = place.path(&specialist.name());
        run(&specialist, &base, &place.data, &out).unwrap();
        models.push(out.join(MODEL_FOLDER));
    }
    let out = place.path("integrated");
    let integration = Integration::default();
    integration.run(&models, 0, &out, &Device::flex()).unwrap();
    let (first, second, whole) = (tensors(&models[0]), tensors(&models[1]), tensors(&out));
    let dense = "model.layers.1.mlp.dynamic_real_moe.deepspeed_moe.experts.deepspeed_experts.0.gate_proj.weight";
    let halves: Vec<u8> = [2, 3]
        .iter()
        .flat_map(|n| whole[&dense.replace("experts.0.gate", &format!("experts.{n}.gate"))].clone())
        .collect();
    // Rows of the stored matrix are the inner width: two halves one after the other are the whole.
    assert_eq!(halves, second[dense]);
    assert_ne!(halves, first[dense]);
    let numbers = |bytes: &[u8]| -> Vec<f32> {
        let words = bytes.chunks_exact(4);
        words
            .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    };
    let name = "model.layers.0.self_attn.q_proj.weight";
    let (one, two, mean) = (
        numbers(&first[name]),
        numbers(&second[name]),
        numbers(&whole[name]),
    );
    for ((one, two), mean) in one.iter().zip(two).zip(mean) {
        assert!(((one + two) / 2.0 - mean).abs() <= 1e-7 * mean.abs().max(1e-3));
    }
}

#[test]
fn a_curriculum_goes_from_a_dense_model_to_one_that_loads() {
    let place = Place::new();
    let base = place.path("base");
    model_folder(&structure().into_dense(48), &base);
    let out = place.path("out");
    let mut stage = config(2);
    stage.conflict_every = Some(2);
    stage.run.batch_size = 4;
    let curriculum = Curriculum {
        specialist: stage.clone(),
        warmup: stage.clone(),
        joint: stage,
        ..Curriculum::default()
    };
    let mut workplace = Workplace {
        device: &Device::flex(),
        observer: &mut Silent,
        stop: &GO_ON,
    };
    let end = curriculum
        .run(&base, &place.data, &out, &mut workplace)
        .unwrap();
    assert_eq!(end, RunEnd::Finished);
    let options = unimoe_model::PipelineOptions::default();
    let model = out.join("joint").join(MODEL_FOLDER);
    let pipeline = unimoe_model::Pipeline::load(&model, &options, &Device::flex()).unwrap();
    assert_eq!(pipeline.model().config().moe.n_routed, 4);
    let mut other = curriculum.clone();
    other.integration.parts = 4;
    let error = other.run(&base, &place.data, &out, &mut workplace);
    let error = error.expect_err("integrated otherwise").to_string();
    assert!(error.contains("integrated"), "{error}");
    let mut greedy = curriculum.clone();
    greedy.per_domain = Some(1000);
    let error = greedy.run(&base, &place.data, &place.path("greedy"), &mut workplace);
    assert!(error.expect_err("too many").to_string().contains("1000"));
    assert!(!place.path("greedy").join("specialist-music").exists());
    let page = fs::read_to_string(out.join("report.html")).unwrap();
    for stage in [
        "specialist-music",
        "specialist-speech-en",
        "warmup",
        "joint",
    ] {
        assert!(page.contains(stage), "{stage}");
    }
}

#[test]
fn what_makes_no_stage_is_refused_before_anything_is_written() {
    let place = Place::new();
    let (dense, moe) = (place.path("dense"), place.path("moe"));
    model_folder(&structure().into_dense(48), &dense);
    model_folder(&structure(), &moe);
    let refused = |stage: &dyn Stage, model: &Path, data: &StageData, words: &str| {
        let out = place.path("refused");
        let error = run(stage, model, data, &out).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        assert!(!out.join("metrics.jsonl").exists());
    };
    let specialist = |domain: &str| SpecialistTraining {
        domain: domain.into(),
        config: config(1),
    };
    refused(&specialist("music"), &moe, &place.data, "dense");
    refused(&specialist("singing"), &dense, &place.data, "singing");
    let warmup = Warmup { config: config(1) };
    refused(&warmup, &dense, &place.data, "mixture");
    for (rate, word) in [(f64::NAN, "NaN"), (-1.0, "-1"), (f64::INFINITY, "inf")] {
        let mut joint = JointTraining { config: config(1) };
        joint.config.optimizer.learning_rate = rate;
        refused(&joint, &moe, &place.data, word);
    }
    let mut joint = JointTraining { config: config(1) };
    joint.config.run.steps = 0;
    refused(&joint, &moe, &place.data, "steps");
    let mut joint = JointTraining { config: config(1) };
    joint.config.optimizer.schedule = Schedule::Cosine {
        warmup_steps: 1,
        total_steps: None,
        cycles: 0.5,
    };
    refused(&joint, &moe, &place.data, "warmup_steps");
    let mut scarce = place.data.clone();
    scarce.per_domain = Some(100);
    let joint = JointTraining { config: config(1) };
    refused(&joint, &moe, &scarce, "100");
    let mut short = structure();
    short.text.max_positions = 40;
    let narrow = place.path("narrow");
    model_folder(&short, &narrow);
    refused(&joint, &narrow, &place.data, "positions");
}

#[test]
fn specialists_that_do_not_go_together_are_named() {
    let place = Place::new();
    let (dense, wide, moe) = (place.path("dense"), place.path("wide"), place.path("moe"));
    model_folder(&structure().into_dense(48), &dense);
    model_folder(&structure().into_dense(96), &wide);
    model_folder(&structure(), &moe);
    let refused = |integration: Integration, models: &[&PathBuf], words: &str| {
        let models: Vec<PathBuf> = models.iter().map(|&path| path.clone()).collect();
        let out = place.path("refused");
        let error = integration.run(&models, 0, &out, &Device::flex());
        let error = error.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
        assert!(!out.exists());
    };
    let usual = Integration::default;
    refused(usual(), &[], "a specialist at least");
    refused(usual(), &[&dense, &wide], "wide");
    refused(usual(), &[&moe], "8 routed");
    let parts = |parts, experts_per_specialist| Integration {
        parts,
        experts_per_specialist,
        ..usual()
    };
    refused(parts(5, None), &[&dense], "48 wide");
    refused(parts(0, None), &[&dense], "48 wide");
    refused(parts(2, Some(3)), &[&dense], "3 experts");
    refused(
        Integration {
            expert_scale: f64::INFINITY,
            ..usual()
        },
        &[&dense],
        "inf",
    );
    refused(
        Integration {
            top_p: f64::NAN,
            ..usual()
        },
        &[&dense],
        "NaN",
    );
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_leaves_the_last_checkpoint() {
    let place = Place::new();
    let moe = place.path("moe");
    model_folder(&structure(), &moe);
    let mut joint = JointTraining { config: config(8) };
    joint.config.run.checkpoints.every_steps = Some(1);
    // Large enough to lose all numbers in a few steps, small enough for the first.
    joint.config.optimizer.learning_rate = 1e30;
    joint.config.optimizer.clip_norm = None;
    let out = place.path("run");
    let error = run(&joint, &moe, &place.data, &out).expect_err("it must diverge");
    let text = error.to_string();
    assert!(text.contains("step") || text.contains("finite"), "{text}");
    let log = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    assert!(
        log.contains("\"failed\"") && log.contains("last checkpoint"),
        "{log}"
    );
    assert!(!out.join(MODEL_FOLDER).exists());
    assert!(fs::read_dir(out.join("checkpoints")).unwrap().count() > 0);
}
