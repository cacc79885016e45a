//! What training rests on: gradients reach what is to train, and nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

use burn::{
    module::{Module, ModuleVisitor, Param, ParamGroup},
    tensor::{DType, Device, Gradients, Tensor},
};
use unimoe_model::{
    Grid, LoadOptions, ModelInput, UniMoe, UniMoeConfig, VisionInput, VisionKind,
    codec_cross_entropy,
};

/// One row of text, a video and codes, with padding at its end.
fn batch(model: &UniMoe) -> (ModelInput, Vec<i64>) {
    let config = model.config();
    let place = config.codec.placeholder;
    let channels = config.codec.n_channels;
    let vision = config.vision.as_ref().unwrap();
    let seen = vision.video_token;
    let ids = vec![1, seen, seen, place, place, place, place, 0];
    let grid = Grid { t: 2, h: 2, w: 2 };
    let values = grid.patches().unwrap() * vision.encoder.patch_values();
    let video = VisionInput {
        kind: VisionKind::Video,
        patches: (0..values).map(|n| (n as f32 * 0.37).sin()).collect(),
        grid,
        seconds_per_step: Some(1.0),
    };
    let codes: Vec<u32> = (0..4 * channels as u32)
        .map(|n| n * 37 % config.codec.eos)
        .collect();
    let mut labels = vec![unimoe_model::IGNORED; ids.len() * channels];
    labels[3 * channels..7 * channels]
        .copy_from_slice(&codes.iter().map(|&c| c.into()).collect::<Vec<i64>>());
    let input = ModelInput {
        batch: 1,
        real: ids.iter().map(|&id| id != 0).collect(),
        ids,
        codes,
        vision: model.encode_vision(&[video]).unwrap(),
        training_seed: Some(5),
        ..ModelInput::default()
    };
    (input, labels)
}

fn gradients(model: &UniMoe) -> Gradients {
    let (input, labels) = batch(model);
    let output = model.forward(&input).unwrap();
    let loss = codec_cross_entropy(model.codec_logits(output.hidden), &labels);
    let auxiliary = output.routings[0].balance_loss(None);
    (loss.total + auxiliary * 0.025).backward()
}

/// Sorts the parameters by whether they have a gradient.
#[derive(Default)]
struct Reached {
    gradients: Option<Gradients>,
    path: Vec<String>,
    with: Vec<String>,
    without: Vec<String>,
}

impl ModuleVisitor for Reached {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.gradients.as_ref().unwrap());
        match gradient {
            Some(gradient) => {
                let largest = gradient.abs().max().into_data_dtype(DType::F32);
                assert!(largest.iter::<f32>().all(f32::is_finite));
                self.with.push(self.path.join("."));
            }
            None => self.without.push(self.path.join(".")),
        }
    }
}

fn reached(model: &UniMoe) -> Reached {
    let mut reached = Reached {
        gradients: Some(gradients(model)),
        ..Reached::default()
    };
    model.visit(&mut reached);
    reached
}

fn model(dtype: DType) -> UniMoe {
    let mut config = UniMoeConfig::tiny();
    config.moe.differentiable = true;
    let options = LoadOptions {
        dtype,
        ..LoadOptions::default()
    };
    UniMoe::random(&config, 1, options, &Device::flex().autodiff()).unwrap()
}

#[test]
fn gradients_reach_all_but_the_experts_that_no_token_visits() {
    for dtype in [DType::F32, DType::BF16] {
        let reached = reached(&model(dtype));
        assert!(!reached.with.is_empty());
        for path in &reached.without {
            assert!(path.contains(".moe.routed."), "{dtype:?}: {path}");
        }
    }
}

#[test]
fn frozen_parameters_get_no_gradient_and_the_others_keep_theirs() {
    // Integration trains the gates and the shared experts alone.
    let trained = r"\.moe\.(gate|shared)\.";
    let model = model(DType::F32)
        .set_require_grad_group(ParamGroup::all(), false)
        .set_require_grad_group(ParamGroup::from_regex(trained).unwrap(), true);
    let reached = reached(&model);
    let is_trained = |path: &String| path.contains(".moe.gate.") || path.contains(".moe.shared.");
    assert!(reached.with.iter().all(is_trained), "{:?}", reached.with);
    assert!(
        !reached.without.iter().any(is_trained),
        "{:?}",
        reached.without
    );
}
